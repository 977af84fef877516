//! The files that devices may ask for.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use edgefront_protocol::{BlobRef, Bytes, Digest};

/// Files by digest. They stay on disk; a file is opened when it is first asked for.
#[derive(Debug, Default)]
pub struct Blobs {
    files: BTreeMap<Digest, Entry>,
}

#[derive(Debug)]
struct Entry {
    bytes: Bytes,
    path: PathBuf,
    file: Option<File>,
}

impl Blobs {
    /// From now on the file at `path` may be asked for.
    pub fn offer(&mut self, blob: BlobRef, path: impl Into<PathBuf>) {
        let entry = Entry {
            bytes: blob.bytes,
            path: path.into(),
            file: None,
        };
        self.files.insert(blob.digest, entry);
    }

    /// Every blob.
    pub fn iter(&self) -> impl Iterator<Item = BlobRef> {
        self.files.iter().map(|(&digest, entry)| BlobRef {
            digest,
            bytes: entry.bytes,
        })
    }

    /// Reads `bytes` bytes at `offset` of a blob that was offered.
    pub fn read(&mut self, digest: &Digest, offset: u64, bytes: u32) -> anyhow::Result<Vec<u8>> {
        let entry = self
            .files
            .get_mut(digest)
            .context("a blob was served that was not offered")?;
        let cannot_read = |path: &Path| format!("cannot read {}", path.display());
        let file = match &mut entry.file {
            Some(file) => file,
            none => none.insert(File::open(&entry.path).with_context(|| cannot_read(&entry.path))?),
        };
        let mut data = vec![0; bytes as usize];
        file.read_exact_at(&mut data, offset)
            .with_context(|| cannot_read(&entry.path))?;
        Ok(data)
    }
}
