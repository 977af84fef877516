//! Why something is no pack.

use super::file::{HEADER, MAJOR};

/// What to do about a damaged pack.
const AGAIN: &str = "make the pack again with `edgefront pack`, from an image folder or an .npz";

/// Parts that are not a data set, or bytes that are not a pack.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackError {
    /// The bytes are not a safetensors file.
    #[error("not a safetensors file: {0}; {AGAIN}")]
    Container(String),
    /// A safetensors file that is not a pack.
    #[error("not an edgefront pack: metadata `{HEADER}` is missing; make one with `edgefront pack`")]
    NotAPack,
    /// The header is not what it should be.
    #[error("pack header is malformed; {AGAIN}")]
    Header(#[source] serde_json::Error),
    /// The writer speaks another generation of the format.
    #[error("pack has version {found}, this program reads version {MAJOR}; update the older side")]
    Version {
        /// The major version in the file.
        found: u16,
    },
    /// `images` is not there.
    #[error("pack has no tensor `images`; {AGAIN}")]
    NoImages,
    /// A tensor has a type or shape that a pack does not have.
    #[error("tensor `{name}` is {found}, expected {expected}; {AGAIN}")]
    Tensor {
        /// The tensor.
        name: &'static str,
        /// Type and shape in the file.
        found: String,
        /// What a pack has.
        expected: &'static str,
    },
    /// Not one picture, or pictures without pixels.
    #[error("data set is empty: images have shape {0:?}; give at least one picture")]
    Empty(Vec<usize>),
    /// More pixels than a program can address.
    #[error("images of shape {0:?} are larger than any memory; give fewer or smaller ones")]
    TooLarge(Vec<usize>),
    /// As many pixels as the shape does not hold.
    #[error("{found} pixel values do not fill images of shape {shape:?}; {AGAIN}")]
    PixelCount {
        /// `[N, H, W, C]` or `[N, C, H, W]`.
        shape: Vec<usize>,
        /// Values given.
        found: usize,
    },
    /// Not one label a picture.
    #[error("{labels} labels for {pictures} pictures; one label a picture is needed")]
    LabelCount {
        /// Labels given.
        labels: usize,
        /// Pictures given.
        pictures: usize,
    },
    /// A label that no class has.
    #[error("label {label} of picture {index} is out of range: there are {classes} classes, counted from 0")]
    LabelRange {
        /// Position of the picture.
        index: usize,
        /// Its label.
        label: i64,
        /// Number of classes.
        classes: usize,
    },
    /// A label below 0.
    #[error("label {label} of picture {index} is negative; classes are counted from 0")]
    LabelNegative {
        /// Position of the picture.
        index: usize,
        /// Its label.
        label: i64,
    },
    /// Labels are needed and there are none.
    #[error("data set has no labels; scoring and training need `labels`, one int64 a picture")]
    NoLabels,
    /// Mean and deviation do not fit the pictures.
    #[error("normalization needs a finite mean and a positive std for each of {channels} channels")]
    Normalization {
        /// Channels of the pictures.
        channels: usize,
    },
}
