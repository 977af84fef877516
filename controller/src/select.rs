//! What to ship: the best configuration of each device within the bounds, and why not the others.

use std::fmt;

use edgefront_protocol::results::{Record, Results};

/// Bounds that a configuration must keep.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Bounds {
    /// Highest median latency, in milliseconds.
    pub max_p50_ms: Option<f64>,
    /// Highest P99 latency, in milliseconds.
    pub max_p99_ms: Option<f64>,
    /// Lowest top-1 accuracy, as a fraction of 1.
    pub min_top1: Option<f64>,
    /// Largest artifact, in megabytes of 10^6 bytes.
    pub max_size_mb: Option<f64>,
    /// Highest mean power, in watts.
    pub max_power_w: Option<f64>,
}

/// What was chosen for one device.
#[derive(Debug, Clone, PartialEq)]
pub struct Selection<'a> {
    /// The device.
    pub device: &'a str,
    /// The best of those within the bounds; `None` where there is none.
    pub chosen: Option<&'a Record>,
    /// Those outside the bounds, with all that each fails.
    pub rejected: Vec<(&'a Record, Vec<Reason>)>,
    /// Those within the bounds that are not the best.
    pub beaten: Vec<&'a Record>,
}

/// Why a configuration is outside the bounds.
#[derive(Debug, Clone, PartialEq)]
pub enum Reason {
    /// The figure is on the wrong side of the bound.
    Outside {
        /// What was bounded.
        what: &'static str,
        /// What was measured.
        figure: f64,
        /// The bound.
        bound: f64,
        /// The unit of both.
        unit: &'static str,
        /// Whether the bound is the highest allowed, or the lowest.
        at_most: bool,
    },
    /// A bound was given and nothing measured the figure.
    NotMeasured {
        /// What was bounded.
        what: &'static str,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Outside {
                what,
                figure,
                bound,
                unit,
                at_most,
            } => {
                let side = if *at_most { "above" } else { "below" };
                write!(f, "{what} {} {unit} is {side} {bound} {unit}", short(*figure))
            }
            Self::NotMeasured { what } => write!(f, "{what} was not measured"),
        }
    }
}

/// Four decimals without trailing zeros, so that a figure just outside its bound does not read like it.
fn short(figure: f64) -> String {
    let text = format!("{figure:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Selects for each device, in the order in which they first stand: of those within the bounds the one with
/// the highest top-1, then the lowest median, then the smallest artifact.
pub fn select<'a>(results: &'a Results, bounds: &Bounds) -> Vec<Selection<'a>> {
    let mut selections: Vec<Selection<'a>> = Vec::new();
    for record in &results.records {
        let at = selections
            .iter()
            .position(|s| s.device == record.device)
            .unwrap_or_else(|| {
                let device = record.device.as_str();
                selections.push(Selection {
                    device,
                    chosen: None,
                    rejected: Vec::new(),
                    beaten: Vec::new(),
                });
                selections.len() - 1
            });
        let selection = &mut selections[at];
        match bounds.reasons(record) {
            reasons if reasons.is_empty() => selection.beaten.push(record),
            reasons => selection.rejected.push((record, reasons)),
        }
    }
    for selection in &mut selections {
        selection.beaten.sort_by(|a, b| better_first(a, b));
        if !selection.beaten.is_empty() {
            selection.chosen = Some(selection.beaten.remove(0));
        }
    }
    selections
}

fn better_first(a: &Record, b: &Record) -> std::cmp::Ordering {
    let top1 = |r: &Record| r.accuracy.as_ref().map_or(f64::NEG_INFINITY, |a| a.top1);
    top1(b)
        .total_cmp(&top1(a))
        .then(a.latency_ms.p50.total_cmp(&b.latency_ms.p50))
        .then(a.artifact.bytes.cmp(&b.artifact.bytes))
}

impl Bounds {
    fn reasons(&self, record: &Record) -> Vec<Reason> {
        let accuracy = record.accuracy.as_ref();
        let megabytes = record.artifact.bytes as f64 / 1e6;
        [
            at_most("P50", Some(record.latency_ms.p50), self.max_p50_ms, "ms"),
            at_most("P99", record.latency_ms.p99, self.max_p99_ms, "ms"),
            at_least(
                "top-1",
                accuracy.map(|a| a.top1 * 100.0),
                self.min_top1.map(|b| b * 100.0),
                "%",
            ),
            at_most("size", Some(megabytes), self.max_size_mb, "MB"),
            at_most(
                "power",
                record.energy.as_ref().map(|e| e.mean_w),
                self.max_power_w,
                "W",
            ),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

fn at_most(
    what: &'static str,
    figure: Option<f64>,
    bound: Option<f64>,
    unit: &'static str,
) -> Option<Reason> {
    let bound = bound?;
    let Some(figure) = figure else {
        return Some(Reason::NotMeasured { what });
    };
    (figure > bound).then_some(Reason::Outside {
        what,
        figure,
        bound,
        unit,
        at_most: true,
    })
}

fn at_least(
    what: &'static str,
    figure: Option<f64>,
    bound: Option<f64>,
    unit: &'static str,
) -> Option<Reason> {
    let bound = bound?;
    let Some(figure) = figure else {
        return Some(Reason::NotMeasured { what });
    };
    (figure < bound).then_some(Reason::Outside {
        what,
        figure,
        bound,
        unit,
        at_most: false,
    })
}

impl fmt::Display for Selection<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.chosen {
            Some(record) => write!(
                f,
                "{}: {} ({})",
                self.device,
                record.configuration(),
                summary(record)
            )?,
            None => write!(f, "{}: nothing is within the bounds", self.device)?,
        }
        for record in &self.beaten {
            write!(
                f,
                "\n  beaten    {} ({})",
                record.configuration(),
                summary(record)
            )?;
        }
        for (record, reasons) in &self.rejected {
            let reasons: Vec<String> = reasons.iter().map(ToString::to_string).collect();
            write!(
                f,
                "\n  rejected  {}: {}",
                record.configuration(),
                reasons.join("; ")
            )?;
        }
        Ok(())
    }
}

fn summary(record: &Record) -> String {
    let top1 = record
        .accuracy
        .as_ref()
        .map(|a| format!("top-1 {} %, ", short(a.top1 * 100.0)));
    let megabytes = short(record.artifact.bytes as f64 / 1e6);
    format!(
        "{}P50 {} ms, {megabytes} MB",
        top1.unwrap_or_default(),
        short(record.latency_ms.p50)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::fixture;

    #[test]
    fn takes_the_most_accurate_within_the_bounds_and_says_why_not_the_others() {
        let results = fixture::results();
        let bounds = Bounds {
            max_p99_ms: Some(3.0),
            min_top1: Some(0.9),
            max_size_mb: Some(0.5),
            ..Bounds::default()
        };
        let selections = select(&results, &bounds);
        assert_eq!(
            selections[0].chosen.map(Record::configuration).as_deref(),
            Some("ptq-int8-pc/ort/cpu/t1/b1")
        );
        assert_eq!(selections[1].chosen, None);
        let text: Vec<String> = selections.iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(text.join("\n"));
    }

    #[test]
    fn a_bound_on_what_nothing_measured_rejects_with_that_reason() {
        let results = fixture::results();
        let selections = select(
            &results,
            &Bounds {
                max_power_w: Some(5.0),
                ..Bounds::default()
            },
        );
        assert!(selections.iter().all(|s| s.chosen.is_none()));
        assert_eq!(
            selections[0].rejected[0].1[0].to_string(),
            "power was not measured"
        );
    }

    #[test]
    fn equal_accuracy_goes_to_the_faster_and_then_the_smaller() {
        let mut results = fixture::results();
        results.records.truncate(3);
        for record in &mut results.records {
            record.accuracy = results_accuracy();
            record.latency_ms.p50 = 2.0;
        }
        results.records[2].artifact.bytes = 1;
        assert_eq!(
            select(&results, &Bounds::default())[0]
                .chosen
                .unwrap()
                .artifact
                .bytes,
            1
        );
        results.records[1].latency_ms.p50 = 1.0;
        assert_eq!(
            select(&results, &Bounds::default())[0].chosen.unwrap().runtime,
            "tract"
        );
    }

    fn results_accuracy() -> Option<edgefront_protocol::results::AccuracyRecord> {
        fixture::results().records[0].accuracy.clone()
    }

    #[test]
    fn a_figure_on_its_bound_is_within() {
        let results = fixture::results();
        let p50 = results.records[0].latency_ms.p50;
        let bounds = Bounds {
            max_p50_ms: Some(p50),
            ..Bounds::default()
        };
        assert!(bounds.reasons(&results.records[0]).is_empty());
    }
}
