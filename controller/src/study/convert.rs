//! A variant in the formats of runtimes that do not load ONNX.

use edgefront_optimizer::Model;
use edgefront_optimizer::convert::tflite;
use edgefront_protocol::{Digest, Format, Shape};

use super::cache::Entry;
use super::explain::Making;

/// What is wanted of a variant beside the ONNX file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Conversion {
    pub(super) format: Format,
    /// Shape of each input, which these formats fix.
    pub(super) shapes: Vec<Shape>,
}

impl Conversion {
    /// All that decides the bytes of the file that is made of the file of this digest.
    pub(super) fn key(&self, source: Digest) -> anyhow::Result<Digest> {
        let version = env!("CARGO_PKG_VERSION");
        let parts = (version, source, self.format, &self.shapes);
        Ok(Digest::of(&serde_json::to_vec(&parts)?))
    }

    /// Converts the ONNX file `bytes`, which was made as `making` says.
    pub(super) fn convert(&self, bytes: &[u8], making: Making) -> anyhow::Result<Entry> {
        match self.format {
            Format::Tflite => self.to_tflite(bytes, making),
            format => anyhow::bail!("variants are not converted to {}", format.as_str()),
        }
    }

    fn to_tflite(&self, bytes: &[u8], mut making: Making) -> anyhow::Result<Entry> {
        let extents = |shape: &Shape| shape.iter().map(|&extent| usize::try_from(extent)).collect();
        let options = tflite::Options {
            shapes: self.shapes.iter().map(extents).collect::<Result<_, _>>()?,
            ..tflite::Options::default()
        };
        let converted = tflite::convert(&Model::decode(bytes, None)?, &options)?;
        making.passes.extend(converted.passes);
        Ok(Entry {
            making: serde_json::to_string(&making)?,
            bytes: converted.bytes,
        })
    }
}
