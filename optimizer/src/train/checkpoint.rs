//! The state of training in a file, to go on from.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use edgefront_runtimes::{Data, Tensor};
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::fit::{Fit, State};
use super::kernels::Kernels;
use super::options::Options;
use super::program::refused;
use crate::calibrate::{Samples, read};
use crate::error::Error;
use crate::model::Model;

/// Generation of the format; any other is refused.
const MAJOR: u16 = 3;

/// Key of the header among the file's metadata.
const HEADER: &str = "edgefront.checkpoint";

/// A file that holds the state of training after each epoch.
#[derive(Debug, Clone, Copy)]
pub struct Checkpoint<'a> {
    /// The file.
    pub path: &'a Path,
    /// Goes on from the file; without this it must not be there.
    pub resume: bool,
}

/// What training begins with, as the SHA-256 of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Origin(String);

impl Origin {
    /// Of the models that decide the steps, the teacher among them, and of the data.
    pub(super) fn of<'a>(
        models: impl IntoIterator<Item = Option<&'a Model>>,
        data: &dyn Samples,
    ) -> Result<Self, Error> {
        let mut hash = Sha256::new();
        for model in models {
            // Each with its length, so that no two lists of models look alike.
            let bytes = model.map(Model::encode).unwrap_or_default();
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        }
        for index in 0..data.len() {
            let class = data.class(index).map_or(u64::MAX, |class| class as u64);
            hash.update(class.to_le_bytes());
            read(data, index)?.iter().for_each(|input| add(&mut hash, input));
        }
        Ok(Self(hex(hash)))
    }
}

fn add(hash: &mut Sha256, tensor: &Tensor) {
    for &extent in tensor.shape() {
        hash.update((extent as u64).to_le_bytes());
    }
    match tensor.data() {
        Data::F32(values) => values.iter().for_each(|value| hash.update(value.to_le_bytes())),
        // Training takes floats alone, and says so when it comes to these.
        other => hash.update(format!("{other:?}")),
    }
}

fn hex(hash: Sha256) -> String {
    let mut text = String::new();
    for byte in hash.finalize() {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// All that decides the steps to come.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Header {
    major: u16,
    /// Epochs that are done.
    epochs: usize,
    origin: Origin,
    options: Options,
    /// Names of the parameters.
    parameters: Vec<String>,
    /// The SHA-256 of the state and the number of epochs.
    state: String,
}

impl Checkpoint<'_> {
    /// Restores the state if that is wanted, and returns how many epochs are done.
    pub(super) fn begin(
        &self,
        fit: &mut Fit<'_, impl Kernels>,
        origin: &Origin,
        options: &Options,
    ) -> Result<usize, Error> {
        let path = self.path.display();
        match (self.resume, self.path.exists()) {
            (false, false) => return Ok(0),
            (false, true) => {
                return Err(refused(format!(
                    "{path} is there already; go on from it with `--resume`, or remove it"
                )));
            }
            (true, false) => {
                return Err(refused(format!(
                    "there is no {path} to go on from; train without `--resume`"
                )));
            }
            (true, true) => {}
        }
        let bytes = fs::read(self.path).map_err(|source| Error::Read {
            path: self.path.to_owned(),
            source,
        })?;
        let damaged = |reason| refused(format!("{path}: {reason}"));
        let header = Header::read(&bytes).map_err(damaged)?;
        if header != Header::new(fit, header.epochs, origin, options, header.state.clone()) {
            return Err(refused(format!(
                "{path} was made with another model, other data or other options; train without `--resume`"
            )));
        }
        let state = decode(&bytes, &fit.state()?).map_err(damaged)?;
        if header.state != digest(&state, header.epochs) {
            return Err(damaged(DAMAGED.to_owned()));
        }
        fit.restore(state);
        Ok(header.epochs)
    }

    /// Writes the state so that at no moment a part of it is in the file.
    pub(super) fn write(
        &self,
        fit: &Fit<'_, impl Kernels>,
        epochs: usize,
        origin: &Origin,
        options: &Options,
    ) -> Result<(), Error> {
        let state = fit.state()?;
        let header = Header::new(fit, epochs, origin, options, digest(&state, epochs));
        let header = serde_json::to_string(&header).expect("a header holds only types that JSON can write");
        let tensors: Vec<(String, Elements)> = state
            .iter()
            .enumerate()
            .flat_map(|(index, (values, memory))| {
                [
                    (format!("{index}.values"), Elements::new(values)),
                    (format!("{index}.memory"), Elements::new(memory)),
                ]
            })
            .collect();
        let metadata = HashMap::from([(HEADER.to_owned(), header)]);
        let bytes = safetensors::serialize(tensors, Some(metadata)).expect("shapes fit their data");
        edgefront_files::replace(self.path, &bytes).map_err(|source| Error::Write {
            path: self.path.to_owned(),
            source,
        })
    }
}

/// What headers of all generations say.
#[derive(Deserialize)]
struct Generation {
    major: u16,
}

impl Header {
    fn read(bytes: &[u8]) -> Result<Self, String> {
        let damaged = || DAMAGED.to_owned();
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|_| damaged())?;
        let entries = metadata.metadata().as_ref();
        let header = entries
            .and_then(|entries| entries.get(HEADER))
            .ok_or_else(damaged)?;
        let Generation { major } = serde_json::from_str(header).map_err(|_| damaged())?;
        if major != MAJOR {
            return Err(format!("it has version {major} and this program reads {MAJOR}"));
        }
        serde_json::from_str(header).map_err(|_| damaged())
    }

    fn new(
        fit: &Fit<'_, impl Kernels>,
        epochs: usize,
        origin: &Origin,
        options: &Options,
        state: String,
    ) -> Self {
        let parameters = fit.program().parameters.iter();
        let names = parameters.map(|parameter| parameter.name.clone());
        Self {
            major: MAJOR,
            epochs,
            origin: origin.clone(),
            options: options.clone(),
            parameters: names.collect(),
            state,
        }
    }
}

const DAMAGED: &str = "it is no checkpoint, or a damaged one";

fn digest(state: &State, epochs: usize) -> String {
    let mut hash = Sha256::new();
    hash.update((epochs as u64).to_le_bytes());
    for values in state.iter().flat_map(|(values, memory)| [values, memory]) {
        for value in values {
            hash.update(value.to_le_bytes());
        }
    }
    hex(hash)
}

/// The state, whose lengths are those of the known one.
fn decode(bytes: &[u8], known: &State) -> Result<State, String> {
    let damaged = || DAMAGED.to_owned();
    let tensors = SafeTensors::deserialize(bytes).map_err(|_| damaged())?;
    let read = |name: String, count: usize| {
        let tensor = tensors
            .tensor(&name)
            .ok()
            .filter(|tensor| tensor.dtype() == Dtype::F32);
        let tensor = tensor.filter(|tensor| tensor.data().len() == count * size_of::<f32>());
        let chunks = tensor.ok_or_else(damaged)?.data().chunks_exact(size_of::<f32>());
        let values = chunks.map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
        Ok::<Vec<f32>, String>(values.collect())
    };
    let state = known.iter().enumerate().map(|(index, (values, memory))| {
        Ok((
            read(format!("{index}.values"), values.len())?,
            read(format!("{index}.memory"), memory.len())?,
        ))
    });
    state.collect()
}

/// Numbers as safetensors takes them.
struct Elements {
    shape: [usize; 1],
    bytes: Vec<u8>,
}

impl Elements {
    fn new(values: &[f32]) -> Self {
        Self {
            shape: [values.len()],
            bytes: values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        }
    }
}

impl safetensors::View for Elements {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}
