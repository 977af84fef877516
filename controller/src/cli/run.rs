//! `edgefront run`.

use std::path::PathBuf;

use crate::ui::{Exit, Ui};

/// Does what `optimize` does, from a study file.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  edgefront run study.toml --out out")]
pub struct Args {
    /// The study file.
    pub study: PathBuf,
}

/// Runs the command.
pub fn run(args: Args, ui: &Ui) -> anyhow::Result<Exit> {
    let _ = (args, ui);
    anyhow::bail!("`edgefront run` is not built yet")
}
