//! `edgefront worker`.

use crate::ui::{Exit, Ui};

/// The child process of an agent that runs one job.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs the command.
pub fn run(args: Args, ui: &Ui) -> anyhow::Result<Exit> {
    let _ = (args, ui);
    anyhow::bail!("`edgefront worker` is not built yet")
}
