//! What to ship: the best configuration of each device within the bounds, and why not the others.

use std::cmp::Ordering;
use std::fmt;

use edgefront_protocol::Scenario;
use edgefront_protocol::results::{FailedJob, Record, Results};
use serde::Serialize;

use crate::report::{conditions, figure};
use crate::results::{SERVER, is_in, of_device, unmeasured};
use crate::stats::certify;

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
    /// What was asked for.
    pub bounds: Bounds,
    /// The best of those within the bounds; `None` where there is none.
    pub chosen: Option<&'a Record>,
    /// Those outside the bounds, with all that each fails.
    pub rejected: Vec<(&'a Record, Vec<Reason>)>,
    /// Those within the bounds that are not the best.
    pub beaten: Vec<&'a Record>,
    /// What has no measurement on the device.
    pub failed: Vec<&'a FailedJob>,
    /// Why the device has no measurement at all; `None` where it has one.
    pub unmeasured: Option<String>,
}

/// A record that was not chosen, as programs read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rejected<'a> {
    /// The device.
    pub device: &'a str,
    /// The record, as [`Record::configuration`] names it.
    pub configuration: String,
    /// The study, where several were merged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub study: Option<&'a str>,
    /// The variant.
    pub variant: &'a str,
    /// The runtime.
    pub runtime: &'a str,
    /// The provider.
    pub provider: &'a str,
    /// Threads within one inference.
    pub threads: u32,
    /// Pictures per inference.
    pub batch: u32,
    /// How queries came, as a configuration has it, `server20ms`; `None` for a single stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scenario: Option<String>,
    /// Numbers of the processors that it was bound to, ascending; empty where it was not.
    #[serde(skip_serializing_if = "<[u32]>::is_empty")]
    pub cpus: &'a [u32],
    /// Why, in one line.
    pub reason: String,
}

impl<'a> Rejected<'a> {
    fn new(record: &'a Record, reason: String) -> Self {
        Self {
            device: &record.device,
            configuration: record.configuration(),
            study: record.study.as_deref(),
            variant: &record.variant,
            runtime: &record.runtime,
            provider: &record.provider,
            threads: record.threads,
            batch: record.batch,
            scenario: record.way(),
            cpus: &record.cpus,
            reason,
        }
    }
}

impl<'a> Selection<'a> {
    /// Every record of the device that was not chosen, with the reason.
    pub fn rejections(&self) -> Vec<Rejected<'a>> {
        let beaten = self.beaten().map(|(best, record)| {
            let (how, best) = (how_beaten(best, record), best.configuration());
            Rejected::new(record, format!("within the bounds, and beaten by {best}: {how}"))
        });
        let outside = self
            .rejected
            .iter()
            .map(|(record, reasons)| Rejected::new(record, joined(reasons)));
        beaten.chain(outside).collect()
    }

    /// What was chosen, with each of those that it is better than.
    fn beaten(&self) -> impl Iterator<Item = (&'a Record, &'a Record)> {
        let best = self.chosen.into_iter();
        best.flat_map(|best| self.beaten.iter().map(move |record| (best, *record)))
    }

    /// That the record keeps the bound of P99 by too few runs to rely on, where it does.
    fn uncertified(&self, record: &Record) -> Option<String> {
        let p99 = record
            .latency_ms
            .p99
            .filter(|_| self.bounds.max_p99_ms.is_some())?;
        let missing = certify::missing(0.99, record.latency_ms.samples);
        (!record.latency_ms.p99_certified).then(|| {
            format!(
                "its P99 of {} ms is not certified: {missing} runs are missing",
                figure(p99)
            )
        })
    }
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
    /// It was measured in rounds, and without a pause as well.
    Burst,
    /// It was measured in rounds, while others of the study have a sustained run, and it has none.
    Unsustained,
    /// An emulator ran it, so its figures are none of the device.
    Emulated,
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
                let figure = told_apart(*figure, *bound);
                let bound = rounded(*bound, 9);
                write!(f, "{what} {figure} {unit} is {side} {bound} {unit}")
            }
            Self::NotMeasured { what } => write!(f, "{what} was not measured"),
            Self::Burst => f.write_str("its sustained run stands for it"),
            Self::Unsustained => f.write_str("its sustained run has no figures"),
            Self::Emulated => f.write_str("it was measured under an emulator"),
        }
    }
}

/// Four decimals without trailing zeros.
fn short(figure: f64) -> String {
    rounded(figure, 4)
}

/// The figure with so many decimals, 4 at least, that one just outside its bound does not read like it.
fn told_apart(figure: f64, bound: f64) -> String {
    let mut texts = (4..).map(|decimals| rounded(figure, decimals));
    let side = |value: f64| value.total_cmp(&bound);
    let is_told = |text: &String| text.parse().is_ok_and(|read| side(read) == side(figure));
    texts.find(is_told).unwrap_or_default()
}

/// So many decimals without trailing zeros.
fn rounded(figure: f64, decimals: usize) -> String {
    let text = format!("{figure:.decimals$}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Selects for each device, in the order in which they first stand and those without a record last: of those
/// within the bounds the one with the highest top-1, then the lowest median or, in the scenarios that are about it, the
/// highest throughput, then the smallest artifact.
pub fn select<'a>(results: &'a Results, bounds: &Bounds) -> Vec<Selection<'a>> {
    let mut selections: Vec<Selection<'a>> = Vec::new();
    for record in &results.records {
        if !selections.iter().any(|known| known.device == record.device) {
            selections.push(of_one(results, &record.device, bounds));
        }
    }
    selections.extend(unmeasured(results).into_iter().map(|device| Selection {
        device: device.device,
        bounds: *bounds,
        chosen: None,
        rejected: Vec::new(),
        beaten: Vec::new(),
        failed: device.failed,
        unmeasured: Some(device.why),
    }));
    selections
}

fn of_one<'a>(results: &'a Results, device: &'a str, bounds: &Bounds) -> Selection<'a> {
    let mut rejected = Vec::new();
    let mut within = Vec::new();
    for record in results.records.iter().filter(|record| record.device == device) {
        let mut reasons = bounds.reasons(record);
        reasons.extend(unlike_sustained(results, record));
        match reasons {
            reasons if reasons.is_empty() => within.push(record),
            reasons => rejected.push((record, reasons)),
        }
    }
    within.sort_by(|a, b| better_first(a, b));
    let mut within = within.into_iter();
    Selection {
        device,
        bounds: *bounds,
        chosen: within.next(),
        rejected,
        beaten: within.collect(),
        failed: of_device(results, device),
        unmeasured: None,
    }
}

/// Why a record of rounds is not set against sustained runs, which are what a device keeps up; `None` where there are
/// none of its study on its device.
fn unlike_sustained(results: &Results, burst: &Record) -> Option<Reason> {
    if burst.sustained.is_some() {
        return None;
    }
    let is_beside = |record: &&Record| {
        record.sustained.is_some() && (&record.device, &record.study) == (&burst.device, &burst.study)
    };
    let in_rounds = |record: &Record| Record {
        sustained: None,
        ..record.clone()
    };
    let mut beside = results.records.iter().filter(is_beside).peekable();
    beside.peek()?;
    let has_own = beside.any(|record| in_rounds(record).configuration() == burst.configuration());
    Some(if has_own {
        Reason::Burst
    } else {
        Reason::Unsustained
    })
}

/// By top-1, by speed, by size.
fn comparisons(a: &Record, b: &Record) -> [Ordering; 3] {
    let top1 = |r: &Record| r.accuracy.as_ref().map_or(f64::NEG_INFINITY, |a| a.top1);
    [
        top1(b).total_cmp(&top1(a)),
        faster_first(a, b),
        a.artifact.bytes.cmp(&b.artifact.bytes),
    ]
}

fn better_first(a: &Record, b: &Record) -> Ordering {
    let [top1, speed, size] = comparisons(a, b);
    top1.then(speed).then(size)
}

/// By throughput where both were measured for it, by the median where neither was. A latency and a throughput do not
/// compare, so those that were measured for their latency stand first.
fn faster_first(a: &Record, b: &Record) -> Ordering {
    match [a, b].map(is_for_throughput) {
        [true, true] => b.throughput_ips.total_cmp(&a.throughput_ips),
        [false, false] => a.latency_ms.p50.total_cmp(&b.latency_ms.p50),
        [a, b] => a.cmp(&b),
    }
}

/// Whether the record's scenario is about throughput.
fn is_for_throughput(record: &Record) -> bool {
    [Scenario::Offline.as_str(), SERVER]
        .iter()
        .any(|name| is_in(record, name))
}

/// What decided that `best` comes before the record.
fn how_beaten(best: &Record, record: &Record) -> &'static str {
    let are_scored = [best, record].map(|record| record.accuracy.is_some());
    let is_of_another_kind = is_for_throughput(best) != is_for_throughput(record);
    match (are_scored, comparisons(best, record)) {
        ([true, false], _) => "without an accuracy",
        (_, [Ordering::Equal, ..]) if is_of_another_kind => "in a scenario for throughput",
        (_, [Ordering::Equal, Ordering::Equal, Ordering::Equal]) => "no better",
        ([false, false], [_, Ordering::Equal, _]) => "as fast and larger",
        ([false, false], _) => "slower",
        (_, [Ordering::Equal, Ordering::Equal, _]) => "as accurate, as fast and larger",
        (_, [Ordering::Equal, ..]) => "as accurate and slower",
        _ => "less accurate",
    }
}

impl Bounds {
    fn reasons(&self, record: &Record) -> Vec<Reason> {
        let accuracy = record.accuracy.as_ref();
        let megabytes = record.artifact.bytes as f64 / 1e6;
        let p99 = if record.latency_ms.p99_certified {
            "P99"
        } else {
            "P99 (not certified)"
        };
        [
            record.conditions.emulated.then_some(Reason::Emulated),
            at_most("P50", Some(record.latency_ms.p50), self.max_p50_ms, "ms"),
            at_most(p99, record.latency_ms.p99, self.max_p99_ms, "ms"),
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
        write!(f, "{}: ", self.device)?;
        match (self.chosen, &self.unmeasured) {
            (Some(record), _) => {
                write!(f, "{} ({})", record.configuration(), summary(record))?;
                for note in conditions(record).iter().chain(&self.uncertified(record)) {
                    write!(f, "\n  note      {note}")?;
                }
            }
            (None, Some(why)) => write!(f, "no measurement: {why}")?,
            (None, None) => write!(f, "nothing is within the bounds")?,
        }
        for (best, record) in self.beaten() {
            write!(
                f,
                "\n  beaten    {} ({}): {}",
                record.configuration(),
                summary(record),
                how_beaten(best, record)
            )?;
        }
        for (record, reasons) in &self.rejected {
            write!(f, "\n  rejected  {}: {}", record.configuration(), joined(reasons))?;
        }
        for failed in &self.failed {
            write!(f, "\n  failed    {}", failure(failed))?;
        }
        Ok(())
    }
}

/// `fp32/tract/t1/b1: the reason`; what failed for every variant or runtime says so.
fn failure(failed: &FailedJob) -> String {
    let what = match (failed.variant.as_str(), failed.runtime.as_str()) {
        ("", "") => "every variant on every runtime".to_owned(),
        ("", _) => format!("every variant on {}", failed.configuration()),
        (_, "") => format!("{} on every runtime", failed.configuration()),
        _ => failed.configuration(),
    };
    format!("{what}: {}", failed.error)
}

/// The variants that failed before any device had them, a line each; `None` where there are none.
pub fn unmade(results: &Results) -> Option<String> {
    let failed = of_device(results, "");
    let lines = failed
        .iter()
        .map(|failed| format!("\n  failed    {}", failure(failed)));
    let lines: String = lines.collect();
    (!lines.is_empty()).then(|| format!("every device:{lines}"))
}

fn joined(reasons: &[Reason]) -> String {
    let reasons: Vec<String> = reasons.iter().map(ToString::to_string).collect();
    reasons.join("; ")
}

fn summary(record: &Record) -> String {
    let top1 = record
        .accuracy
        .as_ref()
        .map(|a| format!("top-1 {} %, ", short(a.top1 * 100.0)));
    let speed = if is_for_throughput(record) {
        format!("{} pictures/s", figure(record.throughput_ips))
    } else {
        format!("P50 {} ms", figure(record.latency_ms.p50))
    };
    let megabytes = short(record.artifact.bytes as f64 / 1e6);
    format!("{}{speed}, {megabytes} MB", top1.unwrap_or_default())
}

#[cfg(test)]
#[path = "select_tests.rs"]
mod tests;
