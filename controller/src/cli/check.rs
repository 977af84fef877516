//! `edgefront check`.

use std::path::PathBuf;

use crate::ui::{Exit, Ui};

/// Checks that a model is well-formed and can be optimized.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  edgefront check model.onnx")]
pub struct Args {
    /// The ONNX model.
    pub model: PathBuf,
}

/// Runs the command.
pub fn run(args: Args, ui: &Ui) -> anyhow::Result<Exit> {
    let _ = (args, ui);
    anyhow::bail!("`edgefront check` is not built yet")
}
