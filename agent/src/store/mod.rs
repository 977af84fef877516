//! What survives a restart: batches, outcomes and blobs, as files of one folder.
//!
//! ```text
//! lock                one agent a folder
//! batches/BATCH       jobs whose outcome is not acknowledged
//! outcomes/JOB        outcomes that are not acknowledged
//! settled             the latest batches of which all outcomes are
//! blobs/SHA256        whole and verified
//! partial/SHA256      being fetched, with SHA256.chunks beside it
//! damaged/            files that could not be read
//! ```
//! Each file is there whole or not at all.

mod blobs;
mod partial;

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use edgefront_protocol::outcome::Outcome;
use edgefront_protocol::{BatchId, JobId, wire};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub(crate) use blobs::{Blobs, Unverified};
pub(crate) use partial::Partial;

use crate::Error;
use crate::machine::{Memory, Saved};

/// The state folder, locked.
#[derive(Debug)]
pub(crate) struct Store {
    root: PathBuf,
    _lock: File,
}

impl Store {
    /// Locks the folder and makes what is missing of it.
    pub(crate) fn open(root: &Path) -> Result<Self, Error> {
        for folder in ["batches", "outcomes", "blobs", "partial"] {
            let path = root.join(folder);
            fs::create_dir_all(&path).map_err(|error| Error::state("create", &path, error))?;
        }
        let path = root.join("lock");
        let lock = File::create(&path).map_err(|error| Error::state("create", &path, error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::Locked {
                    path: root.to_owned(),
                });
            }
            Err(TryLockError::Error(error)) => return Err(Error::state("lock", &path, error)),
        }
        Ok(Self {
            root: root.to_owned(),
            _lock: lock,
        })
    }

    /// The blobs of this folder.
    pub(crate) fn blobs(&self) -> Blobs {
        Blobs::new(&self.root)
    }

    /// Reads all batches and outcomes. A file that cannot be read is moved away, with a line in the log.
    pub(crate) fn load(&self) -> Result<Memory, Error> {
        let settled = self.root.join("settled");
        let settled = if settled.exists() {
            self.read(&settled)?.unwrap_or_default()
        } else {
            Vec::new()
        };
        Ok(Memory {
            batches: self.read_all("batches")?,
            outcomes: self.read_all("outcomes")?,
            settled,
        })
    }

    pub(crate) fn save_batch(&self, saved: &Saved) -> Result<(), Error> {
        write(&self.batch(&saved.batch.id), saved)
    }

    pub(crate) fn has_batch(&self, id: &BatchId) -> bool {
        self.batch(id).exists()
    }

    pub(crate) fn remove_batch(&self, id: &BatchId) -> Result<(), Error> {
        remove(&self.batch(id))
    }

    pub(crate) fn save_outcome(&self, outcome: &Outcome) -> Result<(), Error> {
        write(&self.outcome(&outcome.job), outcome)
    }

    pub(crate) fn remove_outcome(&self, job: &JobId) -> Result<(), Error> {
        remove(&self.outcome(job))
    }

    pub(crate) fn save_settled(&self, settled: &Vec<BatchId>) -> Result<(), Error> {
        write(&self.root.join("settled"), settled)
    }

    fn batch(&self, id: &BatchId) -> PathBuf {
        self.root.join("batches").join(id.as_str())
    }

    fn outcome(&self, job: &JobId) -> PathBuf {
        self.root.join("outcomes").join(job.as_str())
    }

    fn read_all<T: DeserializeOwned>(&self, folder: &str) -> Result<Vec<T>, Error> {
        let folder = self.root.join(folder);
        let failed = |error| Error::state("read", &folder, error);
        let mut values = Vec::new();
        for entry in fs::read_dir(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if is_unfinished(&entry) {
                remove(&entry.path())?;
            } else if let Some(value) = self.read(&entry.path())? {
                values.push(value);
            }
        }
        Ok(values)
    }

    fn read<T: DeserializeOwned>(&self, path: &Path) -> Result<Option<T>, Error> {
        let bytes = fs::read(path).map_err(|error| Error::state("read", path, error))?;
        match wire::decode(&bytes) {
            Ok(value) => Ok(Some(value)),
            Err(error) => {
                let aside = self.root.join("damaged");
                tracing::error!("moved {} to {}: {error}", path.display(), aside.display());
                fs::create_dir_all(&aside).map_err(|error| Error::state("create", &aside, error))?;
                let aside = aside.join(path.file_name().unwrap_or_default());
                fs::rename(path, &aside).map_err(|error| Error::state("write", &aside, error))?;
                Ok(None)
            }
        }
    }
}

fn is_unfinished(entry: &fs::DirEntry) -> bool {
    let name = entry.file_name();
    name.as_encoded_bytes()
        .starts_with(edgefront_files::UNFINISHED.as_bytes())
}

fn write<T: Serialize>(path: &Path, value: &T) -> Result<(), Error> {
    edgefront_files::replace(path, &wire::encode(value)).map_err(|error| Error::state("write", path, error))
}

fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::state("remove", path, error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use edgefront_protocol::outcome::{Failure, Stage};
    use edgefront_protocol::{Batch, PublicKey};

    use super::*;

    fn saved(name: &str) -> Saved {
        Saved {
            sequence: 3,
            batch: Batch {
                id: name.parse().unwrap(),
                controller: "study".parse().unwrap(),
                seed: 9,
                jobs: Vec::new(),
            },
            signer: Some(PublicKey::from_bytes([7; 32])),
        }
    }

    fn outcome(job: &str) -> Outcome {
        Outcome {
            job: job.parse().unwrap(),
            batch: "b".parse().unwrap(),
            device: "pi4".parse().unwrap(),
            result: Err(Failure {
                stage: Stage::Run,
                error: "crashed".to_owned(),
            }),
        }
    }

    #[test]
    fn what_was_saved_is_there_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        assert_eq!(store.load().unwrap(), Memory::default());
        for name in ["a", "b"] {
            store.save_batch(&saved(name)).unwrap();
            store.save_outcome(&outcome(name)).unwrap();
        }
        store.save_settled(&vec!["z".parse().unwrap()]).unwrap();
        store.remove_batch(&"a".parse().unwrap()).unwrap();
        store.remove_outcome(&"a".parse().unwrap()).unwrap();
        store.remove_outcome(&"a".parse().unwrap()).unwrap();
        drop(store);
        let memory = Store::open(dir.path()).unwrap().load().unwrap();
        let expected = Memory {
            batches: vec![saved("b")],
            outcomes: vec![outcome("b")],
            settled: vec!["z".parse().unwrap()],
        };
        assert_eq!(memory, expected);
    }

    #[test]
    fn a_second_agent_on_the_same_folder_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let first = Store::open(dir.path()).unwrap();
        let error = Store::open(dir.path()).unwrap_err().to_string();
        assert!(error.starts_with("another agent uses "), "{error}");
        drop(first);
        Store::open(dir.path()).unwrap();
    }

    #[test]
    fn a_damaged_file_costs_only_itself() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        store.save_batch(&saved("a")).unwrap();
        store.save_batch(&saved("b")).unwrap();
        let file = dir.path().join("batches/a");
        let bytes = fs::read(&file).unwrap();
        fs::write(&file, &bytes[..bytes.len() - 1]).unwrap();
        assert_eq!(store.load().unwrap().batches, [saved("b")]);
        assert!(dir.path().join("damaged/a").exists());
    }

    #[test]
    fn a_write_that_was_cut_short_leaves_no_trace() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let unfinished = dir.path().join("outcomes/.edgefront-abc");
        fs::write(&unfinished, [1]).unwrap();
        assert_eq!(store.load().unwrap(), Memory::default());
        assert!(!unfinished.exists());
    }
}
