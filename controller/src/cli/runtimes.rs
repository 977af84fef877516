//! `edgefront runtimes`.

use crate::ui::{Exit, Ui};

/// Lists the inference runtimes of this machine, or installs one.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  edgefront runtimes install ort")]
pub struct Args {}

/// Runs the command.
pub fn run(args: Args, ui: &Ui) -> anyhow::Result<Exit> {
    let _ = (args, ui);
    anyhow::bail!("`edgefront runtimes` is not built yet")
}
