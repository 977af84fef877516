//! `edgefront devices`.

use crate::ui::{Exit, Ui};

/// Lists the devices of a fleet and the runtimes they hold.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  edgefront devices --broker mqtt://192.168.1.10:1883")]
pub struct Args {
    /// Go on and print each change.
    #[arg(long)]
    pub watch: bool,
}

/// Runs the command.
pub fn run(args: Args, ui: &Ui) -> anyhow::Result<Exit> {
    let _ = (args, ui);
    anyhow::bail!("`edgefront devices` is not built yet")
}
