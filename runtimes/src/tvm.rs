//! Shared objects that TVM compiled, on its runtime's library, which is loaded at run time.
//!
//! A file is machine code for one processor with the constants of its model. It says at its end what it takes and gives,
//! which version of TVM made it and for which instructions, and that is held against this machine before the system
//! loads it: what it does not fit is an error and no crash.

mod cpu;
mod ffi;
mod file;

use std::path::{Path, PathBuf};

use crate::handle::Handle;
use crate::library::Search;
use crate::line::one_line;
use crate::locate;
use crate::once::{Once, reason};
use crate::plain::Plain;
use crate::port::{self, Declared};
use crate::{Data, DataType, Error, Floats, Model, Options, Port, Probe, Runtime, Session, Tensor};
pub use cpu::{level, runs};
use ffi::{Api, Machine, Module, Outputs};
use file::Record;

const NAME: &str = locate::TVM.name;

/// Code whose loops were ordered by a search that measured them, or any code where it is asked for: who computes is
/// told by the model.
const CPU: &str = port::CPU;
/// Code whose loops are as TVM's operators have them.
const UNTUNED: &str = "untuned";
/// The library that the runtime's needs, in the same folder.
const INTERFACE: &str = "libtvm_ffi.so";

/// The runtime.
#[derive(Debug)]
pub(crate) struct Tvm {
    search: Search,
}

impl Tvm {
    pub(crate) fn new(search: &Search) -> Self {
        Self {
            search: search.clone(),
        }
    }

    fn library(&self) -> Result<PathBuf, Error> {
        locate::TVM.locate(&self.search)
    }
}

impl Runtime for Tvm {
    fn name(&self) -> &'static str {
        NAME
    }

    fn formats(&self) -> &'static [&'static str] {
        &["so"]
    }

    fn probe(&self) -> Result<Probe, Error> {
        self.open()
    }

    fn open(&self) -> Result<Probe, Error> {
        let library = self.library()?;
        api(&library)?;
        Ok(Probe {
            version: version(&library).unwrap_or_else(|| "unknown".to_owned()),
            providers: vec![CPU.to_owned(), UNTUNED.to_owned()],
            library: Some(library),
        })
    }

    fn load(&self, path: &Path, options: &Options) -> Result<Box<dyn Model>, Error> {
        if ![CPU, UNTUNED].contains(&options.provider.as_str()) {
            return Err(Error::Provider {
                runtime: NAME,
                provider: options.provider.clone(),
                reason: format!("it has {CPU}, {UNTUNED}"),
            });
        }
        let library = self.library()?;
        let api = api(&library)?;
        let version = version(&library);
        let model = TvmModel::new(api, version.as_deref(), path, options);
        let model = model.map_err(|reason| Error::Load {
            runtime: NAME,
            path: path.to_owned(),
            reason,
        })?;
        if options.provider == UNTUNED && model.record.untuned.is_none() {
            return Err(Error::Provider {
                runtime: NAME,
                provider: UNTUNED.to_owned(),
                reason: format!("{} is tuned; ask for `{NAME}` alone", path.display()),
            });
        }
        Ok(Box::new(model))
    }
}

/// The inputs that a compiled library declares, which needs no library of TVM's. The error is a reason in one line.
pub fn inputs(path: &Path) -> Result<Vec<Declared>, String> {
    Record::read(path)?.inputs()
}

/// The library does not state its version. It is in the name of the folder that it was installed into, or of the one
/// that pip makes beside the package that holds it.
fn version(library: &Path) -> Option<String> {
    let folder = library.parent()?;
    let installed = folder.file_name()?.to_str()?.strip_prefix("tvm-");
    if let Some(version) = installed {
        return Some(version.to_owned());
    }
    let entries = std::fs::read_dir(folder.parent()?.parent()?).ok()?.flatten();
    entries.map(|entry| entry.file_name()).find_map(|name| {
        let version = name.to_str()?.strip_prefix("apache_tvm-")?;
        Some(version.strip_suffix(".dist-info")?.to_owned())
    })
}

static LOADED: Once<Api> = Once::new(NAME);

/// TVM in this process.
fn api(library: &Path) -> Result<&'static Api, Error> {
    LOADED.get(library, || {
        // Both are seen by the libraries that come after them: the runtime's finds this one's functions by name, and
        // compiled ones find those of both.
        let interface = Handle::open_for_all(NAME, &interface(library)).map_err(reason)?;
        let runtime = Handle::open_for_all(NAME, library).map_err(reason)?;
        Api::new(interface, runtime)
    })
}

/// The library of TVM's interface: beside the runtime's as both are installed, or where pip puts it.
fn interface(library: &Path) -> PathBuf {
    let beside = library.with_file_name(INTERFACE);
    let packages = library.ancestors().nth(3);
    let of_pip = packages.map(|packages| packages.join("tvm_ffi/lib").join(INTERFACE));
    match of_pip {
        Some(of_pip) if !beside.exists() && of_pip.exists() => of_pip,
        _ => beside,
    }
}

fn failed(reason: String) -> Error {
    Error::Run {
        runtime: NAME,
        reason,
    }
}

struct TvmModel {
    api: &'static Api,
    module: Module,
    record: Record,
    inputs: Vec<Port>,
    outputs: Vec<Declared>,
    names: Vec<String>,
    threads: usize,
    remark: Option<String>,
}

impl TvmModel {
    fn new(api: &'static Api, version: Option<&str>, path: &Path, options: &Options) -> Result<Self, String> {
        port::check_options(options)?;
        let record = Record::read(path)?;
        file::check_architecture(path)?;
        check_version(&record.tvm, version)?;
        cpu::check(&record.cpu)?;
        let inputs = port::resolve(&record.inputs()?, options)?;
        let outputs = record.outputs()?;
        if crate::elf::is_cut_short(path).unwrap_or(false) {
            return Err("it is shorter than its own headers say; copy it anew".to_owned());
        }
        record.check_code(path)?;
        Ok(Self {
            api,
            module: api.load(path)?,
            inputs,
            names: outputs.iter().map(|output| output.name.clone()).collect(),
            outputs,
            threads: options.threads,
            remark: remark(&record, version),
            record,
        })
    }
}

/// What a reader of its figures must know. The file says it, which anybody may have written.
fn remark(record: &Record, installed: Option<&str>) -> Option<String> {
    let untuned = record
        .untuned
        .as_ref()
        .map(|why| format!("its code is not tuned: {why}"));
    let unknown = installed.is_none().then(|| {
        format!(
            "the runtime's library does not tell its version, which was not compared with that of the compiler, {}",
            record.tvm
        )
    });
    let remarks: Vec<String> = untuned.into_iter().chain(unknown).collect();
    (!remarks.is_empty()).then(|| one_line(&remarks.join("; ")))
}

/// Compiled code calls what its own version of the runtime has. One that is not known is told by [`remark`].
fn check_version(compiled: &str, installed: Option<&str>) -> Result<(), String> {
    match installed {
        Some(installed) if installed != compiled => Err(format!(
            "TVM {compiled} compiled it, and the runtime here is {installed}; convert the model anew, or install the \
             runtime of that version"
        )),
        _ => Ok(()),
    }
}

impl Model for TvmModel {
    fn inputs(&self) -> &[Port] {
        &self.inputs
    }

    fn outputs(&self) -> &[String] {
        &self.names
    }

    fn provider(&self) -> &str {
        if self.record.untuned.is_some() {
            UNTUNED
        } else {
            CPU
        }
    }

    fn remark(&self) -> Option<&str> {
        self.remark.as_deref()
    }

    fn session(&self) -> Result<Box<dyn Session>, Error> {
        self.api.set_threads(self.threads).map_err(failed)?;
        let tensor = |port: &Port| self.api.tensor(file::element_of(port.data_type), &port.shape);
        let inputs: Result<Vec<_>, _> = self.inputs.iter().map(tensor).collect();
        Ok(Box::new(TvmSession {
            api: self.api,
            machine: self.module.machine().map_err(failed)?,
            inputs: inputs.map_err(failed)?,
            ports: self.inputs.clone(),
            outputs: self.outputs.clone(),
            threads: self.threads,
            answer: None,
        }))
    }
}

/// Each session has a machine of its own, and with it the memory of values between the operators.
struct TvmSession {
    api: &'static Api,
    machine: Machine,
    inputs: Vec<ffi::Tensor>,
    ports: Vec<Port>,
    outputs: Vec<Declared>,
    threads: usize,
    /// What the last run gave; before the first one there is nothing.
    answer: Option<Outputs>,
}

impl Session for TvmSession {
    fn bind(&mut self, inputs: &[Tensor]) -> Result<(), Error> {
        port::check(&self.ports, inputs)?;
        for (tensor, input) in self.inputs.iter_mut().zip(inputs) {
            write(input.data(), tensor);
        }
        Ok(())
    }

    fn run(&mut self) -> Result<(), Error> {
        // TVM keeps threads for each thread that calls it.
        self.api.set_threads(self.threads).map_err(failed)?;
        // The memory of the last outputs is free for the new ones.
        self.answer = None;
        self.answer = Some(self.machine.run(&self.inputs).map_err(failed)?);
        Ok(())
    }

    fn fetch(&mut self) -> Result<Vec<Tensor>, Error> {
        let Some(answer) = &self.answer else {
            return Ok(Vec::new());
        };
        let outputs = self.outputs.iter().enumerate();
        let read = |(index, output): (usize, &Declared)| read_back(output, &answer.tensor(index)?);
        outputs.map(read).collect::<Result<_, _>>().map_err(failed)
    }

    fn floats(&self, output: usize) -> Option<Floats<'_>> {
        let answer = self.answer.as_ref()?;
        self.outputs.get(output)?;
        let tensor = answer.tensor(output).ok()?;
        (file::type_of(tensor.element()) == Some(DataType::F32)).then_some(())?;
        Some(Floats {
            shape: tensor.shape(),
            values: answer.elements(output).ok()?,
        })
    }
}

/// Writes elements of the tensor's type and number, which [`port::check`] has made sure of.
fn write(data: &Data, tensor: &mut ffi::Tensor) {
    match data {
        Data::F32(values) => tensor.write(values),
        Data::F16(values) => tensor.write(values),
        Data::I64(values) => tensor.write(values),
        Data::I32(values) => tensor.write(values),
        Data::I8(values) => tensor.write(values),
        Data::U8(values) => tensor.write(values),
        Data::Bool(values) => {
            let bytes: Vec<u8> = values.iter().copied().map(u8::from).collect();
            tensor.write(&bytes);
        }
    }
}

fn read_back(output: &Declared, tensor: &ffi::Tensor) -> Result<Tensor, String> {
    fn taken<T: Plain>(tensor: &ffi::Tensor) -> Vec<T> {
        tensor.elements().to_vec()
    }
    let found = file::type_of(tensor.element());
    if found != Some(output.data_type) {
        return Err(format!(
            "output `{}` is no {}, as its file says",
            output.name, output.data_type
        ));
    }
    let data = match output.data_type {
        DataType::F32 => Data::F32(taken(tensor)),
        DataType::F16 => Data::F16(taken(tensor)),
        DataType::I64 => Data::I64(taken(tensor)),
        DataType::I32 => Data::I32(taken(tensor)),
        DataType::I8 => Data::I8(taken(tensor)),
        DataType::U8 => Data::U8(taken(tensor)),
        DataType::Bool => Data::Bool(taken::<u8>(tensor).into_iter().map(|byte| byte != 0).collect()),
    };
    Tensor::new(tensor.shape(), data).map_err(|error| error.to_string())
}
