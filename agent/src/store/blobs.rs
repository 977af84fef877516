//! Blobs by content: whole ones, and the one that is being fetched.
//!
//! A whole blob was verified when it came and is verified again before each use: cards wear out, and a wrong figure is
//! worse than none.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use edgefront_protocol::{BlobRef, Bytes, Digest};
use sha2::Digest as _;

use super::Partial;

/// Bytes read at once to compute a digest.
const READ: usize = 1 << 20;

/// Bytes of the disk that are left for journals and outcomes when a blob is fetched.
const SPARE: u64 = 4 << 20;

/// The two folders of blobs.
#[derive(Debug, Clone)]
pub(crate) struct Blobs {
    whole: PathBuf,
    partial: PathBuf,
}

/// Content of which it is not known whether it has its blob's digest.
#[derive(Debug)]
pub(crate) enum Unverified {
    /// It had when it came.
    Whole(BlobRef, File),
    /// The last of its chunks just came.
    Partial(Partial),
}

impl Unverified {
    /// Whether it has. Reads the whole file.
    pub(crate) fn verify(&self) -> io::Result<bool> {
        match self {
            Self::Whole(blob, file) => has_digest(file, &blob.digest),
            Self::Partial(partial) => partial.verify(),
        }
    }
}

/// A whole blob that no batch needs.
struct Idle {
    path: PathBuf,
    bytes: u64,
    used: SystemTime,
}

impl Blobs {
    pub(super) fn new(root: &Path) -> Self {
        Self {
            whole: root.join("blobs"),
            partial: root.join("partial"),
        }
    }

    /// Where the blob is once it is whole.
    pub(crate) fn path(&self, digest: &Digest) -> PathBuf {
        self.whole.join(digest.to_string())
    }

    /// The blob if it is here, which counts as its latest use.
    pub(crate) fn whole(&self, blob: BlobRef) -> Option<Unverified> {
        let file = File::open(self.path(&blob.digest)).ok()?;
        // Without a new time it is merely the first to go.
        drop(file.set_modified(SystemTime::now()));
        Some(Unverified::Whole(blob, file))
    }

    /// Throws away a blob that is damaged.
    pub(crate) fn discard(&self, digest: &Digest) -> io::Result<()> {
        fs::remove_file(self.path(digest))
    }

    /// Opens what is here of a blob; the half-open ranges are its chunks.
    pub(crate) fn open_partial(&self, blob: BlobRef) -> io::Result<(Partial, Vec<(u32, u32)>)> {
        Partial::open(&self.partial, blob)
    }

    /// Removes what is here of a blob that cannot be stored.
    pub(crate) fn discard_partial(&self, blob: BlobRef) -> io::Result<()> {
        Partial::remove(&self.partial, blob)
    }

    /// What the disk must have free for the rest of the blob to come.
    pub(crate) fn room_for(&self, blob: BlobRef) -> Bytes {
        if self.path(&blob.digest).exists() {
            return Bytes(0);
        }
        let here = fs::metadata(self.partial.join(blob.digest.to_string()));
        // A partial blob has its full length from the start, but blocks only where chunks are.
        Bytes(to_come(blob.bytes.0, here.map_or(0, |partial| partial.blocks())))
    }

    /// Removes partial blobs that no batch needs, and of the whole ones the longest unused until the rest is no
    /// larger than `max` and the disk has `room` free. What is in `needed` stays.
    pub(crate) fn evict(&self, needed: &BTreeSet<Digest>, max: Bytes, room: Bytes) -> io::Result<()> {
        for (path, digest) in files(&self.partial)? {
            if digest.is_none_or(|digest| !needed.contains(&digest)) {
                fs::remove_file(&path)?;
            }
        }
        let mut idle = Vec::new();
        for (path, digest) in files(&self.whole)? {
            if digest.is_some_and(|digest| needed.contains(&digest)) {
                continue;
            }
            let metadata = fs::metadata(&path)?;
            idle.push(Idle {
                path,
                bytes: metadata.len(),
                used: metadata.modified()?,
            });
        }
        idle.sort_by_key(|blob| blob.used);
        let mut total: u64 = idle.iter().map(|blob| blob.bytes).sum();
        let max = most_idle(total, max.0, room.0.saturating_sub(self.free()?));
        for blob in idle {
            if total <= max {
                break;
            }
            fs::remove_file(&blob.path)?;
            total -= blob.bytes;
        }
        Ok(())
    }

    /// Bytes of the disk that this process may still write.
    fn free(&self) -> io::Result<u64> {
        let disk = rustix::fs::statvfs(&self.whole)?;
        Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
    }
}

/// What a blob of which so many blocks are here still takes.
fn to_come(bytes: u64, blocks: u64) -> u64 {
    bytes.saturating_sub(blocks * 512).saturating_add(SPARE)
}

/// How many of `total` bytes of idle blobs may stay where `lacking` more bytes of the disk are wanted. What cannot fit
/// anyhow costs none of them its place.
fn most_idle(total: u64, max: u64, lacking: u64) -> u64 {
    if lacking.saturating_sub(SPARE) > total {
        return max;
    }
    max.min(total.saturating_sub(lacking))
}

/// Whether a file's content has this digest.
pub(super) fn has_digest(mut file: &File, digest: &Digest) -> io::Result<bool> {
    file.seek(SeekFrom::Start(0))?;
    let mut hasher = sha2::Sha256::new();
    let mut buffer = vec![0; READ];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(Digest::from_bytes(hasher.finalize().into()) == *digest),
            n => hasher.update(&buffer[..n]),
        }
    }
}

/// The files of a folder with the digests in their names.
fn files(folder: &Path) -> io::Result<Vec<(PathBuf, Option<Digest>)>> {
    let entries = fs::read_dir(folder)?;
    entries
        .map(|entry| {
            let path = entry?.path();
            let stem = path.file_stem().and_then(|stem| stem.to_str());
            let digest = stem.and_then(|stem| stem.parse().ok());
            Ok((path, digest))
        })
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use edgefront_link::transfer::CHUNK_BYTES;

    use super::*;
    use crate::store::Store;

    fn blobs() -> (tempfile::TempDir, Blobs) {
        let dir = tempfile::tempdir().unwrap();
        let blobs = Store::open(dir.path()).unwrap().blobs();
        (dir, blobs)
    }

    /// Two chunks and a half.
    fn content() -> Vec<u8> {
        (0..CHUNK_BYTES as usize * 5 / 2).map(|i| (i / 3) as u8).collect()
    }

    fn blob() -> BlobRef {
        BlobRef {
            digest: Digest::of(&content()),
            bytes: Bytes(content().len() as u64),
        }
    }

    fn write(partial: &mut Partial, index: u32) {
        let content = content();
        let offset = (index * CHUNK_BYTES) as usize;
        let end = content.len().min(offset + CHUNK_BYTES as usize);
        partial
            .write(index, offset as u64, &content[offset..end])
            .unwrap();
    }

    #[test]
    fn a_fetch_goes_on_where_it_was() {
        let (_dir, blobs) = blobs();
        let (mut partial, held) = blobs.open_partial(blob()).unwrap();
        assert_eq!(held, []);
        write(&mut partial, 2);
        write(&mut partial, 0);
        drop(partial);
        let (mut partial, held) = blobs.open_partial(blob()).unwrap();
        assert_eq!(held, [(2, 3), (0, 1)]);
        assert!(!partial.verify().unwrap());
        write(&mut partial, 1);
        assert!(partial.verify().unwrap());
        assert!(blobs.whole(blob()).is_none());
        partial.complete(&blobs.path(&blob().digest)).unwrap();
        assert!(blobs.whole(blob()).unwrap().verify().unwrap());
        assert_eq!(fs::read(blobs.path(&blob().digest)).unwrap(), content());
    }

    #[test]
    fn a_journal_that_was_cut_short_loses_its_last_entry() {
        let (dir, blobs) = blobs();
        let (mut partial, _) = blobs.open_partial(blob()).unwrap();
        write(&mut partial, 0);
        write(&mut partial, 1);
        drop(partial);
        let journal = dir.path().join(format!("partial/{}.chunks", blob().digest));
        let bytes = fs::read(&journal).unwrap();
        fs::write(&journal, &bytes[..bytes.len() - 2]).unwrap();
        let (mut partial, held) = blobs.open_partial(blob()).unwrap();
        assert_eq!(held, [(0, 1)]);
        write(&mut partial, 2);
        drop(partial);
        assert_eq!(blobs.open_partial(blob()).unwrap().1, [(0, 1), (2, 3)]);
    }

    #[test]
    fn a_journal_of_another_chunk_size_is_not_believed() {
        let (dir, blobs) = blobs();
        let (mut partial, _) = blobs.open_partial(blob()).unwrap();
        write(&mut partial, 0);
        drop(partial);
        let journal = dir.path().join(format!("partial/{}.chunks", blob().digest));
        fs::write(&journal, [1, 0, 0, 0, 0, 0, 0, 0]).unwrap();
        assert_eq!(blobs.open_partial(blob()).unwrap().1, []);
    }

    #[test]
    fn the_longest_unused_blobs_go_first_and_needed_ones_stay() {
        let (dir, blobs) = blobs();
        let digests: Vec<Digest> = (0..4u8).map(|i| Digest::of(&[i])).collect();
        for (age, digest) in digests.iter().enumerate() {
            let file = File::create(blobs.path(digest)).unwrap();
            file.set_len(10).unwrap();
            let used = SystemTime::UNIX_EPOCH + Duration::from_secs(age as u64);
            file.set_modified(used).unwrap();
        }
        drop(blobs.open_partial(blob()).unwrap());
        let needed = BTreeSet::from([digests[0]]);
        blobs.evict(&needed, Bytes(20), Bytes(0)).unwrap();
        let here = |digest: &Digest| blobs.path(digest).exists();
        assert_eq!(
            digests.iter().map(here).collect::<Vec<_>>(),
            [true, false, true, true]
        );
        assert_eq!(fs::read_dir(dir.path().join("partial")).unwrap().count(), 0);
        // No disk has so much room.
        blobs.evict(&needed, Bytes(20), Bytes(u64::MAX)).unwrap();
        assert_eq!(
            digests.iter().map(here).collect::<Vec<_>>(),
            [true, false, true, true]
        );
    }

    #[test]
    fn idle_blobs_make_room_for_what_then_fits() {
        for (lacking, left) in [
            (0, 20),
            (5, 20),
            (15, 15),
            (30, 0),
            // It fits, if without all of what is left for journals.
            (30 + SPARE, 0),
            (31 + SPARE, 20),
        ] {
            assert_eq!(most_idle(30, 20, lacking), left, "{lacking}");
        }
    }

    #[test]
    fn a_blob_needs_room_for_what_is_not_there_yet() {
        let (_dir, blobs) = blobs();
        let length = content().len() as u64;
        assert_eq!(blobs.room_for(blob()), Bytes(length + SPARE));
        let (mut partial, _) = blobs.open_partial(blob()).unwrap();
        write(&mut partial, 0);
        // When a file system counts its blocks is its own affair.
        assert!(blobs.room_for(blob()) <= Bytes(length + SPARE));
        assert_eq!(to_come(10_000, 4), 10_000 - 2_048 + SPARE);
        assert_eq!(to_come(10_000, 24), SPARE);
        fs::write(blobs.path(&blob().digest), content()).unwrap();
        assert_eq!(blobs.room_for(blob()), Bytes(0));
        let impossible = BlobRef {
            digest: Digest::of(b"impossible"),
            bytes: Bytes(u64::MAX),
        };
        assert_eq!(blobs.room_for(impossible), Bytes(u64::MAX));
    }

    #[test]
    fn a_blob_that_was_cut_or_altered_is_not_what_it_was() {
        let (_dir, blobs) = blobs();
        let (cut, mut altered) = (b"short".to_vec(), content());
        altered[9] ^= 1;
        for damaged in [cut, altered] {
            fs::write(blobs.path(&blob().digest), damaged).unwrap();
            assert!(!blobs.whole(blob()).unwrap().verify().unwrap());
        }
        blobs.discard(&blob().digest).unwrap();
        assert!(blobs.whole(blob()).is_none());
    }
}
