//! The file of a pack: a safetensors container whose metadata hold a header.

use std::borrow::Cow;
use std::collections::HashMap;

use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use serde::{Deserialize, Serialize};

use super::{Normalization, Pack, PackError, PictureShape, Pixels};

/// Generation of the format; readers refuse any other.
pub(super) const MAJOR: u16 = 1;
/// Additions within the generation; readers ignore what they do not know.
const MINOR: u16 = 0;
/// Key of the header among the file's metadata.
pub(super) const HEADER: &str = "edgefront.pack";
/// Bytes of the length that precedes a safetensors header.
const LENGTH: usize = 8;

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
pub(super) struct Stored<'a> {
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    pub(super) data: Cow<'a, [u8]>,
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
