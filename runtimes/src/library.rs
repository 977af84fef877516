//! Where the shared libraries of runtimes are looked for.

use std::path::PathBuf;

/// Where shared libraries are looked for, before the places that every runtime knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Search {
    /// A library file, or a folder that holds some or folders `NAME-VERSION` of some (`--runtime-path`). A file is told by its name, so that naming the
    /// library of one runtime leaves the others as they are.
    pub runtime_path: Option<PathBuf>,
}

/// Edgefront's folder for libraries of runtimes in the user's cache; `None` where the user has no home.
///
/// Each library lies in a folder of its own, `NAME-VERSION`.
pub fn folder() -> Option<PathBuf> {
    Some(dirs::cache_dir()?.join("edgefront").join("runtimes"))
}
