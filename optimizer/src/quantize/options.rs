//! What a user may choose about quantization.

use serde::{Deserialize, Serialize};

use super::refused;
use crate::calibrate::Method;
use crate::error::Error;
use crate::sensitivity::Floor;

/// Options of the pass.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(clippy::struct_excessive_bools)] // Each is a switch of its own.
pub struct Options {
    /// How the range of an activation is chosen from its calibration samples; where it is not given, by `mse` or, where
    /// that keeps the outputs clearly better, by `minmax`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<Method>,
    /// With the method `percentile`, the part of the values that lies within the range, in percent. What lies
    /// beyond is cut off in equal parts at either end.
    pub percentile: f64,
    /// One weight scale an output channel instead of one a tensor.
    pub per_channel: bool,
    /// Integer type of the activations.
    pub activations: Activations,
    /// Zero in the middle of the activations' integers, as `TensorRT` wants it; else it lies where the grid is
    /// finest.
    pub symmetric: bool,
    /// Biases stay in float, as `TensorRT` wants them; else they are 32-bit integers.
    pub float_biases: bool,
    /// Weights of 7 bits, for x86 processors without VNNI, whose kernels add two products in 16 bits.
    pub reduce_range: bool,
    /// Scale channels between convolutions first, so that one scale serves them all.
    pub equalize: bool,
    /// Take the mean error that rounded weights make on the samples out of the biases.
    pub bias_correction: bool,
    /// How weights are rounded.
    pub rounding: Rounding,
    /// Calibration samples to use, at least 1; all where it is not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub samples: Option<usize>,
    /// Nodes that stay in float, by name. A `Relu` or `Clip` goes with the node that it belongs to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub float_nodes: Vec<String>,
    /// Keeps as many more nodes in float as needed for the top-1 accuracy on the calibration samples to fall by at
    /// most this, a fraction of them between 0 and 1. Without labels, so many predictions may change at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_drop: Option<f64>,
    /// Keeps as many more nodes in float as needed for the outputs' signal to quantization noise ratio on the
    /// calibration samples to be at least this, in decibels. With `max_drop`, both hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_sqnr: Option<f64>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            method: None,
            percentile: 99.999,
            per_channel: true,
            activations: Activations::Auto,
            symmetric: false,
            float_biases: false,
            reduce_range: false,
            equalize: false,
            bias_correction: false,
            rounding: Rounding::Nearest,
            samples: None,
            float_nodes: Vec::new(),
            max_drop: None,
            min_sqnr: None,
        }
    }
}

impl Options {
    /// Refuses figures that are out of range.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.samples == Some(0) {
            return Err(refused("`samples` is 0; it is at least 1"));
        }
        if self.method == Some(Method::Percentile) && !(50.0..=100.0).contains(&self.percentile) {
            let percentile = self.percentile;
            return Err(refused(format!(
                "the percentile {percentile} is not between 50 and 100; 99.999 is usual"
            )));
        }
        self.floor().map(drop)
    }

    /// The same in the form that `TensorRT` takes: it refuses others.
    #[must_use]
    pub fn for_tensorrt(self) -> Self {
        Self {
            activations: Activations::S8,
            symmetric: true,
            float_biases: true,
            ..self
        }
    }

    /// Whether they give that form.
    pub fn is_for_tensorrt(&self) -> bool {
        *self == self.clone().for_tensorrt()
    }

    /// What the model must keep, where nodes are to stay in float for it.
    ///
    /// # Errors
    /// Where no model could keep that, or any would.
    pub fn floor(&self) -> Result<Option<Floor>, Error> {
        let floor = Floor {
            max_drop: self.max_drop,
            min_sqnr: self.min_sqnr,
        };
        if let Some(max_drop) = self.max_drop
            && !(0.0..=1.0).contains(&max_drop)
        {
            return Err(refused(format!(
                "a drop of {max_drop} is not a fraction between 0 and 1"
            )));
        }
        if let Some(min_sqnr) = self.min_sqnr
            && !(0.0..f64::INFINITY).contains(&min_sqnr)
        {
            return Err(refused(format!(
                "an SQNR of {min_sqnr} dB is no floor; give a number of decibels from 0 on, such as 25"
            )));
        }
        Ok((self.max_drop.is_some() || self.min_sqnr.is_some()).then_some(floor))
    }
}

/// How weights are rounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rounding {
    /// Each to the nearest step.
    Nearest,
    /// So that the errors of each kernel and of each output channel cancel.
    Adaptive,
}

/// Integer type of the activations, as asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Activations {
    /// The type that the target's processor is fastest with.
    Auto,
    /// Unsigned bytes.
    U8,
    /// Signed bytes.
    S8,
}

/// Integer type of the activations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ActivationType {
    /// Unsigned bytes with any zero point.
    U8,
    /// Signed bytes.
    S8,
}

impl ActivationType {
    /// The type that computes fastest on a processor, by Rust's name of its architecture: ONNX Runtime's kernels
    /// for x86 want unsigned activations, those for ARM take signed ones.
    pub fn for_architecture(architecture: &str) -> Self {
        match architecture {
            "x86_64" | "x86" => Self::U8,
            _ => Self::S8,
        }
    }

    /// The least and the largest integer.
    pub fn limits(self) -> (i32, i32) {
        match self {
            Self::U8 => (0, 255),
            Self::S8 => (-128, 127),
        }
    }
}

impl Activations {
    /// The type itself, where `auto` stands for what is best for the target.
    pub fn resolve(self, auto: ActivationType) -> ActivationType {
        match self {
            Self::Auto => auto,
            Self::U8 => ActivationType::U8,
            Self::S8 => ActivationType::S8,
        }
    }
}
