//! Why a runtime could not be installed.

use std::io;
use std::path::PathBuf;

/// Why a runtime could not be installed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InstallError {
    /// The name stands for nothing that can be installed.
    #[error("`{name}` cannot be installed; there is {known}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// What can be, comma-separated.
        known: String,
    },
    /// It comes with other software, which no registry has.
    #[error("`{name}` cannot be installed by edgefront: {source_of} brings it; see `edgefront runtimes`")]
    Elsewhere {
        /// What was asked for.
        name: &'static str,
        /// What brings it.
        source_of: &'static str,
    },
    /// No wheel is pinned for this processor.
    #[error("no {title} is known for {arch}; name its library with --runtime-path instead")]
    Architecture {
        /// The runtime.
        title: &'static str,
        /// The processor.
        arch: String,
    },
    /// The user has no cache folder.
    #[error("there is no cache folder to install into; set HOME or XDG_CACHE_HOME")]
    NoHome,
    /// Python is not there.
    #[error(
        "python3 is needed to fetch {title}; install Python 3 with pip, or name the library with --runtime-path"
    )]
    NoPython {
        /// The runtime.
        title: &'static str,
        /// Why it could not be started.
        source: io::Error,
    },
    /// pip is not there, or it could not fetch the wheel.
    #[error(
        "pip could not fetch {title}: {words}; check that pip is installed and reaches PyPI, or name the library \
         with --runtime-path"
    )]
    Pip {
        /// The runtime.
        title: &'static str,
        /// pip's last line.
        words: String,
    },
    /// The wheel is not the one that was tested.
    #[error("{file} has SHA-256 {found}, expected {expected}; nothing was installed")]
    Digest {
        /// The wheel.
        file: String,
        /// Its digest.
        found: String,
        /// The pinned one.
        expected: &'static str,
    },
    /// The wheel could not be unpacked.
    #[error("cannot unpack {}", file.display())]
    Unpack {
        /// The wheel.
        file: PathBuf,
        /// Why.
        source: zip::result::ZipError,
    },
    /// A file or folder cannot be read or written.
    #[error("cannot install into {}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}
