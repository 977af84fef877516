//! `edgefront select`.

use std::path::PathBuf;

use edgefront_protocol::results::{Record, Results};

use crate::select::{Bounds, select};
use crate::ui::{Exit, Ui};

/// Selects per device the configuration to ship, and says why the others are not.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  edgefront select out/results.json --max-p99-ms 5 --min-top1 0.85")]
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

/// Runs the command. A device without a configuration within the bounds makes it fail.
pub fn run(args: Args, ui: &Ui) -> anyhow::Result<Exit> {
    let bounds = Bounds {
        max_p50_ms: args.max_p50_ms,
        max_p99_ms: args.max_p99_ms,
        min_top1: args.min_top1,
        max_size_mb: args.max_size_mb,
        max_power_w: args.max_power_w,
    };
    let results = super::frontier::load(&args.results)?;
    super::frontier::warn_of_mixed_studies(&results, ui);
    anyhow::ensure!(!results.records.is_empty(), "the results hold no measurement");
    let selections = select(&results, &bounds);
    let chosen: Vec<Record> = selections.iter().filter_map(|s| s.chosen).cloned().collect();
    let complete = chosen.len() == selections.len();
    if ui.json() {
        for selection in selections.iter().filter(|s| s.chosen.is_none()) {
            ui.note(selection);
        }
        ui.data_json(&Results {
            records: chosen,
            failed: Vec::new(),
            ..results.clone()
        })?;
    } else {
        let text: Vec<String> = selections.iter().map(ToString::to_string).collect();
        ui.data(text.join("\n\n"))?;
    }
    Ok(if complete { Exit::Done } else { Exit::Failed })
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
