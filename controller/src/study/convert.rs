//! A variant in the formats of runtimes that do not load ONNX.

use std::path::Path;

use anyhow::Context as _;
use edgefront_optimizer::convert::tflite;
use edgefront_optimizer::{Model, NodeReport, PassReport};
use edgefront_protocol::{Digest, Format, Shape};
use serde::Serialize;

use super::cache::Entry;
use super::explain::Making;
use crate::tvm_compile::{self, Order, Processor};

/// What is wanted of a variant beside the ONNX file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Conversion {
    pub(super) format: Format,
    /// Shape of each input, which these formats fix.
    pub(super) shapes: Vec<Shape>,
    /// For machine code: the device's processor, and the budget of the search.
    pub(super) code: Option<Code>,
}

/// What decides machine code beside the model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Code {
    pub(super) processor: Processor,
    pub(super) trials: u32,
}

/// A file that was made.
pub(super) struct Converted {
    pub(super) entry: Entry,
    /// Why it is not what it might be, for the log.
    pub(super) lack: Option<String>,
}

impl Conversion {
    /// All that decides the bytes of the file that is made of the file of this digest.
    pub(super) fn key(&self, source: Digest) -> anyhow::Result<Digest> {
        let version = env!("CARGO_PKG_VERSION");
        let parts = serde_json::to_vec(&(version, source, self.format, &self.shapes))?;
        let code = self.code.as_ref().map(|code| (tvm_compile::recipe(), code));
        // Of files without code the key stays what it was.
        let code = code.map(|code| serde_json::to_vec(&code)).transpose()?;
        Ok(Digest::of(&[parts, code.unwrap_or_default()].concat()))
    }

    /// Converts the ONNX file at `path`, which was made as `making` says.
    pub(super) fn convert(&self, path: &Path, making: Making) -> anyhow::Result<Converted> {
        match &self.code {
            Some(code) => self.to_code(code, path, making),
            None => self.to_tflite(path, making),
        }
    }

    fn to_tflite(&self, path: &Path, mut making: Making) -> anyhow::Result<Converted> {
        let extents = |shape: &Shape| shape.iter().map(|&extent| usize::try_from(extent)).collect();
        let options = tflite::Options {
            shapes: self.shapes.iter().map(extents).collect::<Result<_, _>>()?,
            ..tflite::Options::default()
        };
        let bytes = read(path)?;
        let converted = tflite::convert(&Model::decode(&bytes, None)?, &options)?;
        making.passes.extend(converted.passes);
        Ok(Converted {
            entry: Entry {
                making: serde_json::to_string(&making)?,
                bytes: converted.bytes,
            },
            lack: None,
        })
    }

    fn to_code(&self, code: &Code, path: &Path, mut making: Making) -> anyhow::Result<Converted> {
        let folder = tempfile::tempdir().map_err(edgefront_optimizer::Error::temporary)?;
        let output = folder.path().join("code.so");
        let compiled = tvm_compile::compile(&Order {
            model: path,
            output: &output,
            shapes: &self.shapes,
            processor: &code.processor,
            trials: code.trials,
        })?;
        let lack = compiled.untuned;
        making.passes.push(PassReport {
            nodes: vec![NodeReport {
                node: format!("{} ({})", code.processor.arch, code.processor.cpu),
                applied: lack.is_none(),
                why: match (&lack, compiled.left) {
                    (Some(why), _) => format!("not tuned: {why}"),
                    (None, 0) => format!("tuned with {} trials", code.trials),
                    (None, left) => format!("tuned with {} trials, but for {left} functions", code.trials),
                },
            }],
            ..PassReport::new(tvm_compile::RUNTIME)
        });
        Ok(Converted {
            entry: Entry {
                making: serde_json::to_string(&making)?,
                bytes: read(&output)?,
            },
            lack: lack.map(|why| format!("its code for tvm is not tuned (tvm-untuned): {why}")),
        })
    }
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
