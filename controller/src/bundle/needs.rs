//! What the programs and libraries of a bundle need of the device's system, in the names of Debian's packages.

use std::collections::BTreeSet;

use object::elf::{FileHeader32, FileHeader64};
use object::read::elf::FileHeader;
use object::{Endianness, FileKind};

use super::{BundleError, Entry};

/// For the programs that `set-up` calls.
const TOOLS: &str = "passwd";

/// The packages, as the field `Depends` lists them.
pub(super) fn depends(entries: &[Entry]) -> Result<String, BundleError> {
    let mut versions = BTreeSet::new();
    for entry in entries
        .iter()
        .filter(|entry| entry.content.starts_with(b"\x7fELF"))
    {
        let found = versions_of_symbols(&entry.content).map_err(|source| BundleError::Damaged {
            path: entry.path.clone(),
            source,
        })?;
        versions.extend(found);
    }
    let mut packages = Vec::new();
    if let Some((major, minor)) = versions.iter().filter_map(|name| glibc(name)).max() {
        packages.push(format!("libc6 (>= {major}.{minor})"));
    }
    for (of_library, package) in [("GCC_", "libgcc-s1 | libgcc1"), ("GLIBCXX_", "libstdc++6")] {
        if versions.iter().any(|name| name.starts_with(of_library)) {
            packages.push(package.to_owned());
        }
    }
    packages.push(TOOLS.to_owned());
    Ok(packages.join(", "))
}

/// The number in `GLIBC_2.28` or `GLIBC_2.2.5`.
fn glibc(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.strip_prefix("GLIBC_")?.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// The versions of symbols that an ELF file needs of its libraries, such as `GLIBC_2.28` and `GLIBCXX_3.4.22`.
fn versions_of_symbols(file: &[u8]) -> object::Result<Vec<String>> {
    match FileKind::parse(file)? {
        FileKind::Elf32 => read::<FileHeader32<Endianness>>(file),
        _ => read::<FileHeader64<Endianness>>(file),
    }
}

fn read<H: FileHeader<Endian = Endianness>>(file: &[u8]) -> object::Result<Vec<String>> {
    let header = H::parse(file)?;
    let endian = header.endian()?;
    let sections = header.sections(endian, file)?;
    let mut names = Vec::new();
    if let Some((mut libraries, strings)) = sections.gnu_verneed(endian, file)? {
        let strings = sections.strings(endian, file, strings)?;
        while let Some((_, mut versions)) = libraries.next()? {
            while let Some(version) = versions.next()? {
                names.push(String::from_utf8_lossy(version.name(endian, strings)?).into_owned());
            }
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    const AARCH64: &[u8] = include_bytes!("../../../xtask/fixtures/glibc-2.34.aarch64");
    const OLD_AARCH64: &[u8] = include_bytes!("../../../xtask/fixtures/glibc-2.17.aarch64");
    const ARMV7: &[u8] = include_bytes!("../../../xtask/fixtures/glibc-2.28.armv7");

    fn depends_on(files: &[&[u8]]) -> Result<String, BundleError> {
        let entry = |content: &&[u8]| Entry {
            path: "opt/edgefront/file".to_owned(),
            mode: 0o644,
            content: content.to_vec(),
        };
        depends(&files.iter().map(entry).collect::<Vec<_>>())
    }

    #[test]
    fn the_newest_symbol_of_all_files_decides() {
        for (files, packages) in [
            (&[OLD_AARCH64, AARCH64][..], "libc6 (>= 2.34), passwd"),
            (&[AARCH64, OLD_AARCH64], "libc6 (>= 2.34), passwd"),
            (&[OLD_AARCH64, b"libonnxruntime.so 1"], "libc6 (>= 2.17), passwd"),
            (&[ARMV7], "libc6 (>= 2.28), passwd"),
            (&[], "passwd"),
        ] {
            assert_eq!(depends_on(files).unwrap(), packages);
        }
    }

    /// This test is a program of several libraries.
    #[test]
    fn libraries_of_the_compiler_are_packages_of_their_own() {
        let this = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let packages = depends_on(&[&this]).unwrap();
        assert!(packages.contains(", libgcc-s1 | libgcc1, "), "{packages}");
    }

    #[test]
    fn a_file_that_is_cut_off_is_named() {
        for end in [5, 20, 64, 300, ARMV7.len() / 2] {
            let error = depends_on(&[&ARMV7[..end]]).unwrap_err().to_string();
            assert_eq!(
                error, "opt/edgefront/file of the bundle is a damaged program",
                "{end} bytes"
            );
        }
    }
}
