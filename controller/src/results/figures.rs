//! Figures of a results file that no measurement can give: they are refused when it is read, so that all that
//! comes after may rely on them.

use std::ops::RangeInclusive;

use edgefront_protocol::results::{
    AccuracyRecord, ConditionsRecord, EnergyRecord, LatencyRecord, Record, Results,
};

/// Milliseconds, megabytes, watts, pictures a second: more than this of any is a mistake.
const AMOUNT: RangeInclusive<f64> = 0.0..=1e12;
const SHARE: RangeInclusive<f64> = 0.0..=1.0;
const CELSIUS: RangeInclusive<f64> = -273.15..=1e4;

/// The first record with an impossible figure, and the figure, in one line.
pub(super) fn impossible(results: &Results) -> Option<String> {
    results.records.iter().find_map(|record| {
        let (name, value, possible) = figures(record)
            .into_iter()
            .find(|(_, value, possible)| !possible.contains(value))?;
        let (least, most) = possible.into_inner();
        Some(format!(
            "{} of {}: {name} is {value:?}, which is not between {} and {}",
            record.configuration(),
            record.device,
            bound(least),
            bound(most)
        ))
    })
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
    figures.extend(record.memory.peak_rss_mb.map(|mb| ("peak_rss_mb", mb, AMOUNT)));
    figures.extend(record.accuracy.iter().flat_map(accuracy));
    figures.extend(record.energy.iter().flat_map(energy));
    figures.extend(temperature(&record.conditions));
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
    let ends = latency.p50_ci95.into_iter().flatten();
    always
        .into_iter()
        .chain(there)
        .chain(ends.map(|end| ("p50_ci95", end)))
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
    .collect()
}

fn temperature(conditions: &ConditionsRecord) -> Option<Figure> {
    Some(("max_temp_c", conditions.max_temp_c?, CELSIUS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::fixture;

    #[test]
    fn measured_figures_are_possible() {
        assert_eq!(impossible(&fixture::results()), None);
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
        let changes: [fn(&mut Record); 8] = [
            |r| r.latency_ms.p50 = 1e308,
            |r| r.latency_ms.p99 = Some(f64::NAN),
            |r| r.latency_ms.p50_ci95 = Some([1.0, f64::INFINITY]),
            |r| r.accuracy.as_mut().unwrap().top1 = 85.0,
            |r| r.accuracy.as_mut().unwrap().top5_ci95 = [-0.1, 1.0],
            |r| r.throughput_ips = -3.0,
            |r| r.memory.peak_rss_mb = Some(1e13),
            |r| r.conditions.max_temp_c = Some(-300.0),
        ];
        for (at, change) in changes.into_iter().enumerate() {
            assert!(said(change).is_some(), "change {at}");
        }
    }
}
