//! `edgefront bench`.

use std::path::PathBuf;

use crate::ui::{Exit, Ui};

/// Measures one model as it is.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  edgefront bench model.onnx --runtime ort --threads 2")]
pub struct Args {
    /// The ONNX model.
    pub model: PathBuf,
}

/// Runs the command.
pub fn run(args: Args, ui: &Ui) -> anyhow::Result<Exit> {
    let _ = (args, ui);
    anyhow::bail!("`edgefront bench` is not built yet")
}
