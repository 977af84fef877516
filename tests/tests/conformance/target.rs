//! A runtime and its provider, as users write them, and a model on it.

use std::path::{Path, PathBuf};

use edgefront::tvm_compile;
use edgefront_optimizer::Model;
use edgefront_optimizer::convert::tflite;
use edgefront_runtimes::{Data, Options, Registry, Search, Tensor};

/// Why a runtime does not run a model, in the words of who refuses.
#[derive(Debug)]
pub(crate) struct Refused(pub(crate) String);

impl<E: std::error::Error> From<E> for Refused {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

/// The input of `make_references.py` and `make_operators.py`, exact in `f32`.
pub(crate) fn wave(shape: &[usize], phase: usize) -> Tensor {
    let elements = shape.iter().product();
    let values = (0..elements).map(|index: usize| ((index + phase) * 7919 % 2003) as f32 / 1024.0 - 1.0);
    Tensor::new(shape.to_vec(), Data::F32(values.collect())).unwrap()
}

/// What the ONNX model gives on a runtime, for which it is converted where that loads another format. The provider
/// that computes must be the one that is asked for.
pub(crate) fn run(target: &str, model: &Path, inputs: &[Tensor]) -> Result<Vec<Tensor>, Refused> {
    run_on(1, target, model, inputs)
}

/// The same on so many threads.
pub(crate) fn run_on(
    threads: usize,
    target: &str,
    model: &Path,
    inputs: &[Tensor],
) -> Result<Vec<Tensor>, Refused> {
    let registry = Registry::new(&Search::default());
    let name = target.split_once(':').map_or(target, |(name, _)| name);
    let runtime = registry.get(name)?;
    let provider = target
        .split_once(':')
        .map_or(runtime.default_provider(), |(_, provider)| provider);
    let shapes: Vec<Vec<usize>> = inputs.iter().map(|input| input.shape().to_vec()).collect();
    let file = converted(model, runtime.formats(), &shapes)?;
    let options = Options {
        provider: provider.to_owned(),
        threads,
        inputs: shapes,
        batch: inputs[0].shape()[0],
        spin: true,
        profile: false,
    };
    let model = runtime.load(&file, &options)?;
    let computes = if name == "tvm" { "untuned" } else { provider };
    assert_eq!(model.provider(), computes, "who computes");
    let mut session = model.session()?;
    session.bind(inputs)?;
    session.run()?;
    let outputs = session.fetch()?;
    assert_eq!(outputs.len(), model.outputs().len());
    for (index, output) in outputs.iter().enumerate() {
        if let Some(lent) = session.floats(index) {
            assert_eq!(Some(lent), output.floats(), "what is lent is what is fetched");
        }
    }
    assert_eq!(session.floats(outputs.len()), None);
    Ok(outputs)
}

/// The model as a file of one of these formats.
fn converted(model: &Path, formats: &[&str], shapes: &[Vec<usize>]) -> Result<PathBuf, Refused> {
    if formats.contains(&"onnx") {
        return Ok(model.to_owned());
    }
    let file = model.with_extension(formats[0]);
    if formats.contains(&"so") {
        let extents = |shape: &Vec<usize>| shape.iter().map(|&extent| extent as u64).collect();
        tvm_compile::compile(&tvm_compile::Order {
            model,
            output: &file,
            shapes: &shapes.iter().map(extents).collect::<Vec<_>>(),
            processor: &tvm_compile::Processor::own(),
            trials: 0,
        })?;
        return Ok(file);
    }
    let options = tflite::Options {
        shapes: shapes.to_vec(),
        ..tflite::Options::default()
    };
    tflite::convert(&Model::read(model)?, &options)?.write(&file)?;
    Ok(file)
}
