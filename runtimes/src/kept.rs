//! What was made of models on this device and is loaded in their place: engines, graphs that are rewritten already. Each
//! has a folder of its own whose name is the digest of all that it was made for and with, and stands there beside the
//! text of that key, with its own length and digest.
//!
//! A folder comes into its place whole, by renaming. Nothing is ever deleted but to make way for the same anew.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::digest;

/// What the file was made for, in its folder.
const KEY: &str = "key.txt";
/// What stands in the name of a folder that is being filled, before the number of the process that does so.
const PARTIAL: &str = ".partial-";

/// All that a file depends on, and its name within its folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    file: &'static str,
    /// A line each.
    lines: String,
}

impl Key {
    pub(crate) fn new(file: &'static str, lines: &[(&str, String)]) -> Self {
        let line = |(what, value): &(&str, String)| format!("{what}: {}\n", value.replace('\n', " "));
        Self {
            file,
            lines: lines.iter().map(line).collect(),
        }
    }

    fn name(&self) -> String {
        digest::of_text(&self.lines)[..32].to_owned()
    }

    /// What stands beside a file of this digest and length.
    fn text(&self, folder: &Path) -> io::Result<String> {
        let file = folder.join(self.file);
        let bytes = fs::metadata(&file)?.len();
        Ok(format!(
            "{}{}: {} {bytes}\n",
            self.lines,
            self.file,
            digest::of_file(&file)?
        ))
    }
}

/// A file that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) file: PathBuf,
    /// How long it was built just now.
    pub(crate) built: Option<Duration>,
    /// Whether one had to make way for it that was damaged.
    pub(crate) replaced: bool,
}

/// Where a runtime keeps them. The error is one line.
pub(crate) fn folder(runtime: &str) -> Result<PathBuf, String> {
    let cache = dirs::cache_dir()
        .ok_or("there is no cache folder to keep what is made of models; set HOME or XDG_CACHE_HOME")?;
    Ok(cache.join("edgefront").join("engines").join(runtime))
}

/// The file of this key below `folder`; where there is none that is whole, `build` is given the path at which to put
/// it. The error is one line.
pub(crate) fn kept(
    folder: &Path,
    key: &Key,
    build: impl FnOnce(&Path) -> Result<(), String>,
) -> Result<Kept, String> {
    let home = folder.join(key.name());
    let unwritable = |error: io::Error| format!("cannot keep {} in {}: {error}", key.file, home.display());
    let replaced = match is_whole(&home, key) {
        Some(true) => {
            return Ok(Kept {
                file: home.join(key.file),
                built: None,
                replaced: false,
            });
        }
        Some(false) => true,
        None => false,
    };
    let partial = folder.join(format!("{}{PARTIAL}{}", key.name(), std::process::id()));
    remove_left_behind(folder, &key.name());
    // What is loaded in a model's place is written by nobody else.
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&partial);
    made.map_err(unwritable)?;
    let start = Instant::now();
    let file = partial.join(key.file);
    let done = build(&file).and_then(|()| {
        let text = key
            .text(&partial)
            .map_err(|error| format!("it was built without {}: {error}", key.file))?;
        fs::write(partial.join(KEY), text)
            .and_then(|()| File::open(&file)?.sync_all())
            .and_then(|()| move_into_place(&partial, &home, key))
            .map_err(unwritable)
    });
    // Gone, but where it failed or another process came first.
    drop(fs::remove_dir_all(&partial));
    done?;
    Ok(Kept {
        file: home.join(key.file),
        built: Some(start.elapsed()),
        replaced,
    })
}

/// Whether the folder holds the file of this key to the last bit; `None` where it is not there.
fn is_whole(home: &Path, key: &Key) -> Option<bool> {
    if !home.is_dir() {
        return None;
    }
    let stands = fs::read_to_string(home.join(KEY));
    let expected = key.text(home);
    Some(matches!((stands, expected), (Ok(stands), Ok(expected)) if stands == expected))
}

/// Another process may have put the same there meanwhile, which serves as well; a damaged one makes way.
fn move_into_place(partial: &Path, home: &Path, key: &Key) -> io::Result<()> {
    if is_whole(home, key) == Some(false) {
        // Aside first, so that nobody finds it half gone.
        let mut aside = partial.as_os_str().to_owned();
        aside.push("-damaged");
        fs::rename(home, &aside).or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => Ok(()),
            _ => Err(error),
        })?;
        drop(fs::remove_dir_all(aside));
    }
    match fs::rename(partial, home) {
        Err(_) if is_whole(home, key) == Some(true) => Ok(()),
        moved => moved,
    }
}

/// Removes what builds of this file left that were cut off. Those of processes that live go on.
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
        Key::new(
            "model.engine",
            &[("model", "ab".to_owned()), ("gpu", gpu.to_owned())],
        )
    }

    fn built(folder: &Path, key: &Key, content: &str) -> Kept {
        kept(folder, key, |file| {
            fs::write(file, content).map_err(|error| error.to_string())
        })
        .unwrap()
    }

    fn cached(folder: &Path, key: &Key) -> Kept {
        kept(folder, key, |_| panic!("it is there")).unwrap()
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
        let failed = kept(dir.path(), &key, |file| {
            fs::write(file, "half").unwrap();
            Err("it ended".to_owned())
        });
        assert_eq!(failed.unwrap_err(), "it ended");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        // No process has this number.
        let killed = dir.path().join(format!("{}{PARTIAL}4294967295", key.name()));
        fs::create_dir(&killed).unwrap();
        fs::write(killed.join(key.file), "half").unwrap();
        assert!(built(dir.path(), &key, "whole").built.is_some());
        assert!(!killed.exists());
        assert!(
            kept(dir.path(), &super::tests::key("7.2"), |_| Ok(())).is_err(),
            "without an engine"
        );
    }
}
