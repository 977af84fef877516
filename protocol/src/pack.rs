//! A *pack*: a labelled data set in one safetensors file, with the preprocessing that its pictures still
//! need before they enter a model.
//!
//! Tensors: `images`, either `U8` of shape `[N, H, W, C]` (resized and cropped, not yet scaled) or `F32` of
//! shape `[N, C, H, W]` (ready); `labels`, `I64` of shape `[N]`, absent from calibration packs. The
//! metadata entry `edgefront.pack` holds `Header` as JSON.

use serde::{Deserialize, Serialize};

/// What turns stored pictures into model input: `(pixel / 255 - mean) / std` per channel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Normalization {
    /// Mean per channel, of pixels in 0..1.
    pub mean: Vec<f32>,
    /// Standard deviation per channel, of pixels in 0..1.
    pub std: Vec<f32>,
}
