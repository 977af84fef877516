//! Shared objects for the runtime `tvm`: a small Python program compiles an ONNX model with TVM in an environment of
//! its own.

mod environment;
mod error;

use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use edgefront_protocol::{Device, Digest, Shape};
use serde::{Deserialize, Serialize};

pub use environment::Environment;
pub use error::CompileError;

/// The runtime that runs what is compiled.
pub const RUNTIME: &str = "tvm";
/// Version of TVM, of its compiler and of its runtime.
pub const VERSION: &str = "0.27.0.post1";
/// Version of the interface between TVM's parts.
pub const INTERFACE_VERSION: &str = "0.1.14.post1";

/// The program; its own text says what it takes.
const PROGRAM: &str = include_str!("compile.py");

/// Processors that TVM's runtime is published for.
const ARCHITECTURES: [&str; 2] = ["x86_64", "aarch64"];
/// Bytes that searches may take which are kept for the next run: some hundred of them.
const MOST_SEARCHES: u64 = 256 << 20;
/// Instructions that every processor of an architecture has.
const GENERIC: &str = "generic";

/// The processor that code is made for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Processor {
    /// `x86_64`, `aarch64`.
    pub arch: String,
    /// The level of instructions that the code may need, as LLVM calls it; `generic` for those that all have.
    pub cpu: String,
}

impl Processor {
    /// This machine's.
    pub fn own() -> Self {
        Self {
            arch: std::env::consts::ARCH.to_owned(),
            cpu: edgefront_runtimes::tvm::level().to_owned(),
        }
    }

    /// Any of this architecture.
    pub fn any(arch: &str) -> Self {
        Self {
            arch: arch.to_owned(),
            cpu: GENERIC.to_owned(),
        }
    }

    /// A device's, as its agent describes it.
    pub fn of(device: &Device) -> Self {
        let has = |feature: &str| device.cpu_features.iter().any(|own| own == feature);
        let cpu = match device.arch.as_str() {
            // Each processor that has the one has all of the level.
            "x86_64" if has("avx512_vnni") => "x86-64-v4",
            "x86_64" if has("avx2") => "x86-64-v3",
            _ => GENERIC,
        };
        Self {
            arch: device.arch.clone(),
            cpu: cpu.to_owned(),
        }
    }
}

/// What is to be compiled.
#[derive(Debug)]
pub struct Order<'a> {
    /// The ONNX file.
    pub model: &'a Path,
    /// The library that is to be made.
    pub output: &'a Path,
    /// Shape of each input; empty for the model's own with an open batch of 1.
    pub shapes: &'a [Shape],
    /// For which processor.
    pub processor: &'a Processor,
    /// Orders of loops to measure in search of the fastest; 0 for no search.
    pub trials: u32,
}

/// How it went.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Compiled {
    /// Why the code is not tuned; `None` where it is.
    pub untuned: Option<String>,
    /// Functions for which the search found nothing, so that they are not tuned either.
    pub left: u32,
}

#[derive(Serialize)]
struct Request<'a> {
    model: &'a Path,
    output: &'a Path,
    shapes: &'a [Shape],
    arch: &'a str,
    cpu: &'a str,
    untuned: Option<String>,
    trials: u32,
    work: &'a Path,
}

/// Compiles the model, with the environment that was installed.
pub fn compile(order: &Order<'_>) -> Result<Compiled, CompileError> {
    let Processor { arch, .. } = order.processor;
    if !ARCHITECTURES.contains(&arch.as_str()) {
        return Err(CompileError::Architecture { arch: arch.clone() });
    }
    let environment = Environment::of_user()?;
    if !environment.is_there() {
        return Err(CompileError::NotInstalled);
    }
    let unsearched = order.unsearched();
    let searches = unsearched.is_none();
    let output = run(&environment, order, unsearched)?;
    if searches {
        edgefront_runtimes::make_room(&searches_folder()?, MOST_SEARCHES);
    }
    if searches && let Some(signal) = output.status.signal() {
        // Code that was tried has ended it.
        let why = format!("the search ended with signal {signal}");
        return answer(&run(&environment, order, Some(why))?);
    }
    answer(&output)
}

impl Order<'_> {
    /// Why no search is made; `None` where one is.
    fn unsearched(&self) -> Option<String> {
        let Processor { arch, cpu } = self.processor;
        if self.trials == 0 {
            return Some("no budget of trials was given".to_owned());
        }
        let runs_here = arch == std::env::consts::ARCH && edgefront_runtimes::tvm::runs(cpu);
        (!runs_here).then(|| {
            format!(
                "a search measures on the machine that compiles, which does not run code for {arch} ({cpu})"
            )
        })
    }
}

fn run(
    environment: &Environment,
    order: &Order<'_>,
    untuned: Option<String>,
) -> Result<Output, CompileError> {
    let Processor { arch, cpu } = order.processor;
    let request = Request {
        model: order.model,
        output: order.output,
        shapes: order.shapes,
        arch,
        cpu,
        untuned,
        trials: order.trials,
        work: &work_folder(order)?,
    };
    let request = serde_json::to_string(&request).map_err(|error| CompileError::Refused {
        words: error.to_string(),
    })?;
    let mut command = Command::new(environment.python());
    command.args(["-c", PROGRAM, &request]).stdin(Stdio::null());
    ends_with_parent(&mut command);
    command
        .output()
        .map_err(|source| CompileError::NoPython { source })
}

/// A search goes on for minutes, which nobody wants who ended what asked for it.
#[expect(unsafe_code, reason = "a child is prepared")]
fn ends_with_parent(command: &mut Command) {
    let prepare = || {
        let signal = rustix::process::Signal::KILL;
        rustix::process::set_parent_process_death_signal(Some(signal)).map_err(Into::into)
    };
    // SAFETY: between fork and exec it makes one system call, which allocates nothing and takes no lock.
    unsafe { command.pre_exec(prepare) };
}

/// What decides machine code beside the order: versions, and the program that compiles.
pub fn recipe() -> Digest {
    Digest::of([VERSION, INTERFACE_VERSION, PROGRAM].join("\n").as_bytes())
}

/// What the program said.
fn answer(output: &Output) -> Result<Compiled, CompileError> {
    let refused = |words: String| CompileError::Refused { words };
    if !output.status.success() {
        return Err(refused(last_line(&output.stderr)));
    }
    // TVM prints what it likes; the program's own word is the last.
    let said = String::from_utf8_lossy(&output.stdout);
    let line = said.lines().rfind(|line| !line.trim().is_empty());
    let line = line.unwrap_or_default();
    serde_json::from_str(line).map_err(|error| refused(format!("the compiler ended with `{line}`: {error}")))
}

/// Where a search keeps what it found, for the next run of the same one.
fn work_folder(order: &Order<'_>) -> Result<PathBuf, CompileError> {
    let read = |source| CompileError::Write {
        path: order.model.to_owned(),
        source,
    };
    let model = Digest::of(&std::fs::read(order.model).map_err(read)?);
    let parts = (recipe(), model, order.shapes, order.processor, order.trials);
    let key = serde_json::to_vec(&parts).expect("invariant: numbers and texts can be written");
    Ok(searches_folder()?.join(Digest::of(&key).to_string()))
}

/// Where they all lie.
fn searches_folder() -> Result<PathBuf, CompileError> {
    let cache = dirs::cache_dir().ok_or(CompileError::NoHome)?;
    Ok(cache.join("edgefront/tvm-tuning"))
}

fn last_line(said: &[u8]) -> String {
    let text = String::from_utf8_lossy(said);
    let line = text.lines().map(str::trim).rfind(|line| !line.is_empty());
    let line = line.unwrap_or("Python failed and said nothing");
    line.trim_start_matches("error: ")
        .trim_start_matches("ERROR: ")
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fixture;

    #[test]
    fn a_device_gets_code_for_the_instructions_that_it_tells_of() {
        let level = |arch: &str, features: &[&str]| {
            let device = Device {
                arch: arch.to_owned(),
                cpu_features: features.iter().map(|&feature| feature.to_owned()).collect(),
                ..fixture::device("pi")
            };
            Processor::of(&device).cpu
        };
        assert_eq!(level("x86_64", &["avx", "avx2", "avx512_vnni"]), "x86-64-v4");
        assert_eq!(level("x86_64", &["avx", "avx2"]), "x86-64-v3");
        assert_eq!(level("x86_64", &[]), GENERIC);
        assert_eq!(level("aarch64", &["asimd", "asimddp"]), GENERIC);
    }

    #[test]
    fn a_search_is_made_where_its_code_runs() {
        let why = |processor: &Processor, trials| {
            let order = Order {
                model: Path::new("m.onnx"),
                output: Path::new("m.so"),
                shapes: &[],
                processor,
                trials,
            };
            order.unsearched()
        };
        assert_eq!(why(&Processor::own(), 1), None);
        assert_eq!(
            why(&Processor::own(), 0).as_deref(),
            Some("no budget of trials was given")
        );
        let other = Processor::any("riscv64");
        assert!(
            why(&other, 1).is_some_and(|why| why.ends_with("which does not run code for riscv64 (generic)"))
        );
    }

    #[test]
    fn nothing_is_compiled_for_what_has_no_runtime() {
        let refused = compile(&Order {
            model: Path::new("m.onnx"),
            output: Path::new("m.so"),
            shapes: &[],
            processor: &Processor::any("arm"),
            trials: 0,
        });
        let words = refused.err().map(|error| error.to_string());
        assert_eq!(
            words.as_deref(),
            Some("nothing is compiled for arm: TVM's runtime is published for x86_64 and aarch64 alone")
        );
    }
}
