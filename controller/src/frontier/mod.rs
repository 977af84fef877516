//! The frontier of each device: the records that no other record of the device dominates, over all of its
//! runtimes. Latencies of one scenario say nothing of those of another, nor those of rounds of a sustained run, so each has a frontier of its own.

pub mod dominance;
pub mod objective;

use std::collections::BTreeMap;

use edgefront_protocol::results::{Record, Results};

use self::dominance::{dominates, frontier_of_many, frontier_of_two};
use self::objective::Objective;

/// Fills `pareto`, `dominated_by` and `not_ranked` of every record, and the names of the objectives.
///
/// A record that lacks one of the figures takes no part and says which; nor does one from an emulator.
pub fn mark(results: &mut Results, objectives: &[&'static Objective]) {
    results.objectives = objectives
        .iter()
        .map(|objective| objective.name.to_owned())
        .collect();
    let mut devices: BTreeMap<(String, Option<String>), Vec<usize>> = BTreeMap::new();
    for (at, record) in results.records.iter().enumerate() {
        let of = (record.device.clone(), record.way());
        devices.entry(of).or_default().push(at);
    }
    for members in devices.values() {
        mark_device(&mut results.records, members, objectives);
    }
}

fn mark_device(records: &mut [Record], members: &[usize], objectives: &[&Objective]) {
    let mut ranked = Vec::new();
    let mut points = Vec::new();
    for &at in members {
        let record = &mut records[at];
        record.pareto = false;
        record.dominated_by = Vec::new();
        match costs(record, objectives) {
            Ok(point) => {
                record.not_ranked = None;
                ranked.push(at);
                points.push(point);
            }
            Err(why) => record.not_ranked = Some(why),
        }
    }
    let stands = frontier(&points);
    let names: Vec<String> = ranked.iter().map(|&at| records[at].configuration()).collect();
    for (i, &at) in ranked.iter().enumerate() {
        records[at].pareto = stands[i];
        let dominators = (0..ranked.len()).filter(|&j| stands[j] && dominates(&points[j], &points[i]));
        records[at].dominated_by = dominators.map(|j| names[j].clone()).collect();
    }
}

fn costs(record: &Record, objectives: &[&Objective]) -> Result<Vec<f64>, String> {
    if record.conditions.emulated {
        return Err("measured under an emulator".to_owned());
    }
    let cost = |objective: &&Objective| {
        let what = match record.stopped {
            Some(_) if objective.name.starts_with("latency_p") => format!(
                "{} is not known: it was stopped early, and --no-racing measures it to its end",
                objective.label
            ),
            _ => format!("{} was not measured", objective.label),
        };
        objective.cost(record).ok_or(what)
    };
    objectives.iter().map(cost).collect()
}

fn frontier(points: &[Vec<f64>]) -> Vec<bool> {
    let pairs: Option<Vec<[f64; 2]>> = points
        .iter()
        .map(|point| point.as_slice().try_into().ok())
        .collect();
    pairs.map_or_else(|| frontier_of_many(points), |pairs| frontier_of_two(&pairs))
}

#[cfg(test)]
mod tests {
    use edgefront_protocol::results::ScenarioRecord;

    use super::*;
    use crate::results::fixture;

    fn defaults() -> Vec<&'static Objective> {
        vec![
            objective::named("latency_p50").unwrap(),
            objective::named("top1").unwrap(),
        ]
    }

    #[test]
    fn is_per_device_over_all_runtimes_and_names_the_dominators() {
        let mut results = fixture::results();
        mark(&mut results, &defaults());
        let record = |device: &str, variant: &str, runtime: &str| {
            let mut found = results.records.iter();
            found
                .find(|r| r.device == device && r.variant == variant && r.runtime == runtime)
                .unwrap()
        };
        assert!(record("local", "ptq-int8-pc", "ort").pareto);
        assert!(!record("local", "fp32", "tract").pareto);
        assert!(
            record("local", "fp32", "tract")
                .dominated_by
                .contains(&"fp32/ort/cpu/t1/b1".to_owned())
        );
        assert!(
            results
                .records
                .iter()
                .all(|r| r.pareto == r.dominated_by.is_empty() || r.not_ranked.is_some())
        );
    }

    #[test]
    fn a_scenario_is_not_held_against_another() {
        let mut results = fixture::results();
        mark(&mut results, &defaults());
        let dominated = |record: &Record| !record.dominated_by.is_empty();
        let at = results.records.iter().position(dominated).unwrap();
        results.records[at].scenario = Some(ScenarioRecord {
            name: "multi".into(),
            label: "multi8".into(),
            samples_per_query: 8,
            seed: None,
            rate_qps: None,
            p99_bound_ms: None,
            probes: Vec::new(),
            best: false,
        });
        mark(&mut results, &defaults());
        assert!(results.records[at].pareto);
        let name = results.records[at].configuration();
        assert!(results.records.iter().all(|r| !r.dominated_by.contains(&name)));
    }

    #[test]
    fn a_record_without_a_figure_takes_no_part_and_says_why() {
        let mut results = fixture::results();
        results.records[0].accuracy = None;
        mark(&mut results, &defaults());
        assert!(!results.records[0].pareto);
        assert_eq!(
            results.records[0].not_ranked.as_deref(),
            Some("top-1 accuracy was not measured")
        );
    }

    #[test]
    fn what_an_emulator_ran_takes_no_part() {
        let mut results = fixture::results();
        results.records[0].conditions.emulated = true;
        mark(&mut results, &defaults());
        assert!(!results.records[0].pareto);
        let why = results.records[0].not_ranked.as_deref();
        assert_eq!(why, Some("measured under an emulator"));
    }

    #[test]
    fn marking_again_by_other_objectives_forgets_the_first() {
        let mut results = fixture::results();
        mark(&mut results, &defaults());
        let by_size = [objective::named("size").unwrap()];
        mark(&mut results, &by_size);
        assert_eq!(results.objectives, ["size"]);
        let least = results.records.iter().map(|r| r.artifact.bytes).min().unwrap();
        assert!(
            results
                .records
                .iter()
                .filter(|r| r.pareto)
                .all(|r| r.artifact.bytes == least)
        );
    }
}
