//! Running a model over samples, a batch at a time.

use std::collections::HashMap;
use std::ops::Range;
use std::path::PathBuf;

use edgefront_runtimes::{self as runtimes, Floats, Options, Registry, Runtime, Session, Tensor};
use tempfile::TempDir;

use super::{Samples, batch, read, refused};
use crate::error::Error;
use crate::external;
use crate::graph::build::value_info;
use crate::model::Model;
use crate::proto::DataType;

/// What a model is run over, and with what.
pub(crate) struct Source<'a> {
    /// The samples.
    pub(crate) samples: &'a dyn Samples,
    /// How many of them, from the first on.
    pub(crate) total: usize,
    /// Where to run the model: on the preferred one.
    pub(crate) runtimes: &'a Registry,
    /// Threads of the runtime, at least 1.
    pub(crate) threads: usize,
}

/// The values of one inference that are floats, by name, where the runtime keeps them.
pub(crate) type Seen<'a> = HashMap<&'a str, Floats<'a>>;

/// Runs the model over the samples and shows each batch to `see`: its inputs, its outputs and the wanted
/// `values`.
pub(crate) fn each_batch(
    model: &Model,
    values: &[String],
    source: &Source<'_>,
    mut see: impl FnMut(&Part, &Seen<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    let Source { samples, total, .. } = *source;
    if total == 0 {
        return Err(refused("there are no samples; give some with `--calib`"));
    }
    let artifact = Artifact::with_outputs(model, values)?;
    // Which one it is shows in the ranges by rounding alone.
    let runtime = source.runtimes.preferred()?;
    let batch = batch::size(model, values, &read(samples, 0)?, total)?;
    let mut loaded: Option<Loaded> = None;
    for start in (0..total).step_by(batch) {
        let part = Part {
            samples: start..total.min(start + batch),
            batch,
        };
        let inputs = part.stack(samples)?;
        let loaded = match &mut loaded {
            Some(loaded) => loaded,
            none => none.insert(Loaded::new(runtime, &artifact, &inputs, batch, source.threads)?),
        };
        see(&part, &loaded.run(&artifact, &inputs)?)?;
    }
    Ok(())
}

/// Elements of the values on one sample; `None` where shapes do not tell.
pub(crate) fn elements_of_one(
    model: &Model,
    values: &[String],
    source: &Source<'_>,
) -> Result<Option<usize>, Error> {
    if source.total == 0 {
        return Ok(None);
    }
    Ok(batch::elements(model, values, &read(source.samples, 0)?, 1))
}

/// The samples of one inference. Where they do not fill the batch, they are repeated.
pub(crate) struct Part {
    pub(crate) samples: Range<usize>,
    pub(crate) batch: usize,
}

impl Part {
    /// The samples, one tensor an input, joined along the batch axis.
    fn stack(&self, samples: &dyn Samples) -> Result<Vec<Tensor>, Error> {
        let rows = self.samples.clone().map(|index| read(samples, index));
        let rows: Vec<Vec<Tensor>> = rows.collect::<Result<_, Error>>()?;
        let inputs = rows.first().map_or(0, Vec::len);
        let filled = || rows.iter().cycle().take(self.batch);
        (0..inputs)
            .map(|input| {
                let parts: Option<Vec<&Tensor>> = filled().map(|row| row.get(input)).collect();
                parts.and_then(|parts| join(&parts)).ok_or_else(|| {
                    refused(format!(
                        "{} differ in shape or type; make them alike",
                        self.label()
                    ))
                })
            })
            .collect()
    }

    /// The floats of a value, repeated samples left out.
    pub(crate) fn floats<'a>(&self, value: &str, seen: &Seen<'a>) -> Result<&'a [f32], Error> {
        let Some(Floats { shape, values }) = seen.get(value) else {
            return Err(refused(format!("value `{value}` is not float32")));
        };
        // A leading axis of another extent is no batch, and its rows are not samples.
        let of_batch = shape.first() == Some(&self.batch);
        let counted = if of_batch {
            values.len() / self.batch * self.samples.len()
        } else {
            values.len()
        };
        Ok(&values[..counted])
    }

    /// What is wrong with a value that holds infinities or NaN.
    pub(crate) fn not_finite(&self, value: &str) -> Error {
        let samples = self.label();
        refused(format!(
            "value `{value}` is not finite on {samples}; repair the model or the data"
        ))
    }

    fn label(&self) -> String {
        format!("samples {} to {}", self.samples.start, self.samples.end - 1)
    }
}

/// A model that returns the activations as well, in a folder of its own.
struct Artifact {
    folder: TempDir,
    inputs: Vec<String>,
}

impl Artifact {
    fn with_outputs(model: &Model, values: &[String]) -> Result<Self, Error> {
        let inputs = batch::inputs(model)
            .into_iter()
            .map(|input| input.name().to_owned());
        let inputs: Vec<String> = inputs.collect();
        let mut proto = model.proto().clone();
        let graph = proto.graph.as_mut().expect("a model has a graph");
        let returned: Vec<String> = graph
            .output
            .iter()
            .map(|output| output.name().to_owned())
            .collect();
        // A runtime need not allow an input to be an output at once; inputs are known anyway.
        let wanted = values
            .iter()
            .filter(|value| !inputs.contains(value) && !returned.contains(value));
        graph
            .output
            .extend(wanted.map(|value| value_info(value, DataType::Float, None)));

        let folder = tempfile::tempdir().map_err(Error::temporary)?;
        external::move_out(graph, folder.path(), "weights.bin").map_err(Error::temporary)?;
        let artifact = Self { folder, inputs };
        std::fs::write(artifact.path(), Model::from_proto(proto).encode()).map_err(Error::temporary)?;
        Ok(artifact)
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("model.onnx")
    }
}

/// The artifact, loaded for one batch.
struct Loaded {
    outputs: Vec<String>,
    session: Box<dyn Session>,
}

impl Loaded {
    fn new(
        runtime: &dyn Runtime,
        artifact: &Artifact,
        inputs: &[Tensor],
        batch: usize,
        threads: usize,
    ) -> Result<Self, Error> {
        let options = Options {
            provider: "cpu".to_owned(),
            threads,
            inputs: inputs.iter().map(|input| input.shape().to_vec()).collect(),
            batch,
            // Between the inferences all cores observe.
            spin: false,
            profile: false,
        };
        let model = runtime.load(&artifact.path(), &options).map_err(unplaced)?;
        Ok(Self {
            outputs: model.outputs().to_vec(),
            session: model.session()?,
        })
    }

    /// One inference: its inputs and outputs.
    fn run<'a>(&'a mut self, artifact: &'a Artifact, inputs: &'a [Tensor]) -> Result<Seen<'a>, Error> {
        self.session.bind(inputs)?;
        self.session.run()?;
        let inputs = artifact.inputs.iter().zip(inputs);
        let inputs = inputs.filter_map(|(name, input)| Some((name.as_str(), input.floats()?)));
        let outputs = self.outputs.iter().enumerate();
        let outputs = outputs.filter_map(|(index, name)| Some((name.as_str(), self.session.floats(index)?)));
        Ok(inputs.chain(outputs).collect())
    }
}

/// Tensors joined along a leading axis of 1; `None` where they are not floats or do not fit. A single one is
/// taken as it is.
fn join(parts: &[&Tensor]) -> Option<Tensor> {
    if let [part] = parts {
        return Some((*part).clone());
    }
    let shape = parts.first()?.shape();
    let (1, rest) = (*shape.first()?, &shape[1..]) else {
        return None;
    };
    let mut values = Vec::new();
    for part in parts {
        if part.shape() != shape {
            return None;
        }
        values.extend_from_slice(part.as_f32()?);
    }
    let shape = [&[parts.len()], rest].concat();
    Tensor::new(shape, runtimes::Data::F32(values)).ok()
}

/// The user does not know the temporary file that an error of loading names.
fn unplaced(error: runtimes::Error) -> Error {
    match error {
        runtimes::Error::Load { runtime, reason, .. } => {
            refused(format!("runtime `{runtime}` cannot load the model: {reason}"))
        }
        other => other.into(),
    }
}
