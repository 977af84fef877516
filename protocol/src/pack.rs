//! A *pack*: a labelled data set in one safetensors file, with the preprocessing that its pictures still
//! need before they enter a model.
//!
//! Tensors: `images`, either `U8` of shape `[N, H, W, C]` (resized and cropped, not yet scaled) or `F32` of
//! shape `[N, C, H, W]` (ready); `labels`, `I64` of shape `[N]`, absent from calibration packs. The
//! metadata entry `edgefront.pack` holds a header as JSON: the version, the [`Normalization`] of `U8`
//! pictures, and the names of the classes where they are known.
//!
//! Pictures keep the bytes of the file in memory; [`Pack::input`] turns one batch after the other into
//! floats, so a data set never exists as floats in full.

mod error;
mod file;
mod normalization;

use std::ops::Range;

pub use error::PackError;
pub use normalization::Normalization;

/// A labelled data set whose parts agree with one another.
#[derive(Debug, Clone, PartialEq)]
pub struct Pack {
    count: usize,
    picture: PictureShape,
    pixels: Pixels,
    labels: Option<Vec<i64>>,
    classes: Vec<String>,
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

#[derive(Debug, Clone, PartialEq)]
enum Pixels {
    /// `[N, H, W, C]`; without a normalization, 0..255 enter the model as they are.
    Bytes {
        data: Vec<u8>,
        normalization: Option<Normalization>,
    },
    /// `[N, C, H, W]`, little-endian `f32`.
    Floats { data: Vec<u8> },
}

impl Pack {
    /// A data set of byte pictures: `pixels` in `[N, H, W, C]` order.
    pub fn from_bytes(
        count: usize,
        picture: PictureShape,
        pixels: Vec<u8>,
        normalization: Option<Normalization>,
    ) -> Result<Self, PackError> {
        let shape = vec![count, picture.height, picture.width, picture.channels];
        check_volume(&shape, pixels.len())?;
        if normalization.as_ref().is_some_and(|n| !n.fits(picture.channels)) {
            return Err(PackError::Normalization {
                channels: picture.channels,
            });
        }
        let pixels = Pixels::Bytes {
            data: pixels,
            normalization,
        };
        Ok(Self {
            count,
            picture,
            pixels,
            labels: None,
            classes: Vec::new(),
        })
    }

    /// A data set of ready pictures: `values` in `[N, C, H, W]` order.
    pub fn from_floats(count: usize, picture: PictureShape, values: &[f32]) -> Result<Self, PackError> {
        let shape = vec![count, picture.channels, picture.height, picture.width];
        check_volume(&shape, values.len())?;
        let data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Ok(Self {
            count,
            picture,
            pixels: Pixels::Floats { data },
            labels: None,
            classes: Vec::new(),
        })
    }

    /// The same pictures with one label each. Classes are counted from 0.
    pub fn with_labels(self, labels: Vec<i64>) -> Result<Self, PackError> {
        let labelled = Self {
            labels: Some(labels),
            ..self
        };
        labelled.validate_labels()?;
        Ok(labelled)
    }

    /// The same pictures with the names of the classes, in the order of the labels.
    pub fn with_classes(self, classes: Vec<String>) -> Result<Self, PackError> {
        let named = Self { classes, ..self };
        named.validate_labels()?;
        Ok(named)
    }

    /// The first `count` pictures, or all where there are fewer. `None` for 0.
    #[must_use]
    pub fn first(mut self, count: usize) -> Option<Self> {
        if count == 0 {
            return None;
        }
        let count = count.min(self.count);
        let volume = self.picture.volume();
        match &mut self.pixels {
            Pixels::Bytes { data, .. } => data.truncate(count * volume),
            Pixels::Floats { data } => data.truncate(count * volume * size_of::<f32>()),
        }
        if let Some(labels) = &mut self.labels {
            labels.truncate(count);
        }
        Some(Self { count, ..self })
    }

    /// Number of pictures, at least 1.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Never true; a pack holds at least one picture.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Extents of every picture.
    pub fn picture(&self) -> PictureShape {
        self.picture
    }

    /// One class a picture, where they are known.
    pub fn labels(&self) -> Option<&[i64]> {
        self.labels.as_deref()
    }

    /// Names of the classes, empty where they are not known.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// The labels for a model with `classes` outputs; an error where there are none or one does not fit.
    pub fn labels_for(&self, classes: usize) -> Result<&[i64], PackError> {
        let labels = self.labels().ok_or(PackError::NoLabels)?;
        check_range(labels, classes)?;
        Ok(labels)
    }

    /// The pictures of `range` as model input in `[N, C, H, W]` order. `range` is cut to the pictures that
    /// there are.
    pub fn input(&self, range: Range<usize>) -> Vec<f32> {
        let volume = self.picture.volume();
        let (start, end) = (range.start.min(self.count), range.end.min(self.count));
        let elements = start * volume..end.max(start) * volume;
        match &self.pixels {
            Pixels::Floats { data } => {
                let bytes = &data[elements.start * size_of::<f32>()..elements.end * size_of::<f32>()];
                bytes
                    .chunks_exact(4)
                    .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                    .collect()
            }
            Pixels::Bytes { data, normalization } => {
                normalization::planar(&data[elements], self.picture, normalization.as_ref())
            }
        }
    }

    fn validate_labels(&self) -> Result<(), PackError> {
        let Some(labels) = &self.labels else {
            return Ok(());
        };
        if labels.len() != self.count {
            return Err(PackError::LabelCount {
                labels: labels.len(),
                pictures: self.count,
            });
        }
        if let Some(index) = labels.iter().position(|&label| label < 0) {
            return Err(PackError::LabelNegative {
                index,
                label: labels[index],
            });
        }
        if self.classes.is_empty() {
            Ok(())
        } else {
            check_range(labels, self.classes.len())
        }
    }
}

impl PictureShape {
    /// Values in one picture.
    pub fn volume(self) -> usize {
        self.channels * self.height * self.width
    }
}

fn check_volume(shape: &[usize], found: usize) -> Result<(), PackError> {
    if shape.contains(&0) {
        return Err(PackError::Empty(shape.to_vec()));
    }
    let volume = shape.iter().try_fold(1usize, |n, &extent| n.checked_mul(extent));
    if volume == Some(found) {
        Ok(())
    } else {
        Err(PackError::PixelCount {
            shape: shape.to_vec(),
            found,
        })
    }
}

fn check_range(labels: &[i64], classes: usize) -> Result<(), PackError> {
    let outside = |label: i64| usize::try_from(label).map_or(true, |label| label >= classes);
    match labels.iter().position(|&label| outside(label)) {
        Some(index) => Err(PackError::LabelRange {
            index,
            label: labels[index],
            classes,
        }),
        None => Ok(()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
