//! OpenVINO on the CPU, loaded from its shared library at run time.
//!
//! By itself OpenVINO computes 32-bit floats in bf16 or FP16 where the processor has instructions for it, and fewer
//! threads than it was asked for where it finds fewer cores. So every property is given, and read back once the model
//! is ready; what took effect otherwise is an error. Provider `cpu` computes floats in 32 bits, `bf16` and `f16` are
//! providers of their own.

mod ffi;
mod half_precision;
mod library;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod on_openvino;
mod profile;
mod words;

use std::ffi::{CStr, CString, OsStr, c_int};
use std::path::{Path, PathBuf};

use half::f16;

use crate::handle::Handle;
use crate::library::Search;
use crate::line::one_line;
use crate::locate;
use crate::once::{Once, reason};
use crate::port::{self, Declared};
use crate::{Data, DataType, Error, Floats, Layer, Model, Options, Port, Probe, Runtime, Session, Tensor};
use ffi::{Compiled, Core, Interface, Lent, Request};
use library::Library;

const NAME: &str = locate::OPENVINO.name;

/// The oldest version that keeps the inputs of a file as they are: up to 2025.4 those that no operator uses are left out.
const OLDEST: (u32, u32) = (2026, 0);

/// What the library is made of: the names of the files that it loads from its own folder begin so.
const PARTS: [&str; 3] = ["libopenvino", "libtbb", "libhwloc"];

/// The runtime.
#[derive(Debug)]
pub(crate) struct OpenVino {
    search: Search,
}

impl OpenVino {
    pub(crate) fn new(search: &Search) -> Self {
        Self {
            search: search.clone(),
        }
    }

    fn library(&self) -> Result<PathBuf, Error> {
        locate::OPENVINO.locate(&self.search)
    }
}

impl Runtime for OpenVino {
    fn name(&self) -> &'static str {
        NAME
    }

    fn probe(&self) -> Result<Probe, Error> {
        Ok(Loaded::new(&self.library()?)?.probe())
    }

    fn open(&self) -> Result<Probe, Error> {
        Ok(loaded(&self.library()?)?.probe())
    }

    fn load(&self, path: &Path, options: &Options) -> Result<Box<dyn Model>, Error> {
        let precision = Precision::named(&options.provider)?;
        let loaded = loaded(&self.library()?)?;
        // OpenVINO would compute in another precision without a word.
        if !loaded.precisions.contains(&precision) {
            return Err(Error::Provider {
                runtime: NAME,
                provider: options.provider.clone(),
                reason: format!("this processor does not compute in {}", options.provider),
            });
        }
        let model = OpenVinoModel::new(&loaded.core, path, options, precision);
        Ok(Box::new(model.map_err(|reason| Error::Load {
            runtime: NAME,
            path: path.to_owned(),
            reason,
        })?))
    }
}

/// In what 32-bit floats are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Precision {
    F32,
    Bf16,
    F16,
}

impl Precision {
    const ALL: [Self; 3] = [Self::F32, Self::Bf16, Self::F16];

    fn named(provider: &str) -> Result<Self, Error> {
        let found = Self::ALL
            .into_iter()
            .find(|precision| precision.provider() == provider);
        found.ok_or_else(|| Error::Provider {
            runtime: NAME,
            provider: provider.to_owned(),
            reason: format!("it has {}", Self::ALL.map(Self::provider).join(", ")),
        })
    }

    fn provider(self) -> &'static str {
        match self {
            Self::F32 => port::CPU,
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
        }
    }

    /// OpenVINO's name of it.
    fn hint(self) -> &'static CStr {
        match self {
            Self::F32 => c"f32",
            Self::Bf16 => c"bf16",
            Self::F16 => c"f16",
        }
    }
}

/// The property that says in what floats are computed.
const PRECISION: &CStr = c"INFERENCE_PRECISION_HINT";

/// OpenVINO in this process, with the device for this processor.
struct Loaded {
    version: String,
    core: Core,
    /// Those that the processor has.
    precisions: Vec<Precision>,
}

impl Loaded {
    fn new(path: &Path) -> Result<Self, Error> {
        for part in parts(path) {
            Handle::check_whole(NAME, &part)?;
        }
        let mapped = Handle::open(NAME, path)?;
        Self::in_process(mapped).map_err(unusable)
    }

    fn in_process(mapped: Handle) -> Result<Self, String> {
        // It stays mapped, so the table of its functions stays, too.
        let library: &'static Library = Box::leak(Box::new(Library::new(mapped)?));
        let version = version(&library.build()?, library.path())?;
        let core = Core::new(library)?;
        let mut precisions = Vec::new();
        for precision in Precision::ALL {
            let takes = core.takes(PRECISION, precision.hint()).map_err(|reason| {
                format!(
                    "{} does not load its device for the CPU from its own folder: {reason}",
                    library.path().display()
                )
            })?;
            precisions.extend(takes.then_some(precision));
        }
        Ok(Self {
            version,
            core,
            precisions,
        })
    }

    fn probe(&self) -> Probe {
        let providers = self.precisions.iter();
        Probe {
            version: self.version.clone(),
            providers: providers
                .map(|precision| precision.provider().to_owned())
                .collect(),
            library: Some(self.core.library().path().to_owned()),
        }
    }
}

/// The files beside the library that it may load. To map one that is cut short ends the process.
fn parts(library: &Path) -> Vec<PathBuf> {
    let is_part = |path: &PathBuf| {
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        name.contains(".so") && PARTS.iter().any(|part| name.starts_with(part))
    };
    let folder = library.parent().and_then(|folder| std::fs::read_dir(folder).ok());
    let paths = folder.into_iter().flatten().flatten().map(|entry| entry.path());
    paths.filter(is_part).collect()
}

/// The version in what the library states of its build, if it is one that can be used.
fn version(build: &str, library: &Path) -> Result<String, String> {
    let version = build.split('-').next().unwrap_or_default();
    let mut numbers = version.split('.').map(|part| part.parse::<u32>().ok());
    let found = numbers.next().flatten().zip(numbers.next().flatten());
    if found.is_some_and(|found| found >= OLDEST) {
        return Ok(version.to_owned());
    }
    Err(format!(
        "{} is version {version}, {}.{} or newer is needed; `edgefront runtimes install {NAME}` gets one",
        library.display(),
        OLDEST.0,
        OLDEST.1
    ))
}

static LOADED: Once<Loaded> = Once::new(NAME);

/// OpenVINO in this process.
fn loaded(library: &Path) -> Result<&'static Loaded, Error> {
    LOADED.get(library, || Loaded::new(library).map_err(reason))
}

fn unusable(reason: String) -> Error {
    Error::Unusable {
        runtime: NAME,
        reason,
    }
}

fn failed(reason: String) -> Error {
    Error::Run {
        runtime: NAME,
        reason,
    }
}

struct OpenVinoModel {
    compiled: Compiled,
    inputs: Vec<Port>,
    outputs: Vec<String>,
    precision: Precision,
    remark: Option<String>,
    /// Whether its nodes are timed.
    is_profiled: bool,
}

impl OpenVinoModel {
    fn new(core: &Core, path: &Path, options: &Options, precision: Precision) -> Result<Self, String> {
        // Checked before the library sees it: it would take any number of threads.
        port::check_options(options)?;
        let mut network = core.read(path)?;
        let declared: Result<Vec<_>, _> = network.inputs()?.iter().map(declared).collect();
        let declared = declared?;
        let inputs = port::resolve(&declared, options)?;
        if declared.iter().any(|input| input.axes.contains(&None)) {
            network.reshape(inputs.iter().map(|port| port.shape.as_slice()))?;
        }
        let outputs = network.outputs()?;
        let types: Result<Vec<_>, _> = outputs.iter().map(|output| data_type(output, "output")).collect();
        let types: Vec<DataType> = inputs.iter().map(|port| port.data_type).chain(types?).collect();
        let has_halves = types.contains(&DataType::F16) || half_precision::is_computed(path);
        Ok(Self {
            compiled: compile(core, &network, options, precision)?,
            inputs,
            outputs: outputs.into_iter().map(|output| output.name).collect(),
            precision,
            is_profiled: options.profile,
            remark: remark(precision, has_halves, types.contains(&DataType::I64)),
        })
    }
}

/// The network, ready to run as `options` say.
fn compile(
    core: &Core,
    network: &ffi::Network,
    options: &Options,
    precision: Precision,
) -> Result<Compiled, String> {
    let threads = CString::new(options.threads.to_string()).expect("a number holds no zero byte");
    // Mode ACCURACY forbids what FP32 arithmetic would be replaced by in other ways: activations quantized while it
    // runs, and the fast mathematics of Arm's library. Two threads of one core are threads, too: without them
    // OpenVINO would take as many as there are cores.
    let asked = [
        (PRECISION, precision.hint()),
        (c"EXECUTION_MODE_HINT", c"ACCURACY"),
        (c"PERFORMANCE_HINT", c"LATENCY"),
        (c"NUM_STREAMS", c"1"),
        (c"INFERENCE_NUM_THREADS", threads.as_c_str()),
        (c"PERF_COUNT", if options.profile { c"YES" } else { c"NO" }),
        (c"ENABLE_HYPER_THREADING", c"YES"),
    ];
    let compiled = core.compile(network, asked)?;
    // The last is what may be used; where no core has two threads, it is switched off.
    for (name, asked) in &asked[..asked.len() - 1] {
        took_effect(name, &asked.to_string_lossy(), &compiled.property(name)?)?;
    }
    Ok(compiled)
}

fn took_effect(name: &CStr, asked: &str, found: &str) -> Result<(), String> {
    if found == asked {
        return Ok(());
    }
    Err(format!(
        "{} {asked} is asked for, and {found} took effect on this machine",
        name.to_string_lossy()
    ))
}

/// Where it does not compute as the file says.
fn remark(precision: Precision, has_halves: bool, has_long: bool) -> Option<String> {
    let mut remarks = Vec::new();
    match precision {
        Precision::F32 if has_halves => {
            remarks.push("half-precision values are computed in single precision");
        }
        Precision::F32 => {}
        Precision::Bf16 => remarks.push("floats are computed in bf16"),
        Precision::F16 => remarks.push("floats are computed in half precision"),
    }
    if has_long {
        remarks.push("64-bit integers are computed in 32 bits");
    }
    (!remarks.is_empty()).then(|| remarks.join("; "))
}

fn declared(input: &Interface) -> Result<Declared, String> {
    Ok(Declared {
        data_type: data_type(input, "input")?,
        axes: input
            .axes
            .clone()
            .ok_or_else(|| format!("input `{}` has no rank", input.name))?,
        name: input.name.clone(),
    })
}

fn data_type(port: &Interface, what: &str) -> Result<DataType, String> {
    from_openvino(port.element)
        .ok_or_else(|| format!("{what} `{}` is of an unsupported type", one_line(&port.name)))
}

/// The type of an `ov_element_type_e`.
fn from_openvino(element: c_int) -> Option<DataType> {
    Some(match element {
        1 => DataType::Bool,
        3 => DataType::F16,
        4 => DataType::F32,
        7 => DataType::I8,
        9 => DataType::I32,
        10 => DataType::I64,
        16 => DataType::U8,
        _ => return None,
    })
}

impl Model for OpenVinoModel {
    fn inputs(&self) -> &[Port] {
        &self.inputs
    }

    fn outputs(&self) -> &[String] {
        &self.outputs
    }

    fn provider(&self) -> &str {
        self.precision.provider()
    }

    fn remark(&self) -> Option<&str> {
        self.remark.as_deref()
    }

    fn session(&self) -> Result<Box<dyn Session>, Error> {
        Ok(Box::new(OpenVinoSession {
            request: self.compiled.request().map_err(failed)?,
            ports: self.inputs.clone(),
            outputs: self.outputs.clone(),
            is_profiled: self.is_profiled,
            runs: 0,
        }))
    }
}

/// Each session has inputs and outputs of its own; where several run at a time, they wait for each other.
struct OpenVinoSession {
    request: Request,
    ports: Vec<Port>,
    outputs: Vec<String>,
    is_profiled: bool,
    /// Before the first run there are no outputs.
    runs: u32,
}

impl OpenVinoSession {
    /// Times the nodes of inferences, after some that do not count.
    fn timed(&mut self, inferences: u32) -> Result<Vec<Layer>, Error> {
        for _ in 0..profile::LEAD_IN {
            self.run()?;
        }
        let (before, runs_before) = (self.request.counted().map_err(failed)?, self.runs);
        for _ in 0..inferences {
            self.run()?;
        }
        let after = self.request.counted().map_err(failed)?;
        if after.is_empty() {
            return Err(failed(
                "OpenVINO tells nothing of its nodes, for each takes less than a microsecond; give a larger batch".to_owned(),
            ));
        }
        Ok(profile::layers(&before, runs_before, after, self.runs))
    }
}

impl Session for OpenVinoSession {
    fn bind(&mut self, inputs: &[Tensor]) -> Result<(), Error> {
        port::check(&self.ports, inputs)?;
        for (index, input) in inputs.iter().enumerate() {
            write(&mut self.request, index, input.data()).map_err(failed)?;
        }
        Ok(())
    }

    fn run(&mut self) -> Result<(), Error> {
        self.request.infer().map_err(failed)?;
        self.runs = self.runs.saturating_add(1);
        Ok(())
    }

    fn profile(&mut self, inferences: u32) -> Option<Result<Vec<Layer>, Error>> {
        self.is_profiled.then(|| self.timed(inferences))
    }

    fn fetch(&mut self) -> Result<Vec<Tensor>, Error> {
        if self.runs == 0 {
            return Ok(Vec::new());
        }
        let outputs = self.outputs.iter().enumerate();
        let read = |(index, name): (usize, &String)| read_back(name, &self.request.output(index)?);
        outputs.map(read).collect::<Result<_, _>>().map_err(failed)
    }

    fn floats(&self, output: usize) -> Option<Floats<'_>> {
        if self.runs == 0 || output >= self.outputs.len() {
            return None;
        }
        let lent = self.request.output(output).ok()?;
        (from_openvino(lent.element) == Some(DataType::F32)).then(|| Floats {
            values: lent.elements(),
            shape: lent.shape,
        })
    }
}

/// Writes elements of the input's type and number, which [`port::check`] has made sure of.
fn write(request: &mut Request, index: usize, data: &Data) -> Result<(), String> {
    match data {
        Data::F32(values) => request.write(index, values),
        Data::F16(values) => request.write(index, values),
        Data::I64(values) => request.write(index, values),
        Data::I32(values) => request.write(index, values),
        Data::I8(values) => request.write(index, values),
        Data::U8(values) => request.write(index, values),
        Data::Bool(values) => {
            let bytes: Vec<u8> = values.iter().map(|&value| u8::from(value)).collect();
            request.write(index, &bytes)
        }
    }
}

fn read_back(name: &str, lent: &Lent<'_>) -> Result<Tensor, String> {
    let data_type =
        from_openvino(lent.element).ok_or_else(|| format!("output `{name}` is of an unsupported type"))?;
    let data = match data_type {
        DataType::F32 => Data::F32(lent.elements().to_vec()),
        DataType::F16 => Data::F16(lent.elements::<f16>().to_vec()),
        DataType::I64 => Data::I64(lent.elements().to_vec()),
        DataType::I32 => Data::I32(lent.elements().to_vec()),
        DataType::I8 => Data::I8(lent.elements().to_vec()),
        DataType::U8 => Data::U8(lent.elements().to_vec()),
        DataType::Bool => Data::Bool(lent.elements::<u8>().iter().map(|&byte| byte != 0).collect()),
    };
    Tensor::new(lent.shape.clone(), data).map_err(|error| error.to_string())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_old_library_is_refused_with_the_mend() {
        let library = Path::new("/lib/x.so");
        let refused = version("2025.4.1-20426-82bbf0292c5-releases/2025/4", library).unwrap_err();
        let expected = "/lib/x.so is version 2025.4.1, 2026.0 or newer is needed; `edgefront runtimes install \
                        openvino` gets one";
        assert_eq!(refused, expected);
        for build in ["2026.0.0-20965-c6d6a13a886", "2026.4.1", "2027.0"] {
            assert!(version(build, library).is_ok(), "{build}");
        }
        for build in ["", "nonsense", "2026", "2025.5.9"] {
            assert!(version(build, library).is_err(), "{build}");
        }
    }
}
