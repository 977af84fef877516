//! The accuracy of one measurement.

use serde::{Deserialize, Serialize};

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
    /// Pictures of the pack, where only `samples` of them were scored: `top1` is then the reference's on the whole pack and
    /// the mean difference to it on these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pack_samples: Option<u64>,
    /// Share of pictures with the same prediction as the FP32 model on the workstation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agreement_reference: Option<f64>,
    /// The runtime and version by which the workstation ran that model, as `ort 1.32.0`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// By how much top-1 is below that model's, on the pictures that were scored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top1_drop: Option<f64>,
    /// 95 % interval of `top1_drop`: over the pack where a part of it was scored, else over pictures like those of the pack.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top1_drop_ci95: Option<[f64; 2]>,
    /// Of each class the share of its pictures that were predicted right; `None` where it has no picture.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recall: Vec<Option<f64>>,
    /// Mean of `recall` over the classes that have pictures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean_recall: Option<f64>,
    /// The class with the lowest recall.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worst_recall: Option<ClassRecord>,
    /// The output that is furthest from that of the FP32 model on the workstation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worst_output: Option<WorstOutputRecord>,
}

/// The recall of one class.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ClassRecord {
    /// Its number, counted from 0.
    pub class: u32,
    /// The share of its pictures that were predicted right.
    pub recall: f64,
    /// Its pictures that were scored.
    pub pictures: u32,
}

/// The largest difference of an output to a reference's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct WorstOutputRecord {
    /// The absolute difference.
    pub difference: f64,
    /// The largest magnitude of the reference's outputs, beside which it is small or large.
    pub magnitude: f64,
    /// Number of the picture in the pack.
    pub picture: u32,
    /// The class whose output it is.
    pub class: u32,
    /// Pictures whose outputs were compared.
    pub pictures: u32,
}
