//! Results read back from files, and several of them merged.

use std::path::{Path, PathBuf};
use std::{fs, io};

use edgefront_protocol::results::{Results, SCHEMA};
use serde::Deserialize;

/// Why results could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file is not there or cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is JSON of another kind, or no JSON.
    #[error("{} is not a results file of Edgefront", path.display())]
    NotResults {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// The file has a schema that this version does not know.
    #[error("{} has schema `{found}`, and this version of edgefront reads `{SCHEMA}`; use the version that wrote it", path.display())]
    Schema {
        /// The file.
        path: PathBuf,
        /// What it says.
        found: String,
    },
}

/// Reads `results.json`, or the one in a directory that a command left. Unknown fields are ignored.
pub fn load(path: &Path) -> Result<Results, LoadError> {
    #[derive(Deserialize)]
    struct Header {
        schema: String,
    }
    let path = if path.is_dir() {
        path.join("results.json")
    } else {
        path.to_owned()
    };
    let text = fs::read(&path).map_err(|source| LoadError::Unreadable {
        path: path.clone(),
        source,
    })?;
    let not_results = |source| LoadError::NotResults {
        path: path.clone(),
        source,
    };
    // The schema comes first: of a newer one, the records need not be readable.
    let header: Header = serde_json::from_slice(&text).map_err(not_results)?;
    if header.schema != SCHEMA {
        return Err(LoadError::Schema {
            path,
            found: header.schema,
        });
    }
    serde_json::from_slice(&text).map_err(not_results)
}

/// All results as one; what stands in several is kept once. The frontiers must be marked anew.
pub fn merge(all: impl IntoIterator<Item = Results>) -> Option<Results> {
    let mut all = all.into_iter();
    let mut merged = all.next()?;
    for results in all {
        if !merged.study.split(" + ").any(|study| study == results.study) {
            merged.study = format!("{} + {}", merged.study, results.study);
        }
        add_new(&mut merged.devices, results.devices, |a, b| a.id == b.id);
        add_new(&mut merged.failed, results.failed, |a, b| a == b);
        add_new(&mut merged.records, results.records, |a, b| {
            a.device == b.device
                && a.configuration() == b.configuration()
                && a.artifact == b.artifact
                && a.latency_ms == b.latency_ms
        });
    }
    Some(merged)
}

fn add_new<T>(to: &mut Vec<T>, from: Vec<T>, same: impl Fn(&T, &T) -> bool) {
    for item in from {
        if !to.iter().any(|old| same(old, &item)) {
            to.push(item);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::fixture;

    fn written(text: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("results.json");
        fs::write(&path, text).unwrap();
        (dir, path)
    }

    #[test]
    fn what_was_written_is_read_from_the_file_and_from_its_directory() {
        let results = fixture::results();
        let (dir, path) = written(&serde_json::to_string(&results).unwrap());
        assert_eq!(load(&path).unwrap(), results);
        assert_eq!(load(dir.path()).unwrap(), results);
    }

    #[test]
    fn a_newer_schema_is_refused_by_name() {
        let (_dir, path) = written(r#"{"schema": "edgefront.results/2", "records": 7}"#);
        let error = load(&path).unwrap_err().to_string();
        assert!(
            error.contains("edgefront.results/2") && error.contains(SCHEMA),
            "{error}"
        );
    }

    #[test]
    fn unknown_fields_are_harmless_and_other_files_are_not_results() {
        let mut value = serde_json::to_value(fixture::results()).unwrap();
        value["records"][0]["new"] = 1.into();
        let (_dir, path) = written(&value.to_string());
        assert_eq!(load(&path).unwrap(), fixture::results());
        let (_dir, path) = written("[1, 2");
        assert!(matches!(load(&path), Err(LoadError::NotResults { .. })));
        assert!(matches!(
            load(Path::new("no/such.json")),
            Err(LoadError::Unreadable { .. })
        ));
    }

    #[test]
    fn merging_keeps_each_record_once() {
        let results = fixture::results();
        let mut other = results.clone();
        other.study = "night".into();
        other.records[0].latency_ms.p50 += 1.0;
        let merged = merge([results.clone(), other]).unwrap();
        assert_eq!(merged.records.len(), results.records.len() + 1);
        assert_eq!(merged.study, format!("{} + night", results.study));
    }
}
