//! What a process makes of a runtime's library, once: it holds one library of each runtime, so that another one cannot
//! take its place unseen.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::Error;

/// A library that is open in this process, or why it is not.
#[derive(Debug)]
pub(crate) struct Once<T> {
    runtime: &'static str,
    made: OnceLock<Result<(PathBuf, T), String>>,
}

impl<T> Once<T> {
    pub(crate) const fn new(runtime: &'static str) -> Self {
        Self {
            runtime,
            made: OnceLock::new(),
        }
    }

    /// What `open` made of this library, when it was first asked for. The error of `open` is one line.
    pub(crate) fn get(&self, library: &Path, open: impl FnOnce() -> Result<T, String>) -> Result<&T, Error> {
        let made = || Ok((library.to_owned(), open()?));
        let unusable = |reason| Error::Unusable {
            runtime: self.runtime,
            reason,
        };
        match self.made.get_or_init(made) {
            Ok((loaded, made)) if loaded == library => Ok(made),
            Ok((loaded, _)) => Err(unusable(format!(
                "this process has already loaded {}, and {} is asked for",
                loaded.display(),
                library.display()
            ))),
            Err(reason) => Err(unusable(reason.clone())),
        }
    }

    /// Whether a library was asked for.
    #[cfg(all(test, any(feature = "openvino", feature = "ort")))]
    pub(crate) fn is_made(&self) -> bool {
        self.made.get().is_some()
    }
}

/// The words of what does not serve, for [`Once::get`], without the runtime's name before them.
#[cfg(any(feature = "openvino", feature = "tflite", feature = "tvm"))]
pub(crate) fn reason(error: Error) -> String {
    match error {
        Error::Unusable { reason, .. } => reason,
        other => other.to_string(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_process_holds_the_library_that_came_first() {
        let once = Once::new("ort");
        let [first, second] = ["/a.so", "/b.so"].map(Path::new);
        assert_eq!(once.get(first, || Ok(1)).unwrap(), &1);
        let again = once.get(first, || panic!("it is open"));
        assert_eq!(again.unwrap(), &1);
        let other = once.get(second, || Ok(2)).unwrap_err().to_string();
        assert_eq!(
            other,
            "runtime `ort` cannot be used: this process has already loaded /a.so, and /b.so is asked for"
        );
    }

    #[test]
    fn what_failed_once_is_not_tried_again() {
        let once = Once::<u32>::new("tvm");
        let opened = |open: fn() -> Result<u32, String>| {
            let error = once.get(Path::new("/a.so"), open).unwrap_err();
            error.to_string()
        };
        let expected = "runtime `tvm` cannot be used: it is damaged";
        assert_eq!(opened(|| Err("it is damaged".to_owned())), expected);
        assert_eq!(opened(|| Ok(1)), expected);
    }
}
