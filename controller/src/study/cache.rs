//! Variants that earlier studies made, in the user's cache folder, so that the same one is made once.
//!
//! An entry is one file, named by the digest of all that decides its content. Its first line is the SHA-256 of
//! what follows: a line that says how the variant was made, then the variant itself. What does not have that
//! digest counts as not there, and is made again.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use edgefront_protocol::Digest;

/// Names the folder of the cache, in place of the one in the user's cache folder.
const VARIABLE: &str = "EDGEFRONT_CACHE_DIR";

/// Bytes of all entries. The entries that were not used for longest go first.
const LIMIT: u64 = 2 << 30;

/// A folder of entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    folder: PathBuf,
    limit: u64,
}

/// A variant and how it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// One line.
    pub(super) making: String,
    pub(super) bytes: Vec<u8>,
}

impl Cache {
    /// In this folder, which is made when it is needed.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            limit: LIMIT,
        }
    }

    /// The user's own; `None` where the user has no home.
    pub fn of_user() -> Option<Self> {
        let named = std::env::var_os(VARIABLE).filter(|folder| !folder.is_empty());
        let folder = named.map(PathBuf::from).or_else(dirs_folder)?;
        Some(Self::new(folder.join("variants")))
    }

    /// The entry of this key, if it is there and whole. It counts as used now.
    pub(super) fn get(&self, key: &Digest) -> Option<Entry> {
        let path = self.path(key);
        let content = fs::read(&path).ok()?;
        let entry = Entry::decode(&content)?;
        // What is not marked as used goes sooner, no more.
        let marked = File::open(&path).and_then(|file| file.set_modified(SystemTime::now()));
        if let Err(error) = marked {
            tracing::debug!("cannot mark {} as used: {error}", path.display());
        }
        Some(entry)
    }

    /// Keeps an entry, and removes others until all are within the limit.
    pub(super) fn put(&self, key: &Digest, entry: &Entry) -> io::Result<()> {
        let content = entry.encode();
        if content.len() as u64 > self.limit {
            return Ok(());
        }
        fs::create_dir_all(&self.folder)?;
        edgefront_files::replace(&self.path(key), &content)?;
        self.shrink()
    }

    fn path(&self, key: &Digest) -> PathBuf {
        self.folder.join(key.to_string())
    }

    /// Removes the files that were not used for longest, those that a crash left among them.
    fn shrink(&self) -> io::Result<()> {
        let mut files: Vec<(SystemTime, PathBuf, u64)> = Vec::new();
        for file in fs::read_dir(&self.folder)? {
            let file = file?;
            // Another process may have removed it.
            if let Ok(metadata) = file.metadata() {
                files.push((metadata.modified()?, file.path(), metadata.len()));
            }
        }
        files.sort();
        let mut bytes: u64 = files.iter().map(|(_, _, bytes)| bytes).sum();
        for (_, path, size) in files {
            if bytes <= self.limit {
                break;
            }
            remove(&path)?;
            bytes -= size;
        }
        Ok(())
    }
}

impl Entry {
    fn encode(&self) -> Vec<u8> {
        debug_assert!(!self.making.contains('\n'), "it is one line");
        let rest = [self.making.as_bytes(), b"\n", &self.bytes].concat();
        [Digest::of(&rest).to_string().as_bytes(), b"\n", &rest].concat()
    }

    fn decode(content: &[u8]) -> Option<Self> {
        let (digest, rest) = split_line(content)?;
        if Digest::of(rest).to_string().as_bytes() != digest {
            return None;
        }
        let (making, bytes) = split_line(rest)?;
        Some(Self {
            making: String::from_utf8(making.to_vec()).ok()?,
            bytes: bytes.to_vec(),
        })
    }
}

fn split_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|&byte| byte == b'\n')?;
    Some((&bytes[..end], &bytes[end + 1..]))
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn dirs_folder() -> Option<PathBuf> {
    Some(dirs::cache_dir()?.join("edgefront"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn entry(bytes: usize) -> Entry {
        Entry {
            making: "{\"passes\":[]}".to_owned(),
            bytes: (0..bytes).map(|i| (i % 251) as u8).collect(),
        }
    }

    fn key(name: &str) -> Digest {
        Digest::of(name.as_bytes())
    }

    #[test]
    fn an_entry_comes_back_as_it_was_put() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::new(dir.path().join("not").join("there"));
        assert_eq!(cache.get(&key("a")), None);
        for entry in [entry(1000), entry(0)] {
            cache.put(&key("a"), &entry).unwrap();
            assert_eq!(cache.get(&key("a")), Some(entry));
        }
        assert_eq!(cache.get(&key("b")), None);
    }

    #[test]
    fn a_damaged_entry_counts_as_not_there() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::new(dir.path());
        cache.put(&key("a"), &entry(300)).unwrap();
        let whole = fs::read(cache.path(&key("a"))).unwrap();
        for cut in [0, 10, 64, 65, 80, whole.len() - 1] {
            fs::write(cache.path(&key("a")), &whole[..cut]).unwrap();
            assert_eq!(cache.get(&key("a")), None, "{cut} bytes");
        }
        for place in [0, 66, whole.len() - 1] {
            let mut changed = whole.clone();
            changed[place] ^= 1;
            fs::write(cache.path(&key("a")), &changed).unwrap();
            assert_eq!(cache.get(&key("a")), None, "byte {place}");
        }
    }

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache {
            limit: 3500,
            ..Cache::new(dir.path())
        };
        for (age, name) in [(3, "old"), (2, "used"), (1, "young")] {
            cache.put(&key(name), &entry(1000)).unwrap();
            let file = File::open(cache.path(&key(name))).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(age * 3600))
                .unwrap();
        }
        assert!(cache.get(&key("old")).is_some());
        cache.put(&key("new"), &entry(1000)).unwrap();
        let there = ["old", "used", "young", "new"].map(|name| cache.get(&key(name)).is_some());
        assert_eq!(there, [true, false, true, true]);
    }

    #[test]
    fn what_is_larger_than_the_cache_is_not_kept() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache {
            limit: 500,
            ..Cache::new(dir.path())
        };
        cache.put(&key("small"), &entry(100)).unwrap();
        cache.put(&key("large"), &entry(1000)).unwrap();
        assert!(cache.get(&key("small")).is_some());
        assert_eq!(cache.get(&key("large")), None);
    }
}
