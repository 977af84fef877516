//! Inference runtimes behind one trait.
//!
//! A [`Runtime`] is a library that may or may not be on this machine, a [`Model`] is an immutable artifact
//! that it loaded, a [`Session`] is the mutable state of running it. What was asked for and is missing is an
//! error: no runtime falls back to another provider, precision or thread count.

mod classes;
#[cfg(any(feature = "ort", feature = "tensorrt", feature = "tvm"))]
mod digest;
#[cfg(feature = "library")]
mod elf;
#[cfg(feature = "tensorrt")]
pub mod fuzzing;
#[cfg(feature = "tract")]
mod guard;
#[cfg(feature = "library")]
mod handle;
#[cfg(any(feature = "ort", feature = "tensorrt"))]
mod kept;
mod layers;
mod library;
#[cfg(any(feature = "located", feature = "tract"))]
mod line;
#[cfg(feature = "located")]
mod locate;
mod null;
#[cfg(feature = "library")]
mod once;
#[cfg(any(feature = "ort", feature = "tensorrt"))]
mod onnx;
#[cfg(feature = "openvino")]
mod openvino;
#[cfg(feature = "ort")]
pub mod ort;
#[cfg(any(feature = "openvino", feature = "tflite", feature = "tvm"))]
mod plain;
mod port;
#[cfg(any(feature = "openvino", feature = "ort", feature = "tensorrt"))]
mod protobuf;
mod record;
mod registry;
#[cfg(any(feature = "ort", feature = "tensorrt"))]
mod room;
mod settings;
mod tensor;
#[cfg(feature = "tensorrt")]
mod tensorrt;
#[cfg(feature = "tflite")]
pub mod tflite;
#[cfg(feature = "tract")]
mod tract;
#[cfg(feature = "tvm")]
pub mod tvm;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub use classes::classes;
#[cfg(any(feature = "ort", feature = "tensorrt"))]
pub use kept::keep_at_most;
pub use layers::Layer;
pub use library::{Search, folder};
pub use port::Declared;
pub use record::{Record, RecordedFile};
pub use registry::Registry;
#[cfg(any(feature = "ort", feature = "tensorrt"))]
pub use room::make_room;
pub use tensor::{Data, DataType, Floats, Tensor};

/// A library that runs models.
pub trait Runtime: Send + Sync {
    /// The name in command lines and results: `tract`.
    fn name(&self) -> &'static str;

    /// The formats of files that it loads, by their extensions.
    fn formats(&self) -> &'static [&'static str] {
        &["onnx"]
    }

    /// The provider that is meant where users write the name alone.
    fn default_provider(&self) -> &'static str {
        port::CPU
    }

    /// A provider as it is written and reported, in one form for all ways of writing the same. What is not known stays
    /// as it is.
    fn canonical_provider(&self, written: &str) -> String {
        written.to_owned()
    }

    /// Whether the library is on this machine, and which one it is.
    fn probe(&self) -> Result<Probe, Error>;

    /// Makes the library ready in this process, so that the time of [`load`](Self::load) is the artifact's alone.
    fn open(&self) -> Result<Probe, Error> {
        self.probe()
    }

    /// Makes what loading the artifact starts from and keeps it on this machine, where that is asked for and is not
    /// there yet. It is no part of the time of [`load`](Self::load), which does it where it was not done.
    fn prepare(&self, _path: &Path, _options: &Options) -> Result<(), Error> {
        Ok(())
    }

    /// Whether [`load`](Self::load) reads the artifact's own file, and not what was made of it and is kept.
    fn reads_artifact(&self, _options: &Options) -> bool {
        true
    }

    /// Loads the artifact at `path`, having [opened](Self::open) the library if that was not done.
    fn load(&self, path: &Path, options: &Options) -> Result<Box<dyn Model>, Error>;
}

/// A runtime that can run here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// Version of the library.
    pub version: String,
    /// Execution providers that it holds.
    pub providers: Vec<String>,
    /// The shared library, for runtimes that are loaded at run time, or the program that is run.
    pub library: Option<PathBuf>,
}

/// How an artifact is to be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Execution provider: `cpu`.
    pub provider: String,
    /// Threads within one inference, at least 1.
    pub threads: usize,
    /// Shape of each input, in the model's order; empty for the model's own shapes with each dynamic
    /// leading axis bound to `batch`.
    pub inputs: Vec<Vec<usize>>,
    /// Pictures per inference, at least 1.
    pub batch: usize,
    /// Whether ONNX Runtime's threads may wait for the next inference by keeping a core busy, as they do by default.
    /// Inferences start sooner, and what else the caller computes has that core no more. Within an inference they
    /// always may. TensorRT's tool may wait for the GPU so.
    pub spin: bool,
    /// Whether sessions are to tell the time of their layers, which may slow all of their inferences down.
    pub profile: bool,
}

/// An artifact, loaded and ready to make sessions.
pub trait Model: Send + Sync {
    /// The inputs in order, every axis known.
    fn inputs(&self) -> &[Port];

    /// Names of the outputs in order.
    fn outputs(&self) -> &[String];

    /// The provider that runs the nodes, as the library reports it.
    fn provider(&self) -> &str;

    /// Where it does not compute as the file says, what it does instead, in one line. A reader of its figures
    /// is shown this.
    fn remark(&self) -> Option<&str> {
        None
    }

    /// State for one caller.
    fn session(&self) -> Result<Box<dyn Session>, Error>;

    /// What data sets are scored with where running a session costs out of proportion to what it computes; `None`
    /// where [`session`](Self::session) serves, as it does after an error, in more time.
    fn scoring(&self) -> Result<Option<Scoring>, Error> {
        Ok(None)
    }
}

/// A session for scoring data sets, of the same model for more pictures at once.
pub struct Scoring {
    /// The inputs in order, every axis known.
    pub inputs: Vec<Port>,
    /// Pictures per inference.
    pub batch: usize,
    /// State for one caller.
    pub session: Box<dyn Session>,
}

/// How long to run timed. Both `runs` and `time` are reached unless `limit` comes first; at least one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Runs, at least.
    pub runs: u64,
    /// Sum of the runs' latencies, at least.
    pub time: Duration,
    /// The same, at most.
    pub limit: Duration,
}

/// An input of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// Its name in the model.
    pub name: String,
    /// Element type.
    pub data_type: DataType,
    /// Extents, all known.
    pub shape: Vec<usize>,
}

#[cfg(any(feature = "ort", feature = "tensorrt"))]
impl Port {
    /// As `TensorRT` wants shapes: `name:1x3x8x8`.
    fn text(&self) -> String {
        let extents: Vec<String> = self.shape.iter().map(ToString::to_string).collect();
        format!("{}:{}", self.name, extents.join("x"))
    }
}

/// One caller's running state. The three steps are apart so that the timed one holds the inference alone.
pub trait Session: Send {
    /// Sets all inputs, in the model's order. Not timed.
    fn bind(&mut self, inputs: &[Tensor]) -> Result<(), Error>;

    /// One inference on what was bound. This is what is timed.
    fn run(&mut self) -> Result<(), Error>;

    /// The outputs of the last run, in the model's order. Not timed.
    fn fetch(&mut self) -> Result<Vec<Tensor>, Error>;

    /// The output of this index of the last run where it lies, for readers of many large outputs; `None` where
    /// there is none, its elements are no 32-bit floats or they lie in another order. Not timed.
    fn floats(&self, output: usize) -> Option<Floats<'_>>;

    /// The latencies in nanoseconds of timed runs on what was bound, by runtimes whose own tool takes the time in a
    /// process of its own, after runs that it does not time; `None` where the caller times [`run`](Self::run). Outputs
    /// are not kept.
    fn time(&mut self, _span: Span) -> Option<Result<Vec<u64>, Error>> {
        None
    }

    /// The mean time of each layer over this many inferences on what was bound, once; `None` where the runtime does not
    /// tell. The model was loaded with [`Options::profile`].
    fn profile(&mut self, _inferences: u32) -> Option<Result<Vec<Layer>, Error>> {
        None
    }
}

/// Why a runtime did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The name stands for no runtime of this build.
    #[error("unknown runtime `{name}`; this build has {known}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// All names, comma-separated.
        known: String,
    },
    /// The runtime's library is not on this machine.
    #[error("runtime `{runtime}` is not installed: {reason}")]
    Missing {
        /// The runtime.
        runtime: &'static str,
        /// What is missing and what would mend it.
        reason: String,
    },
    /// A library that the user named, or that lies where it is installed, does not serve.
    #[error("runtime `{runtime}` cannot be used: {reason}")]
    Unusable {
        /// The runtime.
        runtime: &'static str,
        /// Which library, what is wrong with it and what would mend it.
        reason: String,
    },
    /// The provider is not in the library, or it did not take the model.
    #[error("runtime `{runtime}` cannot use provider `{provider}`: {reason}")]
    Provider {
        /// The runtime.
        runtime: &'static str,
        /// What was asked for.
        provider: String,
        /// Why not.
        reason: String,
    },
    /// The artifact could not be loaded.
    #[error("runtime `{runtime}` cannot load {}: {reason}", path.display())]
    Load {
        /// The runtime.
        runtime: &'static str,
        /// The artifact.
        path: PathBuf,
        /// The library's words, in one line.
        reason: String,
    },
    /// Inputs do not fit the model.
    #[error("input {index}: expected {expected}, got {found}")]
    Input {
        /// Position of the input.
        index: usize,
        /// Type and shape that the model wants.
        expected: String,
        /// What it was given.
        found: String,
    },
    /// The inference failed.
    #[error("runtime `{runtime}` failed to run: {reason}")]
    Run {
        /// The runtime.
        runtime: &'static str,
        /// The library's words, in one line.
        reason: String,
    },
}
