//! Two results set against each other, configuration by configuration.

mod table;

use std::fmt;
use std::str::FromStr;

use edgefront_protocol::Target;
use edgefront_protocol::results::{AccuracyRecord, EnergyRecord, Record, Results};
use serde::Serialize;

use crate::results::{SERVER, is_in};
use crate::stats::compare::{Ratio, Verdict, ratio};
use crate::stats::wilson;

pub use table::table;

/// Which records of a side are meant: `VARIANT` or `VARIANT/RUNTIME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector {
    variant: String,
    /// With its provider, where one is written.
    runtime: Option<String>,
}

impl FromStr for Selector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (variant, runtime) = match text.split_once('/') {
            Some((variant, runtime)) => (variant, Some(runtime)),
            None => (text, None),
        };
        if variant.is_empty() || runtime.is_some_and(str::is_empty) {
            return Err("a configuration is written as in ptq-int8 or ptq-int8/ort".to_owned());
        }
        Ok(Self {
            variant: variant.to_owned(),
            runtime: runtime.map(str::to_owned),
        })
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.variant)?;
        match &self.runtime {
            Some(runtime) => write!(f, "/{runtime}"),
            None => Ok(()),
        }
    }
}

impl Selector {
    fn takes(&self, record: &Record) -> bool {
        let is_of = |written: &String| {
            let (runtime, provider) = match written.split_once(':') {
                Some((runtime, provider)) => (runtime, Some(provider)),
                None => (written.as_str(), None),
            };
            // A provider's settings may be written without the CPU's name before them.
            let own = record.provider.as_str();
            let is_settings = |text: &str| own.strip_prefix("cpu+") == Some(text);
            runtime == record.runtime && provider.is_none_or(|text| text == own || is_settings(text))
        };
        self.variant == record.variant && self.runtime.as_ref().is_none_or(is_of)
    }
}

/// One configuration of each side: the variant of the one, and that of the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selected {
    /// Of the first results.
    pub a: Selector,
    /// Of the second. A side that names no runtime takes the other's.
    pub b: Selector,
}

/// One side of a comparison.
#[derive(Debug, Clone, Copy)]
pub struct Side<'a> {
    /// What people call it: its path.
    pub name: &'a str,
    /// What was measured.
    pub results: &'a Results,
}

/// What two measurements on one device say of each other.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// The device.
    pub device: String,
    /// The configurations, the first results' first.
    pub configurations: [String; 2],
    /// Their medians in milliseconds.
    pub p50_ms: [f64; 2],
    /// Typical median of a round of the second over that of the first.
    pub ratio: f64,
    /// Its 95 % confidence interval.
    pub ratio_ci95: [f64; 2],
    /// What the interval says of the second.
    pub verdict: Verdict,
    /// The smallest difference from a ratio of 1 that such data show in four of five cases.
    pub shows: f64,
    /// Whether rounds were set against each other that took turns.
    pub paired: bool,
    /// Independent parts of each side.
    pub parts: [usize; 2],
    /// Accuracy, where both have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top1: Option<Difference>,
    /// Energy, where both have it of the same kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub energy: Option<EnergyRatio>,
    /// What a reader should know, a line each.
    pub remarks: Vec<String>,
}

/// A difference of two accuracies, in fractions of 1.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// Of the second less the first.
    pub difference: f64,
    /// Its 95 % confidence interval, as of two separate samples of pictures.
    pub ci95: [f64; 2],
}

/// A ratio of two energies an inference.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EnergyRatio {
    /// Of the second over the first.
    pub ratio: f64,
    /// Its 95 % confidence interval, where both have one.
    pub ci95: Option<[f64; 2]>,
    /// What the power feeds: `module`.
    pub scope: String,
}

/// A pair that could not be compared.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NotCompared {
    /// The device.
    pub device: String,
    /// The configurations, the first results' first.
    pub configurations: [String; 2],
    /// Why, in one line.
    pub why: String,
}

/// All pairs of two results.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Compared {
    /// In the order of the first results.
    pub comparisons: Vec<Comparison>,
    /// Those that could not be.
    pub not_compared: Vec<NotCompared>,
}

/// Why there is nothing to compare.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Unmatched {
    /// A side has nothing of that name.
    #[error("{side} has no measurement of `{wanted}`; it has {there}")]
    Absent {
        /// The side.
        side: String,
        /// What was asked for.
        wanted: String,
        /// What there is.
        there: String,
    },
    /// Both sides have something, but nothing on the same device with the same threads, batch, processors and scenario.
    #[error("no device has both with the same {what}: {a} has {of_a}; {b} has {of_b}")]
    NoPair {
        /// What would have to be the same.
        what: &'static str,
        /// The first side.
        a: String,
        /// What it has.
        of_a: String,
        /// The second side.
        b: String,
        /// What it has.
        of_b: String,
    },
}

/// Sets each measurement of `a` against those of `b` on the same device: of the same configuration, or, where variants are
/// selected, of the same threads, batch, processors and scenario.
pub fn compare(a: Side<'_>, b: Side<'_>, selected: Option<&Selected>) -> Result<Compared, Unmatched> {
    let selected = selected.map(with_one_runtime);
    let of_a = chosen(a, selected.as_ref().map(|selected| &selected.a))?;
    let of_b = chosen(b, selected.as_ref().map(|selected| &selected.b))?;
    let names_runtimes = selected
        .as_ref()
        .is_some_and(|selected| selected.a.runtime.is_some());
    let is_pair = |one: &Record, other: &Record| {
        let same_place = (&one.device, one.threads, one.batch) == (&other.device, other.threads, other.batch);
        let same_way = one.cpus == other.cpus && one.way() == other.way();
        let same_runtime = (&one.runtime, &one.provider) == (&other.runtime, &other.provider);
        let same_variant = one.variant == other.variant;
        same_place && same_way && (same_runtime || names_runtimes) && (same_variant || selected.is_some())
    };
    let mut compared = Compared::default();
    for &one in &of_a {
        for &other in of_b.iter().filter(|other| is_pair(one, other)) {
            match pair(one, other, [a, b]) {
                Ok(comparison) => compared.comparisons.push(comparison),
                Err(not) => compared.not_compared.push(not),
            }
        }
    }
    if compared == Compared::default() {
        return Err(Unmatched::NoPair {
            what: match (selected.is_some(), names_runtimes) {
                (false, _) => "configuration",
                (true, false) => "runtime, threads, batch, processors and scenario",
                (true, true) => "threads, batch, processors and scenario",
            },
            a: a.name.to_owned(),
            of_a: listed(&of_a),
            b: b.name.to_owned(),
            of_b: listed(&of_b),
        });
    }
    Ok(compared)
}

/// A side that names no runtime takes the other's.
fn with_one_runtime(selected: &Selected) -> Selected {
    let or = |own: &Selector, other: &Selector| Selector {
        runtime: own.runtime.clone().or_else(|| other.runtime.clone()),
        ..own.clone()
    };
    Selected {
        a: or(&selected.a, &selected.b),
        b: or(&selected.b, &selected.a),
    }
}

/// The records that are meant, of which there is at least one.
fn chosen<'a>(side: Side<'a>, selector: Option<&Selector>) -> Result<Vec<&'a Record>, Unmatched> {
    let all: Vec<&Record> = side.results.records.iter().collect();
    let chosen: Vec<&Record> = all
        .iter()
        .copied()
        .filter(|record| selector.is_none_or(|selector| selector.takes(record)))
        .collect();
    if chosen.is_empty() {
        return Err(Unmatched::Absent {
            side: side.name.to_owned(),
            wanted: selector.map_or_else(|| "anything".to_owned(), Selector::to_string),
            there: listed_short(&all),
        });
    }
    Ok(chosen)
}

/// Variants with their runtimes, each once.
fn listed_short(records: &[&Record]) -> String {
    let name = |record: &&Record| match record.provider.as_str() {
        Target::CPU => format!("{}/{}", record.variant, record.runtime),
        provider => format!("{}/{}:{provider}", record.variant, record.runtime),
    };
    or_nothing(records.iter().map(name))
}

/// Configurations with their devices.
fn listed(records: &[&Record]) -> String {
    let name = |record: &&Record| format!("{} on {}", record.configuration(), record.device);
    or_nothing(records.iter().map(name))
}

fn or_nothing(names: impl Iterator<Item = String>) -> String {
    let mut names: Vec<String> = names.collect();
    names.sort();
    names.dedup();
    if names.is_empty() {
        "nothing".to_owned()
    } else {
        names.join(", ")
    }
}

fn pair(one: &Record, other: &Record, sides: [Side<'_>; 2]) -> Result<Comparison, NotCompared> {
    let records = [one, other];
    let configurations = records.map(Record::configuration);
    let not = |why: String| NotCompared {
        device: one.device.clone(),
        configurations: configurations.clone(),
        why,
    };
    let rounds = records.map(|record| record.latency_ms.rounds.as_slice());
    if !rounds[0].is_empty() && rounds[0] == rounds[1] {
        return Err(not("it is the same measurement on both sides".to_owned()));
    }
    if let Some(why) = without_rounds(records, sides) {
        return Err(not(why));
    }
    let compared = ratio(rounds[0], rounds[1]).ok_or_else(|| not("there are too few rounds".to_owned()))?;
    let mut remarks = remarks(records, sides, &compared);
    let energy = match (&one.energy, &other.energy) {
        (Some(first), Some(second)) => energy_ratio(first, second).map_err(|why| remarks.push(why)).ok(),
        _ => None,
    };
    let accuracies = one.accuracy.as_ref().zip(other.accuracy.as_ref());
    let top1 = accuracies.map(|(first, second)| top1_difference(first, second));
    Ok(Comparison {
        device: one.device.clone(),
        configurations,
        p50_ms: records.map(|record| record.latency_ms.p50),
        ratio: compared.ratio,
        ratio_ci95: compared.ci95,
        verdict: compared.verdict(),
        shows: compared.shows,
        paired: compared.paired,
        parts: compared.parts,
        top1,
        energy,
        remarks,
    })
}

/// Why the records have no rounds to set against each other; `None` where they have.
fn without_rounds(records: [&Record; 2], sides: [Side<'_>; 2]) -> Option<String> {
    if records.iter().any(|record| is_in(record, SERVER)) {
        return Some("one trial has no rounds to compare; compare the rates that were found".to_owned());
    }
    let mut counts = records.iter().map(|record| record.latency_ms.rounds.len());
    let at = counts.position(|count| count < 2)?;
    let name = sides[at].name;
    Some(if records[at].latency_ms.rounds.is_empty() {
        format!("{name} holds fewer than two rounds of it; measure it again, an older version kept none")
    } else {
        format!("{name} holds one round of it; measure it again with more of them, as by --rounds 10")
    })
}

/// The difference of two accuracies by their own intervals, whether of a whole pack or of what a part says of it.
fn top1_difference(first: &AccuracyRecord, second: &AccuracyRecord) -> Difference {
    let of = |accuracy: &AccuracyRecord| (accuracy.top1, accuracy.top1_ci95);
    Difference {
        difference: second.top1 - first.top1,
        ci95: wilson::difference(of(first), of(second)),
    }
}

/// The ratio of two energies; the reason where they are of different kinds.
fn energy_ratio(first: &EnergyRecord, second: &EnergyRecord) -> Result<EnergyRatio, String> {
    let kind = |energy: &EnergyRecord| (energy.scope.clone(), energy.meter.clone(), energy.rail.clone());
    let said = |energy: &EnergyRecord| {
        let rail = energy
            .rail
            .as_ref()
            .map_or_else(String::new, |rail| format!(" {rail}"));
        format!("of the {} by {}{rail}", energy.scope, energy.meter)
    };
    if kind(first) != kind(second) {
        return Err(format!(
            "energy is not compared: {} here, {} there",
            said(first),
            said(second)
        ));
    }
    if first.mj_per_inference <= 0.0 {
        return Err("energy is not compared: the first is 0".to_owned());
    }
    let ratio = second.mj_per_inference / first.mj_per_inference;
    // Half of an interval as a share of its middle; of a quotient they add as squares.
    let share = |energy: &EnergyRecord| {
        let [low, high] = energy.mj_ci95?;
        Some((high - low) / 2.0 / energy.mj_per_inference)
    };
    let half = share(first)
        .zip(share(second))
        .map(|(first, second)| first.hypot(second));
    Ok(EnergyRatio {
        ratio,
        ci95: half.map(|half| [ratio * (1.0 - half).max(0.0), ratio * (1.0 + half)]),
        scope: first.scope.clone(),
    })
}

/// What may make the comparison another than it seems.
fn remarks(records: [&Record; 2], sides: [Side<'_>; 2], compared: &Ratio) -> Vec<String> {
    let mut remarks = Vec::new();
    let are_sustained = records.iter().all(|record| record.sustained.is_some());
    if are_sustained {
        remarks.push(
            "one sustained run of a side, and not at the same time: how two such runs of one file differ, or the device \
             between them, is not in the interval"
                .to_owned(),
        );
    }
    if !compared.paired && !are_sustained {
        remarks.push(
            "measured at different times: a drift of the device between them is not in the interval; measure both in one \
             study to have them take turns"
                .to_owned(),
        );
    }
    if compared.single_process && !are_sustained {
        remarks.push(
            "one process ran all rounds of a side: how two processes of one file differ is not in the interval; measure \
             with --processes 10"
                .to_owned(),
        );
    }
    remarks.extend(two_machines(&records[0].device, sides));
    let [first, second] = records;
    let mut differs = |what: &str, of: [&str; 2]| {
        if of[0] != of[1] {
            remarks.push(format!("{what}: {} and {}", of[0], of[1]));
        }
    };
    if first.runtime == second.runtime {
        let versions = [&first.runtime_version, &second.runtime_version];
        differs("versions of the runtime differ", versions.map(String::as_str));
    }
    let governors = [&first.conditions.governor, &second.conditions.governor];
    if let [Some(governor), Some(other)] = governors {
        differs("governors differ", [governor, other]);
    }
    for (record, side) in records.into_iter().zip(["the first", "the second"]) {
        let told = crate::report::conditions(record);
        remarks.extend(told.into_iter().map(|note| format!("{side}: {note}")));
    }
    remarks
}

/// That the device of this name is another machine on the other side, where both are described.
fn two_machines(device: &str, sides: [Side<'_>; 2]) -> Option<String> {
    let of = |side: Side<'_>| {
        let mut devices = side.results.devices.iter();
        let described = devices.find(|described| described.id == device)?;
        Some(format!("{} with {} cores", described.cpu, described.cores))
    };
    let (first, second) = (of(sides[0])?, of(sides[1])?);
    (first != second).then(|| format!("two machines have this name: {first}, and {second}"))
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
