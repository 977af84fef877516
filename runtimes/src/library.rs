//! Where the shared libraries of runtimes are looked for.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// Where shared libraries are looked for, before the places that every runtime knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Search {
    /// A library file, or a folder that holds it (`--runtime-path`).
    pub runtime_path: Option<PathBuf>,
}

/// Edgefront's folder for libraries of runtimes in the user's cache; `None` where the user has no home.
///
/// Each library lies in a folder of its own, `NAME-VERSION`.
pub fn folder() -> Option<PathBuf> {
    Some(dirs::cache_dir()?.join("edgefront").join("runtimes"))
}

/// Finds the library `stem` (`libonnxruntime.so`, with any version behind it): where `search` says, else where
/// the environment says, else in the newest `NAME-*` of [`folder`]. A place that was named and does not hold it
/// is an error, in one line; so nothing is replaced by another library silently.
#[cfg(feature = "ort")]
pub(crate) fn locate(
    name: &str,
    stem: &str,
    search: &Search,
    environment: (&str, Option<PathBuf>),
) -> Result<PathBuf, String> {
    let (variable, value) = environment;
    if let Some(path) = &search.runtime_path {
        return named_by("--runtime-path", stem, path);
    }
    if let Some(path) = value.filter(|path| !path.as_os_str().is_empty()) {
        return named_by(variable, stem, &path);
    }
    folder()
        .and_then(|folder| newest_installed(&folder, name, stem))
        .ok_or_else(|| format!("install it with `edgefront runtimes install {name}`, or name the library with --runtime-path or {variable}"))
}

#[cfg(feature = "ort")]
fn named_by(what: &str, stem: &str, path: &Path) -> Result<PathBuf, String> {
    if path.is_file() {
        return Ok(path.to_owned());
    }
    if !path.is_dir() {
        return Err(format!("{what} names {}, which is not there", path.display()));
    }
    newest(path, |file| file.starts_with(stem))
        .filter(|file| file.is_file())
        .ok_or_else(|| format!("{what} names {}, which holds no {stem}", path.display()))
}

#[cfg(feature = "ort")]
fn newest_installed(folder: &Path, name: &str, stem: &str) -> Option<PathBuf> {
    let version = newest(folder, |entry| {
        entry.strip_prefix(name).is_some_and(|rest| rest.starts_with('-'))
    })?;
    newest(&version, |file| file.starts_with(stem))
}

/// The entry of a folder with the highest version in its name, among those that are `wanted`.
#[cfg(feature = "ort")]
fn newest(folder: &Path, wanted: impl Fn(&str) -> bool) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder)
        .ok()?
        .flatten()
        .map(|entry| entry.path());
    let version = |path: &PathBuf| numbers(path.file_name().and_then(OsStr::to_str).unwrap_or_default());
    entries
        .filter(|path| path.file_name().and_then(OsStr::to_str).is_some_and(&wanted))
        .max_by_key(version)
}

/// The numbers in a name, so that 1.9 comes before 1.32.
#[cfg(feature = "ort")]
fn numbers(name: &str) -> Vec<u64> {
    name.split(|c: char| !c.is_ascii_digit())
        .filter_map(|digits| digits.parse().ok())
        .collect()
}

#[cfg(all(test, feature = "ort"))]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::*;

    const STEM: &str = "libonnxruntime.so";

    fn in_folder(path: &Path) -> Result<PathBuf, String> {
        let search = Search {
            runtime_path: Some(path.to_owned()),
        };
        locate("ort", STEM, &search, ("ORT_DYLIB_PATH", None))
    }

    #[test]
    fn a_named_folder_holds_the_library_or_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        assert!(
            in_folder(dir.path())
                .unwrap_err()
                .contains("holds no libonnxruntime.so")
        );
        let missing = dir.path().join("missing");
        assert!(in_folder(&missing).unwrap_err().ends_with("which is not there"));
        let library = dir.path().join("libonnxruntime.so.1.32.0");
        fs::write(&library, "").unwrap();
        assert_eq!(in_folder(dir.path()).unwrap(), library);
        assert_eq!(in_folder(&library).unwrap(), library);
    }

    #[test]
    fn the_path_comes_before_the_environment() {
        let dir = tempfile::tempdir().unwrap();
        let library = dir.path().join(STEM);
        fs::write(&library, "").unwrap();
        let by_environment = ("ORT_DYLIB_PATH", Some(dir.path().join("other")));
        let error = locate("ort", STEM, &Search::default(), by_environment.clone()).unwrap_err();
        assert!(error.starts_with("ORT_DYLIB_PATH names"), "{error}");
        let search = Search {
            runtime_path: Some(library.clone()),
        };
        assert_eq!(locate("ort", STEM, &search, by_environment).unwrap(), library);
    }

    #[test]
    fn the_newest_version_by_number_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        for version in ["1.9.0", "1.32.0", "1.4.0"] {
            let folder = dir.path().join(format!("ort-{version}"));
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join(STEM), "").unwrap();
        }
        fs::create_dir(dir.path().join("orthography-9")).unwrap();
        let found = newest_installed(dir.path(), "ort", STEM).unwrap();
        assert_eq!(found, dir.path().join("ort-1.32.0").join(STEM));
    }
}
