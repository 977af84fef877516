//! What a user may choose about training.

use serde::{Deserialize, Serialize};

use super::program::refused;
use crate::error::Error;
use crate::quantize;

/// The learning rate of models in float.
pub const RATE: f32 = 0.005;

/// That of quantized ones, which are trained already and leave an optimum at larger steps.
pub const RATE_IN_INTEGERS: f32 = 0.0005;

/// Options of the pass.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// How often every sample is seen, at least 1.
    pub epochs: usize,
    /// Samples of a step, at least 1. What is left at the end of an epoch is not a step unless it is the only one.
    pub batch: usize,
    /// The largest learning rate: it rises to this over the warm-up and then falls along half a cosine to 0. Without
    /// one it is [`RATE`], or [`RATE_IN_INTEGERS`] with `qat`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub learning_rate: Option<f32>,
    /// Momentum of the gradients.
    pub momentum: f32,
    /// Decay of convolutions' and matrix products' weights.
    pub weight_decay: f32,
    /// The part of all steps over which the learning rate rises, between 0 and 1.
    pub warm_up: f32,
    /// The seed of the order of samples and of their augmentation.
    pub seed: u64,
    /// Puts a batch normalization behind each convolution while a float model without any trains, and folds them
    /// afterwards.
    pub normalize: bool,
    /// How samples are varied.
    pub augment: Augment,
    /// Quantizes the model first and trains it in its integers (quantization-aware training).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qat: Option<quantize::Options>,
    /// Learns from a teacher's answers beside the labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distil: Option<Distil>,
}

/// How pictures are varied. Other inputs stay as they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Augment {
    /// Mirrors every second picture, at random.
    pub flip: bool,
    /// Moves a picture by up to so many pixels in each direction; zeros follow.
    pub shift: usize,
}

/// How a model learns from a teacher.
///
/// The loss is `(1 - alpha) * cross entropy + alpha * T^2 * KL(teacher / T || model / T)`.
///
/// Source: Hinton et al., "Distilling the Knowledge in a Neural Network", 2015.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Distil {
    /// The teacher's part of the loss, between 0 and 1.
    pub alpha: f32,
    /// What logits are divided by, above 0.
    pub temperature: f32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            epochs: 3,
            batch: 64,
            learning_rate: None,
            momentum: 0.9,
            weight_decay: 1e-4,
            warm_up: 0.1,
            seed: 0,
            normalize: true,
            augment: Augment::default(),
            qat: None,
            distil: None,
        }
    }
}

impl Default for Distil {
    fn default() -> Self {
        Self {
            alpha: 0.5,
            temperature: 4.0,
        }
    }
}

impl Options {
    /// The largest learning rate.
    pub(super) fn rate(&self) -> f32 {
        let usual = if self.qat.is_some() {
            RATE_IN_INTEGERS
        } else {
            RATE
        };
        self.learning_rate.unwrap_or(usual)
    }

    /// Refuses figures that are out of range.
    pub(crate) fn check(&self) -> Result<(), Error> {
        match (self.fault(), &self.qat) {
            (Some(fault), _) => Err(refused(fault)),
            (None, Some(options)) => options.check(),
            (None, None) => Ok(()),
        }
    }

    /// What is out of range, with the mend.
    fn fault(&self) -> Option<&'static str> {
        let Distil { alpha, temperature } = self.distil.unwrap_or_default();
        let positive = |value: f32| value.is_finite() && value > 0.0;
        let faults = [
            (self.epochs == 0, "epochs must be at least 1"),
            (self.batch == 0, "batch must be at least 1"),
            (!positive(self.rate()), "learning_rate must be above 0"),
            (
                !(0.0..1.0).contains(&self.momentum),
                "momentum must be at least 0 and below 1",
            ),
            (
                !(0.0..=1.0).contains(&self.weight_decay),
                "weight_decay must be between 0 and 1",
            ),
            (
                !(0.0..=1.0).contains(&self.warm_up),
                "warm_up must be between 0 and 1",
            ),
            (!(0.0..=1.0).contains(&alpha), "alpha must be between 0 and 1"),
            (!positive(temperature), "temperature must be above 0"),
        ];
        faults
            .into_iter()
            .find(|(wrong, _)| *wrong)
            .map(|(_, fault)| fault)
    }
}
