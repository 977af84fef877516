//! `edgefront demo`.

use std::path::PathBuf;

use crate::ui::{Exit, Ui};

/// Runs the whole flow on built-in data: variants, measurements on this machine, frontier.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  edgefront demo --out out")]
pub struct Args {
    /// Directory for the results.
    #[arg(long, default_value = "out")]
    pub out: PathBuf,
}

/// Runs the command.
pub fn run(args: Args, ui: &Ui) -> anyhow::Result<Exit> {
    let _ = (args, ui);
    anyhow::bail!("`edgefront demo` is not built yet")
}
