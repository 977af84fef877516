//! Batches on real workers: the `edgefront-agent` program as child processes.

#![allow(clippy::unwrap_used)]

mod rig;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use edgefront_agent::measure::{Assignment, Limits, Report, measure};
use edgefront_agent::{Sources, WorkerCommand};
use edgefront_protocol::outcome::Stage;
use edgefront_protocol::{
    BlobRef, Bytes, Format, JobState, Nanos, Pack, PictureShape, Plan, Processors, Scenario,
};
use edgefront_tests::jobs::{self, tiny};
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use rig::{Outcomes, limits, outcomes};
use tokio::sync::mpsc;

fn plan() -> Plan {
    Plan {
        warmup_runs: 3,
        warmup_time: Nanos(0),
        min_runs: 21,
        min_time: Nanos(0),
        max_time: Nanos(20_000_000_000),
        rounds: 4,
        processes: 1,
        ..Plan::default()
    }
}

fn job(id: &str, runtime: &str, artifact: &Path) -> Assignment {
    Assignment {
        job: jobs::job(id, runtime, BlobRef::of(id.as_bytes()), plan()),
        artifact: artifact.to_owned(),
        pack: None,
        reference: None,
    }
}

/// Seven pictures of `side` x `side` pixels.
fn pack(dir: &Path, side: usize, labels: &[i64]) -> PathBuf {
    let picture = PictureShape {
        channels: 3,
        height: side,
        width: side,
    };
    let values: Vec<f32> = (0..7 * picture.volume())
        .map(|i| (i % 17) as f32 / 17.0)
        .collect();
    let pack = Pack::from_floats(7, picture, &values).unwrap();
    let pack = if labels.is_empty() {
        pack
    } else {
        pack.with_labels(labels.to_vec()).unwrap()
    };
    let path = dir.join(format!("pack-{side}-{}", labels.len()));
    std::fs::write(&path, pack.encode()).unwrap();
    path
}

#[tokio::test]
async fn layers_are_told_where_the_runtime_tells_them() {
    let mut jobs = [job("told", "tract", &tiny()), job("silent", "null", &tiny())];
    for job in &mut jobs {
        job.job.plan.layers = true;
    }
    let (outcomes, _) = outcomes(jobs.to_vec(), limits()).await;
    let told = outcomes["told"].as_ref().unwrap();
    let has_time = told.layers.iter().any(|layer| layer.time.0 > 0);
    assert!(
        has_time && !told.layers[0].operator.is_empty(),
        "{:?}",
        told.layers
    );
    let silent = outcomes["silent"].as_ref().unwrap();
    assert_eq!(silent.layers, []);
    assert_eq!(
        silent.conditions.notes,
        ["layers were not timed: null does not tell them"]
    );
}

#[tokio::test]
async fn what_a_start_takes_is_told() {
    let mut job = job("a", "tract", &tiny());
    job.job.plan.processes = 2;
    let (outcomes, _) = outcomes(vec![job], limits()).await;
    let measured = outcomes["a"].as_ref().unwrap();
    assert!(measured.startup.first_run.unwrap().0 > 0);
    let memory = measured.memory;
    let own = memory.harness.unwrap();
    assert!(
        own < measured.peak_rss.unwrap() && memory.pss.unwrap().0 > 0,
        "{memory:?}"
    );
    // A file may lie in memory alone, from where nothing is forgotten.
    assert!(measured.startup.cold_load.is_none_or(|cold| cold.0 > 0));
}

fn failure(outcomes: &Outcomes, job: &str) -> (Stage, String) {
    let failure = outcomes[job].as_ref().unwrap_err();
    assert!(!failure.error.contains('\n'), "{}", failure.error);
    (failure.stage, failure.error.clone())
}

#[tokio::test]
async fn jobs_take_turns_and_every_run_is_kept() {
    let jobs = ["a", "b", "c"].map(|id| job(id, "null", &tiny()));
    let (outcomes, reports) = outcomes(jobs.to_vec(), limits()).await;
    assert_eq!(outcomes.len(), 3);
    let mut positions = vec![BTreeSet::new(); 4];
    for measurement in outcomes.values().map(|result| result.as_ref().unwrap()) {
        let latency = &measurement.latency;
        let histogram: Histogram<u64> = Deserializer::new()
            .deserialize(&mut latency.histogram.as_slice())
            .unwrap();
        assert_eq!(histogram.len(), 21);
        assert_eq!(latency.rounds.iter().map(|round| round.runs).sum::<u64>(), 21);
        assert_eq!(latency.rounds.len(), 4);
        assert!(latency.warmup_runs >= 3 && !latency.ended_early);
        assert!(measurement.peak_rss.unwrap().0 > 1 << 20);
        assert_eq!(
            (measurement.provider.as_str(), &measurement.score),
            ("cpu", &None)
        );
        for (round, positions) in latency.rounds.iter().zip(&mut positions) {
            assert!(positions.insert(round.position), "two jobs at one place");
            assert!(round.started.0 > 1_600_000_000_000);
        }
    }
    let last = reports
        .iter()
        .rposition(|report| matches!(report, Report::State(_, JobState::Loading)));
    let first = reports
        .iter()
        .position(|report| matches!(report, Report::State(_, JobState::Measuring { .. })));
    assert!(last < first, "a job was loaded while others were measured");
}

/// Inferences of 20 us, of which a tenth of a second's backlog is allowed: some rate keeps that on any machine.
#[tokio::test]
async fn queries_at_random_moments_find_a_rate_beside_a_job_in_rounds() {
    let mut served = job("served", "null", &tiny());
    served.job.target.provider = "cpu+delay=20us".to_owned();
    served.job.plan.max_time = Nanos(5_000_000_000);
    served.job.plan.scenario = Scenario::Server {
        p99_bound: Nanos(100_000_000),
        seed: 3,
    };
    let mut unkept = served.clone();
    unkept.job.id = "unkept".parse().unwrap();
    unkept.job.plan.scenario = Scenario::Server {
        p99_bound: Nanos(1_000),
        seed: 3,
    };
    let mut streams = job("streams", "null", &tiny());
    streams.job.target.provider = "cpu+delay=20us".to_owned();
    streams.job.plan.scenario = Scenario::Multi { samples: 8 };
    let mut uneven = job("uneven", "null", &tiny());
    uneven.job.target.batch = 3;
    uneven.job.plan.scenario = Scenario::Multi { samples: 8 };
    let (outcomes, _) = outcomes(vec![served.clone(), unkept, streams, uneven], limits()).await;

    let measurement = outcomes["served"].as_ref().unwrap();
    assert_eq!(measurement.scenario, served.job.plan.scenario);
    let kept = measurement.probes.iter().filter(|probe| probe.kept);
    let best = kept.max_by(|a, b| a.rate_qps.total_cmp(&b.rate_qps)).unwrap();
    // The latencies are those of that rate alone.
    let [round] = measurement.latency.rounds[..] else {
        panic!("{:?}", measurement.latency.rounds);
    };
    assert_eq!(round.runs, best.queries);
    assert!(best.queries >= 662 && best.p99 <= Nanos(100_000_000), "{best:?}");
    let histogram: Histogram<u64> = Deserializer::new()
        .deserialize(&mut measurement.latency.histogram.as_slice())
        .unwrap();
    assert_eq!(histogram.len(), best.queries);
    assert!(histogram.min() >= 20_000);

    let (stage, error) = failure(&outcomes, "unkept");
    assert_eq!(stage, Stage::Run);
    assert!(
        error.ends_with("so no rate keeps P99 within 0.001 ms; raise --p99-bound"),
        "{error}"
    );
    // Eight inferences are one query.
    let streams = outcomes["streams"].as_ref().unwrap();
    assert!(
        streams
            .latency
            .rounds
            .iter()
            .all(|round| round.p50 >= Nanos(160_000))
    );
    let (_, error) = failure(&outcomes, "uneven");
    assert_eq!(error, "a query of 8 samples is no whole number of batches of 3");
}

#[tokio::test]
async fn a_worker_runs_on_the_processors_that_are_asked_for() {
    let on = |id: &str, first, last| {
        let mut job = job(id, "null", &tiny());
        job.job.plan.processors = Processors::Range { first, last };
        job
    };
    let jobs = vec![
        on("first", 0, 0),
        on("none", 0, 60_000),
        job("any", "null", &tiny()),
    ];
    let limits = Limits {
        meters: Sources {
            system: "/".into(),
            ..Sources::default()
        },
        idle: Duration::ZERO,
        ..limits()
    };
    let (outcomes, _) = outcomes(jobs, limits).await;
    // As the kernel told the worker.
    assert_eq!(outcomes["first"].as_ref().unwrap().processors, [0]);
    assert!(outcomes["any"].as_ref().unwrap().processors.is_empty());
    let (stage, error) = failure(&outcomes, "none");
    assert_eq!(stage, Stage::Load);
    assert!(
        error.starts_with("processors 0-60000 are not all there; this device has 0"),
        "{error}"
    );
}

#[tokio::test]
async fn machine_code_runs_where_the_agent_was_told_to() {
    let mut code = job("code", "null", &tiny());
    code.job.artifact.format = Format::So;
    let (refused, _) = outcomes(vec![code.clone()], limits()).await;
    let (stage, error) = failure(&refused, "code");
    assert_eq!(stage, Stage::Load);
    assert!(error.contains("`machine_code = true`"), "{error}");
    let told = Limits {
        machine_code: true,
        ..limits()
    };
    let (measured, _) = outcomes(vec![code], told).await;
    assert!(measured["code"].is_ok());
}

/// Who sends a job chooses what it calls its artifact.
#[tokio::test]
async fn machine_code_by_another_name_is_no_way_around() {
    let disguised = job("disguised", "tvm", &tiny());
    assert_eq!(disguised.job.artifact.format, Format::Onnx);
    let (refused, _) = outcomes(vec![disguised], limits()).await;
    let expected = (Stage::Load, "tvm loads .so files and no .onnx".to_owned());
    assert_eq!(failure(&refused, "disguised"), expected);
}

/// What is left of two graphs that workers of two batches keep.
async fn graphs_left(kept_max: Bytes) -> usize {
    let cache = tempfile::tempdir().unwrap();
    let limits = Limits {
        worker: WorkerCommand {
            runner: vec!["env".into(), format!("XDG_CACHE_HOME={}", cache.path().display())],
            ..limits().worker
        },
        runtime_path: edgefront_runtimes::folder(),
        kept_max,
        ..limits()
    };
    for provider in ["cpu+saved=on", "cpu+optimization=basic+saved=on"] {
        let mut graph = job("graph", "ort", &tiny());
        provider.clone_into(&mut graph.job.target.provider);
        let (outcomes, _) = outcomes(vec![graph], limits.clone()).await;
        assert!(outcomes["graph"].is_ok(), "{:?}", outcomes["graph"]);
    }
    std::fs::read_dir(cache.path().join("edgefront/engines/ort"))
        .unwrap()
        .count()
}

#[tokio::test]
async fn what_workers_keep_has_the_agents_bound_on_ort() {
    assert_eq!(graphs_left(Bytes(1 << 30)).await, 2);
    assert_eq!(graphs_left(Bytes(1)).await, 1);
}

#[tokio::test]
async fn rounds_are_spread_over_processes_one_after_the_other() {
    let jobs = ["a", "b"].map(|id| {
        let mut assignment = job(id, "null", &tiny());
        assignment.job.plan.processes = 2;
        assignment
    });
    let (outcomes, _) = outcomes(jobs.to_vec(), limits()).await;
    for measurement in outcomes.values().map(|result| result.as_ref().unwrap()) {
        let rounds = &measurement.latency.rounds;
        let processes: Vec<u32> = rounds.iter().map(|round| round.process).collect();
        assert_eq!(processes, [0, 0, 1, 1]);
        // Both warmed up.
        assert!(measurement.latency.warmup_runs >= 3 + 2);
        let below = |at: usize| rounds.iter().map(|round| round.below[at]).sum::<u64>();
        // Rank 11 of 21 is the median; equal runs may lie on it, too. Beyond P99 lies none of 21.
        assert!(below(0) >= 11 && below(3) == 21, "{rounds:?}");
        assert!(rounds.iter().all(|round| round.below[4] == round.runs));
    }
}

#[tokio::test]
async fn the_longest_time_ends_the_warm_up_too() {
    let mut long = job("long", "null", &tiny());
    long.job.plan = Plan {
        warmup_runs: 1_000_000,
        max_time: Nanos(1),
        ..plan()
    };
    let (outcomes, _) = outcomes(vec![long], limits()).await;
    let measurement = outcomes["long"].as_ref().unwrap();
    assert_eq!(measurement.latency.warmup_runs, 1);
    assert_eq!(
        measurement.conditions.notes[0],
        "warm-up ended after 1 of 1000000 runs by the plan's longest time of 1ns"
    );
}

#[tokio::test]
async fn a_model_is_scored_on_all_pictures_whatever_the_batch() {
    let dir = tempfile::tempdir().unwrap();
    let pack = pack(dir.path(), 8, &[0, 1, 2, 3, 4, 5, 6]);
    let jobs = [1, 3].map(|batch| {
        let mut assignment = job(&format!("batch{batch}"), "tract", &tiny());
        assignment.job.target.batch = batch;
        assignment.pack = Some(pack.clone());
        assignment
    });
    let (outcomes, _) = outcomes(jobs.to_vec(), limits()).await;
    let score = |job: &str| outcomes[job].as_ref().unwrap().score.clone().unwrap();
    assert_eq!(score("batch1").predictions.len(), 7);
    assert_eq!(score("batch1"), score("batch3"));
    let measurement = outcomes["batch1"].as_ref().unwrap();
    assert!(measurement.load.0 > 0 && !measurement.runtime_version.is_empty());
}

#[tokio::test]
async fn one_job_that_fails_costs_only_itself() {
    let dir = tempfile::tempdir().unwrap();
    let broken = dir.path().join("broken.onnx");
    std::fs::write(&broken, b"this is no model").unwrap();
    let mut wrong_pictures = job("wrong-pictures", "tract", &tiny());
    wrong_pictures.pack = Some(pack(dir.path(), 9, &[0; 7]));
    let mut unlabelled = job("unlabelled", "tract", &tiny());
    unlabelled.pack = Some(pack(dir.path(), 8, &[]));
    let mut label = job("label", "tract", &tiny());
    label.pack = Some(pack(dir.path(), 8, &[0, 0, 0, 0, 0, 0, 10]));
    let mut no_thread = job("no-thread", "null", &tiny());
    no_thread.job.target.threads = 0;
    let jobs = vec![
        job("broken", "tract", &broken),
        job("absent", "tract", Path::new("/nowhere/model.onnx")),
        job("unknown", "abacus", &tiny()),
        wrong_pictures,
        unlabelled,
        label,
        no_thread,
        job("good", "null", &tiny()),
    ];
    let (outcomes, _) = outcomes(jobs, limits()).await;
    assert!(outcomes["good"].is_ok());
    for (job, stage, words) in [
        ("broken", Stage::Load, "broken.onnx"),
        ("absent", Stage::Load, "/nowhere/model.onnx"),
        ("unknown", Stage::Load, "unknown runtime `abacus`"),
        (
            "wrong-pictures",
            Stage::Score,
            "[1, 3, 8, 8] and the pictures are [1, 3, 9, 9]",
        ),
        ("unlabelled", Stage::Score, "data set has no labels"),
        ("label", Stage::Score, "label 10 of picture 6 is out of range"),
        ("no-thread", Stage::Load, "at least 1"),
    ] {
        let (found, error) = failure(&outcomes, job);
        assert!(error.contains(words), "{job}: {error}");
        assert_eq!(found, stage, "{job}: {error}");
    }
}

#[tokio::test]
async fn the_longest_time_ends_a_job_early() {
    let mut assignment = job("slow", "null", &tiny());
    assignment.job.plan.min_time = Nanos(u64::MAX);
    assignment.job.plan.max_time = Nanos(1_000_000);
    let (outcomes, _) = outcomes(vec![assignment], limits()).await;
    let measurement = outcomes["slow"].as_ref().unwrap();
    assert!(measurement.latency.ended_early);
    let notes = measurement.conditions.notes.join("; ");
    assert!(
        notes.contains("ended early by the plan's longest time of 1ms"),
        "{notes}"
    );
}

/// The process ids of the children of this process whose program is the agent.
fn workers() -> Vec<i32> {
    let own = std::process::id().to_string();
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    processes
        .filter_map(|entry| {
            let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
            let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?;
            (parent == own).then_some(entry.file_name().to_str()?.parse().ok()?)
        })
        .collect()
}

#[tokio::test]
async fn a_worker_that_is_killed_costs_its_job_only() {
    let mut jobs = ["a", "b", "c"].map(|id| job(id, "null", &tiny()));
    for assignment in &mut jobs {
        assignment.job.plan.rounds = 200;
        assignment.job.plan.min_runs = 400;
    }
    let (sender, mut reports) = mpsc::channel(1);
    let task = tokio::spawn(measure(jobs.to_vec(), 5, limits(), sender));
    let (mut killed, mut ended) = (false, Vec::new());
    while let Some(report) = reports.recv().await {
        match report {
            Report::State(_, JobState::Measuring { .. }) if !killed => {
                let pid = rustix::process::Pid::from_raw(workers()[0]).unwrap();
                rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
                killed = true;
            }
            Report::Ended(_, result) => ended.push(result),
            Report::State(..) => {}
        }
    }
    task.await.unwrap();
    assert_eq!(ended.len(), 3);
    let failures: Vec<_> = ended.iter().filter_map(|result| result.as_ref().err()).collect();
    assert_eq!(failures.len(), 1);
    assert_eq!(failures[0].stage, Stage::Run);
    assert!(failures[0].error.contains("SIGKILL"), "{}", failures[0].error);
    all_workers_end().await;
}

/// Returns when no worker is left, be it as a process that ended and was not waited for.
async fn all_workers_end() {
    let ended = async {
        while !workers().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    let patience = std::time::Duration::from_mins(1);
    tokio::time::timeout(patience, ended)
        .await
        .expect("the workers end");
}

/// What a device does whose memory is full, without filling that of this one.
#[tokio::test]
async fn a_worker_that_runs_out_of_memory_costs_its_job_only() {
    let agent = env!("CARGO_BIN_EXE_edgefront-agent");
    let limits = Limits {
        load: limits().load,
        ..shell(&format!("ulimit -v 2000000; exec {agent} worker"))
    };
    let dir = tempfile::tempdir().unwrap();
    let mut large = job("large", "null", &tiny());
    large.job.inputs = vec![vec![1, 1 << 30]];
    let mut pictures = job("pictures", "tract", &tiny());
    pictures.job.target.batch = u32::MAX;
    pictures.pack = Some(pack(dir.path(), 8, &[0; 7]));
    let jobs = vec![
        job("before", "null", &tiny()),
        large,
        pictures,
        job("after", "tract", &tiny()),
    ];
    let (outcomes, _) = outcomes(jobs, limits).await;
    for name in ["before", "after"] {
        assert!(outcomes[name].is_ok(), "{:?}", outcomes[name]);
    }
    let (stage, error) = failure(&outcomes, "large");
    assert_eq!(stage, Stage::Load);
    assert!(error.starts_with("the worker ran out of memory"), "{error}");
    let (stage, error) = failure(&outcomes, "pictures");
    assert_eq!(stage, Stage::Score);
    assert!(error.contains("give a smaller batch"), "{error}");
}

/// A worker that is not one.
fn shell(script: &str) -> Limits {
    Limits {
        worker: WorkerCommand {
            runner: Vec::new(),
            program: "/bin/sh".into(),
            args: vec!["-c".into(), script.into()],
        },
        load: Duration::from_millis(300),
        ..limits()
    }
}

#[tokio::test]
async fn how_a_worker_died_is_said_with_its_last_words() {
    for (script, words) in [
        (
            "echo bad cpu >&2; kill -ILL $$",
            "signal 4 (SIGILL): the library was built for another processor; it last said: bad cpu",
        ),
        ("kill -SEGV $$", "the worker was killed by signal 11 (SIGSEGV)"),
        (
            "echo one >&2; echo two >&2; exit 7",
            "the worker ended with exit code 7; it last said: two",
        ),
        ("exit 0", "the worker ended without an answer"),
        (
            "echo 'terminate called: std::bad_alloc' >&2; kill -ABRT $$",
            "the worker ran out of memory",
        ),
        ("echo model loaded; exec sleep 60", "does not speak as it should"),
        (
            "echo here >&2; exec sleep 60",
            "nothing was heard of the worker for 300ms",
        ),
    ] {
        let (outcomes, _) = outcomes(vec![job("a", "null", &tiny())], shell(script)).await;
        let (stage, error) = failure(&outcomes, "a");
        assert_eq!(stage, Stage::Load, "{error}");
        assert!(error.contains(words), "{script}: {error}");
    }
}

#[tokio::test]
async fn a_worker_that_cannot_be_started_is_a_failure_with_its_name() {
    let mut limits = limits();
    limits.worker.program = "/nowhere/worker".into();
    let (outcomes, _) = outcomes(vec![job("a", "null", &tiny())], limits).await;
    let (stage, error) = failure(&outcomes, "a");
    assert_eq!(stage, Stage::Load);
    assert!(
        error.starts_with("cannot start worker /nowhere/worker: "),
        "{error}"
    );
}

#[tokio::test]
async fn dropping_a_measurement_ends_its_workers() {
    let mut assignment = job("a", "null", &tiny());
    assignment.job.plan.min_time = Nanos(10_000_000_000);
    let (sender, mut reports) = mpsc::channel(8);
    let task = tokio::spawn(measure(vec![assignment], 5, limits(), sender));
    while !matches!(
        reports.recv().await,
        Some(Report::State(_, JobState::Measuring { .. }))
    ) {}
    let pids = workers();
    assert_eq!(pids.len(), 1);
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    all_workers_end().await;
}
