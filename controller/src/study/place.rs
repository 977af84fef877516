//! The directory of a study: what lies in it, and whether a study may begin, replace it or go on there.
//!
//! Nothing is replaced unseen. A finished study gives way to a new run of the same study; everything else that
//! lies there is kept until the user says `--fresh`.

use std::fs;
use std::io;
use std::path::Path;

use anyhow::Context as _;
use edgefront_protocol::{BatchId, DeviceId};

use super::plan::unique;
use super::prepare::Definition;
use super::{Existing, Options};
use crate::report;
use crate::store::{self, Store};
use crate::ui::{Ui, UsageError};

/// A directory that was looked into and may be used as the user asked.
#[derive(Debug)]
pub(super) struct Place<'a> {
    out: &'a Path,
    /// Open where the directory has a database; then no other process can use it.
    store: Option<Store>,
    start: Start,
}

/// How a study starts in a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    /// Nothing of ours lies there.
    Begin,
    /// What lies there is removed first.
    Replace,
    /// The same, the database too: it cannot be read.
    Renew,
    /// It goes on where it stopped, or has ended already.
    GoOn {
        /// Whether nothing is left to do.
        finished: bool,
    },
}

/// What lies in a directory.
#[derive(Debug)]
enum Found {
    /// Nothing of ours; the directory may not be there.
    Nothing,
    /// A file with the name of one of ours, and no study.
    Stranger(&'static str),
    /// A study.
    Study(Lying),
}

/// A study that lies in a directory.
#[derive(Debug)]
struct Lying {
    finished: bool,
    /// Jobs that have ended, and all that are known.
    jobs: [usize; 2],
    /// In what it differs from the study that is to be run.
    differences: Vec<String>,
}

impl<'a> Place<'a> {
    /// Looks into the directory. Changes nothing there; what may not be is an error.
    pub(super) fn look(options: &'a Options, definition: &Definition) -> anyhow::Result<Self> {
        let out = options.out.as_path();
        let (store, start) = match look_into(out, definition) {
            Err(error) if options.existing == Existing::Replace && is_unreadable(&error) => {
                (None, Start::Renew)
            }
            looked => {
                let (store, found) = looked?;
                let start = decide(options.existing, &found)
                    .map_err(|why| UsageError::new(format!("{} {why}", out.display())))?;
                (store, start)
            }
        };
        Ok(Self { out, store, start })
    }

    /// Whether the study begins, and does not go on.
    pub(super) fn begins(&self) -> bool {
        !matches!(self.start, Start::GoOn { .. })
    }

    /// Whether the study has ended already, so that only its report is to be written.
    pub(super) fn is_finished(&self) -> bool {
        self.start == Start::GoOn { finished: true }
    }

    /// Begins the study or goes on with it. Also returns the batches that are to be called off.
    pub(super) fn start(
        self,
        definition: &Definition,
        ui: &Ui,
    ) -> anyhow::Result<(Store, Vec<(DeviceId, BatchId)>)> {
        let out = self.out;
        if matches!(self.start, Start::Replace | Start::Renew) {
            ui.note(format_args!("replacing the results in {}", out.display()));
            remove_reports(out)?;
        }
        if self.start == Start::Renew {
            ui.warn(format_args!(
                "{} cannot be read and begins anew; devices go on with the jobs that it knew",
                out.join(store::FILE).display()
            ));
            Store::remove(out)
                .with_context(|| format!("cannot remove {}", out.join(store::FILE).display()))?;
        }
        let mut store = if let Some(store) = self.store {
            store
        } else {
            fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
            open(out)?
        };
        if matches!(self.start, Start::GoOn { .. }) {
            return Ok((store, Vec::new()));
        }
        let open = store.open_batches()?;
        store.begin(&definition.to_json()?)?;
        let cancelled = open.into_iter().map(|(device, batch)| (device, batch.id));
        Ok((store, cancelled.collect()))
    }
}

/// The database of the directory, if it has one, and what lies there.
fn look_into(out: &Path, definition: &Definition) -> anyhow::Result<(Option<Store>, Found)> {
    let store = open_existing(out)?;
    let found = match &store {
        None => stranger(out),
        Some(store) => lying(out, store, definition)?,
    };
    Ok((store, found))
}

fn is_unreadable(error: &anyhow::Error) -> bool {
    matches!(
        error.downcast_ref(),
        Some(store::Error::Damaged { .. } | store::Error::Older { .. })
    )
}

/// The database of the directory, if it has one.
fn open_existing(out: &Path) -> anyhow::Result<Option<Store>> {
    match fs::metadata(out) {
        Ok(metadata) if !metadata.is_dir() => {
            let message = format!("--out {}: this is a file; give a directory", out.display());
            return Err(UsageError::new(message));
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot read {}", out.display()));
        }
        Err(_) if out.is_symlink() => {
            let message = format!(
                "--out {}: this is a link to nothing; remove it, or give another directory",
                out.display()
            );
            return Err(UsageError::new(message));
        }
        _ => {}
    }
    if !out.join(store::FILE).exists() {
        return Ok(None);
    }
    Ok(Some(open(out)?))
}

fn open(out: &Path) -> Result<Store, store::Error> {
    let new_name = unique("c").parse().expect("invariant: a valid name");
    Store::open(out, &new_name)
}

fn stranger(out: &Path) -> Found {
    let ours = report::files().find(|file| out.join(file).exists());
    ours.map_or(Found::Nothing, Found::Stranger)
}

fn lying(out: &Path, store: &Store, definition: &Definition) -> anyhow::Result<Found> {
    let Some(study) = store.study()? else {
        // An empty database is what a full disk or a loss of power leaves of one.
        return Ok(stranger(out));
    };
    let jobs = store.jobs()?;
    let ended = jobs.iter().filter(|job| job.outcome.is_some()).count();
    let differences = definition.differences(&study.definition);
    Ok(Found::Study(Lying {
        finished: study.finished,
        jobs: [ended, jobs.len()],
        differences: differences.map_err(|error| store.damaged("study", &error))?,
    }))
}

/// How a study starts where this lies. The error tells what lies there and what works, to follow the
/// directory's name.
fn decide(existing: Existing, found: &Found) -> Result<Start, String> {
    match (existing, found) {
        (Existing::Keep | Existing::Replace, Found::Nothing) => Ok(Start::Begin),
        (Existing::Replace, _) => Ok(Start::Replace),
        (Existing::Resume, Found::Study(study)) if study.differences.is_empty() => Ok(Start::GoOn {
            finished: study.finished,
        }),
        (Existing::Keep, Found::Study(study)) if study.finished && study.differences.is_empty() => {
            Ok(Start::Replace)
        }
        (Existing::Resume, Found::Nothing) => {
            Err("holds no study to go on with; leave out --resume to begin one".to_owned())
        }
        (_, Found::Stranger(file)) => Err(format!(
            "holds a {file} but no study in {}, so none can go on there; replace it with --fresh, or choose \
             another --out",
            store::FILE
        )),
        (_, Found::Study(study)) => Err(study.refusal()),
    }
}

impl Lying {
    fn refusal(&self) -> String {
        let [ended, all] = self.jobs;
        let what = match (self.finished, all) {
            (true, _) => "holds a finished study".to_owned(),
            (false, 0) => "holds an unfinished study (no job has begun)".to_owned(),
            (false, _) => format!("holds an unfinished study ({ended} of {all} jobs have ended)"),
        };
        if self.differences.is_empty() {
            return format!("{what}; go on with --resume, replace it with --fresh, or choose another --out");
        }
        format!(
            "{what} that differs in {}; replace it with --fresh, or choose another --out",
            self.differences.join(", ")
        )
    }
}

/// Removes the files of an earlier report, so that none stands beside the measurements of another study.
fn remove_reports(out: &Path) -> anyhow::Result<()> {
    for path in report::files().map(|file| out.join(file)) {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot remove {}", path.display()));
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn study(finished: bool, jobs: [usize; 2], differences: &[&str]) -> Found {
        let differences = differences.iter().map(|&key| key.to_owned()).collect();
        Found::Study(Lying {
            finished,
            jobs,
            differences,
        })
    }

    /// Everything that may lie in a directory.
    fn all() -> [Found; 7] {
        [
            Found::Nothing,
            Found::Stranger("report.html"),
            study(true, [3, 3], &[]),
            study(true, [3, 3], &["model", "seed"]),
            study(false, [1, 3], &[]),
            study(false, [0, 0], &[]),
            study(false, [1, 3], &["threads"]),
        ]
    }

    #[test]
    fn only_a_finished_run_of_the_same_study_is_replaced_unasked() {
        insta::assert_snapshot!(said(Existing::Keep));
    }

    #[test]
    fn only_the_same_study_goes_on() {
        insta::assert_snapshot!(said(Existing::Resume));
    }

    #[test]
    fn fresh_replaces_whatever_is_there() {
        let started = all().map(|found| decide(Existing::Replace, &found).unwrap());
        assert_eq!(started[0], Start::Begin);
        assert!(started[1..].iter().all(|start| *start == Start::Replace));
    }

    #[test]
    fn an_old_report_is_removed_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        for file in report::files().chain(["notes.txt"]) {
            fs::write(dir.path().join(file), "old").unwrap();
        }
        for _ in 0..2 {
            remove_reports(dir.path()).unwrap();
            let left: Vec<_> = fs::read_dir(dir.path())
                .unwrap()
                .map(|entry| entry.unwrap().file_name())
                .collect();
            assert_eq!(left, ["notes.txt"]);
        }
    }

    fn said(existing: Existing) -> String {
        let say = |found: &Found| match decide(existing, found) {
            Ok(start) => format!("{start:?}"),
            Err(why) => format!("out {why}"),
        };
        all().each_ref().map(say).join("\n")
    }
}
