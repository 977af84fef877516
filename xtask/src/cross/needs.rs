//! What a program needs of the system that it is started on: shared libraries, and versions of glibc's symbols.

use std::cmp::Ordering;
use std::fmt;

use anyhow::Context as _;
use object::elf::{DT_NEEDED, FileHeader32, FileHeader64};
use object::read::elf::{Dyn as _, FileHeader};
use object::{Endianness, FileKind};

/// A version of glibc: 2.28.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Glibc(pub(crate) u32, pub(crate) u32);

impl fmt::Display for Glibc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

impl Glibc {
    /// The version in the name of a symbol's version: `GLIBC_2.28`, `GLIBC_2.2.5`. `GLIBC_PRIVATE` has none.
    fn of(name: &str) -> Option<Self> {
        let mut numbers = name.strip_prefix("GLIBC_")?.split('.').map(str::parse);
        Some(Self(numbers.next()?.ok()?, numbers.next()?.ok()?))
    }
}

/// What one program needs.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Needs {
    /// The oldest glibc that has all of its symbols; `None` where it needs no version.
    pub(crate) glibc: Option<Glibc>,
    /// Names of its libraries, as the loader looks for them.
    pub(crate) libraries: Vec<String>,
}

impl Needs {
    /// Reads an ELF program of 32 or 64 bits.
    pub(crate) fn of(program: &[u8]) -> anyhow::Result<Self> {
        match FileKind::parse(program)? {
            FileKind::Elf32 => read::<FileHeader32<Endianness>>(program),
            FileKind::Elf64 => read::<FileHeader64<Endianness>>(program),
            other => anyhow::bail!("it is no ELF program but {other:?}"),
        }
    }

    /// Whether a system with this glibc and no newer one can start it.
    pub(crate) fn run_on(&self, floor: Glibc) -> bool {
        self.glibc
            .is_none_or(|needed| needed.cmp(&floor) != Ordering::Greater)
    }
}

fn read<H: FileHeader<Endian = Endianness>>(program: &[u8]) -> anyhow::Result<Needs> {
    let header = H::parse(program)?;
    let endian = header.endian()?;
    let sections = header.sections(endian, program)?;
    let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();

    let mut glibc = None;
    if let Some((mut libraries, strings)) = sections.gnu_verneed(endian, program)? {
        let strings = sections.strings(endian, program, strings)?;
        while let Some((_, mut versions)) = libraries.next()? {
            while let Some(version) = versions.next()? {
                glibc = glibc.max(Glibc::of(&text(version.name(endian, strings)?)));
            }
        }
    }

    let mut libraries = Vec::new();
    let (entries, strings) = sections
        .dynamic(endian, program)?
        .context("it has no dynamic section, so it can load no runtime")?;
    let strings = sections.strings(endian, program, strings)?;
    for entry in entries.iter().filter(|entry| entry.tag(endian) == DT_NEEDED) {
        libraries.push(text(entry.string(endian, strings)?));
    }
    Ok(Needs { glibc, libraries })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const NEW_AARCH64: &[u8] = include_bytes!("../../fixtures/glibc-2.34.aarch64");
    const OLD_AARCH64: &[u8] = include_bytes!("../../fixtures/glibc-2.17.aarch64");
    const ARMV7: &[u8] = include_bytes!("../../fixtures/glibc-2.28.armv7");

    #[test]
    fn the_newest_symbol_decides_on_32_and_64_bits() {
        for (program, glibc) in [
            (NEW_AARCH64, Glibc(2, 34)),
            (OLD_AARCH64, Glibc(2, 17)),
            (ARMV7, Glibc(2, 28)),
        ] {
            let needs = Needs::of(program).unwrap();
            assert_eq!(needs.glibc, Some(glibc));
            assert!(needs.libraries.contains(&"libc.so.6".to_owned()), "{needs:?}");
        }
    }

    #[test]
    fn what_needs_more_than_the_floor_does_not_run_there() {
        let floor = Glibc(2, 28);
        assert!(!Needs::of(NEW_AARCH64).unwrap().run_on(floor));
        assert!(Needs::of(OLD_AARCH64).unwrap().run_on(floor));
        assert!(Needs::of(ARMV7).unwrap().run_on(floor));
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        assert_eq!(Glibc::of("GLIBC_2.4"), Some(Glibc(2, 4)));
        assert_eq!(Glibc::of("GLIBC_2.2.5"), Some(Glibc(2, 2)));
        assert!(Glibc::of("GLIBC_2.4") < Glibc::of("GLIBC_2.28"));
        assert_eq!(Glibc::of("GLIBC_PRIVATE"), None);
        assert_eq!(Glibc::of("GCC_3.0"), None);
    }

    #[test]
    fn what_is_no_program_is_told_and_no_harm() {
        assert!(Needs::of(b"#!/bin/sh\n").is_err());
        for end in [20, 64, 300, ARMV7.len() / 2] {
            assert!(Needs::of(&ARMV7[..end]).is_err(), "{end} bytes");
        }
    }
}
