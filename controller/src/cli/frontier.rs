//! `edgefront frontier`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use edgefront_protocol::Scenario;
use edgefront_protocol::results::{Record, Results};

use crate::frontier::mark;
use crate::frontier::objective::{self, Objective};
use crate::report::Occupied;
use crate::ui::{Exit, Ui, UsageError};
use crate::{report, results};

/// Draws the Pareto frontier of results files.
///
/// Where the records of several studies stand side by side, their names begin with the study.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  edgefront frontier out/results.json --x latency_p99 --y top1 -o picture
  edgefront frontier resnet18/ mobilenet/ -o both")]
pub struct Args {
    /// Results files, or directories that hold one; several are merged.
    #[arg(required = true)]
    pub results: Vec<PathBuf>,

    /// Objective of the horizontal axis.
    #[arg(long, value_name = "NAME", default_value = "latency_p50", value_parser = objective())]
    pub x: &'static Objective,

    /// Objective of the vertical axis, one of the same.
    #[arg(
        long,
        value_name = "NAME",
        default_value = "top1",
        value_parser = objective(),
        hide_possible_values = true
    )]
    pub y: &'static Objective,

    /// A further objective, one of the same; may be repeated.
    #[arg(long, value_name = "NAME", value_parser = objective(), hide_possible_values = true)]
    pub objective: Vec<&'static Objective>,

    /// Directory for the report, in place of an earlier report there; it may hold nothing else. Nothing is
    /// written without it.
    #[arg(short, long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// Takes the name of an objective, and lists them.
fn objective() -> impl TypedValueParser<Value = &'static Objective> {
    PossibleValuesParser::new(objective::ALL.map(|objective| objective.name))
        .map(|name| objective::named(&name).expect("invariant: only the names of objectives are possible"))
}

/// Runs the command.
pub fn run(args: Args, ui: &Ui) -> anyhow::Result<Exit> {
    let objectives = objectives(&args)?;
    if let Some(dir) = &args.out {
        report::check_free(dir).map_err(|why| match why {
            Occupied::Unreadable(error) => {
                anyhow::Error::new(error).context(format!("cannot read {}", dir.display()))
            }
            why => UsageError::new(format!("-o {}: {why}", dir.display())),
        })?;
    }
    let mut results = load(&args.results, ui)?;
    mark(&mut results, &objectives);
    if results.records.is_empty() && !results.failed.is_empty() && !ui.json() {
        // What failed is all that there is to show.
        ui.data(report::table(&results, ui.width()))?;
    }
    say_left_out(&results, ui)?;
    warn_of_mixed_scenarios(&results, ui);
    if objectives.iter().any(|objective| objective.is_share()) {
        warn_of_mixed_studies(&results, ui);
    }
    if objectives.iter().any(|objective| objective.is_of_energy()) {
        warn_of_mixed_energies(&results, ui);
    }
    if let Some(dir) = &args.out {
        report::write_all(dir, &results)?;
        ui.note(format_args!("wrote the report to {}", dir.display()));
    }
    if ui.json() {
        ui.data_json(&results)?;
    } else {
        ui.data(report::table(&results, ui.width()))?;
    }
    Ok(Exit::Done)
}

/// Says which records take no part in the frontier. If that is all of them, there is none.
fn say_left_out(results: &Results, ui: &Ui) -> anyhow::Result<()> {
    let total = results.records.len();
    anyhow::ensure!(total > 0, "the results hold no measurement");
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    for why in results.records.iter().filter_map(|r| r.not_ranked.as_deref()) {
        *reasons.entry(why).or_default() += 1;
    }
    let left_out: usize = reasons.values().sum();
    let reasons: Vec<String> = reasons
        .into_iter()
        .map(|(why, count)| format!("{why} in {count} of {total} records"))
        .collect();
    let reasons = reasons.join(", ");
    anyhow::ensure!(
        left_out < total,
        "there is no frontier: {reasons}; choose other objectives with --x and --y"
    );
    if left_out > 0 {
        ui.warn(format_args!(
            "{left_out} of {total} records are left out: {reasons}"
        ));
    }
    Ok(())
}

/// Says that accuracies of several studies stand side by side, where they do.
pub(super) fn warn_of_mixed_studies(results: &Results, ui: &Ui) {
    if results::mixes_accuracies(results) {
        ui.warn(format_args!(
            "accuracies of different studies ({}) are comparable only on the same data",
            results.study
        ));
    }
}

/// Says that energies of several rails stand side by side, where they do.
pub(super) fn warn_of_mixed_energies(results: &Results, ui: &Ui) {
    if let Some(mixture) = report::mixture(results) {
        ui.warn(mixture);
    }
}

/// Says that figures of several scenarios stand side by side, where they do.
pub(super) fn warn_of_mixed_scenarios(results: &Results, ui: &Ui) {
    let single = || Scenario::Single.as_str().to_owned();
    let label = |record: &Record| record.way().unwrap_or_else(single);
    let labels: BTreeSet<String> = results.records.iter().map(label).collect();
    if labels.len() > 1 {
        let labels: Vec<String> = labels.into_iter().collect();
        ui.warn(format_args!(
            "latencies of different scenarios ({}) are not comparable; each has a frontier of its own",
            labels.join(", ")
        ));
    }
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

/// Reads and merges results files. Says which are of an unfinished study, and which devices got another name.
pub(super) fn load(paths: &[PathBuf], ui: &Ui) -> anyhow::Result<Results> {
    let mut all = Vec::new();
    for path in paths {
        let results = results::load(path)?;
        if results.unfinished {
            ui.warn(format_args!(
                "{} is of an unfinished study; --resume of the command that began it measures the rest",
                path.display()
            ));
        }
        all.push(results);
    }
    let named: BTreeSet<String> = all
        .iter()
        .flat_map(|results| &results.devices)
        .map(|device| device.id.clone())
        .collect();
    let merged = results::merge(all).context("give at least one results file")?;
    for device in merged.devices.iter().filter(|device| !named.contains(&device.id)) {
        ui.note(format_args!(
            "several machines have one name; {} is {}, {} cores, {}",
            device.id, device.cpu, device.cores, device.arch
        ));
    }
    Ok(merged)
}
