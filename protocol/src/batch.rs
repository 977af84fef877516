//! What a controller asks of a device.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{BatchId, Bytes, ControllerId, Digest, JobId, Nanos, Ppm, Processors, Scenario};

/// The jobs that one device measures together, in interleaved rounds of shuffled order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Batch {
    /// Names the batch; sending it again is harmless.
    pub id: BatchId,
    /// Who gets the progress and the outcomes, and who serves the blobs.
    pub controller: ControllerId,
    /// Seeds the order of the jobs within each round.
    pub seed: u64,
    /// What to measure. Not empty.
    pub jobs: Vec<Job>,
}

/// One artifact on one target under one plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Unique for all time.
    pub id: JobId,
    /// The variant's name, for people: `ptq-int8`.
    pub variant: String,
    /// What runs.
    pub artifact: Artifact,
    /// On what it runs.
    pub target: Target,
    /// Shape of each model input, batch included, in the model's order. Empty: the model's own shapes, a
    /// dynamic batch axis bound to the target's batch.
    pub inputs: Vec<Shape>,
    /// The validation pack to score on, if any.
    pub validation: Option<BlobRef>,
    /// What the FP32 model answers on that pack, as the workstation computed it.
    pub reference: Option<BlobRef>,
    /// How long to measure.
    pub plan: Plan,
}

/// The extents of one tensor.
pub type Shape = Vec<u64>;

/// A blob by content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BlobRef {
    /// SHA-256 of the content.
    pub digest: Digest,
    /// Its size.
    pub bytes: Bytes,
}

impl BlobRef {
    /// The blob of this content.
    pub fn of(content: &[u8]) -> Self {
        Self {
            digest: Digest::of(content),
            bytes: Bytes(content.len() as u64),
        }
    }
}

/// The bytes that a device runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Artifact {
    /// The file.
    pub blob: BlobRef,
    /// How to read it.
    pub format: Format,
}

/// File formats of artifacts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Format {
    /// An ONNX model in one file.
    Onnx,
    /// A TensorFlow Lite model.
    Tflite,
    /// A shared object that TVM compiled.
    So,
}

impl Format {
    /// The format's name in `results.json`, also its file extension.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Onnx => "onnx",
            Self::Tflite => "tflite",
            Self::So => "so",
        }
    }
}

/// What runs an artifact, and how.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Target {
    /// The runtime's name: `tract`, `ort`, `openvino`, `tflite`, `tensorrt`, `tvm`, `null`.
    pub runtime: String,
    /// The execution provider asked for: `cpu`.
    pub provider: String,
    /// Numeric precision of the artifact.
    pub precision: Precision,
    /// Threads within one inference, at least 1.
    pub threads: u32,
    /// Pictures per inference, at least 1.
    pub batch: u32,
}

impl Target {
    /// The provider that is meant where none is written.
    pub const CPU: &str = "cpu";

    /// Runtime and provider as users write them: `tflite:builtin`, or `tflite` for the CPU's.
    pub fn written(&self) -> String {
        match self.provider.as_str() {
            Self::CPU => self.runtime.clone(),
            provider => format!("{}:{provider}", self.runtime),
        }
    }
}

/// Numeric precision of a variant's heavy operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Precision {
    /// 32-bit floating point.
    Fp32,
    /// 16-bit floating point.
    Fp16,
    /// 8-bit integer weights and activations.
    Int8,
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fp32 => "fp32",
            Self::Fp16 => "fp16",
            Self::Int8 => "int8",
        })
    }
}

/// How long one job warms up and measures. The least count and the least time both hold unless the longest
/// time ends the job first, which the measurement then states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Warm-up runs, at least.
    pub warmup_runs: u32,
    /// Warm-up time, at least.
    pub warmup_time: Nanos,
    /// Timed runs, at least, over all rounds.
    pub min_runs: u32,
    /// Timed duration, at least, over all rounds.
    pub min_time: Nanos,
    /// What all rounds take at most, their untimed runs included, and what the warm-up takes at most before them.
    pub max_time: Nanos,
    /// Rounds into which the timed runs are divided.
    pub rounds: u32,
    /// Whether the time of each layer is asked for.
    pub layers: bool,
    /// Worker processes over which the rounds are spread, one after the other; two processes of the same artifact
    /// differ by more than the rounds of one.
    pub processes: u32,
    /// What other processes may take in a round, in percent of the cores that the job uses. A round in which they take
    /// more is measured again.
    pub max_load: u32,
    /// How cool the device has to be before each round, where that matters.
    pub cool_down: Option<CoolDown>,
    /// What chooses the clock of all processors while the batch is measured, the same for all of its jobs; `None`: what
    /// the device has.
    pub governor: Option<Governor>,
    /// How queries come.
    pub scenario: Scenario,
    /// Where it runs.
    pub processors: Processors,
    /// Whether it is stopped where another job of its batch is beyond doubt better in all that was measured.
    pub race: bool,
    /// Measures the job alone and without a pause for so long, and takes its figures from when the device is warm;
    /// `None`: in rounds, between those of others.
    pub sustained: Option<Nanos>,
    /// Ends scoring as soon as the difference of top-1 to the job's reference is known within this; `None`: the whole
    /// pack is scored.
    pub accuracy_margin: Option<Ppm>,
}

/// What chooses a processor's clock, by Linux's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Governor {
    /// The highest.
    Performance,
    /// The lowest; with the drivers `intel_pstate` and `amd-pstate-epp` what the load needs.
    Powersave,
    /// What the scheduler knows of the load.
    Schedutil,
    /// The load of the last moments.
    Ondemand,
    /// The same, in steps.
    Conservative,
    /// The load and how fast it is answered, on kernels of older boards.
    Interactive,
}

impl Governor {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Performance,
        Self::Powersave,
        Self::Schedutil,
        Self::Ondemand,
        Self::Conservative,
        Self::Interactive,
    ];

    /// As the kernel's files write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Performance => "performance",
            Self::Powersave => "powersave",
            Self::Schedutil => "schedutil",
            Self::Ondemand => "ondemand",
            Self::Conservative => "conservative",
            Self::Interactive => "interactive",
        }
    }
}

/// A wait before each round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoolDown {
    /// The hottest thermal zone is at most this, in degrees Celsius.
    pub to_c: u32,
    /// Longest wait before one round; the round then begins all the same and says so.
    pub limit: Nanos,
}

impl Plan {
    /// What one turn of the job takes at most: a round, or a trial of a rate.
    pub fn longest_turn(&self) -> Nanos {
        match (self.sustained, self.scenario) {
            (Some(time), _) => Nanos(time.0 / u64::from(Self::windows(time).max(1))),
            (None, Scenario::Server { .. }) => self.max_time,
            (None, _) => Nanos(self.max_time.0 / u64::from(self.rounds.max(1))),
        }
    }

    /// Windows into which a sustained run of this time is divided: 20, or fewer where one would be shorter than a second.
    pub fn windows(time: Nanos) -> u32 {
        (time.0 / 1_000_000_000).min(20) as u32
    }

    /// Windows that a sustained run has at least: its quarters are set against each other.
    pub const LEAST_WINDOWS: u32 = 4;
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            warmup_runs: 10,
            warmup_time: Nanos(500_000_000),
            min_runs: 200,
            min_time: Nanos(2_000_000_000),
            max_time: Nanos(60_000_000_000),
            rounds: 10,
            layers: false,
            processes: 10,
            max_load: 10,
            cool_down: None,
            governor: None,
            scenario: Scenario::Single,
            processors: Processors::All,
            race: false,
            sustained: None,
            accuracy_margin: None,
        }
    }
}

/// The controller stored the outcome of a job; the agent may forget it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// The job that is settled.
    pub job: JobId,
}

/// The controller wants no more of a batch; jobs without an outcome end as failed at stage `cancelled`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancel {
    /// The batch to stop.
    pub batch: BatchId,
}
