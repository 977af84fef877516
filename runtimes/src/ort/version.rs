//! Which version a library of ONNX Runtime is, and whether it can be used.

use std::ffi::{CStr, c_char};
use std::path::Path;

use ort::sys::OrtApi;

use super::unusable;
use crate::Error;
use crate::handle::Handle;

/// The version that the library states, if it is one that can be used.
pub(super) fn version(library: &Handle) -> Result<String, Error> {
    let version = stated(library).map_err(unusable)?;
    supported(&version, library.path())?;
    Ok(version)
}

#[repr(C)]
struct ApiBase {
    get_api: unsafe extern "C" fn(u32) -> *const OrtApi,
    get_version_string: unsafe extern "C" fn() -> *const c_char,
}

#[expect(unsafe_code, reason = "a C library is asked")]
fn base(library: &Handle) -> Result<&ApiBase, String> {
    // SAFETY: ONNX Runtime's C API declares this function with this signature since its first version.
    let get_base = unsafe { library.symbol::<unsafe extern "C" fn() -> *const ApiBase>("OrtGetApiBase")? };
    // SAFETY: the function has no preconditions; a null pointer is checked for, and the C API declares that the
    // struct lives as long as the library, which `library` keeps open.
    unsafe { get_base().as_ref() }.ok_or_else(|| "it has no API".to_owned())
}

/// The calls of a library whose version is one that can be used.
#[expect(unsafe_code, reason = "a C library is asked")]
pub(super) fn api(library: &Handle) -> Result<&OrtApi, String> {
    // SAFETY: the function takes any number; a null pointer, for a version that the library does not have, is checked
    // for, and the struct lives as long as the library.
    unsafe { (base(library)?.get_api)(ort::MINOR_VERSION).as_ref() }
        .ok_or_else(|| "it does not have the calls of its version".to_owned())
}

#[expect(unsafe_code, reason = "a C library is asked")]
fn stated(library: &Handle) -> Result<String, String> {
    let base = base(library)?;
    // SAFETY: the C API declares that the string lives as long as the library, which `library` keeps open.
    let version = unsafe { CStr::from_ptr((base.get_version_string)()) };
    let version = version.to_str().map_err(|_| "its version is not text")?;
    Ok(version.to_owned())
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
}
