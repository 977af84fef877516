//! What of a shared library can be checked before the system maps it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// Whether the file is a 64-bit little-endian ELF image that ends before its sections or segments do. To map one is
/// to be killed by SIGBUS, without a word. Of other files the loader itself says what is wrong.
///
/// Offsets are those of `Elf64_Ehdr` and `Elf64_Phdr` in the System V ABI.
pub(crate) fn is_cut_short(library: &Path) -> io::Result<bool> {
    const IDENTITY: &[u8] = b"\x7fELF\x02\x01";
    let file = File::open(library)?;
    let length = file.metadata()?.len();
    let mut head = [0; 64];
    if length < head.len() as u64 {
        return Ok(false);
    }
    file.read_exact_at(&mut head, 0)?;
    if !head.starts_with(IDENTITY) {
        return Ok(false);
    }
    let sections = number(&head[40..48]).saturating_add(number(&head[58..60]) * number(&head[60..62]));
    let segments = number(&head[32..40]);
    let (size, count) = (number(&head[54..56]), number(&head[56..58]));
    if length < sections || length < segments.saturating_add(size * count) {
        return Ok(true);
    }
    let mut table = vec![0; (size * count) as usize];
    file.read_exact_at(&mut table, segments)?;
    let end = |segment: &[u8]| Some(number(segment.get(8..16)?).saturating_add(number(segment.get(32..40)?)));
    let ends = table.chunks_exact(size.max(1) as usize).filter_map(end);
    Ok(ends.max().is_some_and(|end| length < end))
}

/// The code of a 64-bit little-endian ELF image, segment after segment: what the system maps so that it can be executed.
///
/// Offsets are those of `Elf64_Ehdr` and `Elf64_Phdr`; `PT_LOAD` is 1, `PF_X` is 1.
#[cfg(feature = "tvm")]
pub(crate) fn code(image: &Path) -> io::Result<Vec<u8>> {
    let image = std::fs::read(image)?;
    let ends = || io::Error::new(io::ErrorKind::UnexpectedEof, "it ends before its code does");
    let part = |from: u64, length: u64| {
        let end = from.checked_add(length).ok_or_else(ends)?;
        let range = usize::try_from(from).ok().zip(usize::try_from(end).ok());
        range
            .and_then(|(from, end)| image.get(from..end))
            .ok_or_else(ends)
    };
    let head = part(0, 64)?;
    let (size, count) = (number(&head[54..56]), number(&head[56..58]));
    let table = part(number(&head[32..40]), size * count)?;
    let mut code = Vec::new();
    for segment in table.chunks_exact((size as usize).max(56)) {
        if number(&segment[..4]) == 1 && number(&segment[4..8]) & 1 == 1 {
            code.extend_from_slice(part(number(&segment[8..16]), number(&segment[32..40]))?);
        }
    }
    Ok(code)
}

/// The processor that an ELF image is for, as Rust calls it; `None` where the file is none.
///
/// Offsets are those of `Elf32_Ehdr` and `Elf64_Ehdr`, which begin alike.
#[cfg(feature = "tvm")]
pub(crate) fn architecture(image: &Path) -> io::Result<Option<String>> {
    let mut head = [0; 20];
    let file = File::open(image)?;
    if file.metadata()?.len() < head.len() as u64 {
        return Ok(None);
    }
    file.read_exact_at(&mut head, 0)?;
    if !head.starts_with(b"\x7fELF") {
        return Ok(None);
    }
    Ok(Some(match number(&head[18..20]) {
        3 => "x86".to_owned(),
        40 => "arm".to_owned(),
        62 => "x86_64".to_owned(),
        183 => "aarch64".to_owned(),
        other => format!("machine {other}"),
    }))
}

fn number(little_endian: &[u8]) -> u64 {
    little_endian
        .iter()
        .rfold(0, |number, &byte| number << 8 | u64::from(byte))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_library_is_whole_to_its_last_byte() {
        let dir = tempfile::tempdir().unwrap();
        // This test is an ELF image, too; its sections end the file.
        let whole = fs::read(std::env::current_exe().unwrap()).unwrap();
        let path = dir.path().join("lib.so");
        for (kept, cut_short) in [
            (whole.len(), false),
            (whole.len() - 1, true),
            (whole.len() / 2, true),
            (100, true),
            (10, false),
        ] {
            fs::write(&path, &whole[..kept]).unwrap();
            assert_eq!(is_cut_short(&path).unwrap(), cut_short, "{kept} bytes");
        }
    }

    #[test]
    fn segments_are_looked_at_where_there_are_no_sections() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lib.so");
        let mut whole = fs::read(std::env::current_exe().unwrap()).unwrap();
        whole[40..48].fill(0);
        whole[60..62].fill(0);
        fs::write(&path, &whole).unwrap();
        assert!(!is_cut_short(&path).unwrap());
        fs::write(&path, &whole[..whole.len() / 100]).unwrap();
        assert!(is_cut_short(&path).unwrap());
    }

    #[cfg(feature = "tvm")]
    #[test]
    fn the_code_of_an_image_is_what_is_executed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lib.so");
        // An image of two segments: data, and code of 4 bytes behind the table.
        let segment = |flags: u8, from: u8, length: u8| {
            let mut segment = [0; 56];
            (segment[0], segment[4], segment[8], segment[32]) = (1, flags, from, length);
            segment
        };
        let mut head = [0; 64];
        head[..6].copy_from_slice(b"\x7fELF\x02\x01");
        (head[32], head[54], head[56]) = (64, 56, 2);
        let image = |code: [u8; 2]| {
            let parts: [&[u8]; 4] = [
                &head,
                &code.map(|length| segment(4 + length % 2, 176, length)).concat(),
                b"code",
                b"behind",
            ];
            parts.concat()
        };
        fs::write(&path, image([2, 3])).unwrap();
        assert_eq!(code(&path).unwrap(), b"cod");
        fs::write(&path, image([5, 11])).unwrap();
        assert!(code(&path).is_err(), "it ends before its code does");
        fs::write(&path, &image([2, 3])[..100]).unwrap();
        assert!(code(&path).is_err(), "it ends before its table does");
    }

    #[test]
    fn headers_of_nonsense_are_no_harm() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lib.so");
        let mut nonsense = vec![0xff; 4096];
        nonsense[..6].copy_from_slice(b"\x7fELF\x02\x01");
        fs::write(&path, &nonsense).unwrap();
        assert!(is_cut_short(&path).unwrap());
        #[cfg(feature = "tvm")]
        assert!(code(&path).is_err());
        nonsense[32..64].fill(0);
        fs::write(&path, &nonsense).unwrap();
        assert!(!is_cut_short(&path).unwrap());
    }
}
