//! `edgefront quantize`.

use std::path::PathBuf;

use crate::ui::{Exit, Ui};

/// Quantizes a model to INT8 after training, in QDQ form.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  edgefront quantize model.onnx -o int8.onnx --calib calib.npz")]
pub struct Args {
    /// The ONNX model.
    pub model: PathBuf,
}

/// Runs the command.
pub fn run(args: Args, ui: &Ui) -> anyhow::Result<Exit> {
    let _ = (args, ui);
    anyhow::bail!("`edgefront quantize` is not built yet")
}
