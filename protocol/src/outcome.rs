//! How a job ended.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{BatchId, Bytes, DeviceId, JobId, Nanos, Probe, RailEnergy, Scenario, UnixMillis};

/// The one end of one job. The agent keeps it until the controller acknowledges it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The job that ended.
    pub job: JobId,
    /// Its batch.
    pub batch: BatchId,
    /// The device that ran it.
    pub device: DeviceId,
    /// What came of it.
    pub result: Result<Measurement, Failure>,
}

/// Why a job has no measurement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Where it failed.
    pub stage: Stage,
    /// One line: what failed and what would mend it.
    pub error: String,
}

/// The part of a job's life in which it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Stage {
    /// The controller could not make the variant.
    Optimize,
    /// The device did not take the job, or a blob did not arrive, or not as its digest says.
    Fetch,
    /// The runtime is missing or refused the artifact.
    Load,
    /// An inference failed, hung or crashed.
    Run,
    /// The validation pack could not be scored.
    Score,
    /// The controller called it off.
    Cancelled,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Optimize => "optimize",
            Self::Fetch => "fetch",
            Self::Load => "load",
            Self::Run => "run",
            Self::Score => "score",
            Self::Cancelled => "cancelled",
        })
    }
}

/// What a job measured. Statistics are derived from it later.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// Version of the runtime that ran.
    pub runtime_version: String,
    /// The provider that really ran, not the one asked for.
    pub provider: String,
    /// Every timed run.
    pub latency: Latency,
    /// Time from the artifact's path to a session that can run.
    pub load: Nanos,
    /// Peak resident set of the worker process (`VmHWM`); `None` where the system does not tell.
    pub peak_rss: Option<Bytes>,
    /// Accuracy on the validation pack, if the job had one.
    pub score: Option<Score>,
    /// State of the device while it measured.
    pub conditions: Conditions,
    /// What each rail took; empty where no meter was read.
    pub energy: Vec<RailEnergy>,
    /// How queries came. In the server scenario latency and energy are those of the rate that was found.
    pub scenario: Scenario,
    /// The rates that were tried in the server scenario, in their order.
    pub probes: Vec<Probe>,
    /// Numbers of the processors that the worker was bound to, ascending; empty where it was not.
    pub processors: Vec<u32>,
}

/// The timed runs of one job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// HDR histogram of nanoseconds in V2 encoding, five significant digits, over all rounds.
    pub histogram: Vec<u8>,
    /// The rounds in the order they ran.
    pub rounds: Vec<Round>,
    /// Untimed runs before the first round.
    pub warmup_runs: u32,
    /// True where the plan's longest time ended the job before its least runs or time.
    pub ended_early: bool,
}

/// One round of one job.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Round {
    /// Place of this job in the shuffled order of the round, from 0.
    pub position: u32,
    /// Timed runs.
    pub runs: u64,
    /// Sum of their latencies.
    pub total: Nanos,
    /// Median of the round.
    pub p50: Nanos,
    /// When the round began, on the device's clock.
    pub started: UnixMillis,
}

/// Accuracy counts; rates and intervals are derived from them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Score {
    /// Hits of the label by the highest output.
    pub top1_hits: u64,
    /// Hits of the label among the five highest outputs.
    pub top5_hits: u64,
    /// The predicted class of each picture, in the pack's order.
    pub predictions: Vec<u32>,
}

/// State of the device during a measurement. `None`: the device does not tell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
pub struct Conditions {
    /// CPU frequency governor.
    pub governor: Option<String>,
    /// Highest temperature seen at the round boundaries, in degrees Celsius.
    pub max_temp_c: Option<f32>,
    /// What a reader of the figures should know, a line each.
    pub notes: Vec<String>,
}

impl Conditions {
    /// The note of a worker that did not run on the processor that it was built for. Readers that know it leave the
    /// measurement out of frontiers; to all others it is a note.
    pub const EMULATED: &str = "measured under an emulator: its times and memory say nothing of a device";

    /// Whether the worker ran under an emulator.
    pub fn is_emulated(&self) -> bool {
        self.notes.iter().any(|note| note == Self::EMULATED)
    }
}
