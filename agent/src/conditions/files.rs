//! Texts and numbers in the kernel's files.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The longest part of a text that is quoted.
const QUOTED: usize = 40;

/// What stands in the way of knowing the device's state.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub(crate) enum Fault {
    #[error("{} may not be read, so what it tells is not known; let the agent's user read it", path.display())]
    Denied { path: PathBuf },
    #[error("{}: {reason}", path.display())]
    Unreadable { path: PathBuf, reason: String },
}

/// The text of a file without what surrounds it; `None` where there is none, or where the kernel has no value at
/// present, as of a sensor on a part that is switched off.
pub(super) fn text(path: &Path) -> Result<Option<String>, Fault> {
    text_of(path, fs::read(path))
}

fn text_of(path: &Path, read: io::Result<Vec<u8>>) -> Result<Option<String>, Fault> {
    match read {
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes);
            let text = text.trim_matches(|c: char| c == '\0' || c.is_whitespace());
            Ok((!text.is_empty()).then(|| text.to_owned()))
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(Fault::Denied {
            path: path.to_owned(),
        }),
        Err(_) => Ok(None),
    }
}

/// The number in a file, like [`text`].
pub(super) fn number(path: &Path) -> Result<Option<i64>, Fault> {
    let Some(text) = text(path)? else {
        return Ok(None);
    };
    text.parse()
        .map(Some)
        .map_err(|_| nonsense(path, &text, "number"))
}

/// A fault for a file that holds something else than `wanted`.
pub(super) fn nonsense(path: &Path, text: &str, wanted: &str) -> Fault {
    let quoted: String = text.chars().take(QUOTED).collect();
    Fault::Unreadable {
        path: path.to_owned(),
        reason: format!("it holds `{}` and no {wanted}", quoted.escape_debug()),
    }
}

/// What a file told, or nothing and a fault.
pub(super) fn kept<T>(read: Result<Option<T>, Fault>, faults: &mut Vec<Fault>) -> Option<T> {
    read.unwrap_or_else(|fault| {
        faults.push(fault);
        None
    })
}

/// What lies in a folder under names that begin so, those with numbers in their order; empty where there is no such
/// folder.
pub(super) fn entries(folder: &Path, beginning: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let named = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with(beginning)
    };
    let mut found: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(named)
        .collect();
    found.sort_by_key(|path| (path.as_os_str().len(), path.clone()));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tests may run as root, from whom no mode of a file keeps anything.
    #[test]
    fn no_permission_is_told_and_no_value_is_none() {
        let path = Path::new("/sys/class/thermal/thermal_zone2/temp");
        let text = |error: io::ErrorKind| text_of(path, Err(error.into()));
        let said = text(io::ErrorKind::PermissionDenied).map_err(|fault| fault.to_string());
        let expected = "/sys/class/thermal/thermal_zone2/temp may not be read, so what it tells is not known; \
                        let the agent's user read it";
        assert_eq!(said, Err(expected.to_owned()));
        // What the zone of a part that is switched off answers (EAGAIN), and one that is not there.
        assert_eq!(text(io::ErrorKind::WouldBlock), Ok(None));
        assert_eq!(text(io::ErrorKind::NotFound), Ok(None));
        assert_eq!(text_of(path, Ok(b" \n".to_vec())), Ok(None));
        assert_eq!(text_of(path, Ok(b"gpu\0".to_vec())), Ok(Some("gpu".to_owned())));
    }
}
