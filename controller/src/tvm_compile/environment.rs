//! The Python environment that holds TVM's compiler, in the user's cache folder.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{CompileError, VERSION, last_line};

/// Versions that were tested together, and the digest of each wheel.
const REQUIREMENTS: &str = include_str!("requirements.txt");
/// Written last, so that an environment with it is whole; of other requirements it is another one.
const STAMP: &str = "requirements.txt";

/// The environment, set up or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Environment {
    folder: PathBuf,
}

impl Environment {
    /// The user's own.
    pub fn of_user() -> Result<Self, CompileError> {
        let cache = dirs::cache_dir().ok_or(CompileError::NoHome)?;
        let folder = cache.join("edgefront").join(format!("tvm-compiler-{VERSION}"));
        Ok(Self { folder })
    }

    /// Whether it was set up with these requirements.
    pub fn is_there(&self) -> bool {
        self.python().is_file() && fs::read_to_string(self.stamp()).is_ok_and(|stamp| stamp == REQUIREMENTS)
    }

    /// Makes it anew, with the user's Python and pip.
    pub fn set_up(&self) -> Result<(), CompileError> {
        let write = |path: &Path| {
            let path = path.to_owned();
            move |source| CompileError::Write { path, source }
        };
        fs::create_dir_all(&self.folder).map_err(write(&self.folder))?;
        let venv = self.folder.join("venv");
        run(
            Path::new("python3"),
            &[
                "-m".as_ref(),
                "venv".as_ref(),
                "--clear".as_ref(),
                venv.as_os_str(),
            ],
        )?;
        let wanted = self.folder.join("wanted.txt");
        fs::write(&wanted, REQUIREMENTS).map_err(write(&wanted))?;
        let install = [
            "-m",
            "pip",
            "--disable-pip-version-check",
            "--no-input",
            "install",
            "--quiet",
        ];
        let mut arguments: Vec<&OsStr> = install.iter().map(OsStr::new).collect();
        arguments.extend(["--only-binary=:all:", "--require-hashes", "--requirement"].map(OsStr::new));
        arguments.push(wanted.as_os_str());
        run(&self.python(), &arguments)?;
        fs::rename(&wanted, self.stamp()).map_err(write(&self.stamp()))
    }

    /// Its interpreter.
    pub(super) fn python(&self) -> PathBuf {
        self.folder.join("venv/bin/python")
    }

    fn stamp(&self) -> PathBuf {
        self.folder.join(STAMP)
    }
}

fn run(python: &Path, arguments: &[&OsStr]) -> Result<(), CompileError> {
    let output = Command::new(python).args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|source| CompileError::NoPython { source })?;
    if output.status.success() {
        return Ok(());
    }
    // `venv` says on standard output what it misses.
    let said = if output.stderr.is_empty() {
        &output.stdout
    } else {
        &output.stderr
    };
    Err(CompileError::Environment {
        words: last_line(said),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_environment_of_other_requirements_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let environment = Environment {
            folder: dir.path().to_owned(),
        };
        assert!(!environment.is_there());
        fs::create_dir_all(environment.python().parent().unwrap()).unwrap();
        fs::write(environment.python(), "").unwrap();
        assert!(!environment.is_there(), "it was left half-way");
        fs::write(environment.stamp(), REQUIREMENTS).unwrap();
        assert!(environment.is_there());
        fs::write(environment.stamp(), "apache-tvm==0.1\n").unwrap();
        assert!(!environment.is_there());
    }

    #[test]
    fn every_requirement_has_a_digest_for_each_processor() {
        let entries = REQUIREMENTS.lines().filter(|line| !line.starts_with('#'));
        let entries: Vec<&str> = entries.collect();
        let begins = |line: &&str| !line.starts_with(' ');
        for entry in entries.chunk_by(|_, next| !begins(next)) {
            let digests = entry[1..]
                .iter()
                .map(|line| line.trim().strip_prefix("--hash=sha256:").unwrap());
            let digests: Vec<&str> = digests.map(|digest| digest.trim_end_matches(" \\")).collect();
            let is_digest =
                |digest: &&str| digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
            assert!(digests.iter().all(is_digest), "{entry:?}");
            // One wheel for both where it holds no machine code.
            let fewest = if entry[0].starts_with("typing-extensions") {
                1
            } else {
                2
            };
            assert!(digests.len() >= fewest, "{entry:?}");
        }
    }

    #[test]
    fn the_requirements_are_of_the_runtimes_version() {
        for pin in [
            format!("\napache-tvm=={VERSION} \\\n"),
            format!("\napache-tvm-ffi=={} \\\n", super::super::INTERFACE_VERSION),
        ] {
            assert!(REQUIREMENTS.contains(&pin), "{pin}");
        }
    }
}
