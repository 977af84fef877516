//! ONNX Runtime, loaded from its shared library at run time.
//!
//! A provider is used by name and never another in its place: that it cannot be used is an error. Once a model is
//! loaded, ONNX Runtime is asked which provider took its nodes: one that took none is an error, and of one that left
//! some to the CPU the remark says how many.

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod on_ort;
mod profile;
mod provider;
mod saved;
mod settings;
mod tensorrt;
mod version;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ort::environment::Environment;
use ort::ep::{self, ExecutionProviderDispatch};
use ort::memory::{AllocationDevice, AllocatorType, MemoryInfo, MemoryType};
use ort::session::IoBinding;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::value::{DynValue, Outlet, TensorElementType, ValueType};

use crate::handle::Handle;
use crate::kept;
use crate::layers::Layer;
use crate::library::Search;
use crate::line::one_line;
use crate::locate;
use crate::once::Once;
use crate::port::{self, Declared};
use crate::{Data, DataType, Error, Floats, Model, Options, Port, Probe, Runtime, Session, Tensor};
use profile::Trace;
use provider::{Assignment, Provider};
use saved::Graph;
use settings::{Optimization, Settings};
use version::version;

const NAME: &str = locate::ORT.name;

/// The runtime.
#[derive(Debug)]
pub(crate) struct Ort {
    search: Search,
    /// Where graphs are saved. The error is one line.
    folder: Result<PathBuf, String>,
    /// The saved graph of each model and provider as it is written, which were checked to the last bit.
    saved: Mutex<BTreeMap<(PathBuf, String), Graph>>,
}

impl Ort {
    pub(crate) fn new(search: &Search) -> Self {
        Self {
            search: search.clone(),
            folder: kept::folder(NAME),
            saved: Mutex::default(),
        }
    }

    fn library(&self) -> Result<PathBuf, Error> {
        locate::ORT.locate(&self.search)
    }

    /// The saved graph of a model, which is made where it is not there; `None` where none is asked for.
    fn saved(&self, path: &Path, options: &Options) -> Result<Option<Graph>, Error> {
        let (provider, settings) = asked(options)?;
        if !settings.saved {
            return Ok(None);
        }
        let key = (path.to_owned(), options.provider.clone());
        let mut saved = self.saved.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(graph) = saved.get(&key) {
            return Ok(Some(graph.clone()));
        }
        let library = self.library()?;
        let version = version(&Handle::open(NAME, &library)?)?;
        let folder = self.folder.as_deref().map_err(String::clone);
        let environment = environment(&library)?;
        let graph = folder
            .and_then(|folder| saved::graph(environment, folder, &version, path, provider, settings))
            .map_err(|reason| refused(path, reason))?;
        saved.insert(key, graph.clone());
        Ok(Some(graph))
    }
}

/// Provider and settings that a job asks for.
fn asked(options: &Options) -> Result<(Provider, Settings), Error> {
    let (name, settings) = Settings::split(&options.provider).map_err(|reason| not_by_it(options, reason))?;
    Ok((Provider::named(name)?, settings))
}

fn not_by_it(options: &Options, reason: String) -> Error {
    Error::Provider {
        runtime: NAME,
        provider: options.provider.clone(),
        reason,
    }
}

impl Runtime for Ort {
    fn name(&self) -> &'static str {
        NAME
    }

    fn canonical_provider(&self, written: &str) -> String {
        let known = Settings::split(written).map(|(name, settings)| settings.behind(name));
        known.unwrap_or_else(|_| written.to_owned())
    }

    fn probe(&self) -> Result<Probe, Error> {
        let library = self.library()?;
        found(&Handle::open(NAME, &library)?, library)
    }

    /// The environment is the process's, and every session needs it.
    fn open(&self) -> Result<Probe, Error> {
        let library = self.library()?;
        // Kept until the environment holds the library, too, so that it is mapped once.
        let handle = Handle::open(NAME, &library)?;
        let found = found(&handle, library.clone())?;
        environment(&library)?;
        Ok(found)
    }

    fn reads_artifact(&self, options: &Options) -> bool {
        asked(options).is_ok_and(|(_, settings)| !settings.saved)
    }

    fn prepare(&self, path: &Path, options: &Options) -> Result<(), Error> {
        self.saved(path, options).map(drop)
    }

    fn load(&self, path: &Path, options: &Options) -> Result<Box<dyn Model>, Error> {
        let not_by_it = |reason| not_by_it(options, reason);
        let (provider, mut settings) = asked(options)?;
        let library = self.library()?;
        let environment = environment(&library)?;
        // Checked before the library sees it: it would take any number of threads.
        port::check_options(options).map_err(|reason| refused(path, reason))?;
        let saved = self.saved(path, options)?;
        if saved.is_some() {
            settings.optimization = Optimization::Disable;
        }
        let asked = provider.dispatch(path, &library, options).map_err(not_by_it)?;
        let builder = with_provider(environment, provider, asked, settings, options)
            .map_err(|error| not_by_it(words(&error)))?;
        let file = saved.as_ref().map_or(path, |graph| graph.file.as_path());
        let (builder, trace) = profiled(builder, options).map_err(|reason| refused(path, reason))?;
        let session = open(builder, file, settings, options).map_err(|error| refused(file, words(&error)))?;
        let assigned = Assignment::of(&session).map_err(|error| not_by_it(words(&error)))?;
        let left = assigned.check(provider).map_err(not_by_it)?;
        let known = [
            provider.remark(),
            saved.as_ref().map(|graph| graph.remark.as_str()),
        ];
        let known = known.into_iter().flatten().map(str::to_owned);
        let remarks: Vec<String> = left.into_iter().chain(known).collect();
        let remark = (!remarks.is_empty()).then(|| remarks.join("; "));
        let written = self.canonical_provider(&options.provider);
        let model = OrtModel::new(session, trace, written, remark, options)
            .map_err(|reason| refused(path, reason))?;
        Ok(Box::new(model))
    }
}

/// Writes `model` to `out` as ONNX Runtime would run it after its own graph rewriting (level "extended", which
/// fuses Q/DQ pairs into integer operators and is not yet bound to this machine's memory layout).
pub fn optimized_model(search: &Search, model: &Path, out: &Path) -> Result<(), Error> {
    let environment = environment(&Ort::new(search).library()?)?;
    let write = || {
        builder(environment, 1)?
            .with_optimization_level(GraphOptimizationLevel::Level2)?
            .with_optimized_model_path(out)?
            .commit_from_file(model)
    };
    write().map(drop).map_err(|error| refused(model, words(&error)))
}

fn found(handle: &Handle, library: PathBuf) -> Result<Probe, Error> {
    let version = version(handle)?;
    let held = provider::held(handle).map_err(unusable)?;
    Ok(Probe {
        version,
        providers: held.into_iter().map(str::to_owned).collect(),
        library: Some(library),
    })
}

fn unusable(reason: String) -> Error {
    Error::Unusable {
        runtime: NAME,
        reason,
    }
}

fn refused(path: &Path, reason: String) -> Error {
    Error::Load {
        runtime: NAME,
        path: path.to_owned(),
        reason,
    }
}

fn failed(error: &ort::Error) -> Error {
    Error::Run {
        runtime: NAME,
        reason: words(error),
    }
}

fn words<T>(error: &ort::Error<T>) -> String {
    one_line(&error.to_string())
}

static LOADED: Once<Environment> = Once::new(NAME);

/// The process's environment.
fn environment(library: &Path) -> Result<&'static Environment, Error> {
    LOADED.get(library, || {
        let builder = ort::init_from(library).map_err(|error| one_line(&error.to_string()))?;
        let builder = builder.with_name("edgefront").with_telemetry(false);
        builder.build().map_err(|error| words(&error))
    })
}

struct OrtModel {
    session: Arc<Mutex<ort::session::Session>>,
    /// Where its profile will be, if it makes one.
    trace: Option<Arc<Trace>>,
    inputs: Vec<Port>,
    outputs: Vec<String>,
    /// With those settings that are not ONNX Runtime's own.
    provider: String,
    remark: Option<String>,
}

fn builder(environment: &Environment, threads: usize) -> Result<SessionBuilder, ort::Error> {
    let builder = ort::session::Session::builder(environment)?
        .with_intra_threads(threads)?
        .with_inter_threads(1)?
        .with_parallel_execution(false)?;
    Ok(builder)
}

/// Whether threads without work keep their cores busy, to ONNX Runtime.
const SPINNING: &str = "session.intra_op.allow_spinning";

/// A builder of sessions that compute with a provider, or an error where that cannot be used.
fn with_provider(
    environment: &Environment,
    provider: Provider,
    asked: Option<ExecutionProviderDispatch>,
    settings: Settings,
    options: &Options,
) -> Result<SessionBuilder, ort::Error> {
    let builder = builder(environment, provider.own_threads(options))?;
    let cpu = ep::CPU::default().with_arena_allocator(settings.arena).build();
    let asked = asked.into_iter().chain([cpu]);
    Ok(builder.with_execution_providers(asked.collect::<Vec<_>>())?)
}

fn open(
    builder: SessionBuilder,
    path: &Path,
    settings: Settings,
    options: &Options,
) -> Result<ort::session::Session, ort::Error> {
    configured(builder, settings, options)?.commit_from_file(path)
}

/// The builder with what is set of ONNX Runtime itself, but for the arena, which belongs to the provider.
fn configured(
    builder: SessionBuilder,
    settings: Settings,
    options: &Options,
) -> Result<SessionBuilder, ort::Error> {
    let switch = |on: bool| if on { "1" } else { "0" };
    Ok(builder
        .with_optimization_level(settings.optimization.level())?
        .with_config_entry(provider::RECORD.0, provider::RECORD.1)?
        .with_config_entry(SPINNING, switch(settings.spin))?
        .with_config_entry("session.force_spinning_stop", switch(!options.spin))?)
}

/// The builder, which makes sessions that write a profile where one is asked for, and where that will be.
fn profiled(
    builder: SessionBuilder,
    options: &Options,
) -> Result<(SessionBuilder, Option<Arc<Trace>>), String> {
    if !options.profile {
        return Ok((builder, None));
    }
    let trace = Trace::new()?;
    let builder = builder
        .with_profiling(trace.prefix())
        .map_err(|error| words(&error))?;
    Ok((builder, Some(Arc::new(trace))))
}

impl OrtModel {
    fn new(
        session: ort::session::Session,
        trace: Option<Arc<Trace>>,
        provider: String,
        remark: Option<String>,
        options: &Options,
    ) -> Result<Self, String> {
        let declared: Result<Vec<_>, _> = session.inputs().iter().map(declared).collect();
        Ok(Self {
            inputs: port::resolve(&declared?, options)?,
            outputs: session.outputs().iter().map(|o| o.name().to_owned()).collect(),
            session: Arc::new(Mutex::new(session)),
            trace,
            provider,
            remark,
        })
    }
}

fn declared(input: &Outlet) -> Result<Declared, String> {
    let name = input.name().to_owned();
    let unsupported = || format!("input `{name}` is of the unsupported type {}", input.dtype());
    let ValueType::Tensor { ty, shape, .. } = input.dtype() else {
        return Err(unsupported());
    };
    Ok(Declared {
        data_type: from_ort(*ty).ok_or_else(unsupported)?,
        axes: shape.iter().map(|&extent| usize::try_from(extent).ok()).collect(),
        name,
    })
}

impl Model for OrtModel {
    fn inputs(&self) -> &[Port] {
        &self.inputs
    }

    fn outputs(&self) -> &[String] {
        &self.outputs
    }

    fn provider(&self) -> &str {
        &self.provider
    }

    fn remark(&self) -> Option<&str> {
        self.remark.as_deref()
    }

    fn session(&self) -> Result<Box<dyn Session>, Error> {
        let session = Arc::clone(&self.session);
        let binding = binding(&session, &self.outputs).map_err(|error| failed(&error))?;
        Ok(Box::new(OrtSession {
            session,
            trace: self.trace.clone(),
            binding,
            ports: self.inputs.clone(),
            names: self.outputs.clone(),
            outputs: Vec::new(),
        }))
    }
}

fn binding(session: &Mutex<ort::session::Session>, outputs: &[String]) -> Result<IoBinding, ort::Error> {
    let session = session.lock().unwrap_or_else(PoisonError::into_inner);
    let mut binding = session.create_binding()?;
    let memory = MemoryInfo::new(
        AllocationDevice::CPU,
        0,
        AllocatorType::Device,
        MemoryType::CPUOutput,
    )?;
    for name in outputs {
        binding.bind_output_to_device(name, &memory)?;
    }
    Ok(binding)
}

/// Sessions of one model share ONNX Runtime's own session, which runs one inference at a time.
struct OrtSession {
    session: Arc<Mutex<ort::session::Session>>,
    trace: Option<Arc<Trace>>,
    binding: IoBinding,
    ports: Vec<Port>,
    names: Vec<String>,
    outputs: Vec<DynValue>,
}

impl OrtSession {
    /// Runs and reads what was written of it.
    fn traced(&mut self, trace: &Trace, inferences: u32) -> Result<Vec<Layer>, Error> {
        for _ in 0..profile::LEAD_IN + inferences {
            self.run()?;
        }
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let written = session.end_profiling().map_err(|error| failed(&error))?;
        trace
            .read(Path::new(&written), inferences)
            .map_err(|reason| Error::Run {
                runtime: NAME,
                reason,
            })
    }
}

impl Session for OrtSession {
    fn bind(&mut self, inputs: &[Tensor]) -> Result<(), Error> {
        port::check(&self.ports, inputs)?;
        for (port, input) in self.ports.iter().zip(inputs) {
            let bound = to_value(input).and_then(|value| self.binding.bind_input(&port.name, &value));
            bound.map_err(|error| failed(&error))?;
        }
        Ok(())
    }

    fn run(&mut self) -> Result<(), Error> {
        // Nobody else waits for this lock while a job is measured.
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let outputs = session
            .run_binding(&self.binding)
            .map_err(|error| failed(&error))?;
        self.outputs.clear();
        self.outputs.extend(outputs.into_iter().map(|(_, value)| value));
        Ok(())
    }

    fn profile(&mut self, inferences: u32) -> Option<Result<Vec<Layer>, Error>> {
        let trace = self.trace.clone()?;
        Some(self.traced(&trace, inferences))
    }

    fn fetch(&mut self) -> Result<Vec<Tensor>, Error> {
        let outputs = self.names.iter().zip(&self.outputs);
        outputs.map(|(name, value)| from_value(name, value)).collect()
    }

    fn floats(&self, output: usize) -> Option<Floats<'_>> {
        let (shape, values) = self.outputs.get(output)?.try_extract_tensor::<f32>().ok()?;
        Some(Floats {
            shape: extents(shape),
            values,
        })
    }
}

fn to_value(tensor: &Tensor) -> Result<DynValue, ort::Error> {
    use ort::value::Tensor as OrtTensor;

    let shape = tensor.shape().to_vec();
    Ok(match tensor.data() {
        Data::F32(values) => OrtTensor::from_array((shape, values.clone()))?.into_dyn(),
        Data::F16(values) => OrtTensor::from_array((shape, values.clone()))?.into_dyn(),
        Data::I64(values) => OrtTensor::from_array((shape, values.clone()))?.into_dyn(),
        Data::I32(values) => OrtTensor::from_array((shape, values.clone()))?.into_dyn(),
        Data::I8(values) => OrtTensor::from_array((shape, values.clone()))?.into_dyn(),
        Data::U8(values) => OrtTensor::from_array((shape, values.clone()))?.into_dyn(),
        Data::Bool(values) => OrtTensor::from_array((shape, values.clone()))?.into_dyn(),
    })
}

fn from_value(name: &str, value: &DynValue) -> Result<Tensor, Error> {
    use ort::value::PrimitiveTensorElementType;

    fn elements<T: PrimitiveTensorElementType + Clone>(value: &DynValue) -> Result<Vec<T>, Error> {
        let (_, elements) = value.try_extract_tensor::<T>().map_err(|error| failed(&error))?;
        Ok(elements.to_vec())
    }
    let unsupported = || Error::Run {
        runtime: NAME,
        reason: format!("output `{name}` is of the unsupported type {}", value.dtype()),
    };
    let ValueType::Tensor { ty, shape, .. } = value.dtype() else {
        return Err(unsupported());
    };
    let data = match from_ort(*ty).ok_or_else(unsupported)? {
        DataType::F32 => Data::F32(elements(value)?),
        DataType::F16 => Data::F16(elements(value)?),
        DataType::I64 => Data::I64(elements(value)?),
        DataType::I32 => Data::I32(elements(value)?),
        DataType::I8 => Data::I8(elements(value)?),
        DataType::U8 => Data::U8(elements(value)?),
        DataType::Bool => Data::Bool(elements(value)?),
    };
    Tensor::new(extents(shape), data).map_err(|error| Error::Run {
        runtime: NAME,
        reason: error.to_string(),
    })
}

fn extents(shape: &[i64]) -> Vec<usize> {
    shape
        .iter()
        .map(|&extent| usize::try_from(extent).unwrap_or(0))
        .collect()
}

fn from_ort(element: TensorElementType) -> Option<DataType> {
    Some(match element {
        TensorElementType::Float32 => DataType::F32,
        TensorElementType::Float16 => DataType::F16,
        TensorElementType::Int64 => DataType::I64,
        TensorElementType::Int32 => DataType::I32,
        TensorElementType::Int8 => DataType::I8,
        TensorElementType::Uint8 => DataType::U8,
        TensorElementType::Bool => DataType::Bool,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_no_library_is_told_from_none() {
        let runtime = Ort::new(&Search {
            runtime_path: Some(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")),
        });
        let error = runtime
            .probe()
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default();
        assert!(
            error.starts_with("runtime `ort` cannot be used: cannot load "),
            "{error}"
        );
        let library = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        assert!(
            error.ends_with(&format!("cannot load {}: invalid ELF header", library.display())),
            "{error}"
        );
        assert!(!error.contains('\n'));
    }
}
