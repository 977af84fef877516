//! Files that are whole or not there, after a loss of power too.
//!
//! Content is written beside its place, flushed to the disk, and renamed; then the folder is flushed, since a
//! rename is on the disk only when its folder is.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use tempfile::NamedTempFile;

/// What the names of unfinished files begin with; a crash may leave such a file behind.
pub const UNFINISHED: &str = ".edgefront-";

/// Writes a file, in place of the one that is there. At no moment does a part of it stand at `path`. A link stays,
/// and the file that it leads to is replaced.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let followed = path.is_symlink().then(|| fs::canonicalize(path)).transpose()?;
    let path = followed.as_deref().unwrap_or(path);
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        // A temporary file is its owner's alone; this one is an ordinary file, which the process's mask bounds.
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    written_beside(path, &mut builder, content)?.persist(path)?;
    sync_folder_of(path)
}

/// Writes a file that its owner alone may read, unless there is one already, which stays; whether it was written.
pub fn create_private(path: &Path, content: &[u8]) -> io::Result<bool> {
    // Temporary files are their owner's alone.
    let file = written_beside(path, &mut tempfile::Builder::new(), content)?;
    match file.persist_noclobber(path) {
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
        persisted => persisted?,
    };
    sync_folder_of(path)?;
    Ok(true)
}

fn written_beside(
    path: &Path,
    builder: &mut tempfile::Builder<'_, '_>,
    content: &[u8],
) -> io::Result<NamedTempFile> {
    let folder = folder_of(path);
    // The name of a temporary file tells nobody anything; what is wrong with the folder does.
    let mut file = builder.prefix(UNFINISHED).tempfile_in(folder).map_err(|error| {
        let missing = fs::metadata(folder).err();
        missing.unwrap_or_else(|| error.kind().into())
    })?;
    // Not through the wrapper, whose errors name the temporary file.
    file.as_file_mut().write_all(content)?;
    file.as_file().sync_all()?;
    Ok(file)
}

/// Why a file could not be read: the system's words, after what to do where that is known.
pub fn unread(error: &io::Error) -> String {
    let mend = match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => "not there; check the path",
        io::ErrorKind::IsADirectory => "is a folder; name a file in it",
        io::ErrorKind::PermissionDenied => "may not be read; change its rights or the user",
        _ => return error.to_string(),
    };
    format!("{mend}: {error}")
}

/// Moves a file that is flushed to the disk already, within its file system, in place of the one that is there.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    sync_folder_of(to)
}

/// A bare name is one in the working directory.
fn folder_of(path: &Path) -> &Path {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new("."))
}

/// Systems other than Unix do not open folders, nor need it.
fn sync_folder_of(path: &Path) -> io::Result<()> {
    if cfg!(unix) {
        File::open(folder_of(path))?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    #[test]
    fn a_file_is_replaced_and_nothing_is_left_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("results.json");
        for content in [b"first".as_slice(), b"", b"last"] {
            replace(&path, content).unwrap();
            assert_eq!(fs::read(&path).unwrap(), content);
        }
        assert_eq!(names(dir.path()), ["results.json"]);
    }

    #[test]
    fn what_cannot_be_replaced_stays_and_nothing_is_left_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("folder");
        fs::create_dir_all(path.join("inner")).unwrap();
        assert!(replace(&path, b"x").is_err());
        assert_eq!(names(dir.path()), ["folder"]);
        let error = replace(&dir.path().join("absent/file"), b"x").unwrap_err();
        assert_eq!(error.to_string(), "No such file or directory (os error 2)");
    }

    #[test]
    #[cfg(unix)]
    fn a_new_file_has_the_rights_of_any_other() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let (ours, plain) = (dir.path().join("ours"), dir.path().join("plain"));
        replace(&ours, b"x").unwrap();
        fs::write(&plain, b"x").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&ours), mode(&plain));
    }

    #[test]
    #[cfg(unix)]
    fn a_private_file_is_written_once_and_its_owners_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        assert!(create_private(&path, b"first").unwrap());
        assert!(!create_private(&path, b"second").unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"first");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(names(dir.path()), ["key"]);
    }

    #[test]
    #[cfg(unix)]
    fn a_link_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("file"), dir.path().join("link"));
        fs::write(&file, b"first").unwrap();
        std::os::unix::fs::symlink("file", &link).unwrap();
        replace(&link, b"last").unwrap();
        assert!(link.is_symlink());
        assert_eq!(fs::read(&file).unwrap(), b"last");
        fs::remove_file(&file).unwrap();
        assert!(replace(&link, b"lost").is_err());
    }

    #[test]
    fn what_cannot_be_read_says_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "x").unwrap();
        for (path, mend) in [
            (dir.path().join("absent"), "not there; check the path: "),
            (file.join("inner"), "not there; check the path: "),
            (dir.path().to_owned(), "is a folder; name a file in it: "),
        ] {
            let said = unread(&fs::read(&path).unwrap_err());
            assert!(said.starts_with(mend), "{said}");
        }
    }

    #[test]
    fn a_moved_file_is_at_its_place_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::write(&from, b"x").unwrap();
        rename(&from, &to).unwrap();
        assert_eq!(names(dir.path()), ["to"]);
    }
}
