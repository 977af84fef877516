//! Why a data set could not be loaded.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use edgefront_protocol::pack::{PackError, PictureShape};

use crate::ui::UsageError;

/// What is wrong with a data set, with the file or folder where it shows.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", path.display())]
pub struct DataError {
    /// The file or folder.
    pub path: PathBuf,
    /// What is wrong with it.
    #[source]
    pub problem: Problem,
}

/// What is wrong with a data set.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The file system refused.
    #[error("{}", edgefront_files::unread(.0))]
    Io(#[source] io::Error),
    /// Neither of the three forms of a data set.
    #[error("not a data set; give an image folder (class/name.png), an .npz file or a pack (.safetensors)")]
    UnknownForm,
    /// Not an archive that can be read.
    #[error("not a readable .npz file: {0}; save it again with `numpy.savez`")]
    Archive(String),
    /// An array is not there.
    #[error("has no array `{name}`; it has {found}")]
    NoArray {
        /// The array.
        name: String,
        /// The arrays that are there.
        found: String,
    },
    /// An array that cannot be read.
    #[error("array `{name}` {why}")]
    Array {
        /// The array.
        name: String,
        /// What is wrong and the mend.
        why: String,
    },
    /// A folder without classes or a class without pictures.
    #[error("{0}")]
    Folder(&'static str),
    /// A picture that cannot be decoded.
    #[error("cannot decode the picture: {0}; replace or remove it")]
    Picture(String),
    /// There is no room for decoded pictures.
    #[error(
        "cannot keep its decoded pictures in a temporary file in {}; set TMPDIR to a folder with room: {source}",
        folder.display()
    )]
    Spool {
        /// The folder for such files.
        folder: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Pictures do not fit the model.
    #[error("pictures are {found} and {wanted} are wanted; {mend}")]
    Size {
        /// Channels x rows x columns of the pictures.
        found: Extents,
        /// The same of the model, or of the pack that is to be made.
        wanted: Extents,
        /// What to do.
        mend: &'static str,
    },
    /// `--preprocess` does not fit the data.
    #[error("{0}")]
    Preprocess(#[source] UsageError),
    /// The parts do not make a data set.
    #[error("{0}")]
    Pack(#[source] PackError),
}

/// A picture's shape as people write it: `3x224x224`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extents(pub PictureShape);

impl fmt::Display for Extents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}x{}", self.0.channels, self.0.height, self.0.width)
    }
}

impl Problem {
    /// The problem where it shows.
    pub(super) fn at(self, path: &Path) -> DataError {
        DataError {
            path: path.to_owned(),
            problem: self,
        }
    }

    /// Decoded pictures could not be written.
    pub(super) fn spool(source: io::Error) -> Self {
        let folder = std::env::temp_dir();
        // The name of a temporary file tells nobody anything; what is wrong with the folder does.
        let source = std::fs::metadata(&folder).err().unwrap_or(source);
        Self::Spool { folder, source }
    }

    /// An error in what the user wrote.
    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self::Preprocess(UsageError(message.into()))
    }
}

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<PackError> for Problem {
    fn from(error: PackError) -> Self {
        Self::Pack(error)
    }
}
