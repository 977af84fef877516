//! How a job ended.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    BatchId, Bytes, DeviceId, JobId, Nanos, Probe, RailEnergy, RoundState, Scenario, Score, SetAside,
    UnixMillis,
};

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
    /// What else was seen of its memory.
    pub memory: Memory,
    /// What the first inference after a start takes.
    pub startup: Startup,
    /// Accuracy on the validation pack, if the job had one.
    pub score: Option<Score>,
    /// State of the device while it measured.
    pub conditions: Conditions,
    /// What each rail took; empty where no meter was read.
    pub energy: Vec<RailEnergy>,
    /// What measuring itself took.
    pub harness: Harness,
    /// The time of each layer as the runtime runs the model; empty where that was not asked for, or it does not tell.
    pub layers: Vec<LayerTime>,
    /// How queries came. In the server scenario latency and energy are those of the rate that was found.
    pub scenario: Scenario,
    /// The rates that were tried in the server scenario, in their order.
    pub probes: Vec<Probe>,
    /// Numbers of the processors that the worker was bound to, ascending; empty where it was not.
    pub processors: Vec<u32>,
    /// Why it has fewer rounds than its plan, where others were better.
    pub stopped: Option<Stopped>,
    /// How the device became warm, where the plan asked for a sustained run.
    pub sustained: Option<Sustained>,
}

/// A job that was stopped in a race: another one is better in all that was raced, beyond doubt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stopped {
    /// The other one.
    pub by: JobId,
    /// Rounds that both have.
    pub rounds: u32,
    /// Rounds of the plan.
    pub of: u32,
    /// With this chance or less, over all looks at all others, an equal job would have been stopped.
    pub chance: f64,
    /// Medians of the rounds.
    pub median: Lead,
    /// Means of the rounds.
    pub mean: Lead,
    /// Energy of an inference; `None` where no meter was read.
    pub energy: Option<Lead>,
}

/// By how much the other one is better: this job's figure is so many times the other's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Lead {
    /// The geometric mean of the ratios of the rounds.
    pub ratio: f64,
    /// The lower bound of it.
    pub at_least: f64,
}

/// A run that lasts until the device is as warm as it becomes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sustained {
    /// How long it was to be.
    pub time: Nanos,
    /// The rounds before those that the figures are of, in their order; they follow one another without a pause.
    pub warming: Vec<SetAside>,
}

/// One layer, after the runtime's own rewriting of the model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerTime {
    /// The runtime's name for it, often that of a node of the file.
    pub name: String,
    /// What it computes: `Conv`; empty where its name tells.
    pub operator: String,
    /// Mean of some inferences of a session of its own, whose profiler may slow it down.
    pub time: Nanos,
}

/// Memory of the worker process; `None` where the system does not tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// Resident before the runtime's library was opened: the worker's own.
    pub harness: Option<Bytes>,
    /// By how much the resident set grew while the artifact was loaded.
    pub model: Option<Bytes>,
    /// Proportional set size after the last round: what it shares with other processes counts by its part.
    pub pss: Option<Bytes>,
}

/// What a start takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Startup {
    /// As `Measurement::load`, of the job's second process, for which the system had to read the artifact from its disk;
    /// `None` where it could not be made to, where the runtime loads what it made of the artifact, or where there was one
    /// process only.
    pub cold_load: Option<Nanos>,
    /// The first inference; `None` where a program of the runtime's own took the times.
    pub first_run: Option<Nanos>,
}

/// What the agent's own process took while a job's rounds ran, its meters included; the worker is another process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Harness {
    /// How long the rounds took, from their orders to their last samples.
    pub time: Nanos,
    /// For how much of it a processor ran the agent.
    pub cpu: Nanos,
    /// Resident set of the agent after the last round; `None` where the system does not tell.
    pub rss: Option<Bytes>,
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

/// The percentiles that [`Round::below`] counts at, as fractions of 1.
pub const PERCENTILES: [f64; 5] = [0.5, 0.9, 0.95, 0.99, 0.999];

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
    /// The worker process that ran it, counted from 0 in the order in which they were started.
    pub process: u32,
    /// Its runs that took no longer than each of [`PERCENTILES`] of the runs of all rounds (nearest rank). They tell
    /// how the rounds differ at each.
    pub below: [u64; PERCENTILES.len()],
}

/// State of the device during a measurement. `None`: the device does not tell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
pub struct Conditions {
    /// CPU frequency governor; several, with commas, where groups of processors differ.
    pub governor: Option<String>,
    /// Highest temperature seen at the round boundaries, in degrees Celsius.
    pub max_temp_c: Option<f32>,
    /// What a reader of the figures should know, a line each.
    pub notes: Vec<String>,
    /// The mode of power that the device was set to, where it has such.
    pub power_mode: Option<String>,
    /// Where the processors' clock was capped before the first job: how far it may go and how far it can, in MHz.
    pub cpu_limit_mhz: Option<[u32; 2]>,
    /// How each of `Latency::rounds` ran.
    pub rounds: Vec<RoundState>,
    /// Rounds that were disturbed and are in none of the figures.
    pub set_aside: Vec<SetAside>,
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
