//! The controller's key, by which devices know its jobs.
//!
//! Each user has one, in a file that no other user can read; it is made when it is first needed. A study on this machine
//! has one of its own, beside what its agent knows: an agent judges by it what it held when it ended.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use edgefront_protocol::SigningKey;
use edgefront_protocol::seal::InvalidSecret;

/// The name of its file.
const NAME: &str = "controller.key";

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Nowhere to keep it.
    #[error("this user has no home to keep the controller's key in; set XDG_CONFIG_HOME to a folder")]
    NoHome,
    /// Its file cannot be made or read.
    #[error(
        "cannot {action} the controller's key {}; if that is no place of yours, set XDG_CONFIG_HOME to a folder that stays",
        path.display()
    )]
    File {
        /// `make` or `read`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others can read it.
    #[error(
        "the controller's key {} is open to other users, who could sign jobs by it; chmod 600 it, or remove it for a \
         new one, which devices must be told",
        path.display()
    )]
    Open {
        /// The file.
        path: PathBuf,
    },
    /// It holds something else.
    #[error("{} is not the controller's key; bring back what it held, or remove it for a new one", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why.
        source: InvalidSecret,
    },
}

/// The file of this user's key.
pub fn path_of_user() -> Result<PathBuf, KeyError> {
    let settings = dirs::config_dir().ok_or(KeyError::NoHome)?;
    Ok(settings.join("edgefront").join(NAME))
}

/// This user's key.
pub fn of_user() -> Result<SigningKey, KeyError> {
    private(&path_of_user()?)
}

/// The key of the study whose local agent keeps its state in `folder`. Not every disk that holds studies has rights.
pub fn of_study(folder: &Path) -> Result<SigningKey, KeyError> {
    read_or_make(&folder.join(NAME))
}

/// A key that no other user can read.
fn private(path: &Path) -> Result<SigningKey, KeyError> {
    let key = read_or_make(path)?;
    let about = fs::metadata(path).map_err(|source| KeyError::File {
        action: "read",
        path: path.to_owned(),
        source,
    })?;
    if about.permissions().mode() & 0o077 != 0 {
        return Err(KeyError::Open {
            path: path.to_owned(),
        });
    }
    Ok(key)
}

fn read_or_make(path: &Path) -> Result<SigningKey, KeyError> {
    let failed = |action, source| KeyError::File {
        action,
        path: path.to_owned(),
        source,
    };
    let found = path.try_exists().map_err(|error| failed("read", error))?;
    if !found {
        // One that another command makes meanwhile stays.
        make(path).map_err(|error| failed("make", error))?;
    }
    let secret = fs::read(path).map_err(|error| failed("read", error))?;
    SigningKey::from_pkcs8(&secret).map_err(|source| KeyError::Damaged {
        path: path.to_owned(),
        source,
    })
}

fn make(path: &Path) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    edgefront_files::create_private(path, &SigningKey::generate()).map(drop)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_first_use_makes_the_key_and_the_next_finds_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config/edgefront/controller.key");
        let made = read_or_make(&path).unwrap().public();
        assert_eq!(read_or_make(&path).unwrap().public(), made);
        let rights = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((rights(&path), rights(path.parent().unwrap())), (0o600, 0o700));
        fs::remove_file(&path).unwrap();
        assert_ne!(read_or_make(&path).unwrap().public(), made);
    }

    #[test]
    fn many_that_make_it_at_once_have_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let path = &dir.path().join("controller.key");
        let keys = std::thread::scope(|scope| {
            let makers: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| read_or_make(path).unwrap().public()))
                .collect();
            let keys = makers.into_iter().map(|maker| maker.join().unwrap());
            keys.collect::<std::collections::BTreeSet<_>>()
        });
        assert_eq!(keys.len(), 1);
    }

    #[test]
    fn a_key_that_others_can_read_or_that_is_none_is_refused_with_the_mend() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("controller.key");
        read_or_make(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = private(&path).unwrap_err().to_string();
        assert!(error.contains("controller.key is open to other users"), "{error}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "").unwrap();
        let error = read_or_make(&path).unwrap_err().to_string();
        assert!(
            error.contains("controller.key is not the controller's key; "),
            "{error}"
        );
        let below = path.join("controller.key");
        let error = read_or_make(&below).unwrap_err().to_string();
        assert!(error.starts_with("cannot "), "{error}");
    }
}
