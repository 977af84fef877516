//! `edgefront select`.

use std::path::PathBuf;

use edgefront_protocol::results::{Record, Results};
use serde::Serialize;

use crate::select::{Bounds, Rejected, Selection, select, unmade};
use crate::ui::{Exit, Ui};

/// Selects per device the configuration to ship, and says why the others are not.
///
/// Of those within the bounds it is the one with the highest top-1; of equally accurate ones the fastest by P50 (in the
/// scenarios offline and server by throughput), and of equally fast ones the smallest. To ship a faster one, bound its latency.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  edgefront select out/results.json --max-p99-ms 5 --min-top1 0.85

Exit codes:
  0  every device has a configuration
  1  none has
  2  wrong usage
  3  some have none: nothing is within the bounds, or nothing was measured")]
pub struct Args {
    /// Results files, or directories that hold one; several are merged.
    #[arg(required = true)]
    pub results: Vec<PathBuf>,

    /// Highest median latency, in milliseconds.
    #[arg(long, value_name = "X", value_parser = most)]
    pub max_p50_ms: Option<f64>,

    /// Highest P99 latency, in milliseconds.
    #[arg(long, value_name = "X", value_parser = most)]
    pub max_p99_ms: Option<f64>,

    /// Lowest top-1 accuracy, as a fraction between 0 and 1.
    #[arg(long, value_name = "X", value_parser = fraction)]
    pub min_top1: Option<f64>,

    /// Largest artifact, in megabytes of 10^6 bytes.
    #[arg(long, value_name = "X", value_parser = most)]
    pub max_size_mb: Option<f64>,

    /// Highest mean power, in watts; rejects what no meter measured.
    #[arg(long, value_name = "X", value_parser = most)]
    pub max_power_w: Option<f64>,
}

/// The results of what was chosen, and why the others were not.
#[derive(Debug, Serialize)]
struct Selected<'a> {
    #[serde(flatten)]
    results: Results,
    rejected: Vec<Rejected<'a>>,
}

/// Runs the command. It fails where no device has a configuration within the bounds, and in part where some
/// have none.
pub fn run(args: Args, ui: &Ui) -> anyhow::Result<Exit> {
    let bounds = Bounds {
        max_p50_ms: args.max_p50_ms,
        max_p99_ms: args.max_p99_ms,
        min_top1: args.min_top1,
        max_size_mb: args.max_size_mb,
        max_power_w: args.max_power_w,
    };
    let results = super::frontier::load(&args.results, ui)?;
    super::frontier::warn_of_mixed_studies(&results, ui);
    if bounds.max_power_w.is_some() {
        super::frontier::warn_of_mixed_energies(&results, ui);
    }
    super::frontier::warn_of_mixed_scenarios(&results, ui);
    let selections = select(&results, &bounds);
    let unmade = unmade(&results);
    anyhow::ensure!(
        !selections.is_empty() || unmade.is_some(),
        "the results hold no measurement"
    );
    if ui.json() {
        for selection in selections.iter().filter(|s| s.chosen.is_none()) {
            ui.note(selection);
        }
        let chosen: Vec<Record> = selections.iter().filter_map(|s| s.chosen).cloned().collect();
        ui.data_json(&Selected {
            results: Results {
                records: chosen,
                ..results.clone()
            },
            rejected: selections.iter().flat_map(Selection::rejections).collect(),
        })?;
    } else {
        let text: Vec<String> = selections.iter().map(ToString::to_string).chain(unmade).collect();
        ui.data(text.join("\n\n"))?;
    }
    Ok(ended(&selections))
}

fn ended(selections: &[Selection<'_>]) -> Exit {
    let chosen = selections.iter().filter(|s| s.chosen.is_some()).count();
    match chosen {
        0 => Exit::Failed,
        chosen if chosen == selections.len() => Exit::Done,
        _ => Exit::Partial,
    }
}

/// An upper bound: NaN would let everything pass, and nothing is below 0.
fn most(text: &str) -> Result<f64, String> {
    let bound = text.parse().ok().filter(|bound: &f64| *bound >= 0.0);
    bound.ok_or_else(|| "a bound is a number of 0 or more".to_owned())
}

fn fraction(text: &str) -> Result<f64, String> {
    let bound = text.parse().ok().filter(|bound| (0.0..=1.0).contains(bound));
    bound.ok_or_else(|| "a fraction lies between 0 and 1, such as 0.85".to_owned())
}

#[cfg(test)]
mod tests {
    use super::{fraction, most};

    #[test]
    fn bounds_that_bound_nothing_are_refused() {
        assert_eq!((most("2.5"), fraction("0.85")), (Ok(2.5), Ok(0.85)));
        for text in ["nan", "-1", "x", ""] {
            assert!(most(text).is_err() && fraction(text).is_err(), "{text}");
        }
        assert!(fraction("85").is_err());
    }
}
