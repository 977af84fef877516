//! One fixed sample of each message, every optional field present.

use edgefront_protocol::blob::{Chunk, Want};
use edgefront_protocol::{
    Absence, Ack, Artifact, Batch, BlobRef, Board, Bytes, Cancel, Conditions, Device, Digest, Failure,
    Format, Incarnation, Job, JobState, Latency, Measurement, Microjoules, Microwatts, Nanos, Outcome, Plan,
    Precision, Presence, Progress, Rail, RailEnergy, Round, RuntimeState, RuntimeStatus, Scope, Score, Stage,
    Step, Target, UnixMillis, Window,
};

fn blob(content: &[u8]) -> BlobRef {
    BlobRef {
        digest: Digest::of(content),
        bytes: Bytes(content.len() as u64),
    }
}

fn job(id: &str, precision: Precision, validation: Option<BlobRef>) -> Job {
    Job {
        id: id.parse().unwrap(),
        variant: "ptq-int8".to_owned(),
        artifact: Artifact {
            blob: blob(b"model"),
            format: Format::Onnx,
        },
        target: Target {
            runtime: "ort".to_owned(),
            provider: "cpu".to_owned(),
            precision,
            threads: 2,
            batch: 1,
        },
        inputs: vec![vec![1, 3, 64, 64]],
        validation,
        plan: Plan::default(),
    }
}

pub(crate) fn batch() -> Batch {
    Batch {
        id: "batch-1".parse().unwrap(),
        controller: "study-1".parse().unwrap(),
        seed: 0x0123_4567_89ab_cdef,
        jobs: vec![
            job("job-1", Precision::Fp32, Some(blob(b"pack"))),
            job("job-2", Precision::Fp16, None),
            job("job-3", Precision::Int8, None),
        ],
    }
}

pub(crate) fn ack() -> Ack {
    Ack {
        job: "job-1".parse().unwrap(),
    }
}

pub(crate) fn cancel() -> Cancel {
    Cancel {
        batch: "batch-1".parse().unwrap(),
    }
}

pub(crate) fn want() -> Want {
    Want {
        digest: Digest::of(b"model"),
        chunk_bytes: 65_536,
        chunks: vec![(0, 4), (40, 52)],
    }
}

pub(crate) fn chunk() -> Chunk {
    Chunk {
        digest: Digest::of(b"model"),
        index: 0,
        crc32: 0xdead_beef,
        data: b"model".to_vec(),
    }
}

pub(crate) fn presence_online() -> Presence {
    let ready = RuntimeState::Ready {
        version: "1.32.0".to_owned(),
        providers: vec!["cpu".to_owned()],
    };
    let absent = RuntimeState::Absent(Absence {
        reason: "not installed".to_owned(),
    });
    let device = Device {
        id: "pi4".parse().unwrap(),
        agent_version: "0.1.0".to_owned(),
        arch: "aarch64".to_owned(),
        os: "Linux 6.1".to_owned(),
        cpu: "Cortex-A72".to_owned(),
        cores: 4,
        memory: Bytes(4_000_000_000),
        cpu_features: vec!["asimd".to_owned()],
        runtimes: vec![
            RuntimeStatus {
                name: "ort".to_owned(),
                state: ready,
            },
            RuntimeStatus {
                name: "openvino".to_owned(),
                state: absent,
            },
        ],
        incarnation: incarnation(),
    };
    let board = Board {
        model: Some("Raspberry Pi 4 Model B Rev 1.4".to_owned()),
        governor: Some("ondemand".to_owned()),
        max_mhz: Some(1800),
        jetpack: None,
        gpus: vec!["v3d".to_owned()],
        rails: vec![rail()],
        meter_faults: vec!["/sys/class/powercap/intel-rapl:0/energy_uj may not be read".to_owned()],
    };
    Presence::Online(device, 2, board)
}

pub(crate) fn presence_offline() -> Presence {
    Presence::Offline("pi4".parse().unwrap(), incarnation(), 3)
}

fn incarnation() -> Incarnation {
    Incarnation {
        since: UnixMillis(1_764_000_000_000),
        nonce: 0x0123_4567_89ab_cdef,
    }
}

/// Every state of a job, so that a reordered variant is seen.
pub(crate) fn progress() -> Vec<(&'static str, Progress)> {
    [
        ("queued", JobState::Queued),
        (
            "fetching",
            JobState::Fetching {
                have: 1_000_000,
                total: 45_000_000,
            },
        ),
        ("loading", JobState::Loading),
        ("measuring", JobState::Measuring { done: 3, rounds: 10 }),
        ("scoring", JobState::Scoring),
        ("ended", JobState::Ended),
    ]
    .into_iter()
    .map(|(name, state)| {
        (
            name,
            Progress {
                batch: "batch-1".parse().unwrap(),
                job: "job-1".parse().unwrap(),
                state,
            },
        )
    })
    .collect()
}

pub(crate) fn outcome_measured() -> Outcome {
    let round = |position, p50| Round {
        position,
        runs: 20,
        total: Nanos(100_000_000),
        p50: Nanos(p50),
        started: UnixMillis(1_764_000_000_000),
    };
    Outcome {
        job: "job-1".parse().unwrap(),
        batch: "batch-1".parse().unwrap(),
        device: "pi4".parse().unwrap(),
        result: Ok(Measurement {
            runtime_version: "1.32.0".to_owned(),
            provider: "cpu".to_owned(),
            latency: Latency {
                histogram: vec![0x1c, 0x84, 0x93, 0x13],
                rounds: vec![round(0, 4_800_000), round(2, 4_900_000)],
                warmup_runs: 10,
                ended_early: true,
            },
            load: Nanos(35_000_000),
            peak_rss: Some(Bytes(61_000_000)),
            score: Some(Score {
                top1_hits: 2,
                top5_hits: 3,
                predictions: vec![0, 1, 200],
            }),
            conditions: Conditions {
                governor: Some("performance".to_owned()),
                max_temp_c: Some(61.5),
                notes: vec!["shared machine".to_owned()],
            },
            energy: vec![RailEnergy {
                rail: rail(),
                rounds: vec![Some(window(2_000_000)), None],
                idle_before: Some(window(900_000)),
                idle_after: None,
            }],
        }),
    }
}

fn rail() -> Rail {
    Rail {
        meter: "ina3221".to_owned(),
        name: Some("VDD_IN".to_owned()),
        scope: Scope::Module,
        is_total: true,
        is_estimate: false,
        step: Some(Step::Power(Microwatts(40_000))),
    }
}

fn window(energy: u64) -> Window {
    Window {
        time: Nanos(500_000_000),
        energy: Microjoules(energy),
        readings: 50,
    }
}

/// A failure at every stage.
pub(crate) fn outcome_failed() -> impl Iterator<Item = (Stage, Outcome)> {
    [
        Stage::Optimize,
        Stage::Fetch,
        Stage::Load,
        Stage::Run,
        Stage::Score,
        Stage::Cancelled,
    ]
    .into_iter()
    .map(|stage| {
        let failure = Failure {
            stage,
            error: "no such file".to_owned(),
        };
        let outcome = Outcome {
            job: "job-1".parse().unwrap(),
            batch: "batch-1".parse().unwrap(),
            device: "pi4".parse().unwrap(),
            result: Err(failure),
        };
        (stage, outcome)
    })
}
