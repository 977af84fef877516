//! Figures of a results file that no measurement can give: they are refused when it is read, so that all that
//! comes after may rely on them.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use edgefront_protocol::results::{
    AccuracyRecord, ConditionsRecord, EnergyRecord, LatencyRecord, ProbeRecord, Record, Results,
    ScenarioRecord, StoppedRecord,
};

/// Milliseconds, megabytes, watts, pictures a second: more than this of any is a mistake.
pub(super) const MOST: f64 = 1e12;
const AMOUNT: RangeInclusive<f64> = 0.0..=MOST;
const SHARE: RangeInclusive<f64> = 0.0..=1.0;
/// What may lie below zero by the errors of what it is the difference of.
const DIFFERENCE: RangeInclusive<f64> = -1e12..=1e12;
const CELSIUS: RangeInclusive<f64> = -273.15..=1e4;

/// The first record with an impossible figure or the name of another, and what is wrong with it, in one line.
pub(super) fn impossible(results: &Results) -> Option<String> {
    let mut seen = BTreeSet::new();
    results.records.iter().find_map(|record| {
        let wrong = wrong(record, &mut seen)?;
        Some(format!(
            "{} of {}: {wrong}",
            record.configuration(),
            record.device
        ))
    })
}

/// What cannot be of a record, `seen` being the devices and configurations of those before it.
pub(super) fn wrong(record: &Record, seen: &mut BTreeSet<(String, String)>) -> Option<String> {
    let is_new = seen.insert((record.device.clone(), record.configuration()));
    let twice = (!is_new).then(|| "it stands twice".to_owned());
    outside(record)
        .or_else(|| contradiction(record))
        .or_else(|| unprintable(record))
        .or(twice)
}

/// A name that would not stand in one line of a table, or that would drive the terminal.
fn unprintable(record: &Record) -> Option<String> {
    let names = [&record.device, &record.variant, &record.runtime, &record.provider];
    let mut names = names.into_iter().chain(&record.study);
    names.find_map(|name| with_control(name))
}

/// Why a name is refused; `None` where it is printable.
pub(super) fn with_control(name: &str) -> Option<String> {
    let has_control = name.chars().any(char::is_control);
    has_control.then(|| format!("the name {name:?} holds a control character"))
}

/// The first figure that cannot be.
fn outside(record: &Record) -> Option<String> {
    let (name, value, possible) = figures(record)
        .into_iter()
        .find(|(_, value, possible)| !possible.contains(value))?;
    let (least, most) = possible.into_inner();
    Some(format!(
        "{name} is {value:?}, which is not between {} and {}",
        bound(least),
        bound(most)
    ))
}

/// The first two figures that cannot be together.
fn contradiction(record: &Record) -> Option<String> {
    if record.threads == 0 || record.batch == 0 {
        return Some("an inference has at least 1 thread and 1 picture".to_owned());
    }
    if record.latency_ms.samples == 0 {
        return Some("it has no timed run".to_owned());
    }
    let within = |name, [low, high]: [f64; 2], (of, value): (&'static str, f64)| {
        vec![(name, low), (of, value), (name, high)]
    };
    let latency = &record.latency_ms;
    let mut rising = vec![
        percentiles(latency),
        vec![("min", latency.min), ("mean", latency.mean), ("max", latency.max)],
    ];
    rising.extend(intervals(latency).map(|(name, ends, about)| within(name, ends, about)));
    if let Some(accuracy) = &record.accuracy {
        let (top1, top5) = (("top1", accuracy.top1), ("top5", accuracy.top5));
        rising.push(within("top1_ci95", accuracy.top1_ci95, top1));
        rising.push(within("top5_ci95", accuracy.top5_ci95, top5));
        rising.push(vec![top1, top5]);
    }
    rising.into_iter().find_map(|figures| {
        // An interval's end may be a rounding off the figure on it.
        let is_fall = |pair: &&[(&str, f64)]| pair[0].1 > pair[1].1 * (1.0 + 1e-9) + 1e-9;
        let falls = figures.windows(2).find(is_fall)?;
        let [(lower, low), (upper, high)] = [falls[0], falls[1]];
        Some(format!("{lower} is {low:?}, and {upper} after it {high:?}"))
    })
}

type Interval = (&'static str, [f64; 2], (&'static str, f64));

/// The intervals that are there, each with what it is of.
fn intervals(latency: &LatencyRecord) -> impl Iterator<Item = Interval> {
    let all = [
        ("p50_ci95", latency.p50_ci95, ("p50", Some(latency.p50))),
        ("p90_ci95", latency.p90_ci95, ("p90", latency.p90)),
        ("p95_ci95", latency.p95_ci95, ("p95", latency.p95)),
        ("p99_ci95", latency.p99_ci95, ("p99", latency.p99)),
        ("p999_ci95", latency.p999_ci95, ("p999", latency.p999)),
        ("mean_ci95", latency.mean_ci95, ("mean", Some(latency.mean))),
    ];
    let there = all.into_iter();
    there.filter_map(|(name, ends, (of, value))| Some((name, ends?, (of, value?))))
}

/// Those that are there, from the least latency to the greatest.
fn percentiles(latency: &LatencyRecord) -> Vec<(&'static str, f64)> {
    let all = [
        ("min", Some(latency.min)),
        ("p50", Some(latency.p50)),
        ("p90", latency.p90),
        ("p95", latency.p95),
        ("p99", latency.p99),
        ("p999", latency.p999),
        ("max", Some(latency.max)),
    ];
    let there = all.into_iter().filter_map(|(name, value)| Some((name, value?)));
    there.collect()
}

/// The greatest are powers of ten, which nobody should count the zeros of.
fn bound(bound: f64) -> String {
    if bound > 1e6 {
        format!("{bound:e}")
    } else {
        bound.to_string()
    }
}

type Figure = (&'static str, f64, RangeInclusive<f64>);

/// The figures that are there.
fn figures(record: &Record) -> Vec<Figure> {
    let mut figures = latency(&record.latency_ms);
    figures.push(("throughput_ips", record.throughput_ips, AMOUNT));
    figures.push(("load_ms", record.load_ms, AMOUNT));
    let memory = &record.memory;
    let amounts = [
        ("peak_rss_mb", memory.peak_rss_mb),
        ("net_peak_rss_mb", memory.net_peak_rss_mb),
        ("model_mb", memory.model_mb),
        ("pss_mb", memory.pss_mb),
        ("cold_load_ms", record.cold_load_ms),
        ("first_inference_ms", record.first_inference_ms),
    ];
    let known = amounts
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?, AMOUNT)));
    figures.extend(known);
    figures.extend(record.accuracy.iter().flat_map(accuracy));
    figures.extend(record.energy.iter().flat_map(energy));
    figures.extend(of_device(&record.conditions));
    figures.extend(record.stopped.iter().flat_map(race));
    figures.extend(record.scenario.iter().flat_map(scenario));
    figures
}

fn latency(latency: &LatencyRecord) -> Vec<Figure> {
    let always = [
        ("p50", latency.p50),
        ("mean", latency.mean),
        ("min", latency.min),
        ("max", latency.max),
    ];
    let percentiles = [
        ("p90", latency.p90),
        ("p95", latency.p95),
        ("p99", latency.p99),
        ("p999", latency.p999),
    ];
    let there = percentiles
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)));
    let ends = intervals(latency).flat_map(|(name, ends, _)| ends.map(|end| (name, end)));
    let rounds = latency.rounds.iter();
    always
        .into_iter()
        .chain(there)
        .chain(ends)
        .chain(latency.round_spread.map(|spread| ("round_spread", spread)))
        .chain(rounds.flat_map(|round| [("p50 of a round", round.p50), ("mean of a round", round.mean)]))
        .map(|(name, value)| (name, value, AMOUNT))
        .collect()
}

fn accuracy(accuracy: &AccuracyRecord) -> Vec<Figure> {
    let ends = |name, ends: [f64; 2]| ends.map(|end| (name, end));
    [("top1", accuracy.top1), ("top5", accuracy.top5)]
        .into_iter()
        .chain(ends("top1_ci95", accuracy.top1_ci95))
        .chain(ends("top5_ci95", accuracy.top5_ci95))
        .chain(accuracy.agreement_fp32.map(|share| ("agreement_fp32", share)))
        .chain(
            accuracy
                .agreement_reference
                .map(|share| ("agreement_reference", share)),
        )
        .chain(accuracy.recall.iter().flatten().map(|share| ("recall", *share)))
        .chain(accuracy.mean_recall.map(|share| ("mean_recall", share)))
        .map(|(name, value)| (name, value, SHARE))
        .collect()
}

fn energy(energy: &EnergyRecord) -> Vec<Figure> {
    [
        ("mj_per_inference", energy.mj_per_inference),
        ("mean_w", energy.mean_w),
    ]
    .into_iter()
    .chain(energy.idle_w.map(|watts| ("idle_w", watts)))
    .map(|(name, value)| (name, value, AMOUNT))
    .chain(differences(energy))
    .collect()
}

fn differences(energy: &EnergyRecord) -> impl Iterator<Item = Figure> {
    let ends =
        |name, ends: Option<[f64; 2]>| ends.into_iter().flatten().map(move |end| (name, end, DIFFERENCE));
    let net = energy
        .net_mj_per_inference
        .map(|net| ("net_mj_per_inference", net, DIFFERENCE));
    let intervals = ends("mj_ci95", energy.mj_ci95).chain(ends("net_mj_ci95", energy.net_mj_ci95));
    net.into_iter().chain(intervals)
}

fn of_device(conditions: &ConditionsRecord) -> impl Iterator<Item = Figure> {
    let temperature = conditions.max_temp_c.map(|value| ("max_temp_c", value, CELSIUS));
    let load = conditions
        .foreign_load
        .map(|value| ("foreign_load", value, AMOUNT));
    temperature.into_iter().chain(load)
}

fn scenario(scenario: &ScenarioRecord) -> Vec<Figure> {
    let bounds = [
        ("rate_qps", scenario.rate_qps),
        ("p99_bound_ms", scenario.p99_bound_ms),
    ];
    let known = bounds
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)));
    let of_probe = |probe: &ProbeRecord| {
        [
            ("rate_qps of a probe", probe.rate_qps),
            ("p99_ms of a probe", probe.p99_ms),
        ]
    };
    known
        .chain(scenario.probes.iter().flat_map(of_probe))
        .map(|(name, value)| (name, value, AMOUNT))
        .collect()
}

fn race(stopped: &StoppedRecord) -> impl Iterator<Item = Figure> {
    let leads = [Some(stopped.median), Some(stopped.mean), stopped.energy];
    let leads = leads.into_iter().flatten();
    leads
        .flat_map(|lead| [("ratio", lead.ratio), ("at_least", lead.at_least)])
        .map(|(name, value)| (name, value, AMOUNT))
        .chain([("chance", stopped.chance, SHARE)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::fixture;

    #[test]
    fn measured_figures_are_possible() {
        assert_eq!(impossible(&fixture::results()), None);
    }

    fn with_a_probe_at_no_rate(mut scenario: ScenarioRecord) -> ScenarioRecord {
        scenario.probes.push(ProbeRecord {
            rate_qps: f64::NAN,
            p99_ms: 1.0,
            queries: 1,
            kept: false,
        });
        scenario
    }

    #[test]
    fn impossible_figures_are_named_with_their_record() {
        let said = |change: fn(&mut Record)| {
            let mut results = fixture::results();
            change(&mut results.records[1]);
            impossible(&results)
        };
        assert_eq!(
            said(|r| r.latency_ms.p50 = -1.0).as_deref(),
            Some("fp32/tract/cpu/t1/b1 of local: p50 is -1.0, which is not between 0 and 1e12")
        );
        assert_eq!(
            said(|r| r.latency_ms.p99 = Some(0.0))
                .as_deref()
                .map(|said| said.ends_with("and p99 after it 0.0")),
            Some(true)
        );
        let changes: [fn(&mut Record); 22] = [
            |r| r.provider = "cpu\u{1b}[2J".into(),
            |r| r.scenario = Some(with_a_probe_at_no_rate(fixture::scenario("server", "server20ms"))),
            |r| r.latency_ms.samples = 0,
            |r| r.latency_ms.mean = r.latency_ms.max * 2.0,
            |r| r.accuracy.as_mut().unwrap().top1_ci95 = [0.0, 0.1],
            |r| r.runtime = "ort".into(),
            |r| r.latency_ms.min = r.latency_ms.max,
            |r| r.latency_ms.p50_ci95 = Some([2.0, 1.0]),
            |r| r.accuracy.as_mut().unwrap().top5 = 0.0,
            |r| r.threads = 0,
            |r| r.latency_ms.p50 = 1e308,
            |r| r.latency_ms.p99 = Some(f64::NAN),
            |r| r.latency_ms.p50_ci95 = Some([1.0, f64::INFINITY]),
            |r| r.accuracy.as_mut().unwrap().top1 = 85.0,
            |r| r.accuracy.as_mut().unwrap().top5_ci95 = [-0.1, 1.0],
            |r| r.throughput_ips = -3.0,
            |r| r.memory.peak_rss_mb = Some(1e13),
            |r| r.conditions.max_temp_c = Some(-300.0),
            |r| r.energy.insert(fixture::energy()).mj_ci95 = Some([f64::NAN, 1.0]),
            |r| r.energy.insert(fixture::energy()).net_mj_per_inference = Some(-1e13),
            |r| r.cold_load_ms = Some(-1.0),
            |r| r.conditions.foreign_load = Some(-1.0),
        ];
        for (at, change) in changes.into_iter().enumerate() {
            assert!(said(change).is_some(), "change {at}");
        }
    }
}
