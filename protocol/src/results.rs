//! The schema `edgefront.results/1` of `results.json`, as other programs read it.

mod accuracy;
mod latency;
mod variant;

use serde::{Deserialize, Serialize};

pub use accuracy::{AccuracyRecord, ClassRecord, WorstOutputRecord};
pub use latency::{CertificationRecord, LatencyRecord, RoundRecord};
pub use variant::{
    CostRecord, LayerRecord, NodeRecord, PassRecord, RangesRecord, SensitivityRecord, TrialRecord,
    VariantRecord,
};

use crate::processors;

/// The value of `Results::schema` that this version writes.
pub const SCHEMA: &str = "edgefront.results/1";

/// The objectives by which `pareto` is decided unless a command was given others.
pub const DEFAULT_OBJECTIVES: [&str; 2] = ["latency_p50", "top1"];

/// All that came of a study.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// `edgefront.results/1`.
    pub schema: String,
    /// Name of the study.
    pub study: String,
    /// Names of the objectives by which `pareto` was decided, the horizontal axis first.
    #[serde(default = "default_objectives")]
    pub objectives: Vec<String>,
    /// The devices that took part, where they are known.
    #[serde(default)]
    pub devices: Vec<DeviceRecord>,
    /// One record a measurement.
    pub records: Vec<Record>,
    /// One entry a job or variant without a measurement.
    pub failed: Vec<FailedJob>,
    /// Whether jobs or devices of the study are left, so that `--resume` may add records.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unfinished: bool,
    /// How the variants were made, one entry an artifact; none where that is not known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub variants: Vec<VariantRecord>,
    /// What a reader should know of the study as a whole, a line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<String>,
}

fn default_objectives() -> Vec<String> {
    DEFAULT_OBJECTIVES.map(str::to_owned).to_vec()
}

/// One device, as its agent described it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRecord {
    /// Its name, as in `Record::device`.
    pub id: String,
    /// Processor model.
    pub cpu: String,
    /// Logical processors.
    pub cores: u32,
    /// `x86_64`, `aarch64`, `arm`.
    pub arch: String,
    /// Operating system and kernel.
    pub os: String,
    /// Installed memory in bytes.
    pub memory_bytes: u64,
}

/// One measurement: one variant on one target of one device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The study that it is from, where the results of several were merged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub study: Option<String>,
    /// The device.
    pub device: String,
    /// The variant: `ptq-int8`.
    pub variant: String,
    /// The runtime.
    pub runtime: String,
    /// The provider that really ran.
    pub provider: String,
    /// Version of the runtime on the device.
    pub runtime_version: String,
    /// Threads within one inference.
    pub threads: u32,
    /// Pictures per inference.
    pub batch: u32,
    /// The file that ran.
    pub artifact: ArtifactRecord,
    /// Latency of one inference (of one batch).
    pub latency_ms: LatencyRecord,
    /// Pictures per second.
    pub throughput_ips: f64,
    /// Accuracy, where a labelled pack was given.
    pub accuracy: Option<AccuracyRecord>,
    /// Energy, where a meter measured it.
    pub energy: Option<EnergyRecord>,
    /// Memory of the worker process.
    pub memory: MemoryRecord,
    /// What measuring itself took; `None` where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub harness: Option<HarnessRecord>,
    /// Time to load the artifact.
    pub load_ms: f64,
    /// The same of an artifact that comes from the disk; `None` where it could not be had so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cold_load_ms: Option<f64>,
    /// The first inference after loading.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_inference_ms: Option<f64>,
    /// Seed of the shuffled order in which the configurations of the device took turns, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// State of the device.
    pub conditions: ConditionsRecord,
    /// The time of each layer, where it was asked for and the runtime tells.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<LayerTimeRecord>,
    /// On the frontier of its device.
    pub pareto: bool,
    /// Configurations (as [`Record::configuration`] names them) of the frontier that dominate this one.
    pub dominated_by: Vec<String>,
    /// Why this record takes no part in the frontier; `None` where it does.
    #[serde(default)]
    pub not_ranked: Option<String>,
    /// For a quantized or pruned variant that is no faster than the model it came from, what was found to be
    /// in the way, in one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explanation: Option<String>,
    /// How queries came; `None` for a single stream, in which the next inference begins when the last one is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scenario: Option<ScenarioRecord>,
    /// Numbers of the processors that it was bound to, ascending; left out where it was not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cpus: Vec<u32>,
    /// Why it has fewer rounds than were planned; `None` where it was measured to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<StoppedRecord>,
    /// How the device became warm, where it was measured without a pause; its figures are of the second half. `None`:
    /// measured in rounds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sustained: Option<SustainedRecord>,
}

/// A run without a pause.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SustainedRecord {
    /// With its length, as a configuration has it: `sustained10m`.
    pub label: String,
    /// How long it was, in seconds.
    pub asked_s: f64,
    /// Whether latency and temperature stayed what they were over the second half, as far as they are known.
    pub settled: bool,
    /// The windows, in their order.
    pub windows: Vec<WindowRecord>,
}

/// A part of a sustained run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WindowRecord {
    /// When it began, in seconds from the beginning of the first.
    pub at_s: f64,
    /// Median latency in milliseconds.
    pub p50: f64,
    /// Temperature of the hottest zone at its end, in degrees Celsius.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temp_c: Option<f64>,
    /// Lowest and highest clock of the processors at its ends, in MHz.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_mhz: Option<[u32; 2]>,
    /// Whether the device throttled in it; `None` where it does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throttled: Option<bool>,
    /// Whether it is in the figures.
    pub counted: bool,
}

/// A record that was stopped early, since another one is beyond doubt better.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoppedRecord {
    /// Configuration of the other one.
    pub by: String,
    /// Rounds that both have.
    pub rounds: u32,
    /// Rounds that were planned.
    pub of: u32,
    /// The chance, over the whole race, with which a record that no other leads is stopped.
    pub chance: f64,
    /// Lead of the other one in the medians of the rounds.
    pub median: LeadRecord,
    /// Lead in their means.
    pub mean: LeadRecord,
    /// Lead in the energy of an inference; `None` where no meter was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub energy: Option<LeadRecord>,
    /// Top-1 accuracy of this record and of the other one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top1: Option<[f64; 2]>,
}

/// This record's figure in multiples of the other one's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LeadRecord {
    /// The ratio.
    pub ratio: f64,
    /// Its lower bound.
    pub at_least: f64,
}

impl Record {
    /// What tells this record from the others of its device: `ptq-int8/ort/cpu/t2/b1`, after its study where
    /// several were merged: `night/ptq-int8/ort/cpu/t2/b1`. Processors that it was
    /// bound to and its [`way`](Self::way) end it: `ptq-int8/ort/cpu/t2/b1/cpus4-7/server20ms`.
    pub fn configuration(&self) -> String {
        let study = self
            .study
            .as_ref()
            .map_or_else(String::new, |study| format!("{study}/"));
        let cpus = match &self.cpus[..] {
            [] => String::new(),
            cpus => format!("/cpus{}", processors::list(cpus)),
        };
        let way = self.way().map_or_else(String::new, |way| format!("/{way}"));
        format!(
            "{study}{}/{}/{}/t{}/b{}{cpus}{way}",
            self.variant, self.runtime, self.provider, self.threads, self.batch
        )
    }

    /// How queries came and whether without a pause: `offline`, `sustained10m`, `offline/sustained10m`; `None` for a single
    /// stream in rounds. Latencies of different ways say nothing of one another.
    pub fn way(&self) -> Option<String> {
        let scenario = self.scenario.as_ref().map(|scenario| scenario.label.as_str());
        let sustained = self.sustained.as_ref().map(|sustained| sustained.label.as_str());
        let parts: Vec<&str> = scenario.into_iter().chain(sustained).collect();
        (!parts.is_empty()).then(|| parts.join("/"))
    }
}

/// One layer as the runtime ran it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerTimeRecord {
    /// The runtime's name for it.
    pub name: String,
    /// What it computes; empty where its name tells.
    pub operator: String,
    /// Its mean time in an inference whose layers are timed, in milliseconds.
    pub ms: f64,
}

/// How queries came, where that is not a single stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScenarioRecord {
    /// `multi`, `offline` or `server`.
    pub name: String,
    /// The name with what was asked for, as a configuration has it: `server20ms`.
    pub label: String,
    /// Samples of one query, whose latency is measured.
    pub samples_per_query: u32,
    /// Seed of the moments at which queries came, where those were random.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// The highest rate in queries a second that kept P99 within the bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_qps: Option<f64>,
    /// What P99 must not exceed, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p99_bound_ms: Option<f64>,
    /// The rates that were tried, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub probes: Vec<ProbeRecord>,
    /// Whether this is the batch of the highest throughput, of those of one variant on one target offline. Left out
    /// where it is not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub best: bool,
}

/// One trial of a rate.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ProbeRecord {
    /// Queries a second.
    pub rate_qps: f64,
    /// P99 of the queries that were answered, in milliseconds.
    pub p99_ms: f64,
    /// Queries that were answered.
    pub queries: u64,
    /// Whether P99 was within the bound.
    pub kept: bool,
}

/// The file that ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtifactRecord {
    /// Its digest, 64 hexadecimal digits.
    pub sha256: String,
    /// Its size.
    pub bytes: u64,
    /// `onnx`.
    pub format: String,
}

/// Energy and power.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EnergyRecord {
    /// Millijoules per inference, gross.
    pub mj_per_inference: f64,
    /// Mean power while measuring, in watts.
    pub mean_w: f64,
    /// Power at rest, in watts.
    pub idle_w: Option<f64>,
    /// The meter: `ina3221`.
    pub meter: String,
    /// The rail: `VDD_IN`.
    pub rail: Option<String>,
    /// What the power feeds: `module`, `soc`, `board`, `wall`.
    pub scope: String,
    /// True for a model instead of a meter.
    pub estimated: bool,
    /// 95 % confidence interval of `mj_per_inference`; `None` where there were fewer than two rounds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mj_ci95: Option<[f64; 2]>,
    /// Millijoules per inference beyond what the device takes at rest; `None` where rest was not measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub net_mj_per_inference: Option<f64>,
    /// 95 % confidence interval of `net_mj_per_inference`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub net_mj_ci95: Option<[f64; 2]>,
}

/// Memory of the worker process, in megabytes of 10^6 bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MemoryRecord {
    /// Peak resident set.
    pub peak_rss_mb: Option<f64>,
    /// The same without what the process held before the runtime's library was opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub net_peak_rss_mb: Option<f64>,
    /// By how much the resident set grew while the artifact was loaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_mb: Option<f64>,
    /// Proportional set size after the last round.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pss_mb: Option<f64>,
}

/// What the agent took while the rounds ran, beside the worker that it measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HarnessRecord {
    /// Percent of one processor.
    pub cpu_percent: f64,
    /// Resident set in megabytes of 10^6 bytes.
    pub rss_mb: Option<f64>,
}

/// State of the device during the measurement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConditionsRecord {
    /// CPU frequency governor.
    pub governor: Option<String>,
    /// Highest temperature, in degrees Celsius.
    pub max_temp_c: Option<f64>,
    /// Whether the device throttled in a round that counts; `None` where it does not tell.
    pub throttled: Option<bool>,
    /// False where the rounds disagree by so much that the measurement should not be compared, or an emulator ran the
    /// model, as `notes` say; and where disturbed rounds had to be used, as `flagged_rounds` says.
    pub valid: bool,
    /// True where an emulator ran the model, so that times and memory say nothing of a device and take no part in its
    /// frontier. Left out where it is false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub emulated: bool,
    /// What a reader should know.
    pub notes: Vec<String>,
    /// Rounds that were disturbed, by throttling or by other load; `None` where there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flagged_rounds: Option<FlaggedRounds>,
    /// Cores that other processes kept busy, or a hypervisor took away, on the mean over the rounds that count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub foreign_load: Option<f64>,
    /// Lowest and highest clock of the processors at the ends of the rounds that count, in MHz.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_mhz: Option<[u32; 2]>,
    /// The same of the graphics processor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu_mhz: Option<[u32; 2]>,
    /// Where the device caps its processors' clock: how far it may go and how far it can, in MHz.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_limit_mhz: Option<[u32; 2]>,
    /// The mode of power that the device was set to, where it has such.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub power_mode: Option<String>,
    /// The waits for the device to cool before the rounds that count, where the plan has such.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cool_down: Option<CoolDownRecord>,
}

/// Waits for a device to cool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CoolDownRecord {
    /// How long they were in all, in seconds.
    pub waited_s: f64,
    /// Rounds that began warmer than was asked for, since the plan's limit came first.
    pub warm_rounds: u32,
}

/// Rounds that were disturbed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlaggedRounds {
    /// How many.
    pub count: u32,
    /// Rounds in all, those that nothing disturbed among them.
    pub of: u32,
    /// By what, each once: `throttling`, `other load`.
    pub causes: Vec<String>,
    /// False where they were measured again and are in no figure; true where they were so many that they are in all.
    pub used: bool,
}

/// A job or variant without a measurement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedJob {
    /// The study that it is from, where the results of several were merged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub study: Option<String>,
    /// The device, or empty where the variant failed before it had one.
    pub device: String,
    /// The variant, or empty where the device or its runtime failed for all of them.
    pub variant: String,
    /// The runtime, or empty where the variant failed before it had one.
    pub runtime: String,
    /// Threads within one inference, where there was a job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threads: Option<u32>,
    /// Pictures per inference, where there was a job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<u32>,
    /// How queries were to come, as a configuration has it, `server20ms`; left out for a single stream, and where there
    /// was no job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scenario: Option<String>,
    /// The processors that it was to be bound to, as they were asked for: `big`, `4-7`; left out where none were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus: Option<String>,
    /// Where it failed: `optimize`, `device` (it is not there), `fetch`, `load`, `run`, `score`, `cancelled`.
    pub stage: String,
    /// One line.
    pub error: String,
}

impl FailedJob {
    /// Where it failed, in words: `pi-kitchen qat-int8/tract/t1/b1 at load`.
    pub fn place(&self) -> String {
        let parts = [self.device.clone(), self.configuration()];
        let parts = parts.into_iter().filter(|part| !part.is_empty());
        format!("{} at {}", parts.collect::<Vec<_>>().join(" "), self.stage)
    }

    /// What failed, as far as it got, in the form of [`Record::configuration`].
    pub fn configuration(&self) -> String {
        let parts = [
            self.study.clone(),
            Some(self.variant.clone()),
            Some(self.runtime.clone()),
            self.threads.map(|threads| format!("t{threads}")),
            self.batch.map(|batch| format!("b{batch}")),
            self.cpus.as_ref().map(|cpus| format!("cpus{cpus}")),
            self.scenario.clone(),
        ];
        let parts = parts.into_iter().flatten().filter(|part| !part.is_empty());
        parts.collect::<Vec<_>>().join("/")
    }
}
