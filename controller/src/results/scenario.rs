//! How queries came, as results tell it.

use std::collections::BTreeMap;

use edgefront_protocol::results::{ProbeRecord, Record, ScenarioRecord};
use edgefront_protocol::{Measurement, Scenario, Target};

use super::build::rounded;

/// The name of the scenario whose figure is the rate that was found.
pub(crate) const SERVER: &str = "server";

/// Whether the record was made in the scenario of this name.
pub(crate) fn is_in(record: &Record, name: &str) -> bool {
    let scenario = record.scenario.as_ref();
    scenario.is_some_and(|scenario| scenario.name == name)
}

/// What a record tells of the scenario; `None` for a single stream.
pub(super) fn scenario(measurement: &Measurement, target: &Target) -> Option<ScenarioRecord> {
    let scenario = measurement.scenario;
    let (seed, bound) = match scenario {
        Scenario::Server { p99_bound, seed } => (Some(seed), Some(p99_bound.as_millis_f64())),
        _ => (None, None),
    };
    let probes: Vec<ProbeRecord> = measurement
        .probes
        .iter()
        .map(|probe| ProbeRecord {
            rate_qps: rounded(probe.rate_qps),
            p99_ms: probe.p99.as_millis_f64(),
            queries: probe.queries,
            kept: probe.kept,
        })
        .collect();
    Some(ScenarioRecord {
        name: scenario.as_str().to_owned(),
        label: scenario.label()?,
        samples_per_query: scenario.samples_per_query(target),
        seed,
        rate_qps: found(&probes),
        p99_bound_ms: bound,
        probes,
        best: false,
    })
}

/// The highest rate that kept the bound.
fn found(probes: &[ProbeRecord]) -> Option<f64> {
    let kept = probes.iter().filter(|probe| probe.kept);
    kept.map(|probe| probe.rate_qps).reduce(f64::max)
}

/// Samples a second: those that came where a rate was found, else those of queries one after the other.
pub(super) fn throughput(measurement: &Measurement, target: &Target, mean_nanos: f64) -> f64 {
    let samples = f64::from(measurement.scenario.samples_per_query(target));
    let kept = measurement.probes.iter().filter(|probe| probe.kept);
    let rate = kept.map(|probe| probe.rate_qps).reduce(f64::max);
    rounded(samples * rate.unwrap_or(1e9 / mean_nanos.max(1.0)))
}

/// Marks, of all batches of one variant on one target offline, that of the highest throughput.
pub(super) fn mark_best(records: &mut [Record]) {
    let mut best: BTreeMap<[String; 5], usize> = BTreeMap::new();
    for (at, record) in records.iter().enumerate() {
        if !is_in(record, Scenario::Offline.as_str()) {
            continue;
        }
        let target = [
            record.device.clone(),
            record.variant.clone(),
            record.runtime.clone(),
            record.provider.clone(),
            format!(
                "{} {:?} {}",
                record.threads,
                record.cpus,
                record.sustained.is_some()
            ),
        ];
        let so_far = best.entry(target).or_insert(at);
        if record.throughput_ips > records[*so_far].throughput_ips {
            *so_far = at;
        }
    }
    for at in best.into_values() {
        if let Some(scenario) = &mut records[at].scenario {
            scenario.best = true;
        }
    }
}
