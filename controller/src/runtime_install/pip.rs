//! Fetching a wheel with the user's own pip, which knows the user's index, proxy and certificates.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::InstallError;
use super::wheel::{Source, Wheel};

/// Downloads the wheel into `folder` and returns the file.
pub(super) fn download(source: &Source, wheel: &Wheel, folder: &Path) -> Result<PathBuf, InstallError> {
    let title = source.title;
    // The wheels of all Python versions hold the same library; one is pinned, whatever Python runs pip.
    let output = Command::new("python3")
        .args([
            "-m",
            "pip",
            "--disable-pip-version-check",
            "--no-input",
            "download",
        ])
        .args(["--quiet", "--no-deps", "--only-binary=:all:", "--retries", "2"])
        .args([
            "--implementation",
            "cp",
            "--python-version",
            "3.11",
            "--abi",
            "cp311",
        ])
        .args(["--platform", wheel.platform, "--dest"])
        .arg(folder)
        .arg(format!("{}=={}", source.project, source.version))
        .stdin(Stdio::null())
        .output()
        .map_err(|source| InstallError::NoPython { title, source })?;
    let failed = |words: String| InstallError::Pip { title, words };
    if !output.status.success() {
        return Err(failed(last_line(&output.stderr)));
    }
    let entries = fs::read_dir(folder).map_err(|source| InstallError::Write {
        path: folder.to_owned(),
        source,
    })?;
    entries
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .ok_or_else(|| failed("it said nothing and left no wheel".to_owned()))
}

/// The last line of what pip said that is not empty; its errors end in the one that tells.
fn last_line(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let line = text.lines().map(str::trim).rfind(|line| !line.is_empty());
    line.map_or_else(
        || "it failed and said nothing".to_owned(),
        |line| line.trim_start_matches("ERROR: ").to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::last_line;

    #[test]
    fn the_last_words_are_kept() {
        let said = b"WARNING: Retrying\nERROR: No matching distribution found for onnxruntime==1.32.0\n\n";
        assert_eq!(
            last_line(said),
            "No matching distribution found for onnxruntime==1.32.0"
        );
        assert_eq!(last_line(b""), "it failed and said nothing");
    }
}
