//! Jobs for tests.

use std::path::{Path, PathBuf};

use edgefront_protocol::{Artifact, BlobRef, Format, Job, Plan, Precision, Target};

/// A model of one convolution on 1x3x8x8, ten classes.
pub fn tiny() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/models/tiny.onnx")
}

/// A job on one thread, one picture at a time, without a data set.
///
/// # Panics
/// If `name` is not one.
pub fn job(name: &str, runtime: &str, blob: BlobRef, plan: Plan) -> Job {
    Job {
        id: name.parse().expect("it is a valid name"),
        variant: "fp32".to_owned(),
        artifact: Artifact {
            blob,
            format: Format::Onnx,
        },
        target: Target {
            runtime: runtime.to_owned(),
            provider: "cpu".to_owned(),
            precision: Precision::Fp32,
            threads: 1,
            batch: 1,
        },
        inputs: Vec::new(),
        validation: None,
        reference: None,
        plan,
    }
}
