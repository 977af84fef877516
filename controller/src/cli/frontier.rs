//! `edgefront frontier`.

use std::path::PathBuf;

use anyhow::Context as _;
use edgefront_protocol::results::Results;

use crate::frontier::mark;
use crate::frontier::objective::{self, Objective};
use crate::ui::{Exit, Ui, UsageError};
use crate::{report, results};

/// Draws the Pareto frontier of results files.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  edgefront frontier out/results.json --x latency_p50 --y top1 -o picture")]
pub struct Args {
    /// Results files, or directories that hold one; several are merged.
    #[arg(required = true)]
    pub results: Vec<PathBuf>,

    /// Objective of the horizontal axis.
    #[arg(long, value_name = "NAME", default_value = "latency_p50", value_parser = objective::named)]
    pub x: &'static Objective,

    /// Objective of the vertical axis.
    #[arg(long, value_name = "NAME", default_value = "top1", value_parser = objective::named)]
    pub y: &'static Objective,

    /// A further objective; may be repeated.
    #[arg(long, value_name = "NAME", value_parser = objective::named)]
    pub objective: Vec<&'static Objective>,

    /// Directory for the report; nothing is written without it.
    #[arg(short, long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// Runs the command.
pub fn run(args: Args, ui: &Ui) -> anyhow::Result<Exit> {
    let objectives = objectives(&args)?;
    let mut results = load(&args.results)?;
    mark(&mut results, &objectives);
    if let Some(dir) = &args.out {
        report::write_all(dir, &results)?;
        ui.note(format_args!("wrote the report to {}", dir.display()));
    }
    if ui.json() {
        ui.data_json(&results)?;
    } else {
        ui.data(report::table(&results))?;
    }
    Ok(Exit::Done)
}

fn objectives(args: &Args) -> anyhow::Result<Vec<&'static Objective>> {
    let mut objectives = vec![args.x, args.y];
    objectives.extend(&args.objective);
    for (i, objective) in objectives.iter().enumerate() {
        if objectives[..i].contains(objective) {
            return Err(UsageError::new(format!(
                "the objective `{}` is given twice",
                objective.name
            )));
        }
    }
    Ok(objectives)
}

/// Reads and merges results files.
pub(super) fn load(paths: &[PathBuf]) -> anyhow::Result<Results> {
    let all: Result<Vec<Results>, _> = paths.iter().map(|path| results::load(path)).collect();
    results::merge(all?).context("give at least one results file")
}
