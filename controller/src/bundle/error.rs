//! Why a bundle was not made.

use std::io;
use std::path::{Path, PathBuf};

/// Why a bundle was not made.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// A part of it cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file of it cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What is there was not made by an earlier bundle.
    #[error("{} is of no bundle; give another folder", path.display())]
    Taken {
        /// The folder.
        path: PathBuf,
    },
    /// The agent is no program.
    #[error("{} is no program of Linux", path.display())]
    NoProgram {
        /// The file.
        path: PathBuf,
    },
    /// A program or library does not say what it needs.
    #[error("{path} of the bundle is a damaged program")]
    Damaged {
        /// Where it would lie on the device.
        path: String,
        /// Why.
        source: object::Error,
    },
    /// The agent is for another processor.
    #[error("{} is a program for {found}, and the bundle is for {wanted}", path.display())]
    Arch {
        /// The file.
        path: PathBuf,
        /// Its processor.
        found: &'static str,
        /// The bundle's.
        wanted: &'static str,
    },
}

impl BundleError {
    pub(super) fn read(path: &Path, source: io::Error) -> Self {
        Self::Read {
            path: path.to_owned(),
            source,
        }
    }

    pub(super) fn write(path: &Path, source: io::Error) -> Self {
        Self::Write {
            path: path.to_owned(),
            source,
        }
    }
}
