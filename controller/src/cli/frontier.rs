//! `edgefront frontier`.

use std::path::PathBuf;

use crate::ui::{Exit, Ui};

/// Draws the Pareto frontier of results files.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  edgefront frontier out/results.json --x latency_p50 --y top1 -o picture")]
pub struct Args {
    /// Results files.
    #[arg(required = true)]
    pub results: Vec<PathBuf>,
}

/// Runs the command.
pub fn run(args: Args, ui: &Ui) -> anyhow::Result<Exit> {
    let _ = (args, ui);
    anyhow::bail!("`edgefront frontier` is not built yet")
}
