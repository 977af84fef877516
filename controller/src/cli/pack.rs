//! `edgefront pack`.

use std::path::PathBuf;

use crate::ui::{Exit, Ui};

/// Packs a labelled data set into one file, the form in which devices score on it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  edgefront pack photos/ -o val.safetensors --preprocess imagenet")]
pub struct Args {
    /// An image folder (`class/name.png`) or an `.npz` file.
    pub data: PathBuf,
}

/// Runs the command.
pub fn run(args: Args, ui: &Ui) -> anyhow::Result<Exit> {
    let _ = (args, ui);
    anyhow::bail!("`edgefront pack` is not built yet")
}
