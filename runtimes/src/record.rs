//! What an installed library was when it was whole.

use std::fs;
use std::path::Path;

/// Length and digest of an installed library. They stand in a file beside it, so that finding the library can tell
/// a damaged one by its length, and installing it by its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// SHA-256 in hexadecimal digits.
    pub sha256: String,
    /// Length of the file.
    pub bytes: u64,
}

impl Record {
    /// Name of the file, in the folder of the library.
    pub const FILE: &str = "installed.txt";

    /// The record beside `library`; `None` where there is none that can be read.
    pub fn beside(library: &Path) -> Option<Self> {
        let text = fs::read_to_string(library.with_file_name(Self::FILE)).ok()?;
        let (sha256, bytes) = text.trim().split_once(' ')?;
        Some(Self {
            sha256: sha256.to_owned(),
            bytes: bytes.parse().ok()?,
        })
    }

    /// What the file holds.
    pub fn text(&self) -> String {
        format!("{} {}\n", self.sha256, self.bytes)
    }
}
