//! The file of a pack: a safetensors container whose metadata hold a header.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use serde::{Deserialize, Serialize};

use super::{Form, Head, Normalization, Pack, PackError, PictureShape};

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

/// Length of the beginning of a file that says what the rest is, from its first bytes; the whole
/// of what [`Outline::decode`] must see.
pub fn beginning(file: [u8; LENGTH]) -> u64 {
    u64::from_le_bytes(file).saturating_add(LENGTH as u64)
}

impl Head {
    /// The file up to the pixels, which come last.
    pub fn encode(&self) -> Vec<u8> {
        let (dtype, normalization) = match self.form() {
            Form::Bytes(normalization) => (Dtype::U8, normalization.clone()),
            Form::Floats => (Dtype::F32, None),
        };
        let images = Stored {
            dtype,
            shape: self.shape().to_vec(),
            length: self.len() * self.bytes_of_picture(),
            // The writer sorts by alignment, so that these are the last, and takes what it is given.
            data: Vec::new(),
        };
        let mut tensors = vec![("images", images)];
        if let Some(labels) = self.labels() {
            let data: Vec<u8> = labels.iter().flat_map(|label| label.to_le_bytes()).collect();
            let labels = Stored {
                dtype: Dtype::I64,
                shape: vec![self.len()],
                length: data.len(),
                data,
            };
            tensors.push(("labels", labels));
        }
        let header = Header {
            major: MAJOR,
            minor: MINOR,
            normalization,
            classes: self.classes().to_vec(),
        };
        let header = serde_json::to_string(&header).expect("a header holds only types that JSON can write");
        let metadata = HashMap::from([(HEADER.to_owned(), header)]);
        safetensors::serialize(tensors, Some(metadata)).expect("the shapes are those of the data")
    }
}

impl Pack {
    /// Writes the file.
    pub fn encode(&self) -> Vec<u8> {
        let mut file = self.head.encode();
        file.extend_from_slice(&self.pixels);
        file
    }

    /// Reads a file, taking over its bytes so that pictures are not held twice. Never panics, whatever the
    /// bytes.
    pub fn decode(mut file: Vec<u8>) -> Result<Self, PackError> {
        let outline = Outline::decode(&file, file.len() as u64)?;
        let within = |place: &Range<u64>| place.start as usize..place.end as usize;
        let labels = outline.labels.as_ref().map(|labels| &file[within(labels)]);
        let head = outline.head(labels)?;
        let pixels = within(&outline.pixels);
        file.truncate(pixels.end);
        file.drain(..pixels.start);
        file.shrink_to_fit();
        Self::filled(head, file)
    }
}

/// What the beginning of a file says, and where the rest lies in it.
#[derive(Debug)]
pub struct Outline {
    head: Head,
    /// Where the labels lie, if there are any.
    pub labels: Option<Range<u64>>,
    /// Where the pixels lie.
    pub pixels: Range<u64>,
}

impl Outline {
    /// Reads the [`beginning`] of a file of `length` bytes. Never panics, whatever the bytes.
    pub fn decode(beginning: &[u8], length: u64) -> Result<Self, PackError> {
        let (start, metadata) = read_metadata(beginning, length)?;
        let header = read_header(&metadata)?;
        let place =
            |info: &TensorInfo| start + info.data_offsets.0 as u64..start + info.data_offsets.1 as u64;
        let labels = metadata.info("labels");
        if let Some(info) = labels.filter(|info| info.dtype != Dtype::I64 || info.shape.len() != 1) {
            return Err(PackError::Tensor {
                name: "labels",
                found: describe(info),
                expected: "I64 [N]",
            });
        }
        let images = metadata.info("images").ok_or(PackError::NoImages)?;
        let tensor = |expected| PackError::Tensor {
            name: "images",
            found: describe(images),
            expected,
        };
        let &[count, a, b, c] = &images.shape[..] else {
            return Err(tensor("of four axes"));
        };
        let (channels, height, width, form) = match images.dtype {
            Dtype::U8 => (c, a, b, Form::Bytes(header.normalization)),
            Dtype::F32 => (a, b, c, Form::Floats),
            _ => return Err(tensor("U8 [N, H, W, C] or F32 [N, C, H, W]")),
        };
        let picture = PictureShape {
            channels,
            height,
            width,
        };
        let head = Head::new(count, picture, form)?.with_classes(header.classes)?;
        Ok(Self {
            head,
            labels: labels.map(place),
            pixels: place(images),
        })
    }

    /// The data set with its labels, which are those at [`Outline::labels`].
    pub fn head(&self, labels: Option<&[u8]>) -> Result<Head, PackError> {
        let head = self.head.clone();
        let Some(labels) = labels else {
            return Ok(head);
        };
        let labels = labels.as_chunks().0.iter();
        head.with_labels(labels.map(|&label| i64::from_le_bytes(label)).collect())
    }
}

/// Where the tensors begin, and what they are. The container's own `read_metadata` adds untrusted offsets
/// without a check, so the two lines of it that are needed stand here.
fn read_metadata(file: &[u8], file_length: u64) -> Result<(u64, Metadata), PackError> {
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
    let start = (LENGTH + length) as u64;
    if start.checked_add(metadata.data_len() as u64) == Some(file_length) {
        Ok((start, metadata))
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

fn describe(info: &TensorInfo) -> String {
    format!("{:?} {:?}", info.dtype, info.shape)
}

/// A tensor as the container's writer wants it.
pub(super) struct Stored {
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    pub(super) length: usize,
    pub(super) data: Vec<u8>,
}

impl safetensors::View for Stored {
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
        self.length
    }
}
