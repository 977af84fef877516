//! What a model answers on a pack on this machine, counted by the code that devices score with.

use std::ops::ControlFlow;
use std::path::Path;

use edgefront_protocol::{Pack, Reference, Shape};
use edgefront_runtimes::{Options, Runtime};

use crate::worker::classify;

/// Runs the ONNX model at `path` on all pictures of `pack`, in batches of `batch`, with inputs of these shapes (empty: the
/// model's own). `progress` is told the pictures that are done. The error is one line.
pub fn answers(
    runtime: &dyn Runtime,
    path: &Path,
    inputs: &[Shape],
    batch: usize,
    pack: &Pack,
    progress: impl Fn(usize),
) -> Result<Reference, String> {
    let said = |error: edgefront_runtimes::Error| error.to_string();
    runtime.open().map_err(said)?;
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
    let model = runtime.load(path, &options).map_err(said)?;
    let mut session = model.session().map_err(said)?;
    let order: Vec<u32> = (0..pack.len() as u32).collect();
    let mut reference = Reference::default();
    let take = |answer: classify::Answer<'_>| {
        if reference.is_empty() {
            reference = Reference::new(answer.outputs.len() as u32);
        }
        reference.push(answer.prediction() as u32, answer.rank() as u32, answer.outputs);
        progress(reference.len());
        Ok(ControlFlow::Continue(()))
    };
    classify::classify(
        &mut *session,
        model.inputs(),
        batch,
        pack,
        &order,
        take,
        || Ok(()),
    )?;
    Ok(reference)
}
