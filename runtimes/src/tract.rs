//! tract: inference in pure Rust, in the binary itself and so always there.

mod softmax;

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use tract_onnx::prelude::{
    Datum, DatumType, Framework as _, InferenceFact, InferenceModel, InferenceModelExt as _, IntoTensor as _,
    RunOptions, TValue, TVec, TractResult, TypedModel, TypedNode, TypedRunnableModel, TypedSimpleState,
    multithread::Executor,
};
use tract_onnx::tract_core::floats::FloatPrecisionTranslator;
use tract_onnx::tract_core::plan::eval;
use tract_onnx::tract_core::transform::ModelTransform as _;
use tract_onnx::tract_hir::infer::Factoid as _;
use tract_onnx::tract_hir::internal::DimLike as _;

use crate::guard::guarded;
use crate::layers::{Layer, Sums};
use crate::line::one_line;
use crate::port::{self, Declared};
use crate::{Data, DataType, Error, Floats, Model, Options, Port, Probe, Runtime, Session, Tensor};
use half::f16;

const NAME: &str = "tract";

/// Kept equal to the version in the workspace's manifest by a test.
const VERSION: &str = "0.23.9";

/// The runtime.
#[derive(Debug, Default)]
pub(crate) struct Tract;

impl Runtime for Tract {
    fn name(&self) -> &'static str {
        NAME
    }

    fn probe(&self) -> Result<Probe, Error> {
        Ok(Probe {
            version: VERSION.to_owned(),
            providers: vec![port::CPU.to_owned()],
            library: None,
        })
    }

    fn load(&self, path: &Path, options: &Options) -> Result<Box<dyn Model>, Error> {
        port::require_cpu(NAME, &options.provider)?;
        // Odd models make tract panic here and there.
        let model = guarded(|| prepare(path, options)).map_err(|reason| Error::Load {
            runtime: NAME,
            path: path.to_owned(),
            reason,
        })?;
        Ok(Box::new(model))
    }
}

struct TractModel {
    plan: Arc<TypedRunnableModel>,
    inputs: Vec<Port>,
    outputs: Vec<String>,
    /// Whether half-precision values are computed in single precision.
    widened: bool,
}

fn prepare(path: &Path, options: &Options) -> Result<TractModel, String> {
    // The shapes of inner values that a file states carry the open batch axis, which no longer fits once the
    // inputs are bound; tract infers them all anew.
    let onnx = tract_onnx::onnx().with_ignore_value_info(true);
    let mut model = onnx.model_for_path(path).map_err(words)?;
    let inputs = port::resolve(&declared(&model)?, options)?;
    let outputs = output_names(&model).map_err(words)?;
    for (index, input) in inputs.iter().enumerate() {
        let fact = InferenceFact::dt_shape(to_tract(input.data_type), &input.shape);
        model.set_input_fact(index, fact).map_err(words)?;
    }
    let executor = match options.threads {
        1 => Executor::SingleThread,
        threads => Executor::multithread(threads),
    };
    let run_options = RunOptions {
        executor: Some(executor),
        ..RunOptions::default()
    };
    let mut model = model.into_typed().map_err(words)?;
    let widened = widen_halves(&mut model).map_err(words)?;
    softmax::spell_out(&mut model).map_err(words)?;
    let plan = model
        .into_optimized()
        .and_then(|model| TypedRunnableModel::new_with_options(model, &run_options))
        .map_err(words)?;
    Ok(TractModel {
        plan,
        inputs,
        outputs,
        widened,
    })
}

/// Lets a model in half precision compute in single where the processor has no half-precision arithmetic, as
/// ONNX Runtime does on a CPU; tract would emulate each operation, some 200 times slower. Inputs keep their type,
/// so a model that takes halves stays as it is. Returns whether anything was widened.
fn widen_halves(model: &mut TypedModel) -> TractResult<bool> {
    let half = f16::datum_type();
    let has_halves = |node: &TypedNode| node.outputs.iter().any(|output| output.fact.datum_type == half);
    if tract_linalg::has_fp16() || !model.nodes().iter().any(has_halves) {
        return Ok(false);
    }
    let mut takes_halves = false;
    for index in 0..model.inputs.len() {
        takes_halves |= model.input_fact(index)?.datum_type == half;
    }
    if !takes_halves {
        FloatPrecisionTranslator::new(half, f32::datum_type()).transform(model)?;
    }
    Ok(!takes_halves)
}

fn declared(model: &InferenceModel) -> Result<Vec<Declared>, String> {
    let mut inputs = Vec::with_capacity(model.inputs.len());
    for outlet in &model.inputs {
        let name = model.node(outlet.node).name.clone();
        let fact = model.outlet_fact(*outlet).map_err(words)?;
        let data_type = fact
            .datum_type
            .concretize()
            .and_then(from_tract)
            .ok_or_else(|| format!("input `{name}` is of the unsupported type {:?}", fact.datum_type))?;
        let rank = fact
            .shape
            .rank()
            .concretize()
            .and_then(|rank| usize::try_from(rank).ok())
            .ok_or_else(|| format!("input `{name}` has no rank"))?;
        let axes = fact
            .shape
            .dims()
            .take(rank)
            .map(|axis| axis.concretize().and_then(|extent| extent.to_usize().ok()))
            .collect();
        inputs.push(Declared {
            name,
            data_type,
            axes,
        });
    }
    Ok(inputs)
}

fn output_names(model: &InferenceModel) -> TractResult<Vec<String>> {
    let name = |outlet: &tract_onnx::prelude::OutletId| {
        let label = model.outlet_label(*outlet);
        label.map_or_else(|| model.node(outlet.node).name.clone(), ToOwned::to_owned)
    };
    Ok(model.output_outlets()?.iter().map(name).collect())
}

impl Model for TractModel {
    fn inputs(&self) -> &[Port] {
        &self.inputs
    }

    fn outputs(&self) -> &[String] {
        &self.outputs
    }

    fn provider(&self) -> &str {
        port::CPU
    }

    fn remark(&self) -> Option<&str> {
        self.widened
            .then_some("computed in fp32: this processor has no half-precision arithmetic for tract")
    }

    fn session(&self) -> Result<Box<dyn Session>, Error> {
        let state = guarded(|| self.plan.spawn().map_err(words)).map_err(failed)?;
        Ok(Box::new(TractSession {
            state,
            ports: self.inputs.clone(),
            inputs: TVec::new(),
            outputs: TVec::new(),
        }))
    }
}

struct TractSession {
    state: TypedSimpleState,
    ports: Vec<Port>,
    inputs: TVec<TValue>,
    outputs: TVec<TValue>,
}

impl Session for TractSession {
    fn bind(&mut self, inputs: &[Tensor]) -> Result<(), Error> {
        port::check(&self.ports, inputs)?;
        let values: TractResult<TVec<TValue>> = inputs.iter().map(to_value).collect();
        self.inputs = values.map_err(words).map_err(failed)?;
        Ok(())
    }

    fn run(&mut self) -> Result<(), Error> {
        // Cloning the values counts references and copies no elements.
        self.outputs = guarded(|| self.state.run(self.inputs.clone()).map_err(words)).map_err(failed)?;
        Ok(())
    }

    fn profile(&mut self, inferences: u32) -> Option<Result<Vec<Layer>, Error>> {
        let mut timed = || {
            self.run()?;
            let mut sums = Sums::default();
            for _ in 0..inferences {
                let inputs = self.inputs.clone();
                guarded(|| timed(&mut self.state, inputs, &mut sums).map_err(words)).map_err(failed)?;
            }
            Ok(sums.mean(inferences))
        };
        Some(timed())
    }

    fn fetch(&mut self) -> Result<Vec<Tensor>, Error> {
        self.outputs
            .iter()
            .map(|value| from_value(value).map_err(failed))
            .collect()
    }

    fn floats(&self, output: usize) -> Option<Floats<'_>> {
        let value = self.outputs.get(output)?;
        let plain = value.try_as_plain_ram().ok()?;
        Some(Floats {
            shape: value.shape().to_vec(),
            values: plain.as_slice::<f32>().ok()?,
        })
    }
}

/// One inference whose nodes are timed.
fn timed(state: &mut TypedSimpleState, inputs: TVec<TValue>, sums: &mut Sums) -> TractResult<()> {
    let outputs = state.run_plan_with_eval(inputs, |context, state, node, inputs| {
        let start = Instant::now();
        let done = eval(context, state, node, inputs);
        sums.add(&node.name, &node.op().name(), start.elapsed());
        done
    });
    outputs.map(drop)
}

fn failed(reason: String) -> Error {
    Error::Run {
        runtime: NAME,
        reason,
    }
}

/// tract's error with its causes.
#[allow(clippy::needless_pass_by_value)] // Called by `map_err`.
fn words(error: tract_onnx::prelude::TractError) -> String {
    one_line(&format!("{error:#}"))
}

fn to_value(tensor: &Tensor) -> TractResult<TValue> {
    use tract_onnx::prelude::Tensor as TractTensor;

    fn make<T: Datum + Copy>(shape: &[usize], values: &[T]) -> TractResult<TractTensor> {
        TractTensor::from_shape(shape, values)
    }
    let shape = tensor.shape();
    let made = match tensor.data() {
        Data::F32(values) => make(shape, values),
        Data::F16(values) => make(shape, values),
        Data::I64(values) => make(shape, values),
        Data::I32(values) => make(shape, values),
        Data::I8(values) => make(shape, values),
        Data::U8(values) => make(shape, values),
        Data::Bool(values) => make(shape, values),
    };
    Ok(made?.into())
}

fn from_value(value: &TValue) -> Result<Tensor, String> {
    fn elements<T: Datum + Clone>(value: &TValue) -> Result<Vec<T>, String> {
        let plain = value.try_as_plain_ram().map_err(words)?;
        Ok(plain.as_slice::<T>().map_err(words)?.to_vec())
    }
    let data_type = from_tract(value.datum_type())
        .ok_or_else(|| format!("an output is of the unsupported type {:?}", value.datum_type()))?;
    // tract keeps extents that a model computes as symbolic dimensions.
    let value = &match value.datum_type() {
        DatumType::TDim => value
            .cast_to::<i64>()
            .map_err(words)?
            .into_owned()
            .into_tensor()
            .into(),
        _ => value.clone(),
    };
    let data = match data_type {
        DataType::F32 => Data::F32(elements(value)?),
        DataType::F16 => Data::F16(elements(value)?),
        DataType::I64 => Data::I64(elements(value)?),
        DataType::I32 => Data::I32(elements(value)?),
        DataType::I8 => Data::I8(elements(value)?),
        DataType::U8 => Data::U8(elements(value)?),
        DataType::Bool => Data::Bool(elements(value)?),
    };
    Tensor::new(value.shape().to_vec(), data).map_err(|error| error.to_string())
}

fn to_tract(data_type: DataType) -> DatumType {
    match data_type {
        DataType::F32 => DatumType::F32,
        DataType::F16 => DatumType::F16,
        DataType::I64 => DatumType::I64,
        DataType::I32 => DatumType::I32,
        DataType::I8 => DatumType::I8,
        DataType::U8 => DatumType::U8,
        DataType::Bool => DatumType::Bool,
    }
}

fn from_tract(datum_type: DatumType) -> Option<DataType> {
    Some(match datum_type {
        DatumType::F32 => DataType::F32,
        DatumType::F16 => DataType::F16,
        DatumType::I64 | DatumType::TDim => DataType::I64,
        DatumType::I32 => DataType::I32,
        DatumType::I8 => DataType::I8,
        DatumType::U8 => DataType::U8,
        DatumType::Bool => DataType::Bool,
        _ => return None,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_each_node_is_told() {
        let tiny = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/models/tiny.onnx");
        let model = Tract.load(&tiny, &port::tests::options()).unwrap();
        let mut session = model.session().unwrap();
        let zeros = |port: &Port| {
            let volume = port.shape.iter().product();
            Tensor::new(port.shape.clone(), Data::F32(vec![0.0; volume])).unwrap()
        };
        let inputs: Vec<Tensor> = model.inputs().iter().map(zeros).collect();
        session.bind(&inputs).unwrap();
        let layers = session.profile(5).unwrap().unwrap();
        let time: std::time::Duration = layers.iter().map(|layer| layer.time).sum();
        assert!(layers.len() > 2 && !time.is_zero(), "{layers:?}");
    }

    #[test]
    fn the_version_is_that_of_the_lock_file() {
        let lock = include_str!("../../Cargo.lock");
        let entry = format!("name = \"tract-onnx\"\nversion = \"{VERSION}\"\n");
        assert!(
            lock.contains(&entry),
            "Cargo.lock has another tract-onnx than {VERSION}"
        );
    }
}
