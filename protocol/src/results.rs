//! The schema `edgefront.results/1` of `results.json`, as other programs read it.

use serde::{Deserialize, Serialize};

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
    /// Time to load the artifact.
    pub load_ms: f64,
    /// Seed of the shuffled order in which the configurations of the device took turns, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// State of the device.
    pub conditions: ConditionsRecord,
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
}

impl Record {
    /// What tells this record from the others of its device: `ptq-int8/ort/cpu/t2/b1`, after its study where
    /// several were merged: `night/ptq-int8/ort/cpu/t2/b1`. Processors that it was
    /// bound to and a scenario other than a single stream end it: `ptq-int8/ort/cpu/t2/b1/cpus4-7/server20ms`.
    pub fn configuration(&self) -> String {
        let study = self
            .study
            .as_ref()
            .map_or_else(String::new, |study| format!("{study}/"));
        let cpus = match &self.cpus[..] {
            [] => String::new(),
            cpus => format!("/cpus{}", processors::list(cpus)),
        };
        let scenario = self
            .scenario
            .as_ref()
            .map_or_else(String::new, |scenario| format!("/{}", scenario.label));
        format!(
            "{study}{}/{}/{}/t{}/b{}{cpus}{scenario}",
            self.variant, self.runtime, self.provider, self.threads, self.batch
        )
    }
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

/// Latency statistics in milliseconds. A percentile is `None` where the samples cannot reach it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LatencyRecord {
    /// Median.
    pub p50: f64,
    /// 90th percentile.
    pub p90: Option<f64>,
    /// 95th percentile.
    pub p95: Option<f64>,
    /// 99th percentile.
    pub p99: Option<f64>,
    /// 99.9th percentile.
    pub p999: Option<f64>,
    /// Arithmetic mean.
    pub mean: f64,
    /// Fastest run.
    pub min: f64,
    /// Slowest run.
    pub max: f64,
    /// Timed runs.
    pub samples: u64,
    /// 95 % confidence interval of the median by order statistics; `None` below 6 samples.
    pub p50_ci95: Option<[f64; 2]>,
    /// Whether the samples suffice for P99 by MLPerf's early-stopping rule (662).
    pub p99_certified: bool,
}

/// Accuracy over the validation pack; rates are fractions of 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AccuracyRecord {
    /// Share of pictures whose label has the highest output.
    pub top1: f64,
    /// Share of pictures whose label is among the five highest outputs.
    pub top5: f64,
    /// Pictures.
    pub samples: u64,
    /// 95 % Wilson interval of `top1`.
    pub top1_ci95: [f64; 2],
    /// 95 % Wilson interval of `top5`.
    pub top5_ci95: [f64; 2],
    /// Share of pictures with the same prediction as the FP32 model; `None` where it was not run.
    pub agreement_fp32: Option<f64>,
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
}

/// State of the device during the measurement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConditionsRecord {
    /// CPU frequency governor.
    pub governor: Option<String>,
    /// Highest temperature, in degrees Celsius.
    pub max_temp_c: Option<f64>,
    /// Whether the device throttled; `None` where it does not tell.
    pub throttled: Option<bool>,
    /// False where the rounds disagree by so much that the measurement should not be compared, or an emulator ran the
    /// model; `notes` say so.
    pub valid: bool,
    /// True where an emulator ran the model, so that times and memory say nothing of a device and take no part in its
    /// frontier. Left out where it is false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub emulated: bool,
    /// What a reader should know.
    pub notes: Vec<String>,
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
        ];
        let parts = parts.into_iter().flatten().filter(|part| !part.is_empty());
        parts.collect::<Vec<_>>().join("/")
    }
}

/// How one artifact was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VariantRecord {
    /// The variant, as in `Record::variant`.
    pub variant: String,
    /// The artifact's digest, as in `ArtifactRecord::sha256`.
    pub sha256: String,
    /// The passes in the order in which they were applied.
    pub passes: Vec<PassRecord>,
}

/// What one pass did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PassRecord {
    /// The pass: `quantize`.
    pub pass: String,
    /// The nodes that it considered, in the graph's order.
    pub nodes: Vec<NodeRecord>,
    /// What the model costs before and after it, of passes that make the model cheaper.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<[CostRecord; 2]>,
    /// What each layer's quantization costs, where that was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sensitivity: Option<SensitivityRecord>,
    /// How the ranges of activations were chosen, where by trial.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ranges: Option<RangesRecord>,
}

/// Which method chose the ranges of activations, of those that were tried.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RangesRecord {
    /// The method: `mse`.
    pub method: String,
    /// Samples that the methods were compared on.
    pub samples: u64,
    /// What each method gave.
    pub trials: Vec<TrialRecord>,
}

/// What a method for ranges gave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrialRecord {
    /// The method.
    pub method: String,
    /// Signal to quantization noise ratio of the model's outputs in decibels; `None` where they do not change.
    pub sqnr_db: Option<f64>,
}

/// What a pass did to one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// The node's name, or its operator and first output.
    pub node: String,
    /// Whether the pass changed it.
    pub applied: bool,
    /// What was done, or why nothing was.
    pub why: String,
}

/// What a model costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CostRecord {
    /// Elements of its constants.
    pub parameters: u64,
    /// Weights of its layers.
    pub weights: u64,
    /// Weights that are zero.
    pub zeros: u64,
    /// Multiplications with an addition for one picture; `None` where an axis is dynamic.
    pub macs: Option<u64>,
}

/// What quantizing each layer costs, and which stay in float for it. Drops are fractions of the samples; ratios are
/// those of the outputs' signal to quantization noise in decibels, `None` where the outputs do not change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SensitivityRecord {
    /// What is counted as a drop: `top1`, the accuracy lost, `agreement`, the predictions that change, or `none`,
    /// where the model makes no predictions.
    pub measure: String,
    /// Samples that drops and ratios are counted on.
    pub samples: u64,
    /// The drop that was allowed, where one was set.
    pub max_drop: Option<f64>,
    /// The ratio that was asked for, where one was.
    pub min_sqnr_db: Option<f64>,
    /// The drop with all layers in integers.
    pub drop_all_quantized: f64,
    /// The drop of what came out.
    pub drop: f64,
    /// The ratio with all layers in integers.
    pub sqnr_db_all_quantized: Option<f64>,
    /// The ratio of what came out.
    pub sqnr_db: Option<f64>,
    /// All layers, those that do most damage for what they cost in float first.
    pub layers: Vec<LayerRecord>,
}

/// One layer's damage, and what was decided.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerRecord {
    /// The node.
    pub node: String,
    /// Signal to quantization noise ratio of the model's outputs in decibels, with this layer alone in
    /// integers; `None` where they do not change.
    pub sqnr_db: Option<f64>,
    /// Whether it stays in float.
    pub in_float: bool,
}
