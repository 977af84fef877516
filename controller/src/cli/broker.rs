//! `edgefront broker`.

use crate::ui::{Exit, Ui};

/// Runs the built-in MQTT broker.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  edgefront broker --listen 0.0.0.0:1883")]
pub struct Args {}

/// Runs the command.
pub fn run(args: Args, ui: &Ui) -> anyhow::Result<Exit> {
    let _ = (args, ui);
    anyhow::bail!("`edgefront broker` is not built yet")
}
