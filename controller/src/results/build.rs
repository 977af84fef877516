//! From stored outcomes to the records of `results.json`.

use std::collections::BTreeSet;

use edgefront_protocol::outcome::{Harness, Latency, LayerTime, Round};
use edgefront_protocol::results::{
    ArtifactRecord, CertificationRecord, ConditionsRecord, DEFAULT_OBJECTIVES, DeviceRecord, FailedJob,
    HarnessRecord, LatencyRecord, LayerTimeRecord, MemoryRecord, Record, Results, RoundRecord, SCHEMA,
};
use edgefront_protocol::{
    Artifact, Bytes, Device, DeviceId, Failure, JobId, Measurement, Nanos, Processors, Scenario, Score,
    Stage, Target,
};

use super::accuracy::accuracy;
use super::conditions;
use super::energy::energy;
use super::figures;
use super::kernels;
use super::race;
use super::scenario::{mark_best, scenario, throughput};
use super::sustained;
use crate::frontier::{mark, objective};
use crate::stats::certify::Percentile;
use crate::stats::{Samples, blocks, certify, intervals, rounds};

/// One job of a study and how it ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Settled {
    /// Its name.
    pub id: JobId,
    /// The device that ran it.
    pub device: DeviceId,
    /// The variant's name.
    pub variant: String,
    /// The file that ran.
    pub artifact: Artifact,
    /// What it was asked to run on.
    pub target: Target,
    /// Seed of the order in which the jobs of its batch took turns.
    pub seed: u64,
    /// How queries were to come.
    pub scenario: Scenario,
    /// How long it was to run without a pause, if it was.
    pub sustained: Option<Nanos>,
    /// On which processors it was to run.
    pub processors: Processors,
    /// What came of it.
    pub result: Result<Measurement, Failure>,
}

/// All that is known of a study when its results are built.
#[derive(Debug, Clone, Copy)]
pub struct Study<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its jobs, in the order in which the records shall stand.
    pub jobs: &'a [Settled],
    /// Variants and jobs that ended before any device had them.
    pub unmade: &'a [FailedJob],
    /// The devices that took part, as far as they are known.
    pub devices: &'a [Device],
    /// What a device scored of the FP32 model; `None` where it was not run.
    pub reference: Option<&'a Score>,
}

/// Derives the statistics of every job and marks the frontier of each device by the default objectives.
///
/// A measurement that cannot be read (a corrupted histogram, no timed run) becomes a failed entry.
pub fn build(study: &Study<'_>) -> Results {
    let mut results = Results {
        schema: SCHEMA.to_owned(),
        study: study.name.to_owned(),
        objectives: Vec::new(),
        devices: study.devices.iter().map(device_record).collect(),
        records: Vec::new(),
        failed: study.unmade.to_vec(),
        unfinished: false,
        variants: Vec::new(),
        findings: kernels::findings(study.jobs),
    };
    let mut measured = Vec::new();
    for job in study.jobs {
        let record = job
            .result
            .clone()
            .and_then(|measurement| record(job, &measurement, study.reference));
        match record {
            Ok(record) => {
                results.records.push(record);
                measured.push(job);
            }
            Err(failure) => results.failed.push(failed(job, &failure)),
        }
    }
    race::tell(study.jobs, &measured, &mut results.records);
    set_impossible_aside(&measured, &mut results);
    mark_best(&mut results.records);
    let objectives =
        DEFAULT_OBJECTIVES.map(|name| objective::named(name).expect("invariant: a test finds each default"));
    mark(&mut results, &objectives);
    results
}

/// Turns records whose figures cannot be into failures: with them the results of all others could not be read again.
fn set_impossible_aside(measured: &[&Settled], results: &mut Results) {
    let mut seen = BTreeSet::new();
    for (job, record) in measured.iter().zip(std::mem::take(&mut results.records)) {
        match figures::wrong(&record, &mut seen) {
            None => results.records.push(record),
            Some(why) => results.failed.push(failed(
                job,
                &Failure {
                    stage: Stage::Run,
                    error: format!("what the device tells cannot be: {why}"),
                },
            )),
        }
    }
}

pub(super) fn failed(job: &Settled, failure: &Failure) -> FailedJob {
    FailedJob {
        study: None,
        device: job.device.to_string(),
        variant: job.variant.clone(),
        runtime: job.target.written(),
        threads: Some(job.target.threads),
        batch: Some(job.target.batch),
        scenario: way(job.scenario, job.sustained),
        cpus: job.processors.named(),
        stage: failure.stage.to_string(),
        // The agent's word for it is not taken that it is one line.
        error: failure.error.split_whitespace().collect::<Vec<_>>().join(" "),
    }
}

/// As [`Record::way`] has it, of what is asked for: the scenario, and the time of a run without a pause.
pub(crate) fn way(scenario: Scenario, sustained: Option<Nanos>) -> Option<String> {
    let sustained = sustained.map(sustained::label);
    let parts: Vec<String> = scenario.label().into_iter().chain(sustained).collect();
    (!parts.is_empty()).then(|| parts.join("/"))
}

fn record(job: &Settled, measurement: &Measurement, reference: Option<&Score>) -> Result<Record, Failure> {
    let unreadable = |stage, error: String| Failure { stage, error };
    let samples =
        Samples::decode(&measurement.latency).map_err(|error| unreadable(Stage::Run, error.to_string()))?;
    let score = measurement.score.as_ref();
    let accuracy = score
        .map(|score| accuracy(score, reference))
        .transpose()
        .map_err(|error| unreadable(Stage::Score, error))?;
    Ok(Record {
        study: None,
        device: job.device.to_string(),
        variant: job.variant.clone(),
        runtime: job.target.runtime.clone(),
        provider: measurement.provider.clone(),
        runtime_version: measurement.runtime_version.clone(),
        threads: job.target.threads,
        batch: job.target.batch,
        artifact: ArtifactRecord {
            sha256: job.artifact.blob.digest.to_string(),
            bytes: job.artifact.blob.bytes.0,
            format: job.artifact.format.as_str().to_owned(),
        },
        latency_ms: latency_record(&samples, measurement),
        throughput_ips: throughput(measurement, &job.target, samples.mean()),
        accuracy,
        energy: energy(measurement, &job.target),
        memory: MemoryRecord {
            peak_rss_mb: measurement.peak_rss.map(Bytes::as_megabytes),
            net_peak_rss_mb: net(measurement.peak_rss, measurement.memory.harness),
            model_mb: measurement.memory.model.map(Bytes::as_megabytes),
            pss_mb: measurement.memory.pss.map(Bytes::as_megabytes),
        },
        harness: harness(&measurement.harness),
        load_ms: measurement.load.as_millis_f64(),
        cold_load_ms: measurement.startup.cold_load.map(Nanos::as_millis_f64),
        first_inference_ms: measurement.startup.first_run.map(Nanos::as_millis_f64),
        seed: Some(job.seed),
        conditions: conditions_record(measurement),
        layers: measurement.layers.iter().map(layer).collect(),
        pareto: false,
        dominated_by: Vec::new(),
        not_ranked: None,
        explanation: None,
        scenario: scenario(measurement, &job.target),
        cpus: measurement.processors.clone(),
        stopped: None,
        sustained: sustained::record(measurement),
    })
}

fn layer(layer: &LayerTime) -> LayerTimeRecord {
    LayerTimeRecord {
        name: layer.name.clone(),
        operator: layer.operator.clone(),
        ms: layer.time.as_millis_f64(),
    }
}

/// What of the peak is not the worker's own.
fn net(peak: Option<Bytes>, harness: Option<Bytes>) -> Option<f64> {
    Some(Bytes(peak?.0.saturating_sub(harness?.0)).as_megabytes())
}

/// `None` where the rounds took no time, as in what was measured before this was.
fn harness(harness: &Harness) -> Option<HarnessRecord> {
    (harness.time.0 > 0).then(|| HarnessRecord {
        cpu_percent: rounded(100.0 * harness.cpu.0 as f64 / harness.time.0 as f64),
        rss_mb: harness.rss.map(Bytes::as_megabytes),
    })
}

fn conditions_record(measurement: &Measurement) -> ConditionsRecord {
    let conditions = &measurement.conditions;
    let is_left_alone = !conditions::is_disturbed(measurement);
    ConditionsRecord {
        governor: conditions.governor.clone(),
        max_temp_c: conditions.max_temp_c.map(f64::from),
        throttled: conditions::throttled(conditions),
        valid: unsteady(measurement).is_none() && !conditions.is_emulated() && is_left_alone,
        emulated: conditions.is_emulated(),
        notes: notes(measurement),
        flagged_rounds: conditions::flagged(measurement),
        foreign_load: conditions::foreign_load(conditions).map(rounded),
        cpu_mhz: conditions::clock(conditions, |state| state.cpu_mhz),
        gpu_mhz: conditions::clock(conditions, |state| state.gpu_mhz),
        cpu_limit_mhz: conditions.cpu_limit_mhz,
        power_mode: conditions.power_mode.clone(),
        cool_down: conditions::cool_down(measurement),
    }
}

fn latency_record(samples: &Samples, measurement: &Measurement) -> LatencyRecord {
    let latency = &measurement.latency;
    let millis = |p| samples.percentile(p).map(Nanos::as_millis_f64);
    let blocks = blocks::of(latency);
    // Two rounds of which one is far slower leave the upper end without bound.
    let in_millis = |ends: [f64; 2]| ends.map(|end| rounded((end / 1e6).min(figures::MOST)));
    // Waiting times of one trial hang together, and there is no other trial to show by how much.
    let has_intervals = !matches!(measurement.scenario, Scenario::Server { .. });
    let interval = |index| {
        let ends = has_intervals.then(|| intervals::percentile(samples, &blocks, index))?;
        ends.map(in_millis)
    };
    let (mean, fastest) = (samples.mean(), samples.min().0 as f64);
    // The histogram's mean is rounded to its digits, and must not lie outside an interval without width. No mean lies
    // below the fastest run.
    let mean_ci95 =
        intervals::mean(&blocks).map(|[low, high]| in_millis([low.max(fastest).min(mean), high.max(mean)]));
    let spread = rounds::spread(&latency.rounds);
    LatencyRecord {
        p50: samples.median().as_millis_f64(),
        p90: millis(0.90),
        p95: millis(0.95),
        p99: millis(0.99),
        p999: millis(0.999),
        mean: rounded(mean / 1e6),
        min: samples.min().as_millis_f64(),
        max: samples.max().as_millis_f64(),
        samples: samples.count(),
        p50_ci95: interval(0),
        p99_certified: certify::missing(0.99, samples.count()) == 0,
        p90_ci95: interval(1),
        p95_ci95: interval(2),
        p99_ci95: interval(3),
        p999_ci95: interval(4),
        bootstrap_seed: mean_ci95.map(|_| intervals::BOOTSTRAP_SEED),
        mean_ci95,
        round_spread: spread.map(|spread| rounded(spread.between)),
        round_spread_explained: spread.map(|spread| rounded(spread.explained)),
        certification: Percentile::all()
            .map(|percentile| certification(percentile, samples.count()))
            .collect(),
        rounds: latency.rounds.iter().map(round_record).collect(),
    }
}

fn certification(percentile: Percentile, runs: u64) -> CertificationRecord {
    let missing = certify::missing(percentile.share(), runs);
    CertificationRecord {
        percentile: percentile.name().to_owned(),
        certified: missing == 0,
        missing,
    }
}

fn round_record(round: &Round) -> RoundRecord {
    RoundRecord {
        p50: round.p50.as_millis_f64(),
        mean: rounded(round.total.0 as f64 / 1e6 / round.runs.max(1) as f64),
        runs: round.runs,
        position: round.position,
        process: round.process,
        started: round.started.0,
    }
}

/// To six decimals: a nanosecond of a millisecond, and short enough for JSON to give back every bit.
pub(super) fn rounded(figure: f64) -> f64 {
    (figure * 1e6).round() / 1e6
}

fn notes(measurement: &Measurement) -> Vec<String> {
    let mut notes = measurement.conditions.notes.clone();
    notes.extend(unsteady(measurement).or_else(|| disagreement(measurement)));
    notes.extend(sustained::warming(measurement));
    notes
}

/// A note where the rounds differ by more than what their own runs explain, and by so much that it matters.
fn disagreement(measurement: &Measurement) -> Option<String> {
    /// Chance of a note where runs have nothing to do with their round.
    const CHANCE: f64 = 0.001;
    /// Rounds of 5 % give an interval of the median of 3.6 %, with ten of them.
    const MATTERS: f64 = 0.05;
    let latency = in_rounds(measurement)?;
    let spread = rounds::spread(&latency.rounds)?;
    let matters = spread.between >= MATTERS && slowest_and_fastest(latency).is_some_and(is_above_clock);
    (spread.chance < CHANCE && matters).then(|| {
        format!(
            "the rounds disagree: their medians vary by {:.1} %, of which their own runs explain {:.1} %; the interval \
             allows for it",
            spread.between * 100.0,
            spread.explained * 100.0
        )
    })
}

/// A note where the medians of the rounds differ by more than a quarter: the machine was not left alone.
/// Differences below a microsecond are the clock's own.
fn unsteady(measurement: &Measurement) -> Option<String> {
    const STEADY: f64 = 1.25;
    let latency = in_rounds(measurement)?;
    let (slowest, fastest) = slowest_and_fastest(latency)?;
    let ratio = slowest.0 as f64 / fastest.0.max(1) as f64;
    (ratio > STEADY && is_above_clock((slowest, fastest))).then(|| {
        format!(
            "unsteady: the medians of the rounds range from {} to {}",
            milliseconds(fastest),
            milliseconds(slowest)
        )
    })
}

/// What was measured in rounds, which should agree; the windows of a sustained run show how the device throttles.
fn in_rounds(measurement: &Measurement) -> Option<&Latency> {
    measurement.sustained.is_none().then_some(&measurement.latency)
}

/// The extremes of the rounds' medians.
fn slowest_and_fastest(latency: &Latency) -> Option<(Nanos, Nanos)> {
    let medians = || latency.rounds.iter().map(|round| round.p50);
    Some((medians().max()?, medians().min()?))
}

/// Whether two latencies differ by more than the clock does.
fn is_above_clock((slowest, fastest): (Nanos, Nanos)) -> bool {
    const CLOCK: Nanos = Nanos(1_000);
    slowest.0 - fastest.0 >= CLOCK.0
}

/// A duration to three significant digits at least, in the unit of the table that it stands under.
fn milliseconds(duration: Nanos) -> String {
    let milliseconds = duration.0 as f64 / 1e6;
    let decimals = match milliseconds {
        ms if ms < 0.001 => 6,
        ms if ms < 0.1 => 5,
        _ => 3,
    };
    format!("{milliseconds:.decimals$} ms")
}

fn device_record(device: &Device) -> DeviceRecord {
    DeviceRecord {
        id: device.id.to_string(),
        cpu: device.cpu.clone(),
        cores: device.cores,
        arch: device.arch.clone(),
        os: device.os.clone(),
        memory_bytes: device.memory.0,
    }
}

#[cfg(test)]
pub(super) mod tests {
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

    #[test]
    fn one_round_that_is_much_slower_gives_no_impossible_figure() {
        let round = |number: u32| {
            let p50 = if number == 3 { 20_000_000 } else { 1_000_000 };
            Round {
                position: 0,
                runs: 20,
                total: Nanos(p50 * 20),
                p50: Nanos(p50),
                started: UnixMillis(0),
                process: number,
                below: if number == 3 { [0, 0, 20, 20, 20] } else { [20; 5] },
            }
        };
        let mut job = settled((0..200).map(|run| if run < 20 { 20_000_000 } else { 1_000_000 }));
        if let Ok(measurement) = &mut job.result {
            measurement.latency.rounds = (0..10).map(round).collect();
        }
        let results = build_one(job, None);
        assert_eq!(impossible(&results), None);
        let latency = &results.records[0].latency_ms;
        assert!(latency.mean_ci95.unwrap()[0] >= latency.min);
    }

    #[test]
    fn of_two_rounds_one_that_is_far_slower_is_no_impossible_record() {
        let round = |number: u32, p50: u64| Round {
            position: 0,
            runs: 20,
            total: Nanos(p50 * 20),
            p50: Nanos(p50),
            started: UnixMillis(0),
            process: number,
            below: if number == 0 { [10, 20, 20, 20, 20] } else { [0; 5] },
        };
        let (fast, slow) = (1_000_000_000, 60_000_000_000);
        let mut job = settled((0..40).map(|run| if run < 20 { fast } else { slow }));
        if let Ok(measurement) = &mut job.result {
            measurement.latency.rounds = vec![round(0, fast), round(1, slow)];
        }
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
}
