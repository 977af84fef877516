//! The shared library by itself: whether it can be loaded, and which version it is.

use std::error::Error as _;
use std::ffi::{CStr, c_char};
use std::path::{Path, PathBuf};

use super::unusable;
use crate::Error;
use crate::elf;
use crate::guard::one_line;

/// A library that is mapped, and not yet known to be ONNX Runtime.
pub(super) struct Handle {
    library: libloading::Library,
    path: PathBuf,
}

impl Handle {
    /// Maps the library at `path` into this process, for as long as the handle lives.
    #[expect(unsafe_code, reason = "a C library is loaded")]
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        // Whether the file can be read at all is the loader's to say.
        if elf::is_cut_short(path).unwrap_or(false) {
            return Err(unusable(format!(
                "{} is damaged: it is shorter than its own headers say; copy it anew, or run \
                 `edgefront runtimes install ort`",
                path.display()
            )));
        }
        // SAFETY: the user named this library as ONNX Runtime or installed it; its initializers run as they do when
        // a model is loaded with it.
        let library =
            unsafe { libloading::Library::new(path) }.map_err(|error| unusable(unloadable(path, &error)))?;
        Ok(Self {
            library,
            path: path.to_owned(),
        })
    }

    /// The version that the library states, if it is one that can be used.
    pub(super) fn version(&self) -> Result<String, Error> {
        let version = self.stated_version().map_err(unusable)?;
        supported(&version, &self.path)?;
        Ok(version)
    }

    #[expect(unsafe_code, reason = "a C library is asked")]
    fn stated_version(&self) -> Result<String, String> {
        #[repr(C)]
        struct ApiBase {
            get_api: unsafe extern "C" fn(u32) -> *const std::ffi::c_void,
            get_version_string: unsafe extern "C" fn() -> *const c_char,
        }
        // SAFETY: ONNX Runtime's C API declares this function with this signature since its first version.
        let get_base: libloading::Symbol<'_, unsafe extern "C" fn() -> *const ApiBase> =
            unsafe { self.library.get(b"OrtGetApiBase") }.map_err(|error| unloadable(&self.path, &error))?;
        // SAFETY: the function has no preconditions; a null pointer is checked for, and the C API declares that the
        // struct and the string live as long as the library, which `self` keeps open.
        let version = unsafe {
            let base = get_base().as_ref().ok_or("it has no API")?;
            CStr::from_ptr((base.get_version_string)())
        };
        let version = version.to_str().map_err(|_| "its version is not text")?;
        Ok(version.to_owned())
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

fn supported(version: &str, library: &Path) -> Result<(), Error> {
    let mut numbers = version.split('.').map(|part| part.parse::<u32>().ok());
    let found = numbers.next().flatten().zip(numbers.next().flatten());
    if found.is_some_and(|found| found >= (1, ort::MINOR_VERSION)) {
        return Ok(());
    }
    Err(unusable(format!(
        "{} is version {version}, 1.{} or newer is needed; `edgefront runtimes install ort` gets one",
        library.display(),
        ort::MINOR_VERSION
    )))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_old_library_is_refused_with_the_mend() {
        let refused = supported("1.16.3", Path::new("/lib/x.so"))
            .err()
            .map(|e| e.to_string());
        let expected = "runtime `ort` cannot be used: /lib/x.so is version 1.16.3, 1.24 or newer is needed; \
                        `edgefront runtimes install ort` gets one";
        assert_eq!(refused.as_deref(), Some(expected));
        for version in ["1.24.0", "1.32.0", "2.0.0", "2.1"] {
            assert!(supported(version, Path::new("x")).is_ok(), "{version}");
        }
        for version in ["nonsense", "1", "1.x", "0.99.0"] {
            assert!(supported(version, Path::new("x")).is_err(), "{version}");
        }
    }

    #[test]
    fn a_library_that_is_cut_short_is_not_mapped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("libonnxruntime.so");
        let whole = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        let error = Handle::open(&path).err().unwrap().to_string();
        let expected = format!(
            "runtime `ort` cannot be used: {} is damaged: it is shorter than its own headers say; copy it anew, or \
             run `edgefront runtimes install ort`",
            path.display()
        );
        assert_eq!(error, expected);
    }
}
