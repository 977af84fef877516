//! A blob that is being fetched: its chunks at their places in a file, and a journal of which are there.
//!
//! Neither file is flushed to the disk chunk by chunk. After a loss of power the journal may name chunks whose
//! data never arrived there; the digest of the whole finds that out.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use edgefront_link::transfer::CHUNK_BYTES;
use edgefront_protocol::BlobRef;

use super::blobs::has_digest;

/// The two files of one blob.
#[derive(Debug)]
pub(crate) struct Partial {
    blob: BlobRef,
    data: File,
    /// The chunk size, then the index of each chunk that is there, 4 bytes each.
    journal: File,
    path: PathBuf,
}

impl Partial {
    /// Opens or makes the files; the half-open ranges of chunks are those that are there already.
    pub(crate) fn open(folder: &Path, blob: BlobRef) -> io::Result<(Self, Vec<(u32, u32)>)> {
        let path = folder.join(blob.digest.to_string());
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let data = options.open(&path)?;
        let journal = options.open(journal_of(&path))?;
        let mut partial = Self {
            blob,
            data,
            journal,
            path,
        };
        let held = partial.read_journal()?;
        if held.is_none() || partial.data.metadata()?.len() != blob.bytes.0 {
            partial.clear()?;
            return Ok((partial, Vec::new()));
        }
        Ok((partial, held.unwrap_or_default()))
    }

    /// The blob.
    pub(crate) fn blob(&self) -> BlobRef {
        self.blob
    }

    /// Writes a chunk.
    pub(crate) fn write(&mut self, index: u32, offset: u64, data: &[u8]) -> io::Result<()> {
        self.data.write_all_at(data, offset)?;
        self.journal.write_all(&index.to_le_bytes())
    }

    /// Forgets all chunks.
    pub(crate) fn clear(&mut self) -> io::Result<()> {
        self.journal.set_len(0)?;
        self.journal.rewind()?;
        self.journal.write_all(&CHUNK_BYTES.to_le_bytes())?;
        self.data.set_len(self.blob.bytes.0)
    }

    /// Whether the content has the blob's digest. Reads the whole file.
    pub(crate) fn verify(&self) -> io::Result<bool> {
        has_digest(&self.data, &self.blob.digest)
    }

    /// Moves the verified content to `place`. What fails leaves it where it is.
    pub(crate) fn complete(&self, place: &Path) -> io::Result<()> {
        self.data.sync_all()?;
        edgefront_files::rename(&self.path, place)?;
        fs::remove_file(journal_of(&self.path))
    }

    /// Removes the files of a blob that cannot be stored, which gives their room back.
    pub(crate) fn remove(folder: &Path, blob: BlobRef) -> io::Result<()> {
        let data = folder.join(blob.digest.to_string());
        for path in [journal_of(&data), data] {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// `None` where the journal is not of this chunk size. A last entry that was cut short is not counted.
    fn read_journal(&mut self) -> io::Result<Option<Vec<(u32, u32)>>> {
        let mut bytes = Vec::new();
        self.journal.read_to_end(&mut bytes)?;
        let (entries, _) = bytes.as_chunks::<4>();
        let mut entries = entries.iter().map(|entry| u32::from_le_bytes(*entry));
        if entries.next() != Some(CHUNK_BYTES) {
            return Ok(None);
        }
        let whole = bytes.len() as u64 / 4 * 4;
        self.journal.set_len(whole)?;
        self.journal.seek(SeekFrom::Start(whole))?;
        Ok(Some(
            entries.map(|index| (index, index.saturating_add(1))).collect(),
        ))
    }
}

fn journal_of(path: &Path) -> PathBuf {
    path.with_extension("chunks")
}
