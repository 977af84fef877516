//! How the artifacts of a study were made.

use serde::{Deserialize, Serialize};

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
