//! `edgefront prune`.

use std::path::PathBuf;

use crate::ui::{Exit, Ui};

/// Sets the smallest weights of a model to zero.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  edgefront prune model.onnx -o pruned.onnx --amount 0.5")]
pub struct Args {
    /// The ONNX model.
    pub model: PathBuf,
}

/// Runs the command.
pub fn run(args: Args, ui: &Ui) -> anyhow::Result<Exit> {
    let _ = (args, ui);
    anyhow::bail!("`edgefront prune` is not built yet")
}
