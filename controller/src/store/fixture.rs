//! Devices, jobs and outcomes for tests.

use edgefront_protocol::{
    Artifact, Batch, BlobRef, Bytes, Device, Digest, Failure, Format, Incarnation, Job, Outcome, Plan,
    Precision, RuntimeState, RuntimeStatus, Stage, Target, UnixMillis,
};

pub(crate) fn id<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

pub(crate) fn device(name: &str) -> Device {
    Device {
        id: id(name),
        agent_version: "0.1.0".into(),
        arch: "aarch64".into(),
        os: "Linux 6.1".into(),
        cpu: "Cortex-A72".into(),
        cores: 4,
        memory: Bytes(4 << 30),
        cpu_features: Vec::new(),
        runtimes: vec![RuntimeStatus {
            name: "tract".into(),
            state: RuntimeState::Ready {
                version: "0.23.9".into(),
                providers: vec!["cpu".into()],
            },
        }],
        incarnation: incarnation(),
    }
}

pub(crate) fn incarnation() -> Incarnation {
    Incarnation {
        since: UnixMillis(0),
        nonce: 0,
    }
}

pub(crate) fn job(name: &str) -> Job {
    Job {
        id: id(name),
        variant: "fp32".into(),
        artifact: Artifact {
            blob: BlobRef {
                digest: Digest::of(b"model"),
                bytes: Bytes(5),
            },
            format: Format::Onnx,
        },
        target: Target {
            runtime: "tract".into(),
            provider: "cpu".into(),
            precision: Precision::Fp32,
            threads: 1,
            batch: 1,
        },
        inputs: Vec::new(),
        validation: None,
        reference: None,
        plan: Plan::default(),
    }
}

pub(crate) fn batch(name: &str, jobs: &[&str]) -> Batch {
    Batch {
        id: id(name),
        controller: id("c1"),
        seed: u64::MAX,
        jobs: jobs.iter().map(|name| job(name)).collect(),
    }
}

pub(crate) fn outcome(job: &str, error: &str) -> Outcome {
    Outcome {
        job: id(job),
        batch: id("b1"),
        device: id("pi"),
        result: Err(Failure {
            stage: Stage::Run,
            error: error.into(),
        }),
    }
}
