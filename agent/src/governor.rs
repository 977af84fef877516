//! The processors' governor, set for a batch and put back after it.
//!
//! What was there is on disk before anything is set, so that the next start of the agent puts it back where this one was
//! killed. Where somebody else has set another governor meanwhile, theirs stays.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use edgefront_protocol::{Governor, wire};
use serde::{Deserialize, Serialize};

/// The file below the state folder.
const FILE: &str = "governors";
/// Where a policy is for each group of processors that share a clock.
const POLICIES: &str = "sys/devices/system/cpu/cpufreq";

/// Why a governor was not set.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{} has no governors, so `{wanted}` cannot be set; measure without --governor", path.display())]
    None { path: PathBuf, wanted: &'static str },
    #[error("{} does not offer the governor `{wanted}`; it offers {offered}", path.display())]
    Unknown {
        path: PathBuf,
        wanted: &'static str,
        offered: String,
    },
    #[error("cannot set the governor: {} may not be written; run the agent as root, or let its user write there", path.display())]
    Denied { path: PathBuf },
    #[error("cannot set the governor: {}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

/// One policy's governor before it was set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Before {
    file: String,
    governor: String,
}

/// What was there before, kept on disk too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    set: String,
    before: Vec<Before>,
}

/// A governor that is set. Dropped, it puts back what was there.
#[derive(Debug)]
pub(crate) struct Set {
    file: PathBuf,
}

impl Drop for Set {
    fn drop(&mut self) {
        put_back_from(&self.file);
    }
}

/// Sets the governor of all processors of the system below `root`, and keeps in `state` what was there.
pub(crate) fn set(root: &Path, state: &Path, governor: Governor) -> Result<Set, Error> {
    let wanted = governor.as_str();
    let file = state.join(FILE);
    // Where that was not possible before, what is there now is not the device's own.
    put_back_from(&file);
    let before = look(&root.join(POLICIES), wanted)?;
    let kept = Kept {
        set: wanted.to_owned(),
        before,
    };
    edgefront_files::replace(&file, &wire::encode(&kept)).map_err(|error| failed(&file, error))?;
    // From here on whatever fails is put back.
    let set = Set { file };
    for policy in &kept.before {
        let path = Path::new(&policy.file);
        fs::write(path, wanted).map_err(|error| failed(path, error))?;
    }
    Ok(set)
}

/// Puts back what an agent on this state folder that was killed has left.
pub(crate) fn put_back(state: &Path) {
    put_back_from(&state.join(FILE));
}

/// The governor of each policy; an error unless all offer what is wanted.
fn look(policies: &Path, wanted: &'static str) -> Result<Vec<Before>, Error> {
    let none = || Error::None {
        path: policies.to_owned(),
        wanted,
    };
    let mut before = Vec::new();
    for entry in fs::read_dir(policies).map_err(|_| none())?.flatten() {
        if !entry.file_name().to_string_lossy().starts_with("policy") {
            continue;
        }
        let path = entry.path().join("scaling_available_governors");
        let offered = fs::read_to_string(&path).map_err(|error| failed(&path, error))?;
        if !offered.split_whitespace().any(|offer| offer == wanted) {
            let offered = offered.split_whitespace().collect::<Vec<_>>().join(", ");
            return Err(Error::Unknown {
                path,
                wanted,
                offered,
            });
        }
        let path = entry.path().join("scaling_governor");
        let governor = fs::read_to_string(&path).map_err(|error| failed(&path, error))?;
        before.push(Before {
            file: path.to_string_lossy().into_owned(),
            governor: governor.trim().to_owned(),
        });
    }
    before.sort_by(|a, b| a.file.cmp(&b.file));
    (!before.is_empty()).then_some(before).ok_or_else(none)
}

fn failed(path: &Path, source: io::Error) -> Error {
    let path = path.to_owned();
    match source.kind() {
        io::ErrorKind::PermissionDenied => Error::Denied { path },
        _ => Error::Io { path, source },
    }
}

/// Nobody waits for what comes of it, so what fails is told in the log; the file stays then, for the next start.
fn put_back_from(file: &Path) {
    let bytes = match fs::read(file) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return,
        Err(error) => {
            return tracing::error!(
                "cannot read {}, so no governor is put back: {error}",
                file.display()
            );
        }
    };
    let kept: Kept = match wire::decode(&bytes) {
        Ok(kept) => kept,
        Err(error) => {
            return tracing::error!(
                "{} says no governor that could be put back: {error}",
                file.display()
            );
        }
    };
    let mut is_done = true;
    for policy in &kept.before {
        let path = Path::new(&policy.file);
        let now = fs::read_to_string(path).unwrap_or_default();
        if now.trim() != kept.set {
            continue;
        }
        if let Err(error) = fs::write(path, &policy.governor) {
            is_done = false;
            let (path, governor) = (path.display(), &policy.governor);
            tracing::error!("cannot put the governor `{governor}` back to {path}: {error}");
        }
    }
    if is_done && let Err(error) = fs::remove_file(file) {
        tracing::error!("cannot remove {}: {error}", file.display());
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    /// A board with two groups of processors, and a state folder.
    fn board() -> (TempDir, TempDir) {
        let root = tempfile::tempdir().unwrap();
        for (policy, governor) in [("policy0", "schedutil\n"), ("policy4", "ondemand\n")] {
            let folder = root.path().join(POLICIES).join(policy);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("scaling_governor"), governor).unwrap();
            let offered = "ondemand schedutil performance \n";
            fs::write(folder.join("scaling_available_governors"), offered).unwrap();
        }
        (root, tempfile::tempdir().unwrap())
    }

    fn governors(root: &TempDir) -> [String; 2] {
        ["policy0", "policy4"].map(|policy| {
            let path = root.path().join(POLICIES).join(policy).join("scaling_governor");
            fs::read_to_string(path).unwrap().trim().to_owned()
        })
    }

    #[test]
    fn what_was_there_is_put_back() {
        let (root, state) = board();
        let set = set(root.path(), state.path(), Governor::Performance).unwrap();
        assert_eq!(governors(&root), ["performance", "performance"]);
        assert!(state.path().join(FILE).exists());
        drop(set);
        assert_eq!(governors(&root), ["schedutil", "ondemand"]);
        assert!(!state.path().join(FILE).exists());
    }

    #[test]
    fn what_a_killed_agent_left_is_put_back_by_the_next() {
        let (root, state) = board();
        std::mem::forget(set(root.path(), state.path(), Governor::Performance).unwrap());
        assert_eq!(governors(&root), ["performance", "performance"]);
        put_back(state.path());
        assert_eq!(governors(&root), ["schedutil", "ondemand"]);
        put_back(state.path());
    }

    #[test]
    fn what_somebody_else_set_stays() {
        let (root, state) = board();
        let set = set(root.path(), state.path(), Governor::Performance).unwrap();
        let other = root.path().join(POLICIES).join("policy4/scaling_governor");
        fs::write(other, "schedutil\n").unwrap();
        drop(set);
        assert_eq!(governors(&root), ["schedutil", "schedutil"]);
    }

    #[test]
    fn one_that_fails_half_way_leaves_nothing_behind() {
        let (root, state) = board();
        let second = root.path().join(POLICIES).join("policy4");
        fs::remove_file(second.join("scaling_governor")).unwrap();
        // It can be read, and takes nothing from root either.
        std::os::unix::fs::symlink("/proc/version", second.join("scaling_governor")).unwrap();
        let error = set(root.path(), state.path(), Governor::Performance).unwrap_err();
        assert!(error.to_string().contains("policy4/scaling_governor"), "{error}");
        let first = root.path().join(POLICIES).join("policy0/scaling_governor");
        assert_eq!(fs::read_to_string(first).unwrap().trim(), "schedutil");
    }

    #[test]
    fn what_is_not_offered_is_named_with_what_is() {
        let (root, state) = board();
        let error = set(root.path(), state.path(), Governor::Conservative).unwrap_err();
        let said = error.to_string();
        assert!(
            said.contains("scaling_available_governors does not offer the governor `conservative`"),
            "{said}"
        );
        assert!(
            said.ends_with("it offers ondemand, schedutil, performance"),
            "{said}"
        );
        assert_eq!(governors(&root), ["schedutil", "ondemand"]);
        let error = set(state.path(), state.path(), Governor::Performance).unwrap_err();
        assert!(error.to_string().contains("has no governors"), "{error}");
        let denied = failed(Path::new("/sys/x"), io::ErrorKind::PermissionDenied.into());
        assert!(
            denied
                .to_string()
                .contains("/sys/x may not be written; run the agent as root")
        );
    }

    #[test]
    fn a_file_that_says_nothing_does_no_harm() {
        let (root, state) = board();
        fs::write(state.path().join(FILE), "garbage").unwrap();
        put_back(state.path());
        assert_eq!(governors(&root), ["schedutil", "ondemand"]);
        drop(set(root.path(), state.path(), Governor::Performance).unwrap());
        assert_eq!(governors(&root), ["schedutil", "ondemand"]);
    }
}
