//! Results read back from files, and several of them merged.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::{fs, io};

use edgefront_protocol::results::{FailedJob, Record, Results, SCHEMA};
use serde::Deserialize;

use super::{figures, machines};
use crate::store;

/// Why results could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file is not there or cannot be read.
    #[error("cannot read {}: {}", path.display(), edgefront_files::unread(source))]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is JSON of another kind, or no JSON.
    #[error("{} is not a results file of Edgefront; name the `results.json` that a study left", path.display())]
    NotResults {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// The folder has a study whose results are not written yet.
    #[error("{} holds a study that was stopped before it wrote results; go on with --resume", folder.display())]
    NoResultsYet {
        /// The folder.
        folder: PathBuf,
    },
    /// A record has a figure that nothing can measure, or a name that cannot be shown.
    #[error("{}: {what}", path.display())]
    Impossible {
        /// The file.
        path: PathBuf,
        /// The record and its figure, or the name.
        what: String,
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
    let text = fs::read(&path).map_err(|source| unreadable(&path, source))?;
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
    let results = serde_json::from_slice(&text).map_err(not_results)?;
    match figures::impossible(&results).or_else(|| unprintable(&results)) {
        Some(what) => Err(LoadError::Impossible { path, what }),
        None => Ok(results),
    }
}

/// A name of the study, or of a failure, that would not stand in one line of a table, or would drive the terminal.
fn unprintable(results: &Results) -> Option<String> {
    let of_failure = |failed: &FailedJob| -> Vec<String> {
        let named = [&failed.device, &failed.variant, &failed.runtime].map(Clone::clone);
        let asked = [&failed.scenario, &failed.cpus].into_iter().flatten().cloned();
        named.into_iter().chain(asked).collect()
    };
    let mut names = std::iter::once(results.study.clone()).chain(results.failed.iter().flat_map(of_failure));
    names.find_map(|name| figures::with_control(&name))
}

fn unreadable(path: &Path, source: io::Error) -> LoadError {
    match path.parent() {
        Some(folder) if source.kind() == io::ErrorKind::NotFound && folder.join(store::FILE).exists() => {
            LoadError::NoResultsYet {
                folder: folder.to_owned(),
            }
        }
        _ => LoadError::Unreadable {
            path: path.to_owned(),
            source,
        },
    }
}

/// All results as one; what stands in several is kept once. The frontiers must be marked anew.
///
/// Records and failures of more than one study say which they are from. A study whose name is taken by another with
/// records of the same configurations is renamed: `night (2)`. So is a device whose name another machine has.
pub fn merge(all: impl IntoIterator<Item = Results>) -> Option<Results> {
    let mut all = all.into_iter().map(with_studies);
    let mut merged = all.next()?;
    let mut findings = findings_of(&mut merged);
    for mut results in all {
        machines::rename_clashing(&merged.devices, &mut results);
        let known = |new: &Record| merged.records.iter().any(|old| same_measurement(old, new));
        results.records.retain(|new| !known(new));
        rename_clashing(&merged.records, &mut results);
        add_new(&mut findings, findings_of(&mut results), |a, b| a == b);
        add_new(&mut merged.devices, results.devices, |a, b| a.id == b.id);
        add_new(&mut merged.variants, results.variants, |a, b| a == b);
        add_new(&mut merged.failed, results.failed, |a, b| a == b);
        merged.unfinished |= results.unfinished;
        merged.records.append(&mut results.records);
    }
    let studies = studies(&merged);
    let has_several = studies.len() > 1;
    let told = |(study, finding): (Option<String>, String)| match study {
        Some(study) if has_several => format!("{study}: {finding}"),
        _ => finding,
    };
    for finding in findings.into_iter().map(told) {
        if !merged.findings.contains(&finding) {
            merged.findings.push(finding);
        }
    }
    if has_several {
        merged.study = studies.join(" + ");
    } else {
        studies_of(&mut merged).for_each(|study| *study = None);
    }
    Some(merged)
}

/// Whether records of several studies on one device have accuracies: these compare only on the same data.
pub fn mixes_accuracies(results: &Results) -> bool {
    let mut of_device: BTreeMap<&str, &Option<String>> = BTreeMap::new();
    let mut scored = results.records.iter().filter(|record| record.accuracy.is_some());
    scored.any(|record| *of_device.entry(&record.device).or_insert(&record.study) != &record.study)
}

/// The results with the study in each record and failure.
fn with_studies(mut results: Results) -> Results {
    let name = results.study.clone();
    for study in studies_of(&mut results) {
        study.get_or_insert_with(|| name.clone());
    }
    results
}

/// What is to be known of results, each with the study, by whose names for the devices it is told; those of several
/// studies tell theirs.
fn findings_of(results: &mut Results) -> Vec<(Option<String>, String)> {
    let study = match &studies(results)[..] {
        [] => Some(results.study.clone()),
        [study] => Some(study.clone()),
        _ => None,
    };
    let findings = std::mem::take(&mut results.findings).into_iter();
    findings.map(|finding| (study.clone(), finding)).collect()
}

/// The study of each record and failure.
fn studies_of(results: &mut Results) -> impl Iterator<Item = &mut Option<String>> {
    let of_records = results.records.iter_mut().map(|record| &mut record.study);
    of_records.chain(results.failed.iter_mut().map(|failed| &mut failed.study))
}

/// The studies of the records and failures, in the order in which they first stand.
fn studies(results: &Results) -> Vec<String> {
    let of_records = results.records.iter().map(|record| &record.study);
    let all = of_records.chain(results.failed.iter().map(|failed| &failed.study));
    let mut studies: Vec<String> = Vec::new();
    for study in all.flatten() {
        if !studies.contains(study) {
            studies.push(study.clone());
        }
    }
    studies
}

fn same_measurement(a: &Record, b: &Record) -> bool {
    a.device == b.device
        && a.artifact == b.artifact
        && a.latency_ms == b.latency_ms
        && unnamed(a) == unnamed(b)
}

/// What a record measured, whatever its study was called.
fn unnamed(record: &Record) -> (&str, &str, &str, u32, u32, &[u32], Option<String>) {
    (
        &record.variant,
        &record.runtime,
        &record.provider,
        record.threads,
        record.batch,
        &record.cpus,
        record.way(),
    )
}

/// Gives the studies of `new` other names where one of their records would be taken for one of `old`.
fn rename_clashing(old: &[Record], new: &mut Results) {
    let records = new.records.iter();
    let names: BTreeSet<String> = records.filter_map(|record| record.study.clone()).collect();
    for name in names {
        let clashes = |to: &String| {
            let own = new.records.iter();
            let own = own.filter(|record| record.study.as_ref() == Some(&name));
            let mut pairs = own.flat_map(|a| old.iter().map(move |b| (a, b)));
            pairs.any(|(a, b)| {
                b.study.as_ref() == Some(to) && a.device == b.device && unnamed(a) == unnamed(b)
            })
        };
        let candidates = (2..).map(|number| format!("{name} ({number})"));
        let free = std::iter::once(name.clone())
            .chain(candidates)
            .find(|to| !clashes(to));
        for study in studies_of(new).filter(|study| study.as_ref() == Some(&name)) {
            study.clone_from(&free);
        }
    }
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
    fn names_that_would_drive_the_terminal_are_refused() {
        let mut results = fixture::results();
        results.failed[0].variant = "\u{1b}[31mred".into();
        let (_dir, path) = written(&serde_json::to_string(&results).unwrap());
        let error = load(&path).unwrap_err().to_string();
        assert!(
            error.ends_with(r#"the name "\u{1b}[31mred" holds a control character"#),
            "{error}"
        );
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
    fn a_study_without_results_is_no_missing_file() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(store::FILE), "").unwrap();
        let error = load(dir.path()).unwrap_err().to_string();
        assert!(error.ends_with("go on with --resume"), "{error}");
    }

    #[test]
    fn figures_that_nothing_can_measure_are_refused_with_their_file() {
        let mut value = serde_json::to_value(fixture::results()).unwrap();
        value["records"][0]["latency_ms"]["p50"] = (-1.0).into();
        let (_dir, path) = written(&value.to_string());
        let error = load(&path).unwrap_err().to_string();
        assert!(error.starts_with(&path.display().to_string()), "{error}");
        assert!(
            error.contains("fp32/ort/cpu/t1/b1 of local: p50 is -1"),
            "{error}"
        );
    }

    #[test]
    fn merging_keeps_each_measurement_once_and_names_the_studies() {
        let results = fixture::results();
        let mut other = results.clone();
        other.study = "night".into();
        other.records[0].latency_ms.p50 += 1.0;
        let merged = merge([results.clone(), other]).unwrap();
        assert_eq!(merged.records.len(), results.records.len() + 1);
        assert_eq!(merged.study, format!("{} + night", results.study));
        assert_eq!(
            merged.records.last().unwrap().configuration(),
            "night/fp32/ort/cpu/t1/b1"
        );
        assert!(mixes_accuracies(&merged));
    }

    #[test]
    fn findings_are_kept_and_name_their_study_where_there_are_several() {
        let results = |study: &str, finding: &str| {
            let mut results = fixture::results();
            results.study = study.into();
            results.findings = vec![finding.to_owned()];
            results.records[0].latency_ms.p50 += finding.len() as f64;
            results
        };
        let (day, night) = (results("day", "a"), results("night", "bc"));
        let one = merge([day.clone(), results("day", "a")]).unwrap();
        assert_eq!(one.findings, ["a"]);
        let both = merge([day.clone(), night]).unwrap();
        assert_eq!(both.findings, ["day: a", "night: bc"]);
        assert_eq!(
            merge([both.clone(), day.clone()]).unwrap().findings,
            both.findings
        );
        // All records of the last are known, and it has nothing else.
        let mut day = day;
        day.failed.clear();
        assert_eq!(merge([both.clone(), day]).unwrap().findings, both.findings);
    }

    #[test]
    fn one_study_in_several_files_stays_unnamed() {
        let results = fixture::results();
        let [mut here, mut there] = [results.clone(), results.clone()];
        here.records.retain(|record| record.device == "local");
        there.records.retain(|record| record.device != "local");
        let merged = merge([here, there]).unwrap();
        assert_eq!(merged, results);
        assert!(!mixes_accuracies(&merged));
    }

    #[test]
    fn two_runs_of_one_study_are_told_apart_even_when_merged_twice() {
        let runs = [0.0, 0.1, 0.2].map(|later| {
            let mut results = fixture::results();
            results.study = "demo".into();
            for record in &mut results.records {
                record.latency_ms.p50 += later;
            }
            results
        });
        let [first, second, third] = runs;
        let two = merge([first, second.clone()]).unwrap();
        let merged = merge([two, second, third]).unwrap();
        assert_eq!(merged.study, "demo + demo (2) + demo (3)");
        let failed: Vec<String> = merged.failed.iter().map(FailedJob::place).collect();
        assert_eq!(
            failed,
            ["demo", "demo (2)", "demo (3)"]
                .map(|study| format!("pi-kitchen {study}/qat-int8/tract at load"))
        );
        let mut names: Vec<String> = merged
            .records
            .iter()
            .map(|r| r.device.clone() + &r.configuration())
            .collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), merged.records.len());
    }

    #[test]
    fn other_processors_are_another_configuration() {
        let [here, mut there] = [fixture::results(), fixture::results()];
        let named = here.study.clone();
        for record in &mut there.records {
            record.latency_ms.p50 += 0.1;
            record.cpus = vec![0, 1];
        }
        let merged = merge([here, there]).unwrap();
        assert_eq!(merged.study, named);
    }

    #[test]
    fn studies_on_different_devices_mix_no_accuracies() {
        let [mut here, mut there] = [fixture::results(), fixture::results()];
        there.study = "night".into();
        here.records.retain(|record| record.device == "local");
        there.records.retain(|record| record.device != "local");
        assert!(!mixes_accuracies(&merge([here, there]).unwrap()));
    }
}
