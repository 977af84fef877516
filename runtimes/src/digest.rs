//! SHA-256 in hexadecimal digits, by which what was made on this device is told to be made of the same.

use std::fmt::Write as _;
#[cfg(any(feature = "ort", feature = "tensorrt"))]
use std::{
    fs::File,
    io::{self, BufRead as _, BufReader},
    path::Path,
};

use sha2::{Digest as _, Sha256};

/// That of these bytes.
pub(crate) fn of(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// That of a text.
#[cfg(any(feature = "ort", feature = "tensorrt"))]
pub(crate) fn of_text(text: &str) -> String {
    of(text.as_bytes())
}

/// That of a file's bytes.
#[cfg(any(feature = "ort", feature = "tensorrt"))]
pub(crate) fn of_file(path: &Path) -> io::Result<String> {
    let mut file = BufReader::with_capacity(1 << 16, File::open(path)?);
    let mut hasher = Sha256::new();
    loop {
        let bytes = file.fill_buf()?;
        let length = bytes.len();
        if length == 0 {
            return Ok(hex(&hasher.finalize()));
        }
        hasher.update(bytes);
        file.consume(length);
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut digits, byte| {
        write!(digits, "{byte:02x}").expect("invariant: writing to memory does not fail");
        digits
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_the_digest_of_its_text() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "abc").unwrap();
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(of(b"abc"), expected);
        #[cfg(any(feature = "ort", feature = "tensorrt"))]
        assert_eq!(
            (of_text("abc"), of_file(file.path()).unwrap()),
            (expected.to_owned(), expected.to_owned())
        );
    }
}
