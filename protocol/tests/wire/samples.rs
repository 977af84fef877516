//! One fixed sample of each message, every optional field present.

use std::ops::Range;

use edgefront_protocol::blob::{Chunk, Want};
use edgefront_protocol::{
    Absence, Ack, Artifact, Batch, Beside, BlobRef, Board, Bytes, Cancel, ClassCount, Conditions, CoolDown,
    Cooling, Device, Digest, Failure, ForeignLoad, Format, Governor, Harness, Health, Incarnation, Job,
    JobState, Latency, LayerTime, Lead, Measurement, Memory, Meters, Microjoules, Microwatts, Nanos, Outcome,
    PackBounds, PackCounts, Plan, Ppm, Precision, Presence, Probe, Processors, Progress, PublicKey, Rail,
    RailEnergy, Round, RoundState, RuntimeState, RuntimeStatus, Scenario, Scope, Score, SetAside,
    SignedBatch, SigningKey, Stage, Startup, Step, Stopped, Sustained, Target, Throttle, Trust, UnixMillis,
    Window, Worst, wire,
};
use ring::signature::Ed25519KeyPair;

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
        reference: validation.map(|_| blob(b"reference")),
        plan: Plan {
            cool_down: Some(CoolDown {
                to_c: 50,
                limit: Nanos(120_000_000_000),
            }),
            governor: Some(Governor::Performance),
            scenario: server(),
            processors: Processors::Range { first: 4, last: 7 },
            race: true,
            sustained: Some(Nanos(600_000_000_000)),
            accuracy_margin: Some(Ppm(5_000)),
            ..Plan::default()
        },
    }
}

fn server() -> Scenario {
    Scenario::Server {
        p99_bound: Nanos(20_000_000),
        seed: 7,
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

/// Seed and public key of the first test of RFC 8032, section 7.1.
const SEED: [u8; 32] = [
    0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c, 0xc4, 0x44,
    0x49, 0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60,
];
const PUBLIC: [u8; 32] = [
    0xd7, 0x5a, 0x98, 0x01, 0x82, 0xb1, 0x0a, 0xb7, 0xd5, 0x4b, 0xfe, 0xd3, 0xc9, 0x64, 0x07, 0x3a, 0x0e,
    0xe1, 0x72, 0xf3, 0xda, 0xa6, 0x23, 0x25, 0xaf, 0x02, 0x1a, 0x68, 0xf7, 0x07, 0x51, 0x1a,
];

/// A controller's key that is the same for ever; as PKCS#8 of version 2 (RFC 8410, section 7).
pub(crate) fn key() -> SigningKey {
    let head = [
        0x30, 0x51, 0x02, 0x01, 0x01, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
    ];
    let pkcs8 = [&head[..], &SEED, &[0x81, 0x21, 0x00], &PUBLIC].concat();
    SigningKey::from_pkcs8(&pkcs8).unwrap()
}

/// Signs a message by the key of [`key`], as the head of `protocol/src/seal.rs` says, at a place of its choice.
pub(crate) fn sign_as_rfc_8032(message: &mut [u8], place: Range<usize>, device: &str) {
    message[place.clone()].fill(0);
    let mut signed = b"edgefront batch 1\n".to_vec();
    signed.push(u8::try_from(device.len()).unwrap());
    signed.extend_from_slice(device.as_bytes());
    signed.extend_from_slice(message);
    let key = Ed25519KeyPair::from_seed_and_public_key(&SEED, &PUBLIC).unwrap();
    message[place].copy_from_slice(key.sign(&signed).as_ref());
}

pub(crate) fn signed_batch() -> SignedBatch {
    wire::decode(&key().seal(&batch(), &"pi4".parse().unwrap())).unwrap()
}

pub(crate) fn unsigned_batch() -> SignedBatch {
    SignedBatch {
        batch: batch(),
        seal: None,
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
    };
    let meters = Meters {
        rails: vec![rail()],
        faults: vec!["/sys/class/powercap/intel-rapl:0/energy_uj may not be read".to_owned()],
    };
    let trust = Trust::Controllers(vec![PublicKey::from_bytes(PUBLIC)]);
    let health = Health {
        temp_c: Some(81),
        throttling: Some(vec![Throttle::UnderVoltage]),
    };
    Presence::Online(device, 2, board, trust, meters, health)
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

fn score() -> Score {
    Score {
        top1_hits: 2,
        top5_hits: 3,
        predictions: vec![0, 1, 200],
        pictures: vec![7, 0, 300],
        classes: vec![
            ClassCount { pictures: 2, hits: 1 },
            ClassCount { pictures: 1, hits: 1 },
        ],
        beside: Some(Beside {
            top1_hits: 3,
            top5_hits: 3,
            lost: 1,
            won: 0,
            top5_lost: 0,
            top5_won: 0,
            agreeing: 2,
            pack: PackCounts {
                pictures: 400,
                top1_hits: 360,
                top5_hits: 399,
            },
            bounds: Some(PackBounds {
                top1: [-0.75, 0.25],
                top5: [-0.5, 0.125],
            }),
            worst: Some(Worst {
                pictures: 3,
                picture: 300,
                class: 1,
                output: 0.5,
                reference: 2.0,
                magnitude: 8.0,
            }),
            by: "ort 1.32.0".to_owned(),
        }),
    }
}

fn stopped() -> Stopped {
    Stopped {
        by: "job-2".parse().unwrap(),
        rounds: 3,
        of: 10,
        chance: 0.01,
        median: Lead {
            ratio: 2.5,
            at_least: 2.25,
        },
        mean: Lead {
            ratio: 2.5,
            at_least: 2.0,
        },
        energy: Some(Lead {
            ratio: 2.0,
            at_least: 1.5,
        }),
    }
}

pub(crate) fn outcome_measured() -> Outcome {
    let round = |position, p50| Round {
        position,
        runs: 20,
        total: Nanos(100_000_000),
        p50: Nanos(p50),
        started: UnixMillis(1_764_000_000_000),
        process: position,
        below: [10, 18, 19, 20, 20],
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
            memory: Memory {
                harness: Some(Bytes(9_500_000)),
                model: Some(Bytes(38_000_000)),
                pss: None,
            },
            startup: Startup {
                cold_load: Some(Nanos(41_000_000)),
                first_run: Some(Nanos(7_100_000)),
            },
            score: Some(score()),
            conditions: Conditions {
                governor: Some("performance".to_owned()),
                max_temp_c: Some(61.5),
                notes: vec!["shared machine".to_owned()],
                power_mode: Some("25W".to_owned()),
                cpu_limit_mhz: Some([1_510, 1_984]),
                rounds: vec![round_state(None), RoundState::default()],
                set_aside: vec![SetAside {
                    round: round(1, 9_600_000),
                    state: round_state(Some(Throttle::UnderVoltage)),
                }],
            },
            energy: vec![RailEnergy {
                rail: rail(),
                rounds: vec![Some(window(2_000_000)), None],
                idle_before: Some(window(900_000)),
                idle_after: None,
            }],
            harness: Harness {
                time: Nanos(2_100_000_000),
                cpu: Nanos(3_000_000),
                rss: Some(Bytes(9_000_000)),
            },
            layers: vec![LayerTime {
                name: "conv1".to_owned(),
                operator: "Conv".to_owned(),
                time: Nanos(138_000),
            }],
            scenario: server(),
            probes: vec![Probe {
                rate_qps: 62.5,
                queries: 662,
                p99: Nanos(19_000_000),
                kept: true,
            }],
            processors: vec![4, 5, 6, 7],
            stopped: Some(stopped()),
            sustained: Some(Sustained {
                time: Nanos(600_000_000_000),
                warming: vec![SetAside {
                    round: round(2, 9_500_000),
                    state: RoundState::default(),
                }],
            }),
        }),
    }
}

fn round_state(cause: Option<Throttle>) -> RoundState {
    RoundState {
        temp_c: [Some(60.5), Some(61.5)],
        cpu_mhz: Some([600, 1_500]),
        gpu_mhz: None,
        throttling: Some(cause.into_iter().collect()),
        load: Some(ForeignLoad {
            cores: 0.25,
            stolen: 0.0,
            waiting: Some(0.5),
            is_excessive: cause.is_some(),
        }),
        cooling: Some(Cooling {
            time: Nanos(12_000_000_000),
            is_reached: true,
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
