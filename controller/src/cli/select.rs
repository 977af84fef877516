//! `edgefront select`.

use std::path::PathBuf;

use crate::ui::{Exit, Ui};

/// Selects per device the configuration to ship, and says why the others are not.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  edgefront select out/results.json --max-p99-ms 5 --min-top1 0.85")]
pub struct Args {
    /// Results files.
    #[arg(required = true)]
    pub results: Vec<PathBuf>,
}

/// Runs the command.
pub fn run(args: Args, ui: &Ui) -> anyhow::Result<Exit> {
    let _ = (args, ui);
    anyhow::bail!("`edgefront select` is not built yet")
}
