//! TensorFlow Lite models on Google's LiteRT, loaded from its shared library at run time.
//!
//! On a CPU, LiteRT computes with XNNPACK or with kernels of its own, and falls back from the first to the second
//! operator by operator. Once a model is loaded, it is asked whether anything fell back: provider `xnnpack` refuses
//! that, provider `cpu` says so in its remark, and provider `builtin` uses the kernels alone.
//!
//! A file that was converted from ONNX says how the axes of the model lie in its tensors: callers give and get values
//! with the model's axes, and these are rearranged where an input is bound and an output is fetched.

mod axes;
mod ffi;
mod file;
mod flat;
mod memory;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod on_tflite;
mod profile;

use std::ffi::{CString, c_int};
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::handle::Handle;
use crate::layers::Sums;
use crate::library::Search;
use crate::line::one_line;
use crate::locate;
use crate::once::{Once, reason};
use crate::plain::Plain;
use crate::port::{self, Declared};
use crate::{Data, DataType, Error, Floats, Layer, Model, Options, Port, Probe, Runtime, Session, Tensor};
use axes::Axes;
use ffi::{Api, Asked, Buffer, Compiled};
use file::{Interface, Output};
use memory::Memory;

const NAME: &str = locate::TFLITE.name;

/// Every operator by XNNPACK.
const XNNPACK: &str = "xnnpack";
/// Every operator by LiteRT's own kernels.
const BUILTIN: &str = "builtin";

/// The runtime.
#[derive(Debug)]
pub(crate) struct Tflite {
    search: Search,
}

impl Tflite {
    pub(crate) fn new(search: &Search) -> Self {
        Self {
            search: search.clone(),
        }
    }

    fn library(&self) -> Result<PathBuf, Error> {
        locate::TFLITE.locate(&self.search)
    }
}

impl Runtime for Tflite {
    fn name(&self) -> &'static str {
        NAME
    }

    fn formats(&self) -> &'static [&'static str] {
        &["tflite"]
    }

    fn probe(&self) -> Result<Probe, Error> {
        let library = self.library()?;
        let handle = Handle::open(NAME, &library)?;
        ffi::check(&handle).map_err(unusable)?;
        // LiteRT leaves work for the end of the process, which would find its code gone: it cannot be unmapped.
        std::mem::forget(handle);
        Ok(found(library))
    }

    fn open(&self) -> Result<Probe, Error> {
        let library = self.library()?;
        api(&library)?;
        Ok(found(library))
    }

    fn load(&self, path: &Path, options: &Options) -> Result<Box<dyn Model>, Error> {
        let provider = Provider::named(&options.provider)?;
        let api = api(&self.library()?)?;
        let model = TfliteModel::new(api, path, options, provider).map_err(|reason| refused(path, reason))?;
        if provider == Provider::Xnnpack && !model.accelerated {
            return Err(Error::Provider {
                runtime: NAME,
                provider: XNNPACK.to_owned(),
                reason: format!(
                    "it does not take every operator of {}; provider `{}` lets LiteRT's own kernels compute those",
                    path.display(),
                    port::CPU
                ),
            });
        }
        Ok(Box::new(model))
    }
}

/// The inputs that a `.tflite` file declares, which needs no library. The error is a reason in one line.
pub fn inputs(file: &[u8]) -> Result<Vec<Declared>, String> {
    let inputs = file::interface(file)?.inputs.into_iter();
    Ok(inputs.map(|input| input.declared).collect())
}

/// Who computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Provider {
    Cpu,
    Xnnpack,
    Builtin,
}

impl Provider {
    const ALL: [(&str, Self); 3] = [
        (port::CPU, Self::Cpu),
        (XNNPACK, Self::Xnnpack),
        (BUILTIN, Self::Builtin),
    ];

    fn named(name: &str) -> Result<Self, Error> {
        let found = Self::ALL.iter().find(|(known, _)| *known == name);
        found
            .map(|&(_, provider)| provider)
            .ok_or_else(|| Error::Provider {
                runtime: NAME,
                provider: name.to_owned(),
                reason: format!("it has {}", Self::ALL.map(|(known, _)| known).join(", ")),
            })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Cpu => port::CPU,
            Self::Xnnpack => XNNPACK,
            Self::Builtin => BUILTIN,
        }
    }

    /// What LiteRT calls it in its options for CPUs.
    fn kernel_mode(self) -> &'static str {
        match self {
            Self::Cpu | Self::Xnnpack => XNNPACK,
            Self::Builtin => BUILTIN,
        }
    }
}

fn found(library: PathBuf) -> Probe {
    Probe {
        version: version(&library).unwrap_or_else(|| "unknown".to_owned()),
        providers: Provider::ALL.map(|(name, _)| name.to_owned()).to_vec(),
        library: Some(library),
    }
}

/// The library does not state its version. It is in the name of the folder that it was installed into, or of the one
/// that pip makes beside the package that holds it.
fn version(library: &Path) -> Option<String> {
    let folder = library.parent()?;
    let installed = folder.file_name()?.to_str()?.strip_prefix("tflite-");
    if let Some(version) = installed {
        return Some(version.to_owned());
    }
    let entries = std::fs::read_dir(folder.parent()?).ok()?.flatten();
    entries.map(|entry| entry.file_name()).find_map(|name| {
        let version = name.to_str()?.strip_prefix("ai_edge_litert-")?;
        Some(version.strip_suffix(".dist-info")?.to_owned())
    })
}

static LOADED: Once<Api> = Once::new(NAME);

/// LiteRT in this process.
fn api(library: &Path) -> Result<&'static Api, Error> {
    LOADED.get(library, || Api::new(Handle::open(NAME, library).map_err(reason)?))
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

fn failed(reason: String) -> Error {
    Error::Run {
        runtime: NAME,
        reason,
    }
}

struct TfliteModel {
    api: &'static Api,
    compiled: Arc<Mutex<Compiled>>,
    inputs: Vec<Port>,
    /// Of each input, where its axes lie in the tensor.
    axes: Vec<Option<Axes>>,
    outputs: Vec<Output>,
    names: Vec<String>,
    provider: Provider,
    /// Whether XNNPACK took every operator.
    accelerated: bool,
    /// Whether its inferences can be timed operator by operator.
    is_profiled: bool,
    /// Whether constants are stored in half precision.
    has_halves: bool,
}

impl TfliteModel {
    fn new(api: &'static Api, path: &Path, options: &Options, provider: Provider) -> Result<Self, String> {
        // Checked before the library sees it: it would take any number of threads.
        port::check_options(options)?;
        let file = read(path).map_err(|error| one_line(&error.to_string()))?;
        let Interface {
            inputs,
            outputs,
            has_halves,
        } = file::interface(file.elements())?;
        let (declared, axes): (Vec<Declared>, Vec<_>) = inputs
            .into_iter()
            .map(|input| (input.declared, input.axes))
            .unzip();
        let inputs = port::resolve(&declared, options)?;
        let cpu = format!(
            "kernel_mode = \"{}\"\nnum_threads = {}\n",
            provider.kernel_mode(),
            options.threads
        );
        let asked = Asked {
            cpu: CString::new(cpu).map_err(|error| error.to_string())?,
            profile: options.profile,
        };
        let mut compiled = Compiled::new(api, file, asked)?;
        for (index, (port, axes)) in inputs.iter().zip(&axes).enumerate() {
            let shape = in_tensor(axes.as_ref(), &port.shape);
            if compiled.input_shape(index)? != shape {
                compiled.resize(index, &shape)?;
            }
        }
        Ok(Self {
            api,
            accelerated: compiled.is_accelerated()?,
            is_profiled: options.profile,
            compiled: Arc::new(Mutex::new(compiled)),
            inputs,
            axes,
            names: outputs.iter().map(|output| output.name.clone()).collect(),
            outputs,
            provider,
            has_halves,
        })
    }
}

/// The shape of a tensor that holds a value of `shape`.
fn in_tensor(axes: Option<&Axes>, shape: &[usize]) -> Vec<usize> {
    axes.map_or_else(|| shape.to_vec(), |axes| axes.in_tensor(shape))
}

/// The file, where LiteRT can read it in place.
fn read(path: &Path) -> std::io::Result<Memory> {
    let mut file = File::open(path)?;
    let length = usize::try_from(file.metadata()?.len()).map_err(std::io::Error::other)?;
    let mut memory = Memory::zeros(length).ok_or_else(|| std::io::Error::other("it is too large"))?;
    file.read_exact(memory.elements_mut())?;
    Ok(memory)
}

impl Model for TfliteModel {
    fn inputs(&self) -> &[Port] {
        &self.inputs
    }

    fn outputs(&self) -> &[String] {
        &self.names
    }

    fn provider(&self) -> &str {
        self.provider.name()
    }

    fn remark(&self) -> Option<&str> {
        let falls_back = self.provider == Provider::Cpu && !self.accelerated;
        match (falls_back, self.has_halves) {
            (true, true) => Some(
                "XNNPACK does not take every operator of it; LiteRT's own kernels compute the others; its weights are \
                 stored in half precision and computed with in fp32",
            ),
            (true, false) => {
                Some("XNNPACK does not take every operator of it; LiteRT's own kernels compute the others")
            }
            (false, true) => Some("its weights are stored in half precision and computed with in fp32"),
            (false, false) => None,
        }
    }

    fn session(&self) -> Result<Box<dyn Session>, Error> {
        let shapes = lock(&self.compiled)
            .output_shapes(self.outputs.len())
            .map_err(failed)?;
        let buffer =
            |data_type, shape: &[usize]| Buffer::new(self.api, element(data_type), data_type.width(), shape);
        let inputs = self.inputs.iter().zip(&self.axes);
        let inputs =
            inputs.map(|(port, axes)| buffer(port.data_type, &in_tensor(axes.as_ref(), &port.shape)));
        let outputs = self.outputs.iter().zip(&shapes);
        let outputs = outputs.map(|(output, shape)| buffer(output.data_type, shape));
        Ok(Box::new(TfliteSession {
            compiled: Arc::clone(&self.compiled),
            is_profiled: self.is_profiled,
            inputs: inputs.collect::<Result<_, _>>().map_err(failed)?,
            outputs: outputs.collect::<Result<_, _>>().map_err(failed)?,
            ports: self.inputs.clone(),
            axes: self.axes.clone(),
            answers: self
                .outputs
                .iter()
                .zip(shapes)
                .map(Answer::new)
                .collect::<Result<_, _>>()?,
            has_run: false,
        }))
    }
}

/// Nobody else waits for this lock while a job is measured.
fn lock(compiled: &Mutex<Compiled>) -> MutexGuard<'_, Compiled> {
    compiled.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `LiteRtElementType` of a type.
fn element(data_type: DataType) -> c_int {
    match data_type {
        DataType::F32 => 1,
        DataType::I32 => 2,
        DataType::U8 => 3,
        DataType::I64 => 4,
        DataType::Bool => 6,
        DataType::I8 => 9,
        DataType::F16 => 10,
    }
}

/// Sessions of one model share LiteRT's compiled model, which runs one inference at a time, on buffers of their own.
struct TfliteSession {
    compiled: Arc<Mutex<Compiled>>,
    is_profiled: bool,
    inputs: Vec<Buffer>,
    outputs: Vec<Buffer>,
    ports: Vec<Port>,
    axes: Vec<Option<Axes>>,
    answers: Vec<Answer>,
    /// Before the first run there are no outputs.
    has_run: bool,
}

/// What an output is to callers.
struct Answer {
    data_type: DataType,
    shape: Vec<usize>,
    axes: Option<Axes>,
}

impl Answer {
    /// Of an output whose tensor has the given shape.
    fn new((output, tensor): (&Output, Vec<usize>)) -> Result<Self, Error> {
        let shape = match &output.axes {
            Some(axes) if axes.rank() != tensor.len() => {
                let (name, declared) = (&output.name, axes.rank());
                return Err(failed(format!(
                    "output `{name}` is {tensor:?} and its file declares {declared} axes"
                )));
            }
            Some(axes) => axes.in_model(&tensor),
            None => tensor,
        };
        Ok(Self {
            data_type: output.data_type,
            shape,
            axes: output.axes.clone(),
        })
    }
}

impl TfliteSession {
    /// Times the operators of inferences, after some that do not count.
    fn timed(&mut self, inferences: u32) -> Result<Vec<Layer>, String> {
        let mut sums = Sums::default();
        for inference in 0..profile::LEAD_IN + inferences {
            let events = lock(&self.compiled).run_timed(&self.inputs, &mut self.outputs)?;
            self.has_run = true;
            if inference >= profile::LEAD_IN {
                profile::add(&events, &mut sums)?;
            }
        }
        Ok(sums.mean(inferences))
    }
}

impl Session for TfliteSession {
    fn bind(&mut self, inputs: &[Tensor]) -> Result<(), Error> {
        port::check(&self.ports, inputs)?;
        for ((buffer, axes), input) in self.inputs.iter_mut().zip(&self.axes).zip(inputs) {
            write(input, axes.as_ref(), &mut buffer.memory);
        }
        Ok(())
    }

    fn run(&mut self) -> Result<(), Error> {
        lock(&self.compiled)
            .run(&self.inputs, &mut self.outputs)
            .map_err(failed)?;
        self.has_run = true;
        Ok(())
    }

    fn profile(&mut self, inferences: u32) -> Option<Result<Vec<Layer>, Error>> {
        self.is_profiled.then(|| self.timed(inferences).map_err(failed))
    }

    fn fetch(&mut self) -> Result<Vec<Tensor>, Error> {
        if !self.has_run {
            return Ok(Vec::new());
        }
        let outputs = self.outputs.iter().zip(&self.answers);
        outputs
            .map(|(buffer, answer)| {
                let tensor = Tensor::new(answer.shape.clone(), read_back(answer, &buffer.memory));
                tensor.map_err(|error| failed(error.to_string()))
            })
            .collect()
    }

    fn floats(&self, output: usize) -> Option<Floats<'_>> {
        let answer = self.answers.get(output)?;
        let lies_so = self.has_run && answer.data_type == DataType::F32 && answer.axes.is_none();
        lies_so.then(|| Floats {
            shape: answer.shape.clone(),
            values: self.outputs[output].memory.elements(),
        })
    }
}

/// Writes elements of the buffer's type and number, which [`port::check`] has made sure of.
fn write(input: &Tensor, axes: Option<&Axes>, memory: &mut Memory) {
    let shape = input.shape();
    match input.data() {
        Data::F32(values) => put(values, shape, axes, memory),
        Data::F16(values) => put(values, shape, axes, memory),
        Data::I64(values) => put(values, shape, axes, memory),
        Data::I32(values) => put(values, shape, axes, memory),
        Data::I8(values) => put(values, shape, axes, memory),
        Data::U8(values) => put(values, shape, axes, memory),
        Data::Bool(values) => {
            let bytes: Vec<u8> = values.iter().copied().map(u8::from).collect();
            put(&bytes, shape, axes, memory);
        }
    }
}

fn put<T: Plain>(values: &[T], shape: &[usize], axes: Option<&Axes>, memory: &mut Memory) {
    match axes {
        Some(axes) => axes.scatter(shape, values, memory.elements_mut()),
        None => memory.elements_mut().copy_from_slice(values),
    }
}

fn read_back(answer: &Answer, memory: &Memory) -> Data {
    match answer.data_type {
        DataType::F32 => Data::F32(taken(answer, memory)),
        DataType::F16 => Data::F16(taken(answer, memory)),
        DataType::I64 => Data::I64(taken(answer, memory)),
        DataType::I32 => Data::I32(taken(answer, memory)),
        DataType::I8 => Data::I8(taken(answer, memory)),
        DataType::U8 => Data::U8(taken(answer, memory)),
        DataType::Bool => {
            let bytes: Vec<u8> = taken(answer, memory);
            Data::Bool(bytes.into_iter().map(|byte| byte != 0).collect())
        }
    }
}

fn taken<T: Plain>(answer: &Answer, memory: &Memory) -> Vec<T> {
    match &answer.axes {
        Some(axes) => axes.gather(&answer.shape, memory.elements()),
        None => memory.elements().to_vec(),
    }
}
