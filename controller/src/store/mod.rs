//! What a study's directory remembers: the SQLite file `edgefront.db`. Messages stand in it as they travel
//! ([`wire`]), statistics are derived when they are read.
//!
//! One process at a time works on a directory; the database's lock sees to it.

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use edgefront_protocol::results::FailedJob;
use edgefront_protocol::{
    Batch, BatchId, BlobRef, Bytes, ControllerId, Device, DeviceId, Digest, Job, Outcome, wire,
};
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Name of the database in a study's directory.
pub const FILE: &str = "edgefront.db";
/// Generation of the tables and of the messages in them, `user_version` of the database.
const SCHEMA: i64 = 4;
/// How long to wait for the lock; whoever holds it holds it until it ends.
const LOCK_PATIENCE: Duration = Duration::from_millis(500);

/// Why the store of a study failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Another process works on the directory.
    #[error("another edgefront works on {}; wait for it, or choose another --out", path.display())]
    Busy {
        /// The database.
        path: PathBuf,
    },
    /// A newer version wrote the database.
    #[error("{} was written by a newer edgefront (schema {found}, this version reads {SCHEMA}); use that one, or choose another --out", path.display())]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its schema.
        found: i64,
    },
    /// An older version wrote the database, whose messages are others.
    #[error("{} was written by an older edgefront (schema {found}, this version reads {SCHEMA}); finish it with that one, replace it with --fresh, or choose another --out{}", path.display(), kept(path))]
    Older {
        /// The database.
        path: PathBuf,
        /// Its schema.
        found: i64,
    },
    /// A file of that name that is not a study's database.
    #[error("{} is not a study's database; choose another --out", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The database cannot be read or written.
    #[error("cannot use {}: {why}", path.display())]
    Database {
        /// The database.
        path: PathBuf,
        /// Why, in the words of SQLite; its own cause says the same again.
        why: String,
    },
    /// The database or a row does not hold what it should.
    #[error("{} is damaged ({what}); replace it with --fresh, or choose another --out{}", path.display(), kept(path))]
    Damaged {
        /// The database.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
}

/// What a study wrote before its database could be read no more.
fn kept(database: &Path) -> String {
    let written = database.with_file_name("results.json");
    if written.exists() {
        format!("; `frontier` and `select` still read {}", written.display())
    } else {
        String::new()
    }
}

/// An open study directory.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    database: Connection,
    controller: ControllerId,
}

/// The study that a directory holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredStudy {
    /// What is measured, as JSON.
    pub definition: String,
    /// Whether nothing is left to do.
    pub finished: bool,
}

/// One job and how it ended.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredJob {
    /// The device.
    pub device: DeviceId,
    /// Its batch.
    pub batch: BatchId,
    /// Seed of the batch.
    pub seed: u64,
    /// The job.
    pub job: Job,
    /// How it ended, where it has.
    pub outcome: Option<Outcome>,
}

/// What became of an outcome that was to be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// It is stored.
    New,
    /// The job had its outcome already; this one is not kept.
    Duplicate,
    /// No job of this study has its name.
    Unknown,
}

impl Store {
    /// Opens the database of the study directory `dir`, which must be there, or makes it. `controller` names
    /// a directory that has no name yet.
    pub fn open(dir: &Path, controller: &ControllerId) -> Result<Self, Error> {
        let path = dir.join(FILE);
        let wrap = |source| classify(&path, source);
        let mut database = Connection::open(&path).map_err(wrap)?;
        database.busy_timeout(LOCK_PATIENCE).map_err(wrap)?;
        database
            .pragma_update(None, "locking_mode", "EXCLUSIVE")
            .map_err(wrap)?;
        database.pragma_update(None, "foreign_keys", true).map_err(wrap)?;
        let transaction = database
            .transaction_with_behavior(rusqlite::TransactionBehavior::Exclusive)
            .map_err(wrap)?;
        check_pages(&transaction, &path)?;
        migrate(&transaction, &path, controller)?;
        let name: String = transaction
            .query_row("SELECT controller FROM study", [], |row| row.get(0))
            .map_err(wrap)?;
        transaction.commit().map_err(wrap)?;
        let controller = name.parse().map_err(|error| damaged(&path, "study", &error))?;
        Ok(Self {
            path,
            database,
            controller,
        })
    }

    /// The name under which devices know this directory.
    pub fn controller(&self) -> &ControllerId {
        &self.controller
    }

    /// Removes the database of a directory, which nobody may have open, whatever it holds.
    pub fn remove(dir: &Path) -> io::Result<()> {
        for suffix in ["", "-journal", "-wal", "-shm"] {
            match fs::remove_file(dir.join(format!("{FILE}{suffix}"))) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// The study, if one has begun.
    pub fn study(&self) -> Result<Option<StoredStudy>, Error> {
        let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
        let (definition, finished): (Option<String>, bool) = self
            .database
            .query_row("SELECT definition, finished FROM study", [], row)
            .map_err(self.failed())?;
        Ok(definition.map(|definition| StoredStudy { definition, finished }))
    }

    /// Begins a study, in place of the one that there was; the directory keeps its name.
    pub fn begin(&mut self, definition: &str) -> Result<(), Error> {
        let path = self.path.clone();
        let begin = |transaction: Transaction<'_>| {
            transaction.execute_batch(
                "DELETE FROM jobs; DELETE FROM devices; DELETE FROM variants; DELETE FROM failures;",
            )?;
            transaction.execute("UPDATE study SET definition = ?1, finished = 0", [definition])?;
            transaction.commit()
        };
        let transaction = self.database.transaction();
        transaction
            .and_then(begin)
            .map_err(|source| classify(&path, source))
    }

    /// Notes whether nothing is left to do.
    pub fn set_finished(&self, finished: bool) -> Result<(), Error> {
        self.database
            .execute("UPDATE study SET finished = ?1", [finished])
            .map_err(self.failed())?;
        Ok(())
    }

    /// The file that was made from what `key` stands for.
    pub fn variant(&self, key: &Digest) -> Result<Option<BlobRef>, Error> {
        self.database
            .query_row(
                "SELECT digest, bytes FROM variants WHERE key = ?1",
                [key.as_bytes()],
                |row| {
                    let digest: [u8; 32] = row.get(0)?;
                    let bytes: i64 = row.get(1)?;
                    Ok(BlobRef {
                        digest: Digest::from_bytes(digest),
                        bytes: Bytes(bytes as u64),
                    })
                },
            )
            .optional()
            .map_err(self.failed())
    }

    /// Remembers the file that was made from what `key` stands for, and how, as JSON.
    pub fn put_variant(&self, key: &Digest, blob: &BlobRef, making: &str) -> Result<(), Error> {
        self.database
            .execute(
                "INSERT OR REPLACE INTO variants (key, digest, bytes, making) VALUES (?1, ?2, ?3, ?4)",
                params![
                    key.as_bytes(),
                    blob.digest.as_bytes(),
                    blob.bytes.0 as i64,
                    making
                ],
            )
            .map_err(self.failed())?;
        Ok(())
    }

    /// How each file was made, as far as that is known.
    pub fn makings<T: DeserializeOwned>(&self) -> Result<Vec<(Digest, T)>, Error> {
        let rows: Vec<([u8; 32], String)> = self.rows(
            "SELECT digest, making FROM variants WHERE making IS NOT NULL ORDER BY rowid",
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        let making = |(digest, text): ([u8; 32], String)| {
            let making =
                serde_json::from_str(&text).map_err(|error| damaged(&self.path, "variants", &error))?;
            Ok((Digest::from_bytes(digest), making))
        };
        rows.into_iter().map(making).collect()
    }

    /// Adds a device, or what it says of itself now.
    pub fn put_device(&self, device: &Device) -> Result<(), Error> {
        insert_device(&self.database, device).map_err(self.failed())
    }

    /// Adds a device and a batch of jobs for it, all or nothing.
    pub fn put_batch(&mut self, device: &Device, batch: &Batch) -> Result<(), Error> {
        let path = self.path.clone();
        let put = |transaction: Transaction<'_>| {
            insert_device(&transaction, device)?;
            for job in &batch.jobs {
                transaction.execute(
                    "INSERT INTO jobs (id, device, batch, seed, job) VALUES (?1, ?2, ?3, ?4, ?5)",
                    params![
                        job.id.as_str(),
                        device.id.as_str(),
                        batch.id.as_str(),
                        batch.seed.to_le_bytes(),
                        wire::encode(job)
                    ],
                )?;
            }
            transaction.commit()
        };
        let transaction = self.database.transaction();
        transaction
            .and_then(put)
            .map_err(|source| classify(&path, source))
    }

    /// Stores how a job ended, once. When this returns, the outcome survives a crash.
    pub fn put_outcome(&self, outcome: &Outcome) -> Result<Stored, Error> {
        let changed = self
            .database
            .execute(
                "UPDATE jobs SET outcome = ?1 WHERE id = ?2 AND outcome IS NULL",
                params![wire::encode(outcome), outcome.job.as_str()],
            )
            .map_err(self.failed())?;
        if changed == 1 {
            return Ok(Stored::New);
        }
        let known = self
            .database
            .query_row("SELECT 1 FROM jobs WHERE id = ?1", [outcome.job.as_str()], |_| {
                Ok(())
            })
            .optional()
            .map_err(self.failed())?;
        Ok(known.map_or(Stored::Unknown, |()| Stored::Duplicate))
    }

    /// Sets what came to nothing before there was a job, in place of what was set before.
    pub fn set_failures(&mut self, failures: &[FailedJob]) -> Result<(), Error> {
        let path = self.path.clone();
        let set = |transaction: Transaction<'_>| {
            transaction.execute("DELETE FROM failures", [])?;
            for failed in failures {
                transaction.execute(
                    "INSERT INTO failures (device, variant, runtime, stage, error) VALUES (?1, ?2, ?3, ?4, ?5)",
                    [&failed.device, &failed.variant, &failed.runtime, &failed.stage, &failed.error],
                )?;
            }
            transaction.commit()
        };
        let transaction = self.database.transaction();
        transaction
            .and_then(set)
            .map_err(|source| classify(&path, source))
    }

    /// What came to nothing before there was a job.
    pub fn failures(&self) -> Result<Vec<FailedJob>, Error> {
        self.rows(
            "SELECT device, variant, runtime, stage, error FROM failures ORDER BY position",
            |row| {
                Ok(FailedJob {
                    study: None,
                    device: row.get(0)?,
                    variant: row.get(1)?,
                    runtime: row.get(2)?,
                    threads: None,
                    batch: None,
                    scenario: None,
                    cpus: None,
                    stage: row.get(3)?,
                    error: row.get(4)?,
                })
            },
        )
    }

    /// Every job in the order in which it was made.
    pub fn jobs(&self) -> Result<Vec<StoredJob>, Error> {
        type Row = (JobRow, Option<Vec<u8>>);
        struct JobRow {
            device: String,
            batch: String,
            seed: [u8; 8],
            job: Vec<u8>,
        }
        let rows: Vec<Row> = self.rows(
            "SELECT device, batch, seed, job, outcome FROM jobs ORDER BY position",
            |row| {
                let job = JobRow {
                    device: row.get(0)?,
                    batch: row.get(1)?,
                    seed: row.get(2)?,
                    job: row.get(3)?,
                };
                Ok((job, row.get(4)?))
            },
        )?;
        let job = |(row, outcome): Row| {
            Ok(StoredJob {
                device: row
                    .device
                    .parse()
                    .map_err(|error| damaged(&self.path, "jobs", &error))?,
                batch: row
                    .batch
                    .parse()
                    .map_err(|error| damaged(&self.path, "jobs", &error))?,
                seed: u64::from_le_bytes(row.seed),
                job: self.decoded("jobs", &row.job)?,
                outcome: outcome.map(|bytes| self.decoded("jobs", &bytes)).transpose()?,
            })
        };
        rows.into_iter().map(job).collect()
    }

    /// The devices of the study.
    pub fn devices(&self) -> Result<Vec<Device>, Error> {
        let rows: Vec<Vec<u8>> =
            self.rows("SELECT description FROM devices ORDER BY rowid", |row| row.get(0))?;
        rows.iter().map(|bytes| self.decoded("devices", bytes)).collect()
    }

    /// The jobs without an outcome, as the batches in which their devices got them.
    pub fn open_batches(&self) -> Result<Vec<(DeviceId, Batch)>, Error> {
        let mut batches: Vec<(DeviceId, Batch)> = Vec::new();
        for stored in self.jobs()?.into_iter().filter(|job| job.outcome.is_none()) {
            match batches.iter_mut().find(|(_, batch)| batch.id == stored.batch) {
                Some((_, batch)) => batch.jobs.push(stored.job),
                None => batches.push((
                    stored.device,
                    Batch {
                        id: stored.batch,
                        controller: self.controller.clone(),
                        seed: stored.seed,
                        jobs: vec![stored.job],
                    },
                )),
            }
        }
        Ok(batches)
    }

    fn rows<T>(
        &self,
        query: &str,
        read: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, Error> {
        let mut statement = self.database.prepare(query).map_err(self.failed())?;
        let rows = statement.query_map([], read).map_err(self.failed())?;
        rows.collect::<rusqlite::Result<_>>().map_err(self.failed())
    }

    /// The error of a row of `table` that cannot be read.
    pub fn damaged(&self, table: &str, error: &impl ToString) -> Error {
        damaged(&self.path, table, error)
    }

    fn decoded<T: DeserializeOwned + Serialize>(&self, table: &str, bytes: &[u8]) -> Result<T, Error> {
        wire::decode(bytes).map_err(|error| damaged(&self.path, table, &error))
    }

    fn failed(&self) -> impl Fn(rusqlite::Error) -> Error + '_ {
        |source| classify(&self.path, source)
    }
}

/// Makes the tables in a new database; refuses one of another generation.
fn migrate(transaction: &Transaction<'_>, path: &Path, controller: &ControllerId) -> Result<(), Error> {
    let wrap = |source| classify(path, source);
    let found: i64 = transaction
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(wrap)?;
    match found {
        SCHEMA => Ok(()),
        0 => {
            let tables: i64 = transaction
                .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
                .map_err(wrap)?;
            if tables > 0 {
                return Err(Error::Foreign {
                    path: path.to_owned(),
                });
            }
            transaction
                .execute_batch(include_str!("schema.sql"))
                .map_err(wrap)?;
            transaction
                .execute(
                    "INSERT INTO study (only_one, controller) VALUES (1, ?1)",
                    [controller.as_str()],
                )
                .map_err(wrap)?;
            transaction
                .pragma_update(None, "user_version", SCHEMA)
                .map_err(wrap)
        }
        found if found > SCHEMA => Err(Error::Newer {
            path: path.to_owned(),
            found,
        }),
        1.. => Err(Error::Older {
            path: path.to_owned(),
            found,
        }),
        _ => Err(Error::Foreign {
            path: path.to_owned(),
        }),
    }
}

/// Refuses a database whose pages do not hang together, before anything is done in it.
fn check_pages(transaction: &Transaction<'_>, path: &Path) -> Result<(), Error> {
    let first: String = transaction
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(|source| classify(path, source))?;
    if first == "ok" {
        return Ok(());
    }
    let what = first.split_whitespace().collect::<Vec<_>>().join(" ");
    Err(Error::Damaged {
        path: path.to_owned(),
        what,
    })
}

fn insert_device(database: &Connection, device: &Device) -> rusqlite::Result<()> {
    database.execute(
        "INSERT INTO devices (id, description) VALUES (?1, ?2)
         ON CONFLICT (id) DO UPDATE SET description = excluded.description",
        params![device.id.as_str(), wire::encode(device)],
    )?;
    Ok(())
}

fn classify(path: &Path, source: rusqlite::Error) -> Error {
    use rusqlite::Error as Sqlite;
    use rusqlite::ErrorCode::{DatabaseBusy, DatabaseCorrupt, DatabaseLocked, NotADatabase};
    let path = path.to_owned();
    let why = source.to_string();
    match (source.sqlite_error_code(), source) {
        (Some(DatabaseBusy | DatabaseLocked), _) => Error::Busy { path },
        (Some(DatabaseCorrupt | NotADatabase), _)
        | (
            None,
            Sqlite::QueryReturnedNoRows
            | Sqlite::InvalidColumnType(..)
            | Sqlite::FromSqlConversionFailure(..)
            | Sqlite::IntegralValueOutOfRange(..)
            | Sqlite::Utf8Error(..),
        ) => Error::Damaged { path, what: why },
        _ => Error::Database { path, why },
    }
}

fn damaged(path: &Path, table: &str, error: &impl ToString) -> Error {
    Error::Damaged {
        path: path.to_owned(),
        what: format!("table `{table}`: {}", error.to_string()),
    }
}

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;
