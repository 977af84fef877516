use edgefront_protocol::outcome::{Conditions, Memory, Round, Startup};
use edgefront_protocol::{BlobRef, Digest, Format, Precision, Probe, UnixMillis};

use super::super::figures::impossible;
use super::*;
use crate::stats::latency_of;

pub(crate) fn settled(nanos: impl IntoIterator<Item = u64>) -> Settled {
    Settled {
        id: "j1".parse().unwrap(),
        device: "local".parse().unwrap(),
        variant: "fp32".into(),
        artifact: Artifact {
            blob: BlobRef {
                digest: Digest::of(b"model"),
                bytes: Bytes(400_000),
            },
            format: Format::Onnx,
        },
        seed: 3,
        scenario: Scenario::Single,
        sustained: None,
        processors: Processors::All,
        target: Target {
            runtime: "ort".into(),
            provider: "cpu".into(),
            precision: Precision::Fp32,
            threads: 1,
            batch: 4,
        },
        result: Ok(Measurement {
            runtime_version: "1.32.0".into(),
            provider: "cpu".into(),
            latency: latency_of(nanos),
            load: Nanos(12_000_000),
            peak_rss: Some(Bytes(61_000_000)),
            memory: Memory {
                harness: Some(Bytes(11_000_000)),
                model: Some(Bytes(40_000_000)),
                pss: Some(Bytes(52_000_000)),
            },
            startup: Startup {
                cold_load: Some(Nanos(30_000_000)),
                first_run: Some(Nanos(9_000_000)),
            },
            score: Some(Score {
                top1_hits: 3,
                top5_hits: 4,
                predictions: vec![1, 2, 3, 4],
                ..Score::default()
            }),
            conditions: Conditions::default(),
            energy: Vec::new(),
            harness: Harness::default(),
            layers: Vec::new(),
            scenario: Scenario::Single,
            probes: Vec::new(),
            processors: Vec::new(),
            stopped: None,
            sustained: None,
        }),
    }
}

fn predicted(predictions: &[u32]) -> Score {
    Score {
        predictions: predictions.to_vec(),
        ..Score::default()
    }
}

fn build_one(job: Settled, reference: Option<&Score>) -> Results {
    build(&Study {
        name: "test",
        jobs: &[job],
        unmade: &[],
        devices: &[],
        reference,
    })
}

#[test]
fn a_measurement_becomes_a_record() {
    let results = build_one(
        settled((1..=700).map(|i| i * 100)),
        Some(&predicted(&[1, 2, 3, 9])),
    );
    let record = &results.records[0];
    assert_eq!(record.configuration(), "fp32/ort/cpu/t1/b4");
    assert_eq!(record.latency_ms.p50.to_bits(), 0.035_f64.to_bits());
    assert!(record.latency_ms.p99_certified && record.latency_ms.p999.is_none());
    let accuracy = record.accuracy.as_ref().unwrap();
    assert_eq!(
        (accuracy.top1, accuracy.top5, accuracy.agreement_fp32),
        (0.75, 1.0, Some(0.75))
    );
    // Four pictures in a mean of 35.05 us.
    assert!((record.throughput_ips - 4.0 / 35.05e-6).abs() < 1.0);
    assert!(record.pareto && results.failed.is_empty());
    assert_eq!(record.memory.net_peak_rss_mb, Some(50.0));
    assert_eq!(
        (record.cold_load_ms, record.first_inference_ms),
        (Some(30.0), Some(9.0))
    );
}

/// A job in a scenario, whose queries took 10 ms each.
fn in_scenario(scenario: Scenario, batch: u32) -> Settled {
    let mut job = settled([10_000_000; 700]);
    job.target.batch = batch;
    let probe = |rate_qps, kept| Probe {
        rate_qps,
        queries: 700,
        p99: Nanos(19_000_000),
        kept,
    };
    if let Ok(measurement) = &mut job.result {
        measurement.scenario = scenario;
        if let Scenario::Server { .. } = scenario {
            measurement.probes = vec![probe(60.0, true), probe(90.0, false), probe(75.0, true)];
        }
    }
    job
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-2
}

#[test]
fn a_rate_that_was_found_is_the_throughput() {
    let server = Scenario::Server {
        p99_bound: Nanos(20_000_000),
        seed: 5,
    };
    let results = build_one(in_scenario(server, 1), None);
    let record = &results.records[0];
    assert_eq!(record.configuration(), "fp32/ort/cpu/t1/b1/server20ms");
    let scenario = record.scenario.as_ref().unwrap();
    assert!(close(record.throughput_ips, 75.0) && close(scenario.rate_qps.unwrap(), 75.0));
    assert_eq!((scenario.seed, scenario.probes.len()), (Some(5), 3));
    assert_eq!(record.latency_ms.p50_ci95, None);
    let single = build_one(in_scenario(Scenario::Single, 1), None);
    assert!(single.records[0].latency_ms.p50_ci95.is_some());
}

#[test]
fn failures_in_different_scenarios_and_on_different_processors_are_told_apart() {
    let place = |scenario, processors| {
        let mut job = settled([1]);
        (job.scenario, job.processors) = (scenario, processors);
        job.result = Err(Failure {
            stage: Stage::Run,
            error: "out of memory".into(),
        });
        build_one(job, None).failed[0].place()
    };
    let server = Scenario::Server {
        p99_bound: Nanos(20_000_000),
        seed: 5,
    };
    assert_eq!(
        place(Scenario::Single, Processors::All),
        "local fp32/ort/t1/b4 at run"
    );
    assert_eq!(
        place(server, Processors::Big),
        "local fp32/ort/t1/b4/cpusbig/server20ms at run"
    );
    let sustained = way(Scenario::Offline, Some(Nanos(600_000_000_000)));
    assert_eq!(sustained.as_deref(), Some("offline/sustained10m"));
}

#[test]
fn queries_of_several_samples_count_all_of_them() {
    let results = build_one(in_scenario(Scenario::Multi { samples: 8 }, 2), None);
    let record = &results.records[0];
    assert_eq!(record.configuration(), "fp32/ort/cpu/t1/b2/multi8");
    assert!(close(record.throughput_ips, 800.0), "{}", record.throughput_ips);
    assert!(build_one(settled([1_000]), None).records[0].scenario.is_none());
}

#[test]
fn offline_the_batch_of_the_highest_throughput_is_marked() {
    let jobs = [1, 8, 4].map(|batch| in_scenario(Scenario::Offline, batch));
    let results = build(&Study {
        name: "test",
        jobs: &jobs,
        unmade: &[],
        devices: &[],
        reference: None,
    });
    let best: Vec<bool> = results
        .records
        .iter()
        .map(|r| r.scenario.as_ref().unwrap().best)
        .collect();
    assert_eq!(best, [false, true, false]);
}

#[test]
fn what_cannot_be_read_fails_alone() {
    let mut corrupted = settled([1_000]);
    if let Ok(measurement) = &mut corrupted.result {
        measurement.latency.histogram.truncate(20);
    }
    let jobs = [corrupted, settled([1_000])];
    let results = build(&Study {
        name: "test",
        jobs: &jobs,
        unmade: &[],
        devices: &[],
        reference: None,
    });
    assert_eq!((results.records.len(), results.failed.len()), (1, 1));
    assert!(
        results.failed[0].error.contains("corrupted"),
        "{}",
        results.failed[0].error
    );
}

#[test]
fn a_reference_of_another_pack_is_an_error() {
    let results = build_one(settled([1_000]), Some(&predicted(&[1, 2])));
    assert!(results.records.is_empty());
    assert_eq!(results.failed[0].stage, "score");
}

/// A round of twenty runs of a length, in a process of its own, with so many below each of the job's percentiles.
fn round_of_twenty(process: u32, p50: u64, below: [u64; 5]) -> Round {
    Round {
        position: 0,
        runs: 20,
        total: Nanos(p50 * 20),
        p50: Nanos(p50),
        started: UnixMillis(0),
        process,
        below,
    }
}

#[test]
fn one_round_that_is_much_slower_gives_no_impossible_figure() {
    let round = |number| match number {
        3 => round_of_twenty(number, 20_000_000, [0, 0, 20, 20, 20]),
        _ => round_of_twenty(number, 1_000_000, [20; 5]),
    };
    let mut job = settled((0..200).map(|run| if run < 20 { 20_000_000 } else { 1_000_000 }));
    job.result.as_mut().unwrap().latency.rounds = (0..10).map(round).collect();
    let results = build_one(job, None);
    assert_eq!(impossible(&results), None);
    let latency = &results.records[0].latency_ms;
    assert!(latency.mean_ci95.unwrap()[0] >= latency.min);
}

#[test]
fn of_two_rounds_one_that_is_far_slower_is_no_impossible_record() {
    let (fast, slow) = (1_000_000_000, 60_000_000_000);
    let mut job = settled((0..40).map(|run| if run < 20 { fast } else { slow }));
    job.result.as_mut().unwrap().latency.rounds = vec![
        round_of_twenty(0, fast, [10, 20, 20, 20, 20]),
        round_of_twenty(1, slow, [0; 5]),
    ];
    let results = build_one(job, None);
    assert_eq!(
        (results.records.len(), impossible(&results)),
        (1, None),
        "{:?}",
        results.failed
    );
}

#[test]
fn rounds_that_differ_are_noted() {
    let round = |p50| Round {
        position: 0,
        runs: 1,
        total: p50,
        p50,
        started: UnixMillis(0),
        process: 0,
        below: [0; 5],
    };
    let mut measurement = settled([1_000]).result.unwrap();
    let mut unsteady_in = |rounds: &[u64]| {
        measurement.latency.rounds = rounds.iter().copied().map(Nanos).map(round).collect();
        unsteady(&measurement)
    };
    assert_eq!(unsteady_in(&[1_000_000, 1_200_000]), None);
    assert!(unsteady_in(&[1_000_000, 1_200_000, 1_300_000]).is_some());
    assert_eq!(unsteady_in(&[40, 1_039]), None);
    assert_eq!(
        unsteady_in(&[40, 1_039, 2_500]).as_deref(),
        Some("unsteady: the medians of the rounds range from 0.000040 ms to 0.00250 ms")
    );
}
