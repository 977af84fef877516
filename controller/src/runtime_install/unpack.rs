//! Taking single files out of a wheel.

use std::fs::{self, File};
use std::io::{self, BufReader};
use std::path::Path;

use zip::ZipArchive;

use super::InstallError;

/// Writes `files` of the archive into `folder`, which is made, each under its last name.
pub(super) fn unpack(archive: &Path, files: &[String], folder: &Path) -> Result<(), InstallError> {
    let unwritable = |source| InstallError::Write {
        path: folder.to_owned(),
        source,
    };
    let malformed = |source| InstallError::Unpack {
        file: archive.to_owned(),
        source,
    };
    fs::create_dir_all(folder).map_err(unwritable)?;
    let reader = BufReader::new(File::open(archive).map_err(unwritable)?);
    let mut archive = ZipArchive::new(reader).map_err(malformed)?;
    for file in files {
        let mut content = archive.by_name(file).map_err(malformed)?;
        let name = file.rsplit('/').next().unwrap_or(file.as_str());
        let mut target = File::create(folder.join(name)).map_err(unwritable)?;
        io::copy(&mut content, &mut target).map_err(unwritable)?;
        target.sync_all().map_err(unwritable)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn only_what_was_asked_for_comes_out() {
        let dir = tempfile::tempdir().unwrap();
        let archive = dir.path().join("x.whl");
        let mut writer = zip::ZipWriter::new(File::create(&archive).unwrap());
        for name in ["a/lib.so", "a/other.py"] {
            writer
                .start_file(name, zip::write::SimpleFileOptions::default())
                .unwrap();
            writer.write_all(name.as_bytes()).unwrap();
        }
        writer.finish().unwrap();
        let folder = dir.path().join("out");
        unpack(&archive, &["a/lib.so".to_owned()], &folder).unwrap();
        assert_eq!(fs::read_to_string(folder.join("lib.so")).unwrap(), "a/lib.so");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        let missing = unpack(&archive, &["a/none".to_owned()], &folder)
            .unwrap_err()
            .to_string();
        assert!(missing.starts_with("cannot unpack"), "{missing}");
    }
}
