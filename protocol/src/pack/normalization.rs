//! From stored bytes to the floats that a model takes.

use serde::{Deserialize, Serialize};

use super::PictureShape;

/// What turns stored pictures into model input: `(pixel / 255 - mean) / std` per channel, in `f32` and in
/// this order, as torchvision's `ToTensor` and `Normalize` do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Normalization {
    /// Mean per channel, of pixels in 0..1.
    pub mean: Vec<f32>,
    /// Standard deviation per channel, of pixels in 0..1.
    pub std: Vec<f32>,
}

impl Normalization {
    /// Whether there is a finite mean and a positive deviation for each channel.
    pub(super) fn fits(&self, channels: usize) -> bool {
        self.mean.len() == channels
            && self.std.len() == channels
            && self.mean.iter().all(|mean| mean.is_finite())
            && self.std.iter().all(|std| std.is_finite() && *std > 0.0)
    }
}

/// Bytes in `[N, H, W, C]` order to floats in `[N, C, H, W]` order.
pub(super) fn planar(bytes: &[u8], shape: PictureShape, normalization: Option<&Normalization>) -> Vec<f32> {
    let tables: Vec<[f32; 256]> = (0..shape.channels).map(|c| lookup(normalization, c)).collect();
    let plane = shape.height * shape.width;
    let mut values = vec![0.0; bytes.len()];
    for (picture, planes) in bytes
        .chunks_exact(shape.volume())
        .zip(values.chunks_exact_mut(shape.volume()))
    {
        for (c, (plane, table)) in planes.chunks_exact_mut(plane).zip(&tables).enumerate() {
            for (value, pixel) in plane.iter_mut().zip(picture[c..].iter().step_by(shape.channels)) {
                *value = table[usize::from(*pixel)];
            }
        }
    }
    values
}

/// The float of each byte in one channel.
fn lookup(normalization: Option<&Normalization>, channel: usize) -> [f32; 256] {
    std::array::from_fn(|pixel| match normalization {
        Some(n) => (pixel as f32 / 255.0 - n.mean[channel]) / n.std[channel],
        None => pixel as f32,
    })
}
