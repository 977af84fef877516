//! `edgefront worker`.

use crate::ui::{Exit, Ui};

/// The child process of an agent that runs one job.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs the command.
pub fn run(_args: Args, _ui: &Ui) -> anyhow::Result<Exit> {
    Ok(match edgefront_agent::worker::main() {
        Ok(()) => Exit::Done,
        Err(_) => Exit::Failed,
    })
}
