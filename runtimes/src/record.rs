//! What an installed library was when it was whole.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

/// Lengths and digests of an installed library and of those that it loads from its own folder. They stand in a file
/// beside it, so that finding the library can tell a damaged one by its length, and installing it by its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// One entry a file.
    pub files: Vec<RecordedFile>,
}

/// What one file was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedFile {
    /// Its name in the folder of the library.
    pub name: String,
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
        let own = library.file_name().and_then(OsStr::to_str)?;
        let files: Option<Vec<_>> = text.lines().map(|line| entry(line, own)).collect();
        files
            .filter(|files| !files.is_empty())
            .map(|files| Self { files })
    }

    /// What the file holds.
    pub fn text(&self) -> String {
        let line = |file: &RecordedFile| format!("{} {} {}\n", file.sha256, file.bytes, file.name);
        self.files.iter().map(line).collect()
    }
}

/// One line. Where a library lay alone its name was left out.
fn entry(line: &str, own: &str) -> Option<RecordedFile> {
    let mut words = line.splitn(3, ' ');
    Some(RecordedFile {
        sha256: words.next()?.to_owned(),
        bytes: words.next()?.parse().ok()?,
        name: words.next().unwrap_or(own).to_owned(),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn several_files_are_recorded_and_one_without_a_name_is_the_library() {
        let dir = tempfile::tempdir().unwrap();
        let library = dir.path().join("lib.so");
        assert_eq!(Record::beside(&library), None);
        let file = |name: &str, bytes| RecordedFile {
            name: name.to_owned(),
            sha256: "ab".repeat(32),
            bytes,
        };
        let record = Record {
            files: vec![file("lib.so", 5), file("libother.so.1", 70)],
        };
        let written = dir.path().join(Record::FILE);
        fs::write(&written, record.text()).unwrap();
        assert_eq!(Record::beside(&library), Some(record));
        fs::write(&written, format!("{} 5\n", "ab".repeat(32))).unwrap();
        let alone = vec![file("lib.so", 5)];
        assert_eq!(Record::beside(&library), Some(Record { files: alone }));
        for nonsense in ["", "ab\n", "ab five lib.so\n"] {
            fs::write(&written, nonsense).unwrap();
            assert_eq!(Record::beside(&library), None, "{nonsense:?}");
        }
    }
}
