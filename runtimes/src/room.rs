//! The room that kept things may take: folders that lie side by side, of which the least recently used goes first.
//!
//! A folder that is in use is locked, shared, by each process that uses it, and the lock ends with the process. When it was
//! used last is the time of the folder's last change.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// What stands in the name of a folder that is being filled or removed, before the number of the process that does so.
pub(crate) const PARTIAL: &str = ".partial-";

/// A folder that is not removed as long as this lives.
#[derive(Debug)]
pub(crate) struct Held {
    _lock: File,
}

/// Holds a folder, which counts as used now.
pub(crate) fn hold(folder: &Path) -> io::Result<Held> {
    let file = File::open(folder)?;
    // On a disk without locks nothing is removed either, and a folder of another user counts as used when that used it.
    drop(file.lock_shared());
    drop(file.set_modified(SystemTime::now()));
    // Who removed it meanwhile had it locked for as long as that took, and another may be in its place.
    let (held, there) = (file.metadata()?, fs::metadata(folder)?);
    if (held.dev(), held.ino()) != (there.dev(), there.ino()) {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok(Held { _lock: file })
}

/// A folder that may go.
struct Entry {
    path: PathBuf,
    used: SystemTime,
    bytes: u64,
}

/// Removes of what lies in `folder` the folders that were not used for longest, until the rest has at most this many
/// bytes. Those in use stay, and the one that was used last, however large it is. What cannot be removed takes room and
/// does no other harm, so that it is no error.
pub fn make_room(folder: &Path, most: u64) {
    remove_left_behind(folder);
    let mut entries = entries(folder);
    entries.sort_by_key(|entry| entry.used);
    let mut bytes: u64 = entries.iter().map(|entry| entry.bytes).sum();
    entries.pop();
    for entry in entries {
        if bytes <= most {
            return;
        }
        if remove_unused(&entry.path).is_ok() {
            bytes -= entry.bytes;
        }
    }
}

fn entries(folder: &Path) -> Vec<Entry> {
    let entry = |found: fs::DirEntry| {
        let metadata = found.metadata().ok().filter(fs::Metadata::is_dir)?;
        let is_partial = found
            .file_name()
            .to_str()
            .is_none_or(|name| name.contains(PARTIAL));
        (!is_partial).then_some(())?;
        Some(Entry {
            used: metadata.modified().ok()?,
            bytes: size(&found.path()),
            path: found.path(),
        })
    };
    let found = fs::read_dir(folder).into_iter().flatten().flatten();
    found.filter_map(entry).collect()
}

/// Bytes of all files below a folder.
fn size(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => size(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    });
    sizes.sum()
}

/// An error where a process uses it.
fn remove_unused(folder: &Path) -> io::Result<()> {
    let lock = File::open(folder)?;
    lock.try_lock()?;
    // Aside first, so that nobody finds it half gone.
    let mut aside = folder.as_os_str().to_owned();
    aside.push(format!("{PARTIAL}{}", std::process::id()));
    fs::rename(folder, &aside)?;
    fs::remove_dir_all(aside)
}

/// Removes what processes left that were cut off as they filled or removed it. Those that live go on.
pub(crate) fn remove_left_behind(folder: &Path) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in entries {
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| Some(name.rsplit_once(PARTIAL)?.1));
        if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            drop(fs::remove_dir_all(entry.path()));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A folder with folders of 10 bytes, the first one used longest ago.
    fn filled(names: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (age, name) in names.iter().rev().enumerate() {
            let folder = dir.path().join(name);
            fs::create_dir_all(folder.join("inner")).unwrap();
            fs::write(folder.join("inner/file"), "ten bytes.").unwrap();
            let used = SystemTime::now() - Duration::from_mins(60 * (age as u64 + 1));
            File::open(&folder).unwrap().set_modified(used).unwrap();
        }
        dir
    }

    fn names(dir: &tempfile::TempDir) -> Vec<String> {
        let entries = fs::read_dir(dir.path()).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn the_least_recently_used_goes_until_the_rest_fits() {
        let dir = filled(&["c", "a", "d", "b"]);
        make_room(dir.path(), 40);
        assert_eq!(names(&dir), ["a", "b", "c", "d"]);
        make_room(dir.path(), 39);
        assert_eq!(names(&dir), ["a", "b", "d"]);
        drop(hold(&dir.path().join("a")).unwrap());
        make_room(dir.path(), 20);
        assert_eq!(names(&dir), ["a", "b"], "what was held was used");
        make_room(dir.path(), 0);
        assert_eq!(names(&dir), ["a"], "the one that was used last stays");
    }

    #[test]
    fn what_is_in_use_stays() {
        let dir = filled(&["used", "unused", "last"]);
        let file = File::open(dir.path().join("used")).unwrap();
        file.lock_shared().unwrap();
        make_room(dir.path(), 0);
        assert_eq!(names(&dir), ["last", "used"]);
        drop(file);
        make_room(dir.path(), 0);
        assert_eq!(names(&dir), ["last"]);
    }

    #[test]
    fn what_is_being_made_stays_and_what_was_cut_off_goes() {
        let own = format!("new{PARTIAL}{}", std::process::id());
        // No process has this number.
        let cut_off = format!("old{PARTIAL}4294967295");
        let dir = filled(&[&own, &cut_off, "a"]);
        make_room(dir.path(), 0);
        assert_eq!(names(&dir), ["a", own.as_str()]);
    }
}
