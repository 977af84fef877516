//! Installing the shared library of a runtime into the user's cache folder, from the wheel that its project
//! publishes on PyPI. The wheel is pinned by its SHA-256, so that what runs is what was tested.

mod error;
mod pip;
mod unpack;
mod wheel;

use std::path::{Path, PathBuf};
use std::{fs, io};

use edgefront_protocol::Digest;
use edgefront_runtimes::{Record, RecordedFile};

pub use error::InstallError;
pub use wheel::installable;

use wheel::Wheel;

/// A runtime's library on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// Version of the library.
    pub version: &'static str,
    /// The file.
    pub library: PathBuf,
    /// Whether it was fetched just now.
    pub fresh: bool,
}

/// The runtime `name` for the processor `arch`, installed if it was not. `before_download` is told what is about to be
/// fetched.
pub fn ensure(name: &str, arch: &str, before_download: impl FnOnce(&str)) -> Result<Installed, InstallError> {
    let source = wheel::source(name)?;
    let wheel = source.wheel(arch)?;
    let folder = folder_of(arch).ok_or(InstallError::NoHome)?;
    let home = folder.join(format!("{}-{}", source.name, source.version));
    let installed = |fresh| Installed {
        version: source.version,
        library: home.join(source.library),
        fresh,
    };
    if is_whole(&installed(false).library) {
        return Ok(installed(false));
    }
    before_download(&format!("{} {}, {}", source.title, source.version, wheel.bytes));
    let unwritable = |source| InstallError::Write {
        path: folder.clone(),
        source,
    };
    fs::create_dir_all(&folder).map_err(unwritable)?;
    // Beside its place, so that moving files there is atomic: one that is half-unpacked is never taken for whole.
    let fetched = tempfile::Builder::new()
        .prefix(".download-")
        .tempdir_in(&folder)
        .map_err(unwritable)?;
    let unpacked = fetched.path().join("unpacked");
    let mut libraries = Vec::new();
    for source in [source].into_iter().chain(source.needs) {
        let wheel = source.wheel(arch)?;
        let file = pip::download(source, wheel, &fetched.path().join(source.project))?;
        verify(&file, wheel)?;
        unpack::unpack(&file, &source.files(wheel), &unpacked)?;
        libraries.extend(source.libraries(wheel));
    }
    record(&unpacked, &libraries)?;
    move_into_place(&unpacked, &home).map_err(unwritable)?;
    Ok(installed(true))
}

/// Where libraries for `arch` lie. Those of other processors have folders of their own, which no search of this machine
/// looks into.
fn folder_of(arch: &str) -> Option<PathBuf> {
    let folder = edgefront_runtimes::folder()?;
    Some(if arch == std::env::consts::ARCH {
        folder
    } else {
        folder.join(arch)
    })
}

fn verify(file: &Path, wheel: &Wheel) -> Result<(), InstallError> {
    let content = fs::read(file).map_err(|source| InstallError::Write {
        path: file.to_owned(),
        source,
    })?;
    let found = Digest::of(&content).to_string();
    if found == wheel.sha256 {
        return Ok(());
    }
    Err(InstallError::Digest {
        file: file.file_name().unwrap_or_default().display().to_string(),
        found,
        expected: wheel.sha256,
    })
}

/// Whether the library and those beside it are as they were installed, to the last bit. Without a record it cannot be
/// told.
fn is_whole(library: &Path) -> bool {
    let is_as_recorded = |file: &RecordedFile| {
        recorded(&library.with_file_name(&file.name), &file.name).is_ok_and(|found| found == *file)
    };
    Record::beside(library).is_some_and(|record| record.files.iter().all(is_as_recorded))
}

fn recorded(path: &Path, name: &str) -> io::Result<RecordedFile> {
    let content = fs::read(path)?;
    Ok(RecordedFile {
        name: name.to_owned(),
        sha256: Digest::of(&content).to_string(),
        bytes: content.len() as u64,
    })
}

/// Writes the record of the `libraries` in `folder` beside them.
fn record(folder: &Path, libraries: &[&str]) -> Result<(), InstallError> {
    let path = folder.join(Record::FILE);
    let files: io::Result<Vec<_>> = libraries
        .iter()
        .map(|name| recorded(&folder.join(name), name))
        .collect();
    let written = files.and_then(|files| edgefront_files::replace(&path, Record { files }.text().as_bytes()));
    written.map_err(|source| InstallError::Write { path, source })
}

/// Moves each file by itself: a process that runs the library which lies there keeps it, and another process that
/// installs the same may do so meanwhile. The record comes last, so that what it tells of is there.
fn move_into_place(unpacked: &Path, home: &Path) -> io::Result<()> {
    fs::create_dir_all(home)?;
    let mut names = Vec::new();
    for entry in fs::read_dir(unpacked)? {
        names.push(entry?.file_name());
    }
    names.sort_by_key(|name| name == Record::FILE);
    names
        .iter()
        .try_for_each(|name| fs::rename(unpacked.join(name), home.join(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wheel_of_another_content_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x.whl");
        fs::write(&file, "tampered").unwrap();
        let source = wheel::source("ort").unwrap();
        let error = verify(&file, source.wheel("x86_64").unwrap())
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("x.whl has SHA-256 "), "{error}");
        assert!(error.contains("nothing was installed"), "{error}");
    }

    #[test]
    fn libraries_for_another_processor_lie_where_this_machine_does_not_look() {
        let here = edgefront_runtimes::folder();
        assert_eq!(folder_of(std::env::consts::ARCH), here);
        assert_eq!(folder_of("arm64e"), here.map(|folder| folder.join("arm64e")));
    }

    #[test]
    fn a_damaged_library_is_replaced_by_a_whole_one() {
        let dir = tempfile::tempdir().unwrap();
        let (unpacked, home) = (dir.path().join("unpacked"), dir.path().join("ort-1"));
        for folder in [&unpacked, &home] {
            fs::create_dir(folder).unwrap();
        }
        let library = home.join("library");
        assert!(!is_whole(&library), "there is none");
        fs::write(&library, "whol").unwrap();
        assert!(!is_whole(&library), "nothing is recorded");
        for name in ["library", "other"] {
            fs::write(unpacked.join(name), "whole").unwrap();
        }
        record(&unpacked, &["library", "other"]).unwrap();
        move_into_place(&unpacked, &home).unwrap();
        assert!(is_whole(&library));
        assert_eq!(fs::read_dir(&unpacked).unwrap().count(), 0);
        // Of the same length, so that only the digest tells.
        for name in ["other", "library"] {
            fs::write(home.join(name), "whale").unwrap();
            assert!(!is_whole(&library), "{name}");
            fs::write(home.join(name), "whole").unwrap();
            assert!(is_whole(&library));
        }
        fs::remove_file(home.join("other")).unwrap();
        assert!(!is_whole(&library));
    }
}
