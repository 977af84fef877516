//! A shared library by itself: whether it can be loaded, and what it exports.

use std::error::Error as _;
use std::path::{Path, PathBuf};

use crate::Error;
use crate::elf;
use crate::line::one_line;

/// A library that is mapped, and not yet known to be what it was named as.
#[derive(Debug)]
pub(crate) struct Handle {
    library: libloading::Library,
    path: PathBuf,
}

impl Handle {
    /// Maps the library at `path`, which is to be that of `runtime`, into this process, for as long as the handle
    /// lives.
    #[expect(unsafe_code, reason = "a C library is loaded")]
    pub(crate) fn open(runtime: &'static str, path: &Path) -> Result<Self, Error> {
        Self::check_whole(runtime, path)?;
        let unusable = |reason| Error::Unusable { runtime, reason };
        // SAFETY: the user named this library as the runtime's or installed it; its initializers run as they do when
        // a model is loaded with it.
        let library =
            unsafe { libloading::Library::new(path) }.map_err(|error| unusable(unloadable(path, &error)))?;
        Ok(Self {
            library,
            path: path.to_owned(),
        })
    }

    /// As [`open`](Self::open), and what it exports serves the libraries that are mapped after it.
    #[cfg(feature = "tvm")]
    #[expect(unsafe_code, reason = "a C library is loaded")]
    pub(crate) fn open_for_all(runtime: &'static str, path: &Path) -> Result<Self, Error> {
        use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
        Self::check_whole(runtime, path)?;
        // SAFETY: as in `open`.
        let library = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_GLOBAL) }.map_err(|error| {
            let reason = unloadable(path, &error);
            Error::Unusable { runtime, reason }
        })?;
        Ok(Self {
            library: library.into(),
            path: path.to_owned(),
        })
    }

    /// Refuses a file of `runtime` that is cut short, which the system could not map without ending this process.
    pub(crate) fn check_whole(runtime: &'static str, path: &Path) -> Result<(), Error> {
        // Whether the file can be read at all is the loader's to say.
        if !elf::is_cut_short(path).unwrap_or(false) {
            return Ok(());
        }
        let reason = format!(
            "{} is damaged: it is shorter than its own headers say; copy it anew, or run \
             `edgefront runtimes install {runtime}`",
            path.display()
        );
        Err(Error::Unusable { runtime, reason })
    }

    /// What the library exports as `symbol`. The error is a reason in one line.
    ///
    /// # Safety
    ///
    /// `T` must be the type of the symbol.
    #[expect(unsafe_code, reason = "a C library is asked")]
    pub(crate) unsafe fn symbol<T>(&self, symbol: &str) -> Result<libloading::Symbol<'_, T>, String> {
        // SAFETY: the caller knows the type.
        unsafe { self.library.get(symbol.as_bytes()) }.map_err(|error| unloadable(&self.path, &error))
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

fn unloadable(path: &Path, error: &libloading::Error) -> String {
    // The error says which call failed; why is in its source.
    let why = error
        .source()
        .map_or_else(|| error.to_string(), ToString::to_string);
    // glibc names the library itself.
    let named = format!("{}: ", path.display());
    one_line(&format!("cannot load {named}{}", why.trim_start_matches(&named)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_library_that_is_cut_short_is_not_mapped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("libonnxruntime.so");
        let whole = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        let error = Handle::open("ort", &path).err().unwrap().to_string();
        let expected = format!(
            "runtime `ort` cannot be used: {} is damaged: it is shorter than its own headers say; copy it anew, or \
             run `edgefront runtimes install ort`",
            path.display()
        );
        assert_eq!(error, expected);
    }
}
