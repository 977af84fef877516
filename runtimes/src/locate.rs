//! Finding the shared libraries of runtimes, and the program of the one that is driven as a process.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::{Error, Record, Search, folder};

/// The shared library of a runtime.
#[derive(Debug)]
pub(crate) struct Library {
    /// The runtime.
    pub(crate) name: &'static str,
    /// How its file name begins; a version may stand behind it.
    pub(crate) stem: &'static str,
    /// Whether it is a program, whose name nothing stands behind.
    pub(crate) is_program: bool,
    /// The environment variable that may name it.
    pub(crate) variable: &'static str,
}

pub(crate) const ORT: Library = Library {
    name: "ort",
    stem: "libonnxruntime.so",
    is_program: false,
    variable: "ORT_DYLIB_PATH",
};

pub(crate) const OPENVINO: Library = Library {
    name: "openvino",
    stem: "libopenvino_c.so",
    is_program: false,
    variable: "OPENVINO_DYLIB_PATH",
};

pub(crate) const TFLITE: Library = Library {
    name: "tflite",
    stem: "libLiteRt.so",
    is_program: false,
    variable: "TFLITE_DYLIB_PATH",
};

pub(crate) const TENSORRT: Library = Library {
    name: "tensorrt",
    stem: "trtexec",
    is_program: true,
    variable: "TRTEXEC_PATH",
};

pub(crate) const TVM: Library = Library {
    name: "tvm",
    stem: "libtvm_runtime.so",
    is_program: false,
    variable: "TVM_DYLIB_PATH",
};

/// By which a named library is told from those of other runtimes, whether this build has them or not.
const ALL: [&Library; 5] = [&ORT, &OPENVINO, &TFLITE, &TENSORRT, &TVM];

impl Library {
    /// Finds it where `search` says, else where the environment says, else in the newest `NAME-*` of [`folder`]. The
    /// path is absolute. A place that was named and does not hold it is [`Error::Unusable`], as is an installed
    /// library of another length than it had; so nothing is replaced by another library silently. Where nothing was
    /// named or installed, it is [`Error::Missing`].
    pub(crate) fn locate(&self, search: &Search) -> Result<PathBuf, Error> {
        self.locate_with(search, self.variable_value())
    }

    /// Whether the user's path is for this runtime: it is or holds its library, or none that is known. What has not the
    /// name of a program is not run as one.
    pub(crate) fn is_at_path(&self, search: &Search) -> bool {
        let is_unknown = |path: &Path| !ALL.iter().any(|other| other.is_in(path));
        let path = search.runtime_path.as_deref();
        path.is_some_and(|path| self.is_in(path) || (!self.is_program && is_unknown(path)))
    }

    /// Whether the environment names it.
    pub(crate) fn is_in_environment(&self) -> bool {
        self.variable_value().is_some()
    }

    /// The variable as it is set now; empty is not set.
    fn variable_value(&self) -> Option<PathBuf> {
        let value = std::env::var_os(self.variable).filter(|value| !value.is_empty());
        value.map(PathBuf::from)
    }

    /// Where the user says it is, by path or variable; `None` where they do not say.
    #[cfg(feature = "tensorrt")]
    pub(crate) fn named(&self, search: &Search) -> Option<Result<PathBuf, Error>> {
        self.named_with(search, self.variable_value())
    }

    fn named_with(&self, search: &Search, variable: Option<PathBuf>) -> Option<Result<PathBuf, Error>> {
        let path = search.runtime_path.as_ref().filter(|_| self.is_at_path(search));
        let (what, path) = match (path, variable) {
            (Some(path), _) => ("the runtime path", path.clone()),
            (None, Some(path)) => (self.variable, path),
            (None, None) => return None,
        };
        Some(self.named_by(what, &path).map_err(|reason| Error::Unusable {
            runtime: self.name,
            reason,
        }))
    }

    fn locate_with(&self, search: &Search, variable: Option<PathBuf>) -> Result<PathBuf, Error> {
        let name = self.name;
        if let Some(named) = self.named_with(search, variable) {
            return named;
        }
        let installed = folder().and_then(|folder| self.newest_installed(&folder));
        let library = installed.ok_or_else(|| Error::Missing {
            runtime: name,
            reason: format!(
                "install it with `edgefront runtimes install {name}`, or name the library with --runtime-path or {}",
                self.variable
            ),
        })?;
        if let Some(damaged) = damaged(&library) {
            return Err(Error::Unusable {
                runtime: name,
                reason: format!(
                    "{} is damaged; run `edgefront runtimes install {name}`",
                    damaged.display()
                ),
            });
        }
        Ok(library)
    }

    /// Whether the file is, or the folder holds, one that is named as this library is.
    fn is_in(&self, path: &Path) -> bool {
        let is_ours = |path: &Path| {
            let name = path.file_name().and_then(OsStr::to_str);
            name.is_some_and(|name| self.is_named(name))
        };
        if path.is_dir() {
            self.newest_in(path).is_some()
        } else {
            is_ours(path)
        }
    }

    /// The library that `path` is or holds. The loader would look for a bare file name in folders of its own, so the
    /// path is made absolute.
    fn named_by(&self, what: &str, path: &Path) -> Result<PathBuf, String> {
        let stem = self.stem;
        let found = if path.is_dir() {
            self.newest_in(path)
                .filter(|file| file.is_file())
                .ok_or_else(|| format!("{what} names {}, which holds no {stem}", path.display()))?
        } else if path.is_file() {
            path.to_owned()
        } else {
            return Err(format!("{what} names {}, which is not there", path.display()));
        };
        std::path::absolute(&found).map_err(|error| format!("{what} names {}: {error}", found.display()))
    }

    /// The newest in a folder of libraries, or of folders `NAME-VERSION` as they are installed.
    fn newest_in(&self, folder: &Path) -> Option<PathBuf> {
        newest(folder, |file| self.is_named(file)).or_else(|| self.newest_installed(folder))
    }

    /// Whether a file of this name is it.
    fn is_named(&self, file: &str) -> bool {
        file.strip_prefix(self.stem)
            .is_some_and(|rest| rest.is_empty() || !self.is_program)
    }

    fn newest_installed(&self, folder: &Path) -> Option<PathBuf> {
        let version = newest(folder, |entry| {
            entry
                .strip_prefix(self.name)
                .is_some_and(|rest| rest.starts_with('-'))
        })?;
        newest(&version, |file| self.is_named(file))
    }
}

/// The first file of an installed library that has another length than was recorded when it was installed. A library
/// without a record was put there by hand.
fn damaged(library: &Path) -> Option<PathBuf> {
    let length = |path: &Path| std::fs::metadata(path).map(|file| file.len()).ok();
    let files = Record::beside(library)?.files.into_iter();
    let mut files = files.map(|file| (library.with_file_name(&file.name), file.bytes));
    files
        .find(|(path, bytes)| length(path) != Some(*bytes))
        .map(|(path, _)| path)
}

/// The entry of a folder with the highest version in its name, among those that are `wanted`.
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
fn numbers(name: &str) -> Vec<u64> {
    name.split(|c: char| !c.is_ascii_digit())
        .filter_map(|digits| digits.parse().ok())
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::*;
    use crate::RecordedFile;

    const STEM: &str = ORT.stem;

    fn located(runtime_path: Option<PathBuf>, environment: Option<PathBuf>) -> Result<PathBuf, String> {
        let search = Search { runtime_path };
        ORT.locate_with(&search, environment)
            .map_err(|error| match error {
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
    fn an_installed_library_is_damaged_where_the_length_of_a_file_is_not_the_recorded_one() {
        let dir = tempfile::tempdir().unwrap();
        let library = dir.path().join(STEM);
        let other = dir.path().join("libother.so");
        fs::write(&library, "whole").unwrap();
        assert_eq!(damaged(&library), None, "nothing is recorded");
        let file = |name: &str| RecordedFile {
            name: name.to_owned(),
            sha256: "0".repeat(64),
            bytes: 5,
        };
        let record = Record {
            files: vec![file(STEM), file("libother.so")],
        };
        fs::write(dir.path().join(Record::FILE), record.text()).unwrap();
        assert_eq!(damaged(&library), Some(other.clone()), "it is not there");
        fs::write(&other, "whole").unwrap();
        assert_eq!(damaged(&library), None);
        fs::write(&other, "who").unwrap();
        assert_eq!(damaged(&library), Some(other));
        fs::write(&library, "who").unwrap();
        assert_eq!(damaged(&library), Some(library));
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
        assert_eq!(
            in_folder(dir.path()).unwrap(),
            dir.path().join("ort-1.32.0").join(STEM)
        );
        let found = ORT.newest_installed(dir.path()).unwrap();
        assert_eq!(found, dir.path().join("ort-1.32.0").join(STEM));
    }

    #[test]
    fn the_library_of_one_runtime_says_nothing_of_the_others() {
        let dir = tempfile::tempdir().unwrap();
        let library = dir.path().join(TFLITE.stem);
        fs::write(&library, "").unwrap();
        for named in [library.as_path(), dir.path()] {
            let search = Search {
                runtime_path: Some(named.to_owned()),
            };
            assert!(TFLITE.is_at_path(&search));
            assert_eq!(TFLITE.locate_with(&search, None).unwrap(), library);
            assert!(!ORT.is_at_path(&search));
            let other = dir.path().join("other");
            let error = ORT.locate_with(&search, Some(other)).unwrap_err().to_string();
            assert!(error.contains("ORT_DYLIB_PATH names"), "{error}");
        }
        fs::write(dir.path().join(STEM), "").unwrap();
        assert!(ORT.is_at_path(&Search {
            runtime_path: Some(dir.path().to_owned()),
        }));
    }

    #[test]
    fn a_program_has_the_whole_name() {
        let dir = tempfile::tempdir().unwrap();
        let search = Search {
            runtime_path: Some(dir.path().to_owned()),
        };
        fs::write(dir.path().join("trtexec_debug"), "").unwrap();
        fs::write(dir.path().join(STEM), "").unwrap();
        assert!(!TENSORRT.is_at_path(&search));
        assert!(TENSORRT.named_with(&search, None).is_none());
        let other = Search {
            runtime_path: Some(dir.path().join("trtexec_debug")),
        };
        assert!(
            ORT.is_at_path(&other) && !TENSORRT.is_at_path(&other),
            "it is not run"
        );
        let program = dir.path().join("trtexec");
        fs::write(&program, "").unwrap();
        assert_eq!(TENSORRT.named_with(&search, None).unwrap().unwrap(), program);
    }
}
