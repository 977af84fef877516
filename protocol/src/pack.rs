//! A *pack*: a labelled data set in one safetensors file, with the preprocessing that its pictures still
//! need before they enter a model.
//!
//! Tensors: `images`, either `U8` of shape `[N, H, W, C]` (resized and cropped, not yet scaled) or `F32` of
//! shape `[N, C, H, W]` (ready); `labels`, `I64` of shape `[N]`, absent from calibration packs. The
//! metadata entry `edgefront.pack` holds a header as JSON: the version, the [`Normalization`] of `U8`
//! pictures, and the names of the classes where they are known.
//!
//! A [`Pack`] keeps the bytes of the file in memory; [`Pack::input`] turns one batch after the other into
//! floats, so a data set never exists as floats in full. Where even the bytes are too many, [`Outline`] says
//! from the beginning of a file where its pixels lie, and [`Head::input`] makes floats of a part of them.

mod error;
mod file;
mod head;
mod normalization;

use std::ops::Range;

pub use error::PackError;
pub use file::{Outline, beginning};
pub use head::{Form, Head};
pub use normalization::Normalization;

/// A labelled data set whose parts agree with one another.
#[derive(Debug, Clone, PartialEq)]
pub struct Pack {
    head: Head,
    /// As [`Form`] says.
    pixels: Vec<u8>,
}

/// Extents of one picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PictureShape {
    /// Colour channels.
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl Pack {
    /// A data set of byte pictures: `pixels` in `[N, H, W, C]` order.
    pub fn from_bytes(
        count: usize,
        picture: PictureShape,
        pixels: Vec<u8>,
        normalization: Option<Normalization>,
    ) -> Result<Self, PackError> {
        let head = Head::new(count, picture, Form::Bytes(normalization))?;
        Self::filled(head, pixels)
    }

    /// A data set of ready pictures: `values` in `[N, C, H, W]` order.
    pub fn from_floats(count: usize, picture: PictureShape, values: &[f32]) -> Result<Self, PackError> {
        let head = Head::new(count, picture, Form::Floats)?;
        Self::filled(
            head,
            values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        )
    }

    fn filled(head: Head, pixels: Vec<u8>) -> Result<Self, PackError> {
        if head.len().checked_mul(head.bytes_of_picture()) == Some(pixels.len()) {
            Ok(Self { head, pixels })
        } else {
            Err(head.pixel_count(pixels.len()))
        }
    }

    /// The same pictures with one label each. Classes are counted from 0.
    pub fn with_labels(self, labels: Vec<i64>) -> Result<Self, PackError> {
        let head = self.head.with_labels(labels)?;
        Ok(Self { head, ..self })
    }

    /// The same pictures with the names of the classes, in the order of the labels.
    pub fn with_classes(self, classes: Vec<String>) -> Result<Self, PackError> {
        let head = self.head.with_classes(classes)?;
        Ok(Self { head, ..self })
    }

    /// Number of pictures, at least 1.
    pub fn len(&self) -> usize {
        self.head.len()
    }

    /// Never true; a pack holds at least one picture.
    pub fn is_empty(&self) -> bool {
        self.head.is_empty()
    }

    /// Extents of every picture.
    pub fn picture(&self) -> PictureShape {
        self.head.picture()
    }

    /// One class a picture, where they are known.
    pub fn labels(&self) -> Option<&[i64]> {
        self.head.labels()
    }

    /// Names of the classes, empty where they are not known.
    pub fn classes(&self) -> &[String] {
        self.head.classes()
    }

    /// The labels for a model with `classes` outputs; an error where there are none or one does not fit.
    pub fn labels_for(&self, classes: usize) -> Result<&[i64], PackError> {
        self.head.labels_for(classes)
    }

    /// The pictures of `range` as model input in `[N, C, H, W]` order. `range` is cut to the pictures that
    /// there are.
    pub fn input(&self, range: Range<usize>) -> Vec<f32> {
        let (start, end) = (range.start.min(self.len()), range.end.min(self.len()));
        let size = self.head.bytes_of_picture();
        self.head.input(&self.pixels[start * size..end.max(start) * size])
    }
}

impl PictureShape {
    /// Values in one picture.
    pub fn volume(self) -> usize {
        self.channels * self.height * self.width
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
