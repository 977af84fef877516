//! Numbers and names in the kernel's files.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::Fault;

/// Longest text of a file that holds one number.
const NUMBER_BYTES: usize = 32;

/// A file that holds one number and is kept open, for the kernel makes its text anew at each reading from the start.
#[derive(Debug)]
pub(super) struct Number {
    path: PathBuf,
    file: File,
}

impl Number {
    /// Opens a file; `None` where there is none.
    pub(super) fn open(path: PathBuf) -> Result<Option<Self>, Fault> {
        match File::open(&path) {
            Ok(file) => Ok(Some(Self { path, file })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Fault::of(&path, &error)),
        }
    }

    /// The number of this moment.
    pub(super) fn read(&self) -> Result<i64, Fault> {
        let mut bytes = [0; NUMBER_BYTES];
        let length = self
            .file
            .read_at(&mut bytes, 0)
            .map_err(|error| Fault::of(&self.path, &error))?;
        number(&bytes[..length]).ok_or_else(|| Fault::Unreadable {
            path: self.path.clone(),
            reason: format!("it holds `{}` and no number", bytes[..length].escape_ascii()),
        })
    }

    /// The number where it cannot be below zero.
    pub(super) fn read_unsigned(&self) -> Result<u64, Fault> {
        let number = self.read()?;
        u64::try_from(number).map_err(|_| Fault::Unreadable {
            path: self.path.clone(),
            reason: format!("it holds {number}, which is below zero"),
        })
    }
}

fn number(bytes: &[u8]) -> Option<i64> {
    std::str::from_utf8(bytes).ok()?.trim().parse().ok()
}

/// The number in a file that is read once; `None` where there is no such file.
pub(super) fn number_in(path: PathBuf) -> Result<Option<u64>, Fault> {
    Number::open(path)?
        .map(|number| number.read_unsigned())
        .transpose()
}

/// The text of a file without the white space around it; `None` where there is no such file.
pub(super) fn text_in(path: &Path) -> Result<Option<String>, Fault> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(
            String::from_utf8_lossy(&bytes)
                .trim_matches(['\0', ' ', '\n', '\t'])
                .to_owned(),
        )),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Fault::of(path, &error)),
    }
}

/// What lies in a folder, by name; empty where there is no such folder.
pub(super) fn entries(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut found: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    found.sort();
    found
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_read_anew_each_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("power1_input");
        assert!(Number::open(path.clone()).unwrap().is_none());
        fs::write(&path, "5120000\n").unwrap();
        let number = Number::open(path.clone()).unwrap().unwrap();
        assert_eq!(number.read_unsigned(), Ok(5_120_000));
        fs::write(&path, "-7\n").unwrap();
        assert_eq!(number.read(), Ok(-7));
        assert!(
            number
                .read_unsigned()
                .unwrap_err()
                .to_string()
                .contains("below zero")
        );
        fs::write(&path, "N/A\n").unwrap();
        let said = number.read().unwrap_err().to_string();
        assert!(said.ends_with("it holds `N/A\\n` and no number"), "{said}");
    }
}
