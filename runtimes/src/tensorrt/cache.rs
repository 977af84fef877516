//! Engines that were built on this device, each in a folder of its own whose name is the digest of all that it was
//! built for and with. An engine stands beside the text of that key, with its own length and digest.
//!
//! A folder comes into its place whole, by renaming. Engines are never deleted but to make way for the same one anew.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::digest;

/// Names of the engine and of what it was built for, in its folder.
const ENGINE: &str = "model.engine";
const KEY: &str = "key.txt";
/// What stands in the name of a folder that is being filled, before the number of the process that does so.
const PARTIAL: &str = ".partial-";

/// All that an engine depends on, a line each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key(String);

impl Key {
    pub(super) fn new(lines: &[(&str, String)]) -> Self {
        let line = |(what, value): &(&str, String)| format!("{what}: {}\n", value.replace('\n', " "));
        Self(lines.iter().map(line).collect())
    }

    fn name(&self) -> String {
        digest::of_text(&self.0)[..32].to_owned()
    }

    /// What stands beside an engine of this digest and length.
    fn text(&self, engine: &Path) -> io::Result<String> {
        let bytes = fs::metadata(engine)?.len();
        Ok(format!(
            "{}engine: {} {bytes}\n",
            self.0,
            digest::of_file(engine)?
        ))
    }
}

/// An engine that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Engine {
    pub(super) file: PathBuf,
    /// How long it was built just now.
    pub(super) built: Option<Duration>,
    /// Whether one had to make way for it that was damaged.
    pub(super) replaced: bool,
}

/// The engine of this key below `folder`; where there is none that is whole, `build` is given the path at which to put
/// it. The error is one line.
pub(super) fn engine(
    folder: &Path,
    key: &Key,
    build: impl FnOnce(&Path) -> Result<(), String>,
) -> Result<Engine, String> {
    let home = folder.join(key.name());
    let unwritable = |error: io::Error| format!("cannot keep its engine in {}: {error}", home.display());
    let replaced = match is_whole(&home, key) {
        Some(true) => {
            return Ok(Engine {
                file: home.join(ENGINE),
                built: None,
                replaced: false,
            });
        }
        Some(false) => true,
        None => false,
    };
    let partial = folder.join(format!("{}{PARTIAL}{}", key.name(), std::process::id()));
    remove_left_behind(folder, &key.name());
    fs::create_dir_all(&partial).map_err(unwritable)?;
    let start = Instant::now();
    let file = partial.join(ENGINE);
    let done = build(&file).and_then(|()| {
        let text = key
            .text(&file)
            .map_err(|error| format!("it was built without an engine: {error}"))?;
        fs::write(partial.join(KEY), text)
            .and_then(|()| File::open(&file)?.sync_all())
            .and_then(|()| move_into_place(&partial, &home))
            .map_err(unwritable)
    });
    if let Err(error) = done {
        drop(fs::remove_dir_all(&partial));
        return Err(error);
    }
    Ok(Engine {
        file: home.join(ENGINE),
        built: Some(start.elapsed()),
        replaced,
    })
}

/// Whether the folder holds the engine of this key to the last bit; `None` where it is not there.
fn is_whole(home: &Path, key: &Key) -> Option<bool> {
    if !home.is_dir() {
        return None;
    }
    let stands = fs::read_to_string(home.join(KEY));
    let expected = key.text(&home.join(ENGINE));
    Some(matches!((stands, expected), (Ok(stands), Ok(expected)) if stands == expected))
}

/// Another process may have put the same engine there meanwhile, or a damaged one may lie there.
fn move_into_place(partial: &Path, home: &Path) -> io::Result<()> {
    if home.is_dir() {
        fs::remove_dir_all(home)?;
    }
    fs::rename(partial, home)
}

/// Removes what builds of this engine left that were cut off. Those of processes that live go on.
fn remove_left_behind(folder: &Path, name: &str) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in entries {
        let file_name = entry.file_name();
        let process = file_name
            .to_str()
            .and_then(|entry| entry.strip_prefix(name)?.strip_prefix(PARTIAL));
        if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            // What cannot be removed takes room and is never loaded.
            drop(fs::remove_dir_all(entry.path()));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn key(gpu: &str) -> Key {
        Key::new(&[("model", "ab".to_owned()), ("gpu", gpu.to_owned())])
    }

    fn built(folder: &Path, key: &Key, content: &str) -> Engine {
        engine(folder, key, |file| {
            fs::write(file, content).map_err(|error| error.to_string())
        })
        .unwrap()
    }

    fn cached(folder: &Path, key: &Key) -> Engine {
        engine(folder, key, |_| panic!("it is there")).unwrap()
    }

    #[test]
    fn an_engine_is_built_once_for_each_key() {
        let dir = tempfile::tempdir().unwrap();
        let (orin, xavier) = (key("8.7"), key("7.2"));
        let first = built(dir.path(), &orin, "orin");
        assert!(first.built.is_some() && !first.replaced);
        assert_eq!(cached(dir.path(), &orin).file, first.file);
        let other = built(dir.path(), &xavier, "xavier");
        assert_ne!(other.file, first.file);
        assert_eq!(fs::read_to_string(&first.file).unwrap(), "orin");
    }

    #[test]
    fn a_damaged_engine_and_one_of_another_key_are_built_anew() {
        let dir = tempfile::tempdir().unwrap();
        let (orin, xavier) = (key("8.7"), key("7.2"));
        let file = built(dir.path(), &orin, "whole").file;
        fs::write(&file, "whale").unwrap();
        let again = built(dir.path(), &orin, "whole");
        assert!(again.replaced && again.built.is_some());
        // One that was put into the place of another.
        let other = built(dir.path(), &xavier, "xavier").file;
        fs::remove_dir_all(file.parent().unwrap()).unwrap();
        fs::rename(other.parent().unwrap(), file.parent().unwrap()).unwrap();
        assert!(built(dir.path(), &orin, "whole").replaced);
        assert_eq!(cached(dir.path(), &orin).built, None);
    }

    #[test]
    fn a_build_that_was_cut_off_leaves_nothing_that_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let key = key("8.7");
        let failed = engine(dir.path(), &key, |file| {
            fs::write(file, "half").unwrap();
            Err("it ended".to_owned())
        });
        assert_eq!(failed.unwrap_err(), "it ended");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        // No process has this number.
        let killed = dir.path().join(format!("{}{PARTIAL}4294967295", key.name()));
        fs::create_dir(&killed).unwrap();
        fs::write(killed.join(ENGINE), "half").unwrap();
        assert!(built(dir.path(), &key, "whole").built.is_some());
        assert!(!killed.exists());
        assert!(
            engine(dir.path(), &super::tests::key("7.2"), |_| Ok(())).is_err(),
            "without an engine"
        );
    }
}
