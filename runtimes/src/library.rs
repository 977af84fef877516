//! Where the shared libraries of runtimes are looked for.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

#[cfg(feature = "ort")]
use crate::{Error, Record};

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
/// the environment says, else in the newest `NAME-*` of [`folder`]. The path is absolute. A place that was named and
/// does not hold it is [`Error::Unusable`], as is an installed library of another length than it had; so nothing is
/// replaced by another library silently. Where nothing was named or installed, it is [`Error::Missing`].
#[cfg(feature = "ort")]
pub(crate) fn locate(
    name: &'static str,
    stem: &str,
    search: &Search,
    variable: &Variable,
) -> Result<PathBuf, Error> {
    let unusable = |reason| Error::Unusable {
        runtime: name,
        reason,
    };
    if let Some(path) = &search.runtime_path {
        return named_by("the runtime path", stem, path).map_err(unusable);
    }
    if let Some(path) = &variable.value {
        return named_by(variable.name, stem, path).map_err(unusable);
    }
    let installed = folder().and_then(|folder| newest_installed(&folder, name, stem));
    let library = installed.ok_or_else(|| Error::Missing {
        runtime: name,
        reason: format!(
            "install it with `edgefront runtimes install {name}`, or name the library with --runtime-path or {}",
            variable.name
        ),
    })?;
    if is_damaged(&library) {
        return Err(unusable(format!(
            "{} is damaged; run `edgefront runtimes install {name}`",
            library.display()
        )));
    }
    Ok(library)
}

/// An environment variable that may name a library.
#[cfg(feature = "ort")]
pub(crate) struct Variable {
    name: &'static str,
    value: Option<PathBuf>,
}

#[cfg(feature = "ort")]
impl Variable {
    /// The variable as it is set now; empty is not set.
    pub(crate) fn read(name: &'static str) -> Self {
        let value = std::env::var_os(name).filter(|value| !value.is_empty());
        Self {
            name,
            value: value.map(PathBuf::from),
        }
    }

    /// Whether it names anything.
    pub(crate) fn is_set(&self) -> bool {
        self.value.is_some()
    }
}

/// The library that `path` is or holds. The loader would look for a bare file name in folders of its own, so the
/// path is made absolute.
#[cfg(feature = "ort")]
fn named_by(what: &str, stem: &str, path: &Path) -> Result<PathBuf, String> {
    let found = if path.is_dir() {
        newest(path, |file| file.starts_with(stem))
            .filter(|file| file.is_file())
            .ok_or_else(|| format!("{what} names {}, which holds no {stem}", path.display()))?
    } else if path.is_file() {
        path.to_owned()
    } else {
        return Err(format!("{what} names {}, which is not there", path.display()));
    };
    std::path::absolute(&found).map_err(|error| format!("{what} names {}: {error}", found.display()))
}

/// Whether the library has another length than was recorded when it was installed. One without a record was put
/// there by hand.
#[cfg(feature = "ort")]
fn is_damaged(library: &Path) -> bool {
    let length = std::fs::metadata(library).map(|file| file.len()).ok();
    Record::beside(library).is_some_and(|record| Some(record.bytes) != length)
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

    fn variable(value: Option<PathBuf>) -> Variable {
        Variable {
            name: "ORT_DYLIB_PATH",
            value,
        }
    }

    fn located(runtime_path: Option<PathBuf>, environment: Option<PathBuf>) -> Result<PathBuf, String> {
        let search = Search { runtime_path };
        locate("ort", STEM, &search, &variable(environment)).map_err(|error| match error {
            Error::Unusable { reason, .. } => reason,
            other => panic!("{other}"),
        })
    }

    fn in_folder(path: &Path) -> Result<PathBuf, String> {
        located(Some(path.to_owned()), None)
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
        let other = dir.path().join("other");
        let error = located(None, Some(other.clone())).unwrap_err();
        assert!(error.starts_with("ORT_DYLIB_PATH names"), "{error}");
        assert_eq!(located(Some(library.clone()), Some(other)).unwrap(), library);
    }

    #[test]
    fn a_library_in_the_current_folder_is_not_left_to_the_loader_to_find() {
        // Tests run in the folder of their package.
        let found = located(Some("Cargo.toml".into()), None).unwrap();
        assert_eq!(found, Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"));
        let found = located(None, Some("Cargo.toml".into())).unwrap();
        assert!(found.is_absolute(), "{}", found.display());
    }

    #[test]
    fn an_installed_library_is_damaged_where_its_length_is_not_the_recorded_one() {
        let dir = tempfile::tempdir().unwrap();
        let library = dir.path().join(STEM);
        fs::write(&library, "whole").unwrap();
        assert!(!is_damaged(&library), "nothing is recorded");
        let record = Record {
            sha256: "0".repeat(64),
            bytes: 5,
        };
        fs::write(dir.path().join(Record::FILE), record.text()).unwrap();
        assert_eq!(Record::beside(&library), Some(record));
        assert!(!is_damaged(&library));
        fs::write(&library, "who").unwrap();
        assert!(is_damaged(&library));
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
