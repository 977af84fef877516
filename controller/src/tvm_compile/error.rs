//! Why a model could not be compiled.

use std::io;
use std::path::PathBuf;

/// Why a model could not be compiled with TVM.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompileError {
    /// The user has no cache folder.
    #[error("there is no cache folder to install TVM's compiler into; set HOME or XDG_CACHE_HOME")]
    NoHome,
    /// The environment was not set up.
    #[error("TVM's compiler is not installed; run `edgefront runtimes install tvm`")]
    NotInstalled,
    /// Python is not there.
    #[error("python3 is needed for TVM's compiler; install Python 3.10 to 3.13 with its module venv")]
    NoPython {
        /// Why it could not be started.
        source: io::Error,
    },
    /// Python could not make the environment.
    #[error(
        "python3 could not make an environment for TVM's compiler: {words}; check that Python is 3.10 to 3.13, has \
         its module venv (python3-venv), and that pip reaches PyPI"
    )]
    Environment {
        /// Python's last line.
        words: String,
    },
    /// Nothing is compiled for this processor.
    #[error("nothing is compiled for {arch}: TVM's runtime is published for x86_64 and aarch64 alone")]
    Architecture {
        /// The processor.
        arch: String,
    },
    /// TVM does not compile the model.
    #[error("{words}")]
    Refused {
        /// The reason in one line.
        words: String,
    },
    /// A file or folder cannot be read or written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}
