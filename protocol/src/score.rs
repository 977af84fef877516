//! What came of running a validation pack, as counts.

use serde::{Deserialize, Serialize};

/// Accuracy counts; rates and intervals are derived from them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// Hits of the label by the highest output.
    pub top1_hits: u64,
    /// Hits of the label among the five highest outputs.
    pub top5_hits: u64,
    /// The predicted class of each picture that was scored.
    pub predictions: Vec<u32>,
    /// The number in the pack of each of these pictures; empty where all were scored, in the pack's order.
    pub pictures: Vec<u32>,
    /// Of each class the pictures that were scored, and those whose label had the highest output.
    pub classes: Vec<ClassCount>,
    /// What the reference says of the same pictures; `None` where the job had none.
    pub beside: Option<Beside>,
}

/// The pictures of one class.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassCount {
    /// How many were scored.
    pub pictures: u32,
    /// How many of them had the highest output for their label.
    pub hits: u32,
}

/// A job's answers beside those of its reference, on the pictures that were scored.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Beside {
    /// As `Score::top1_hits`, of the reference.
    pub top1_hits: u64,
    /// As `Score::top5_hits`, of the reference.
    pub top5_hits: u64,
    /// Pictures whose label had the highest output of the reference alone.
    pub lost: u64,
    /// Pictures whose label had the highest output of the job alone.
    pub won: u64,
    /// As `lost` and `won`, of the five highest outputs.
    pub top5_lost: u64,
    /// As above.
    pub top5_won: u64,
    /// Pictures with the same prediction.
    pub agreeing: u64,
    /// What the reference says of the whole pack.
    pub pack: PackCounts,
    /// What is known of the whole pack; `None` where the plan has no margin.
    pub bounds: Option<PackBounds>,
    /// The outputs that differ most; `None` where the reference holds none.
    pub worst: Option<Worst>,
    /// As `Reference::by`.
    pub by: String,
}

/// Bounds of the differences to the reference on the whole pack, as fractions of 1: each holds with a chance of 95 % at
/// every picture at which scoring could have ended.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PackBounds {
    /// Of top-1.
    pub top1: [f64; 2],
    /// Of top-5.
    pub top5: [f64; 2],
}

/// The reference on all pictures of the pack.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackCounts {
    /// Pictures.
    pub pictures: u64,
    /// As `Score::top1_hits`.
    pub top1_hits: u64,
    /// As `Score::top5_hits`.
    pub top5_hits: u64,
}

/// The largest difference of an output to the reference's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Worst {
    /// Pictures whose outputs were compared.
    pub pictures: u32,
    /// The number in the pack of the picture with the largest difference.
    pub picture: u32,
    /// Its class.
    pub class: u32,
    /// The output.
    pub output: f32,
    /// The reference's.
    pub reference: f32,
    /// The largest magnitude of all outputs of the reference that were compared.
    pub magnitude: f32,
}
