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

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use serde::{Deserialize, Serialize};

/// Generation of the format; readers refuse any other.
const MAJOR: u16 = 1;
/// Additions within the generation; readers ignore what they do not know.
const MINOR: u16 = 0;
/// Key of the header among the file's metadata.
const HEADER: &str = "edgefront.pack";
/// Bytes of the length that precedes a safetensors header.
const LENGTH: usize = 8;

/// What turns stored pictures into model input: `(pixel / 255 - mean) / std` per channel, in `f32` and in
/// this order, as torchvision's `ToTensor` and `Normalize` do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Normalization {
    /// Mean per channel, of pixels in 0..1.
    pub mean: Vec<f32>,
    /// Standard deviation per channel, of pixels in 0..1.
    pub std: Vec<f32>,
}

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

/// Parts that are not a data set, or bytes that are not a pack.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackError {
    /// The bytes are not a safetensors file.
    #[error("not a safetensors file: {0}")]
    Container(String),
    /// A safetensors file that is not a pack.
    #[error("not an edgefront pack: metadata `{HEADER}` is missing; make one with `edgefront pack`")]
    NotAPack,
    /// The header is not what it should be.
    #[error("pack header is malformed")]
    Header(#[source] serde_json::Error),
    /// The writer speaks another generation of the format.
    #[error("pack has version {found}, this program reads version {MAJOR}; update the older side")]
    Version {
        /// The major version in the file.
        found: u16,
    },
    /// `images` is not there.
    #[error("pack has no tensor `images`")]
    NoImages,
    /// A tensor has a type or shape that a pack does not have.
    #[error("tensor `{name}` is {found}, expected {expected}")]
    Tensor {
        /// The tensor.
        name: &'static str,
        /// Type and shape in the file.
        found: String,
        /// What a pack has.
        expected: &'static str,
    },
    /// Not one picture, or pictures without pixels.
    #[error("data set is empty: images have shape {0:?}")]
    Empty(Vec<usize>),
    /// As many pixels as the shape does not hold.
    #[error("{found} pixel values do not fill images of shape {shape:?}")]
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
    #[error("data set has no labels; accuracy needs `labels`, one int64 a picture")]
    NoLabels,
    /// Mean and deviation do not fit the pictures.
    #[error("normalization needs a finite mean and a positive std for each of {channels} channels")]
    Normalization {
        /// Channels of the pictures.
        channels: usize,
    },
}

#[derive(Debug, Serialize, Deserialize)]
struct Header {
    major: u16,
    minor: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    normalization: Option<Normalization>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    classes: Vec<String>,
}

/// The part of the header that any generation has.
#[derive(Deserialize)]
struct Version {
    major: u16,
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

    /// The pictures without their labels, for calibration.
    #[must_use]
    pub fn without_labels(self) -> Self {
        Self { labels: None, ..self }
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
                planar(&data[elements], self.picture, normalization.as_ref())
            }
        }
    }

    /// Writes the file.
    pub fn encode(&self) -> Vec<u8> {
        let PictureShape {
            channels,
            height,
            width,
        } = self.picture;
        let (dtype, shape, data, normalization) = match &self.pixels {
            Pixels::Bytes { data, normalization } => (
                Dtype::U8,
                [self.count, height, width, channels],
                data,
                normalization.clone(),
            ),
            Pixels::Floats { data } => (Dtype::F32, [self.count, channels, height, width], data, None),
        };
        let mut tensors = vec![(
            "images",
            Stored {
                dtype,
                shape: shape.to_vec(),
                data: Cow::Borrowed(data),
            },
        )];
        if let Some(labels) = &self.labels {
            let data = labels.iter().flat_map(|label| label.to_le_bytes()).collect();
            let labels = Stored {
                dtype: Dtype::I64,
                shape: vec![self.count],
                data: Cow::Owned(data),
            };
            tensors.push(("labels", labels));
        }
        let header = Header {
            major: MAJOR,
            minor: MINOR,
            normalization,
            classes: self.classes.clone(),
        };
        let header = serde_json::to_string(&header).expect("a header holds only types that JSON can write");
        let metadata = HashMap::from([(HEADER.to_owned(), header)]);
        safetensors::serialize(tensors, Some(metadata)).expect("shapes were checked against their data")
    }

    /// Reads a file, taking over its bytes so that pictures are not held twice. Never panics, whatever the
    /// bytes.
    pub fn decode(mut file: Vec<u8>) -> Result<Self, PackError> {
        let (start, metadata) = read_metadata(&file)?;
        let header = read_header(&metadata)?;
        let labels = metadata
            .info("labels")
            .map(|info| read_labels(info, payload(&file, start, info)?))
            .transpose()?;

        let images = metadata.info("images").ok_or(PackError::NoImages)?;
        let tensor = |expected| PackError::Tensor {
            name: "images",
            found: describe(images),
            expected,
        };
        let &[count, a, b, c] = &images.shape[..] else {
            return Err(tensor("of four axes"));
        };
        let (picture, floats) = match images.dtype {
            Dtype::U8 => (
                PictureShape {
                    channels: c,
                    height: a,
                    width: b,
                },
                false,
            ),
            Dtype::F32 => (
                PictureShape {
                    channels: a,
                    height: b,
                    width: c,
                },
                true,
            ),
            _ => return Err(tensor("U8 [N, H, W, C] or F32 [N, C, H, W]")),
        };
        if images.shape.contains(&0) {
            return Err(PackError::Empty(images.shape.clone()));
        }
        let length = payload(&file, start, images)?.len();
        file.drain(..start + images.data_offsets.0);
        file.truncate(length);
        file.shrink_to_fit();

        let pack = if floats {
            Self {
                count,
                picture,
                pixels: Pixels::Floats { data: file },
                labels: None,
                classes: Vec::new(),
            }
        } else {
            Self::from_bytes(count, picture, file, header.normalization)?
        };
        let pack = Self {
            labels,
            classes: header.classes,
            ..pack
        };
        pack.validate_labels()?;
        Ok(pack)
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

impl Normalization {
    fn fits(&self, channels: usize) -> bool {
        self.mean.len() == channels
            && self.std.len() == channels
            && self.mean.iter().all(|mean| mean.is_finite())
            && self.std.iter().all(|std| std.is_finite() && *std > 0.0)
    }
}

impl PictureShape {
    /// Values in one picture.
    pub fn volume(self) -> usize {
        self.channels * self.height * self.width
    }
}

/// Bytes in `[N, H, W, C]` order to floats in `[N, C, H, W]` order.
fn planar(bytes: &[u8], shape: PictureShape, normalization: Option<&Normalization>) -> Vec<f32> {
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

/// Where the tensors begin, and what they are. The container's own `read_metadata` adds untrusted offsets
/// without a check, so the two lines of it that are needed stand here.
fn read_metadata(file: &[u8]) -> Result<(usize, Metadata), PackError> {
    let container = |why: &str| PackError::Container(why.to_owned());
    let (length, rest) = file
        .split_first_chunk::<LENGTH>()
        .ok_or_else(|| container("too short"))?;
    let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| container("header too long"))?;
    let header = rest
        .get(..length)
        .ok_or_else(|| container("truncated header, or not safetensors"))?;
    let metadata: Metadata =
        serde_json::from_slice(header).map_err(|error| PackError::Container(error.to_string()))?;
    if metadata.data_len() == rest.len() - length {
        Ok((LENGTH + length, metadata))
    } else {
        Err(container("truncated, or bytes follow the last tensor"))
    }
}

fn read_header(metadata: &Metadata) -> Result<Header, PackError> {
    let json = metadata
        .metadata()
        .as_ref()
        .and_then(|m| m.get(HEADER))
        .ok_or(PackError::NotAPack)?;
    let version: Version = serde_json::from_str(json).map_err(PackError::Header)?;
    if version.major != MAJOR {
        return Err(PackError::Version { found: version.major });
    }
    serde_json::from_str(json).map_err(PackError::Header)
}

fn read_labels(info: &TensorInfo, bytes: &[u8]) -> Result<Vec<i64>, PackError> {
    if info.dtype != Dtype::I64 || info.shape.len() != 1 {
        return Err(PackError::Tensor {
            name: "labels",
            found: describe(info),
            expected: "I64 [N]",
        });
    }
    let label = |b: &[u8]| b.try_into().map_or(0, i64::from_le_bytes);
    Ok(bytes.chunks_exact(size_of::<i64>()).map(label).collect())
}

fn payload<'a>(file: &'a [u8], start: usize, info: &TensorInfo) -> Result<&'a [u8], PackError> {
    let (from, to) = info.data_offsets;
    let tensors = file.get(start..).and_then(|tensors| tensors.get(from..to));
    tensors.ok_or_else(|| PackError::Container("tensor lies outside the file".to_owned()))
}

fn describe(info: &TensorInfo) -> String {
    format!("{:?} {:?}", info.dtype, info.shape)
}

/// A tensor as the container's writer wants it.
struct Stored<'a> {
    dtype: Dtype,
    shape: Vec<usize>,
    data: Cow<'a, [u8]>,
}

impl safetensors::View for Stored<'_> {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.data)
    }

    fn data_len(&self) -> usize {
        self.data.len()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
