//! `edgefront agent`.

use crate::ui::{Exit, Ui};

/// The device's daemon, for the local device.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs the command.
pub fn run(args: Args, ui: &Ui) -> anyhow::Result<Exit> {
    let _ = (args, ui);
    anyhow::bail!("`edgefront agent` is not built yet")
}
