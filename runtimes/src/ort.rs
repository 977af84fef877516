//! ONNX Runtime, loaded from its shared library at run time.
//!
//! Only its CPU provider is used. Once a model is loaded, ONNX Runtime is asked which provider took its nodes; any
//! other than the one that was asked for is an error.

mod provider;

use std::env;
use std::error::Error as _;
use std::ffi::{CStr, c_char};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use ort::environment::Environment;
use ort::memory::{AllocationDevice, AllocatorType, MemoryInfo, MemoryType};
use ort::session::IoBinding;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::value::{DynValue, Outlet, TensorElementType, ValueType};

use crate::guard::one_line;
use crate::library::{self, Search};
use crate::port::{self, Declared};
use crate::{Data, DataType, Error, Floats, Model, Options, Port, Probe, Runtime, Session, Tensor};

const NAME: &str = "ort";
const STEM: &str = "libonnxruntime.so";
const VARIABLE: &str = "ORT_DYLIB_PATH";

/// ONNX Runtime's name of its provider for CPUs.
const CPU_PROVIDER: &str = "CPUExecutionProvider";

/// The runtime.
#[derive(Debug)]
pub(crate) struct Ort {
    search: Search,
}

impl Ort {
    pub(crate) fn new(search: &Search) -> Self {
        Self {
            search: search.clone(),
        }
    }

    fn library(&self) -> Result<PathBuf, Error> {
        let variable = (VARIABLE, env::var_os(VARIABLE).map(PathBuf::from));
        library::locate(NAME, STEM, &self.search, variable).map_err(missing)
    }
}

impl Runtime for Ort {
    fn name(&self) -> &'static str {
        NAME
    }

    fn probe(&self) -> Result<Probe, Error> {
        let library = self.library()?;
        let version = version(&library).map_err(missing)?;
        supported(&version, &library)?;
        Ok(Probe {
            version,
            providers: vec![port::CPU.to_owned()],
            library: Some(library),
        })
    }

    fn load(&self, path: &Path, options: &Options) -> Result<Box<dyn Model>, Error> {
        port::require_cpu(NAME, options)?;
        let environment = environment(&self.library()?)?;
        let session = open(environment, path, options).map_err(|reason| refused(path, reason))?;
        require_assigned(&session, options).map_err(|reason| Error::Provider {
            runtime: NAME,
            provider: options.provider.clone(),
            reason,
        })?;
        let model = OrtModel::new(session, options).map_err(|reason| refused(path, reason))?;
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

fn missing(reason: String) -> Error {
    Error::Missing {
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

/// The process's environment. A process holds one library, so that another one cannot take its place unseen.
fn environment(library: &Path) -> Result<&'static Environment, Error> {
    static LOADED: OnceLock<Result<(PathBuf, Environment), String>> = OnceLock::new();
    let open = || {
        let builder = ort::init_from(library).map_err(|error| one_line(&error.to_string()))?;
        let environment = builder
            .with_name("edgefront")
            .with_telemetry(false)
            .build()
            .map_err(|error| words(&error))?;
        Ok((library.to_owned(), environment))
    };
    match LOADED.get_or_init(open) {
        Ok((loaded, environment)) if loaded == library => Ok(environment),
        Ok((loaded, _)) => Err(missing(format!(
            "this process has already loaded {}, and {} is asked for",
            loaded.display(),
            library.display()
        ))),
        Err(reason) => Err(missing(reason.clone())),
    }
}

/// The version that the library states.
#[expect(unsafe_code, reason = "a C library is asked")]
fn version(library: &Path) -> Result<String, String> {
    #[repr(C)]
    struct ApiBase {
        get_api: unsafe extern "C" fn(u32) -> *const std::ffi::c_void,
        get_version_string: unsafe extern "C" fn() -> *const c_char,
    }
    let broken = |error: libloading::Error| {
        // The error says which call failed; why is in its source.
        let why = error
            .source()
            .map_or_else(|| error.to_string(), ToString::to_string);
        // glibc names the library itself.
        let named = format!("{}: ", library.display());
        one_line(&format!("cannot load {named}{}", why.trim_start_matches(&named)))
    };
    // SAFETY: the user named this library as ONNX Runtime; its initializers run as they do when a model is
    // loaded with it.
    let handle = unsafe { libloading::Library::new(library) }.map_err(broken)?;
    // SAFETY: ONNX Runtime's C API declares this function with this signature since its first version.
    let get_base: libloading::Symbol<'_, unsafe extern "C" fn() -> *const ApiBase> =
        unsafe { handle.get(b"OrtGetApiBase") }.map_err(broken)?;
    // SAFETY: the function has no preconditions; a null pointer is checked for, and the C API declares that the
    // struct and the string live as long as the library, which `handle` keeps open to the end of this function.
    let version = unsafe {
        let base = get_base().as_ref().ok_or("it has no API")?;
        CStr::from_ptr((base.get_version_string)())
    };
    let version = version.to_str().map_err(|_| "its version is not text")?;
    Ok(version.to_owned())
}

fn supported(version: &str, library: &Path) -> Result<(), Error> {
    let minor = version
        .split('.')
        .nth(1)
        .and_then(|minor| minor.parse::<u32>().ok());
    if minor.is_some_and(|minor| minor >= ort::MINOR_VERSION) {
        return Ok(());
    }
    Err(missing(format!(
        "{} is version {version}, 1.{} or newer is needed; `edgefront runtimes install ort` gets one",
        library.display(),
        ort::MINOR_VERSION
    )))
}

struct OrtModel {
    session: Arc<Mutex<ort::session::Session>>,
    inputs: Vec<Port>,
    outputs: Vec<String>,
}

fn builder(environment: &Environment, threads: usize) -> Result<SessionBuilder, ort::Error> {
    let builder = ort::session::Session::builder(environment)?
        .with_intra_threads(threads)?
        .with_inter_threads(1)?
        .with_parallel_execution(false)?;
    Ok(builder)
}

fn open(environment: &Environment, path: &Path, options: &Options) -> Result<ort::session::Session, String> {
    // Checked before the library sees it: it would take any number of threads.
    port::check_options(options)?;
    let commit = || {
        builder(environment, options.threads)?
            .with_optimization_level(GraphOptimizationLevel::All)?
            .with_config_entry(provider::RECORD.0, provider::RECORD.1)?
            .with_config_entry(
                "session.intra_op.allow_spinning",
                if options.spin { "1" } else { "0" },
            )?
            .commit_from_file(path)
    };
    commit().map_err(|error| words(&error))
}

/// Whether all nodes run on the CPU's provider; those of a graph that was folded away run nowhere.
fn require_assigned(session: &ort::session::Session, options: &Options) -> Result<(), String> {
    let assigned = provider::providers(session).map_err(|error| words(&error))?;
    match assigned.iter().find(|name| *name != CPU_PROVIDER) {
        None => Ok(()),
        Some(other) => Err(format!("{other} took nodes instead of `{}`", options.provider)),
    }
}

impl OrtModel {
    fn new(session: ort::session::Session, options: &Options) -> Result<Self, String> {
        let declared: Result<Vec<_>, _> = session.inputs().iter().map(declared).collect();
        Ok(Self {
            inputs: port::resolve(&declared?, options)?,
            outputs: session.outputs().iter().map(|o| o.name().to_owned()).collect(),
            session: Arc::new(Mutex::new(session)),
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
        port::CPU
    }

    fn session(&self) -> Result<Box<dyn Session>, Error> {
        let session = Arc::clone(&self.session);
        let binding = binding(&session, &self.outputs).map_err(|error| failed(&error))?;
        Ok(Box::new(OrtSession {
            session,
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
    binding: IoBinding,
    ports: Vec<Port>,
    names: Vec<String>,
    outputs: Vec<DynValue>,
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
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_old_library_is_refused_with_the_mend() {
        let refused = supported("1.16.3", Path::new("/lib/x.so"))
            .err()
            .map(|e| e.to_string());
        let expected = "runtime `ort` is not installed: /lib/x.so is version 1.16.3, 1.24 or newer is needed; \
                        `edgefront runtimes install ort` gets one";
        assert_eq!(refused.as_deref(), Some(expected));
        assert!(supported("1.32.0", Path::new("x")).is_ok());
        assert!(supported("nonsense", Path::new("x")).is_err());
    }

    #[test]
    fn the_session_itself_says_who_took_its_nodes() {
        let environment = environment(&Ort::new(&Search::default()).library().unwrap()).unwrap();
        let tiny = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/models/tiny.onnx");
        let session = open(environment, &tiny, &port::tests::options()).unwrap();
        let providers: Vec<String> = provider::providers(&session).unwrap().into_iter().collect();
        assert_eq!(providers, [CPU_PROVIDER]);
    }

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
            error.starts_with("runtime `ort` is not installed: cannot load "),
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
