//! The files that a command reads and the ones that it writes.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use edgefront_optimizer::Model;
use edgefront_optimizer::check::not_finite;
use edgefront_protocol::Bytes;
use tempfile::TempDir;

use crate::torch_export;
use crate::ui::{Ui, UsageError};

/// A model as its files hold it.
pub(super) struct Source {
    pub(super) model: Model,
    /// The file that was named, and those of its weights.
    pub(super) files: Vec<PathBuf>,
    /// Size of them all.
    pub(super) bytes: Bytes,
}

impl Source {
    /// Reads the model at `path`, and warns of weights that are no numbers.
    pub(super) fn read(path: &Path, ui: &Ui) -> anyhow::Result<Self> {
        torch_export::require_onnx(path)?;
        let (model, files) = Model::read_with_files(path)?;
        let sizes = files.iter().map(|file| size(file));
        let bytes = Bytes(sizes.sum::<anyhow::Result<u64>>()?);
        if let Some(finding) = not_finite(&model) {
            ui.warn(format_args!("{}: {finding}", path.display()));
        }
        Ok(Self { model, files, bytes })
    }
}

/// A folder that is removed when it is dropped.
pub(super) fn temporary_folder() -> anyhow::Result<TempDir> {
    Ok(tempfile::tempdir().map_err(edgefront_optimizer::Error::temporary)?)
}

/// Size of a file, in bytes.
pub(super) fn size(path: &Path) -> anyhow::Result<u64> {
    let file = fs::metadata(path).with_context(|| path.display().to_string())?;
    Ok(file.len())
}

/// Refuses a place where no file can be written, and one of a file that is read: what is made of it would
/// replace it.
pub(super) fn check_output<'a>(
    output: &Path,
    inputs: impl IntoIterator<Item = &'a Path>,
) -> anyhow::Result<()> {
    let shown = output.display();
    if output.is_dir() {
        return Err(UsageError::new(format!("{shown} is a folder; name a file in it")));
    }
    if fs::metadata(output).is_ok_and(|metadata| !metadata.is_file()) {
        return Err(UsageError::new(format!(
            "{shown} is no regular file, and would be replaced by one; name another"
        )));
    }
    if output.is_symlink() && !output.exists() {
        return Err(UsageError::new(format!(
            "{shown} is a link to nothing; remove it, or name another file"
        )));
    }
    let folder = folder_of(output);
    if !folder.is_dir() {
        return Err(UsageError::new(format!(
            "{shown} cannot be written: there is no folder {}; make it first",
            folder.display()
        )));
    }
    match inputs.into_iter().find(|input| is_same(output, input)) {
        Some(input) if input == output => Err(UsageError::new(format!(
            "{shown} is read and would be replaced; give the output another name"
        ))),
        Some(input) => Err(UsageError::new(format!(
            "{shown} is the same file as {}, which is read and would be replaced; give the output another name",
            input.display()
        ))),
        None => Ok(()),
    }
}

/// Whether two paths lead to one file, links followed; for a file that is not there, whether they name the
/// same place.
pub(super) fn is_same(a: &Path, b: &Path) -> bool {
    let identity = |path: &Path| {
        let file = fs::metadata(path).ok()?;
        Some((file.dev(), file.ino()))
    };
    match (identity(a), identity(b)) {
        (Some(a), Some(b)) => a == b,
        (None, None) => {
            let folder = |path| identity(folder_of(path));
            a.file_name() == b.file_name() && folder(a).is_some() && folder(a) == folder(b)
        }
        _ => false,
    }
}

/// A bare name is one in the working directory.
fn folder_of(path: &Path) -> &Path {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(output: &Path, input: &Path) -> Option<String> {
        let error = check_output(output, [input]).err()?;
        assert!(error.is::<UsageError>());
        Some(error.to_string())
    }

    #[test]
    fn a_file_that_is_read_is_known_by_all_its_names() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let model = at("model.onnx");
        fs::write(&model, "model").unwrap();
        fs::write(at("other.onnx"), "model").unwrap();
        fs::create_dir(at("inner")).unwrap();
        fs::hard_link(&model, at("hard.onnx")).unwrap();
        std::os::unix::fs::symlink(&model, at("soft.onnx")).unwrap();
        for name in ["model.onnx", "hard.onnx", "soft.onnx", "inner/../model.onnx"] {
            let why = refused(&at(name), &model).unwrap();
            assert!(
                why.ends_with("would be replaced; give the output another name"),
                "{why}"
            );
        }
        for name in ["other.onnx", "new.onnx", "inner/model.onnx"] {
            assert_eq!(refused(&at(name), &model), None, "{name}");
        }
    }

    #[test]
    fn places_where_nothing_is_yet_can_be_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("inner")).unwrap();
        assert!(is_same(&at("a"), &at("inner/../a")));
        assert!(!is_same(&at("a"), &at("b")) && !is_same(&at("a"), &at("inner/a")));
    }

    #[test]
    fn a_place_that_cannot_be_written_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let input = dir.path().join("model.onnx");
        let why = refused(&dir.path().join("absent/x.onnx"), &input).unwrap();
        assert!(why.ends_with("absent; make it first"), "{why}");
        let why = refused(dir.path(), &input).unwrap();
        assert!(why.ends_with("is a folder; name a file in it"), "{why}");
        let why = refused(Path::new("/dev/null"), &input).unwrap();
        assert!(why.starts_with("/dev/null is no regular file"), "{why}");
        let link = dir.path().join("link.onnx");
        std::os::unix::fs::symlink("absent.onnx", &link).unwrap();
        let why = refused(&link, &input).unwrap();
        assert!(
            why.ends_with("is a link to nothing; remove it, or name another file"),
            "{why}"
        );
        assert_eq!(refused(Path::new("x.onnx"), &input), None);
    }
}
