//! The state of training in a file, to go on from.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs;
use std::path::Path;

use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};

use super::fit::{Fit, State};
use super::kernels::Kernels;
use super::options::Options;
use super::program::refused;
use crate::error::Error;

/// Generation of the format; any other is refused.
const MAJOR: u16 = 1;

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

/// All that decides the steps to come.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Header {
    major: u16,
    /// Epochs that are done.
    epochs: usize,
    samples: usize,
    options: Options,
    /// Names of the parameters.
    parameters: Vec<String>,
}

impl Checkpoint<'_> {
    /// Restores the state if that is wanted, and returns how many epochs are done.
    pub(super) fn begin(
        &self,
        fit: &mut Fit<'_, impl Kernels>,
        samples: usize,
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
        let known = fit.state()?;
        let (header, state) =
            decode(&bytes, &known).map_err(|reason| refused(format!("{path}: {reason}")))?;
        if header != Header::new(fit, header.epochs, samples, options) {
            return Err(refused(format!(
                "{path} was made with another model, other data or other options; train without `--resume`"
            )));
        }
        fit.restore(state);
        Ok(header.epochs)
    }

    /// Writes the state so that at no moment a part of it is in the file.
    pub(super) fn write(
        &self,
        fit: &Fit<'_, impl Kernels>,
        epochs: usize,
        samples: usize,
        options: &Options,
    ) -> Result<(), Error> {
        let header = Header::new(fit, epochs, samples, options);
        let header = serde_json::to_string(&header).expect("a header holds only types that JSON can write");
        let state = fit.state()?;
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

impl Header {
    fn new(fit: &Fit<'_, impl Kernels>, epochs: usize, samples: usize, options: &Options) -> Self {
        let parameters = fit.program().parameters.iter();
        let names = parameters.map(|parameter| parameter.name.clone());
        Self {
            major: MAJOR,
            epochs,
            samples,
            options: options.clone(),
            parameters: names.collect(),
        }
    }
}

/// Header and state, whose lengths are those of the known state where the names are.
fn decode(bytes: &[u8], known: &State) -> Result<(Header, State), String> {
    let damaged = || "it is no checkpoint, or a damaged one".to_owned();
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|_| damaged())?;
    let header = metadata
        .metadata()
        .as_ref()
        .and_then(|entries| entries.get(HEADER));
    let header: Header = header
        .and_then(|header| serde_json::from_str(header).ok())
        .ok_or_else(damaged)?;
    if header.major != MAJOR {
        return Err(format!(
            "it has version {} and this program reads {MAJOR}",
            header.major
        ));
    }
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
    Ok((header, state.collect::<Result<State, String>>()?))
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
