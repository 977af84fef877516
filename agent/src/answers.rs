//! What a model answers on a pack on this machine, counted by the code that devices score with.

use std::ops::ControlFlow;
use std::path::Path;

use edgefront_protocol::{Pack, Reference, Shape};
use edgefront_runtimes::{Model, Options, Runtime};

use crate::worker::classify;

/// A model that is loaded on this machine.
pub struct Loaded {
    model: Box<dyn Model>,
    batch: usize,
    /// The runtime and its version.
    by: String,
}

impl Loaded {
    /// Loads the ONNX model at `path` for batches of `batch`, with inputs of these shapes (empty: the model's own). The error
    /// is one line.
    pub fn new(runtime: &dyn Runtime, path: &Path, inputs: &[Shape], batch: usize) -> Result<Self, String> {
        let said = |error: edgefront_runtimes::Error| error.to_string();
        let probe = runtime.open().map_err(said)?;
        let options = Options {
            provider: runtime.default_provider().to_owned(),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            inputs: inputs
                .iter()
                .map(|shape| shape.iter().map(|&extent| extent as usize).collect())
                .collect(),
            batch,
            spin: true,
            profile: false,
        };
        Ok(Self {
            model: runtime.load(path, &options).map_err(said)?,
            batch,
            by: format!("{} {}", runtime.name(), probe.version),
        })
    }

    /// The runtime and its version that run it, as `ort 1.32.0`.
    pub fn by(&self) -> &str {
        &self.by
    }

    /// Its answers on all pictures of `pack`. `progress` is told the pictures that are done. The error is one line.
    pub fn answers(&self, pack: &Pack, progress: impl Fn(usize)) -> Result<Reference, String> {
        let mut session = self.model.session().map_err(|error| error.to_string())?;
        let order: Vec<u32> = (0..pack.len() as u32).collect();
        let mut reference = Reference::default();
        let take = |answer: classify::Answer<'_>| {
            if reference.is_empty() {
                reference = Reference::new(answer.outputs.len() as u32, self.by.clone());
            }
            reference.push(answer.prediction() as u32, answer.rank() as u32, answer.outputs);
            progress(reference.len());
            Ok(ControlFlow::Continue(()))
        };
        classify::classify(
            &mut *session,
            self.model.inputs(),
            self.batch,
            pack,
            &order,
            take,
            || Ok(()),
        )?;
        Ok(reference)
    }
}
