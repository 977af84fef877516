//! What may lie in a folder that a report is written to: nothing but an earlier report.

use std::path::Path;
use std::{fs, io};

use super::files;
use crate::results::{self, LoadError};
use crate::store;

/// What keeps a report from being written to a folder.
#[derive(Debug, thiserror::Error)]
pub enum Occupied {
    /// It is a file.
    #[error("this is a file; give a directory")]
    File,
    /// It is a link to what is not there.
    #[error("this is a link to nothing; remove it, or choose another directory")]
    Link,
    /// A study has its state and its own report there.
    #[error(
        "holds a study's {}, whose report stays; choose another directory",
        store::FILE
    )]
    Study,
    /// Something else lies there.
    #[error("holds {0}, which is no part of a report of Edgefront; choose another directory")]
    Stranger(String),
    /// It cannot be read.
    #[error("cannot be read")]
    Unreadable(#[source] io::Error),
}

/// Whether a report may be written to `dir`: it is not there, is empty, or holds an earlier report and nothing
/// else. Hidden files do not count. A report is known by its `results.json`.
pub fn check_free(dir: &Path) -> Result<(), Occupied> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return if dir.is_symlink() {
                Err(Occupied::Link)
            } else {
                Ok(())
            };
        }
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Err(Occupied::File),
        Err(error) => return Err(Occupied::Unreadable(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(Occupied::Unreadable)?.file_name();
        names.push(name.to_string_lossy().into_owned());
    }
    names.retain(|name| !name.starts_with('.'));
    names.sort();
    if names.iter().any(|name| name == store::FILE) {
        return Err(Occupied::Study);
    }
    let is_ours = has_results(dir);
    let stranger = names
        .into_iter()
        .find(|name| !(is_ours && files().any(|file| file == name)));
    stranger.map_or(Ok(()), |name| Err(Occupied::Stranger(name)))
}

/// Whether the folder has results of Edgefront, of whatever version.
fn has_results(dir: &Path) -> bool {
    match results::load(dir) {
        Ok(_) => true,
        Err(LoadError::Schema { found, .. }) => found.starts_with("edgefront.results/"),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::write_all;
    use crate::results::fixture;

    fn said(dir: &Path) -> Option<String> {
        check_free(dir).err().map(|why| why.to_string())
    }

    #[test]
    fn only_an_earlier_report_gives_way() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        assert_eq!(said(&out), None);
        write_all(&out, &fixture::results()).unwrap();
        fs::write(out.join(".hidden"), "").unwrap();
        assert_eq!(said(&out), None);
        fs::write(out.join("notes.txt"), "mine").unwrap();
        let notes = "holds notes.txt, which is no part of a report of Edgefront; choose another directory";
        assert_eq!(said(&out).as_deref(), Some(notes));
        fs::write(out.join(store::FILE), "").unwrap();
        assert!(said(&out).unwrap().starts_with("holds a study's edgefront.db"));
        assert_eq!(
            said(&out.join("notes.txt")).as_deref(),
            Some("this is a file; give a directory")
        );
        std::os::unix::fs::symlink("absent", dir.path().join("link")).unwrap();
        assert_eq!(
            said(&dir.path().join("link")).as_deref(),
            Some("this is a link to nothing; remove it, or choose another directory")
        );
    }

    #[test]
    fn files_that_only_have_our_names_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("report.html"), "theirs").unwrap();
        assert!(said(dir.path()).unwrap().starts_with("holds report.html"));
        fs::write(dir.path().join("results.json"), r#"{"schema": "theirs/1"}"#).unwrap();
        assert!(said(dir.path()).is_some());
        fs::write(
            dir.path().join("results.json"),
            r#"{"schema": "edgefront.results/9"}"#,
        )
        .unwrap();
        assert_eq!(said(dir.path()), None);
    }
}
