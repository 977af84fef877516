//! A model as a file holds it.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use prost::Message as _;
use prost::bytes::Buf;

use crate::error::Error;
use crate::external;
use crate::proto::{GraphProto, ModelProto, onnx};
use crate::streamed::Streamed;

/// Protocol buffers hold lengths as signed 32-bit integers.
pub(crate) const LARGEST: u64 = i32::MAX as u64;

/// An ONNX model with all its weights in memory. Cloning it shares the weights.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    proto: ModelProto,
}

impl Model {
    /// Reads the file at `path`, and from the same folder the files that hold its weights, if any do.
    pub fn read(path: &Path) -> Result<Self, Error> {
        Self::read_with_files(path).map(|(model, _)| model)
    }

    /// The same, and the files that were read: the one at `path` first.
    pub fn read_with_files(path: &Path) -> Result<(Self, Vec<PathBuf>), Error> {
        let io = |source| Error::Read {
            path: path.to_owned(),
            source,
        };
        let metadata = fs::metadata(path).map_err(io)?;
        if metadata.len() > LARGEST {
            return Err(Error::TooLarge {
                bytes: metadata.len(),
            });
        }
        if !metadata.is_file() && !metadata.is_dir() {
            return Err(io(std::io::Error::other(
                "it is no regular file; copy the model to one",
            )));
        }
        let mut bytes = File::open(path).and_then(Streamed::open).map_err(io)?;
        let dir = path.parent().unwrap_or(Path::new(""));
        let decoded = Self::from_bytes(&mut bytes, Some(dir));
        bytes.finish().map_err(io)?;
        let (model, external) = decoded.map_err(|error| error.in_file(path))?;
        let files = std::iter::once(path.to_owned()).chain(external).collect();
        Ok((model, files))
    }

    /// Decodes a model; `dir` is the folder of external weights, without which they are refused.
    pub fn decode(bytes: &[u8], dir: Option<&Path>) -> Result<Self, Error> {
        Self::from_bytes(bytes, dir).map(|(model, _)| model)
    }

    /// The files are those of external weights.
    fn from_bytes(bytes: impl Buf, dir: Option<&Path>) -> Result<(Self, BTreeSet<PathBuf>), Error> {
        let size = bytes.remaining() as u64;
        let mut proto = ModelProto::decode(bytes).map_err(|error| Error::format(error.to_string()))?;
        let Some(graph) = &mut proto.graph else {
            return Err(Error::format("it holds no graph"));
        };
        let files = external::inline(graph, dir, LARGEST.saturating_sub(size))?;
        Ok((Self { proto }, files))
    }

    /// Wraps a model that was built in memory.
    pub fn new(graph: impl Into<GraphProto>, ir_version: i64, opset: i64) -> Self {
        let opset_import = vec![
            onnx::OperatorSetIdProto {
                domain: Some(String::new()),
                version: Some(opset),
            }
            .into(),
        ];
        let proto = onnx::ModelProto {
            ir_version: Some(ir_version),
            producer_name: Some("edgefront".to_owned()),
            opset_import,
            graph: Some(graph.into()),
            ..Default::default()
        };
        Self { proto: proto.into() }
    }

    /// The file's bytes.
    pub fn encode(&self) -> Vec<u8> {
        self.proto.encode_to_vec()
    }

    /// Writes the file so that at no moment a part of it is at `path`.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let io = |source| Error::Write {
            path: path.to_owned(),
            source,
        };
        let bytes = self.proto.encoded_len() as u64;
        if bytes > LARGEST {
            return Err(Error::TooLarge { bytes });
        }
        edgefront_files::replace(path, &self.encode()).map_err(io)
    }

    /// The message.
    pub fn proto(&self) -> &ModelProto {
        &self.proto
    }

    /// The graph.
    pub fn graph(&self) -> &GraphProto {
        self.proto.graph.as_ref().expect("a model has a graph")
    }

    /// Version of the standard operator set; `None` where the model imports none.
    pub fn opset(&self) -> Option<i64> {
        self.proto
            .opset_import
            .iter()
            .find(|import| matches!(import.domain(), "" | "ai.onnx"))
            .map(|import| import.version())
    }

    /// Sets the version of the standard operator set, and raises the IR version to one that allows it.
    pub(crate) fn set_opset(&mut self, version: i64) {
        for import in &mut self.proto.opset_import {
            if matches!(import.domain(), "" | "ai.onnx") {
                import.version = Some(version);
            }
        }
        self.proto.ir_version = Some(self.proto.ir_version().max(ir_of_opset(version)));
    }

    pub(crate) fn from_proto(proto: ModelProto) -> Self {
        debug_assert!(proto.graph.is_some(), "a model has a graph");
        Self { proto }
    }

    pub(crate) fn into_proto(self) -> ModelProto {
        self.proto
    }
}

/// The oldest IR version that may import a version of the standard operator set, from ONNX's
/// `docs/Versioning.md`.
fn ir_of_opset(opset: i64) -> i64 {
    match opset {
        ..=8 => 3,
        9 => 4,
        10 => 5,
        11 => 6,
        12..=14 => 7,
        15..=18 => 8,
        19..=20 => 9,
        21..=22 => 10,
        23 => 11,
        _ => 12,
    }
}
