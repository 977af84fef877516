//! `edgefront optimize`.

use std::path::PathBuf;

use crate::ui::{Exit, Ui};

/// Makes variants of a model, has them measured, and draws the frontier of each device.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  edgefront optimize model.onnx --val val.npz --calib calib.npz --out out")]
pub struct Args {
    /// The ONNX model.
    pub model: PathBuf,
}

/// Runs the command.
pub fn run(args: Args, ui: &Ui) -> anyhow::Result<Exit> {
    let _ = (args, ui);
    anyhow::bail!("`edgefront optimize` is not built yet")
}
