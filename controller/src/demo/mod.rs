//! The built-in demonstration: a small residual network and the pictures to tell apart, drawn on the spot.

mod draw;
mod picture;
mod shape;

use edgefront_protocol::pack::{Normalization, Pack, PictureShape};
use rayon::prelude::*;

use draw::Draw;
use picture::SIDE;
use shape::Shape;

/// The network, as `assets/demo/train.py` left it: 3x32x32 pictures, ten classes, BatchNorm not folded.
pub const MODEL: &[u8] = include_bytes!("../../assets/demo/shapes.onnx");

/// Which pictures. No picture is in two sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Set {
    /// What the network learned from.
    Training,
    /// What it is scored on.
    Validation,
    /// What quantization takes the ranges of activations from.
    Calibration,
}

impl Set {
    fn seed(self) -> u64 {
        match self {
            Self::Training => 1,
            Self::Validation => 2,
            Self::Calibration => 3,
        }
    }

    /// Pictures that the demonstration uses.
    pub fn size(self) -> usize {
        match self {
            Self::Training => 12_000,
            Self::Validation => 1_000,
            Self::Calibration => 200,
        }
    }
}

/// The first `count` pictures of a set with their labels, the classes in turn. The same on every machine.
pub fn pictures(set: Set, count: usize) -> Pack {
    let classes = Shape::ALL.len();
    let drawn: Vec<Vec<u8>> = (0..count)
        .into_par_iter()
        .map(|index| {
            picture::draw(
                Shape::ALL[index % classes],
                &mut Draw::new(set.seed(), index as u64),
            )
        })
        .collect();
    let shape = PictureShape {
        channels: 3,
        height: SIDE,
        width: SIDE,
    };
    // Pixels to -1..1.
    let normalization = Normalization {
        mean: vec![0.5; 3],
        std: vec![0.5; 3],
    };
    let labels = (0..count).map(|index| (index % classes) as i64).collect();
    let names = Shape::ALL.map(|shape| shape.name().to_owned()).to_vec();
    Pack::from_bytes(count, shape, drawn.concat(), Some(normalization))
        .and_then(|pack| pack.with_labels(labels))
        .and_then(|pack| pack.with_classes(names))
        .expect("invariant: the drawn pictures and their labels agree")
}

#[cfg(test)]
mod tests;
