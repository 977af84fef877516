//! Installing the shared library of a runtime into the user's cache folder, from the wheel that its project
//! publishes on PyPI. The wheel is pinned by its SHA-256, so that what runs is what was tested.

mod error;
mod pip;
mod unpack;
mod wheel;

use std::path::{Path, PathBuf};
use std::{fs, io};

use edgefront_protocol::Digest;

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

/// The runtime `name`, installed if it was not. `before_download` is told what is about to be fetched.
pub fn ensure(name: &str, before_download: impl FnOnce(&str)) -> Result<Installed, InstallError> {
    let source = wheel::source(name)?;
    let folder = edgefront_runtimes::folder().ok_or(InstallError::NoHome)?;
    let home = folder.join(format!("{}-{}", source.name, source.version));
    let installed = |fresh| Installed {
        version: source.version,
        library: home.join(source.library),
        fresh,
    };
    if installed(false).library.is_file() {
        return Ok(installed(false));
    }
    let wheel = source.wheel(std::env::consts::ARCH)?;
    before_download(&format!("{} {}, {}", source.title, source.version, wheel.bytes));
    let unwritable = |source| InstallError::Write {
        path: folder.clone(),
        source,
    };
    fs::create_dir_all(&folder).map_err(unwritable)?;
    // Beside its place, so that moving it there is atomic: a half-unpacked folder is never taken for a library.
    let fetched = tempfile::Builder::new()
        .prefix(".download-")
        .tempdir_in(&folder)
        .map_err(unwritable)?;
    let file = pip::download(source, wheel, fetched.path())?;
    verify(&file, wheel)?;
    let unpacked = fetched.path().join("unpacked");
    unpack::unpack(&file, source.files(), &unpacked)?;
    move_into_place(&unpacked, &home).map_err(unwritable)?;
    Ok(installed(true))
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

/// Another process may have installed the same while this one did; its files are as good.
fn move_into_place(unpacked: &Path, home: &Path) -> io::Result<()> {
    match fs::rename(unpacked, home) {
        Err(_) if home.is_dir() => Ok(()),
        result => result,
    }
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
    fn what_another_process_installed_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (unpacked, home) = (dir.path().join("unpacked"), dir.path().join("ort-1"));
        for folder in [&unpacked, &home] {
            fs::create_dir(folder).unwrap();
        }
        fs::write(home.join("library"), "theirs").unwrap();
        move_into_place(&unpacked, &home).unwrap();
        assert_eq!(fs::read_to_string(home.join("library")).unwrap(), "theirs");
    }
}
