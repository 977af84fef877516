//! Why the optimizer did not do what it was asked.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// An error of the optimizer. Each message is one line that names the file, node or value and the mend.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read.
    #[error("{}: {}", path.display(), edgefront_files::unread(source))]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is no place for a file in between.
    #[error(
        "cannot write a temporary file in {}; set TMPDIR to a folder that can be written: {source}",
        folder.display()
    )]
    Temporary {
        /// The folder for such files.
        folder: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The bytes are not an ONNX model.
    #[error("not an ONNX model, or a damaged one: {reason}")]
    Format {
        /// What is wrong with the bytes.
        reason: String,
    },
    /// The file is not an ONNX model.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<Error>,
    },
    /// The model does not fit into one ONNX file.
    #[error(
        "the model has {bytes} bytes, more than the 2 GB that one ONNX file can hold; use a smaller model"
    )]
    TooLarge {
        /// Its size with all weights.
        bytes: u64,
    },
    /// Weights outside the model file could not be had.
    #[error("tensor `{tensor}`: external data: {reason}")]
    External {
        /// The tensor.
        tensor: String,
        /// Why not.
        reason: String,
    },
    /// A tensor's fields do not fit one another, or its type is not what was expected.
    #[error("tensor `{tensor}`: {reason}")]
    Tensor {
        /// The tensor.
        tensor: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A node cannot be what the model says it is.
    #[error("node `{node}` ({operator}): {reason}")]
    Node {
        /// The node.
        node: String,
        /// Its operator.
        operator: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The graph is not one.
    #[error("{0}")]
    Graph(String),
    /// The model breaks rules of ONNX or of this optimizer.
    #[error("the model is not valid: {}", Findings(.0))]
    Invalid(Vec<String>),
    /// A pass left an invalid model behind; this is a defect of the pass.
    #[error("pass `{pass}` broke the model; please report this: {source}")]
    Pass {
        /// The pass.
        pass: String,
        /// What is wrong with the model.
        source: Box<Error>,
    },
    /// A pass was asked for something that it cannot do.
    #[error("{pass}: {reason}")]
    Refused {
        /// The pass.
        pass: String,
        /// Why, and what to do instead.
        reason: String,
    },
    /// A picture could not be read again.
    #[error("cannot read sample {index}: {source}")]
    Sample {
        /// Its place among the samples.
        index: usize,
        /// Why, with the file.
        source: io::Error,
    },
    /// A runtime failed, during calibration.
    #[error(transparent)]
    Runtime(#[from] edgefront_runtimes::Error),
}

impl Error {
    /// The error with the file that it is about, for errors that do not name it yet.
    #[must_use]
    pub fn in_file(self, path: &Path) -> Self {
        match self {
            named @ (Self::Read { .. } | Self::Write { .. } | Self::File { .. } | Self::Temporary { .. }) => {
                named
            }
            source => Self::File {
                path: path.to_owned(),
                source: Box::new(source),
            },
        }
    }

    /// The error of making or writing a temporary file.
    pub fn temporary(source: io::Error) -> Self {
        let folder = std::env::temp_dir();
        // The name of a temporary file tells nobody anything; what is wrong with the folder does.
        let source = std::fs::metadata(&folder).err().unwrap_or(source);
        Self::Temporary { folder, source }
    }

    pub(crate) fn format(reason: impl Into<String>) -> Self {
        Self::Format {
            reason: reason.into(),
        }
    }

    pub(crate) fn tensor(tensor: &str, reason: impl Into<String>) -> Self {
        Self::Tensor {
            tensor: tensor.to_owned(),
            reason: reason.into(),
        }
    }

    pub(crate) fn node(node: &crate::proto::NodeProto, reason: impl Into<String>) -> Self {
        Self::Node {
            node: node.label(),
            operator: node.op_type().to_owned(),
            reason: reason.into(),
        }
    }
}

/// Findings on one line; a broken model can have thousands.
struct Findings<'a>(&'a [String]);

const MOST_SHOWN: usize = 20;

impl fmt::Display for Findings<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.0[..self.0.len().min(MOST_SHOWN)];
        f.write_str(&shown.join("; "))?;
        match self.0.len() - shown.len() {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}
