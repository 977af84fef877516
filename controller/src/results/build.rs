//! From stored outcomes to the records of `results.json`.

use edgefront_protocol::results::{FailedJob, Results};
use edgefront_protocol::{Artifact, Device, DeviceId, Failure, Measurement, Target};

/// One job of a study and how it ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Settled {
    /// The device that ran it.
    pub device: DeviceId,
    /// The variant's name.
    pub variant: String,
    /// The file that ran.
    pub artifact: Artifact,
    /// What it was asked to run on.
    pub target: Target,
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
    /// Predicted classes of the FP32 model on the validation pack, in the pack's order; `None` where it was
    /// not run.
    pub reference: Option<&'a [u32]>,
}

/// Derives the statistics of every job and marks the frontier of each device by the default objectives.
///
/// A measurement that cannot be read (a corrupted histogram, no timed run) becomes a failed entry.
pub fn build(study: &Study<'_>) -> Results {
    let _ = study;
    unimplemented!("statistics land next")
}
