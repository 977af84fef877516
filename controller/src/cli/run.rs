//! `edgefront run`.

use std::path::PathBuf;

use super::study_args::PlaceArgs;
use crate::study::{self, Study};
use crate::ui::{Exit, Ui};

/// Does what `optimize` does, from a study file.
///
/// A commented example is configs/study.toml.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  edgefront run study.toml --out out")]
pub struct Args {
    /// The study file.
    pub study: PathBuf,

    #[command(flatten)]
    place: PlaceArgs,
}

/// Runs the command.
pub fn run(args: Args, ui: &Ui) -> anyhow::Result<Exit> {
    let options = args.place.options()?;
    study::run(&Study::read(&args.study)?, &options, ui)
}
