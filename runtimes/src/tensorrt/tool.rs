//! The program `trtexec`: where it is, and running it.

use std::env;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use super::NAME;
use super::capture::head_and_tail;
use super::said::{self, Gpu, Version};
use crate::locate::TENSORRT;
use crate::{Error, Search};

/// Where `JetPack` puts it, on no PATH.
const JETPACK: &str = "/usr/src/tensorrt/bin";

/// `trtexec` on this machine, with what it said of itself and of the GPU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tool {
    pub(super) program: PathBuf,
    pub(super) version: Version,
    pub(super) gpu: Gpu,
}

impl Tool {
    /// The one that the user named, else the first on PATH, else `JetPack`'s.
    pub(super) fn locate(search: &Search) -> Result<PathBuf, Error> {
        if let Some(named) = TENSORRT.named(search) {
            return named;
        }
        let path = env::var_os("PATH").unwrap_or_default();
        let folders = env::split_paths(&path).chain([PathBuf::from(JETPACK)]);
        // Whatever folder this was started in has no say.
        let folders = folders.filter(|folder| folder.is_absolute());
        let mut programs = folders.map(|folder| folder.join(TENSORRT.stem));
        programs
            .find(|program| is_program(program))
            .ok_or_else(|| Error::Missing {
                runtime: NAME,
                reason: format!(
                    "no {} is on PATH or in {JETPACK}; TensorRT and JetPack bring it, or name it with --runtime-path or {}",
                    TENSORRT.stem, TENSORRT.variable
                ),
            })
    }

    /// Asks the program for its version and the GPU. It tells them before it looks for the engine that it is asked to
    /// load, so none is given.
    pub(super) fn ask(program: &Path) -> Result<Self, Error> {
        let unusable = |reason: String| Error::Unusable {
            runtime: NAME,
            reason: format!("{}: {reason}", program.display()),
        };
        let arguments = ["--loadEngine=/no-engine-is-asked-for".to_owned()];
        let (_, text) = said(program, &arguments).map_err(unusable)?;
        let version = Version::of(&text).ok_or_else(|| unusable(said::reason(&text)))?;
        if !version.is_known() {
            return Err(unusable(format!(
                "it is of TensorRT {version}, 8.5 or newer is needed"
            )));
        }
        let gpu =
            Gpu::of(&text).ok_or_else(|| unusable(format!("it finds no GPU: {}", said::reason(&text))))?;
        Ok(Self {
            program: program.to_owned(),
            version,
            gpu,
        })
    }

    /// Runs it. The error is its words in one line.
    pub(super) fn run(&self, arguments: &[String]) -> Result<(), String> {
        match said(&self.program, arguments)? {
            (true, _) => Ok(()),
            (false, text) => Err(said::reason(&text)),
        }
    }
}

fn is_program(path: &Path) -> bool {
    let may_run = |file: std::fs::Metadata| file.is_file() && file.permissions().mode() & 0o111 != 0;
    std::fs::metadata(path).is_ok_and(may_run)
}

/// Whether it succeeded, and the head and tail of what it printed. The error is why it could not be run.
fn said(program: &Path, arguments: &[String]) -> Result<(bool, String), String> {
    let mut command = Command::new(program);
    // It is given whole paths, and leaves no files in the folder of whoever started this process.
    command.args(arguments).current_dir("/").stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    ends_with_parent(&mut command);
    let mut child = command
        .spawn()
        .map_err(|error| format!("it cannot be started: {error}"))?;
    let (Some(output), Some(errors)) = (child.stdout.take(), child.stderr.take()) else {
        unreachable!("both streams are piped");
    };
    let (output, errors) = thread::scope(|scope| {
        let errors = scope.spawn(|| head_and_tail(errors));
        let output = head_and_tail(output);
        (output, errors.join().expect("invariant: reading does not panic"))
    });
    let unheard = |error: io::Error| format!("it cannot be listened to: {error}");
    let status = child.wait().map_err(unheard)?;
    let text = [output.map_err(unheard)?, b"\n".to_vec(), errors.map_err(unheard)?].concat();
    Ok((status.success(), String::from_utf8_lossy(&text).into_owned()))
}

/// A worker that is killed takes it along, so that it does not keep the GPU.
#[expect(unsafe_code, reason = "a child is prepared")]
fn ends_with_parent(command: &mut Command) {
    let prepare = || {
        let signal = rustix::process::Signal::KILL;
        rustix::process::set_parent_process_death_signal(Some(signal)).map_err(Into::into)
    };
    // SAFETY: between fork and exec it makes one system call, which allocates nothing and takes no lock.
    unsafe { command.pre_exec(prepare) };
}
