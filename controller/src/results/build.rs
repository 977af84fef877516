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
#[path = "build_tests.rs"]
pub(super) mod tests;
