//! The one list of all runtimes of this build.

use crate::library::Search;
#[cfg(any(
    feature = "openvino",
    feature = "ort",
    feature = "tensorrt",
    feature = "tflite"
))]
use crate::locate::{self, Library};
use crate::null::Null;
use crate::{Error, Runtime};

/// The libraries of this build's runtimes, in the order in which people are shown them.
#[cfg(any(
    feature = "openvino",
    feature = "ort",
    feature = "tensorrt",
    feature = "tflite"
))]
const LIBRARIES: &[&Library] = &[
    #[cfg(feature = "ort")]
    &locate::ORT,
    #[cfg(feature = "openvino")]
    &locate::OPENVINO,
    #[cfg(feature = "tflite")]
    &locate::TFLITE,
    #[cfg(feature = "tensorrt")]
    &locate::TENSORRT,
];

/// All runtimes of this build, whether their libraries are on this machine or not.
pub struct Registry {
    runtimes: Vec<Box<dyn Runtime>>,
}

impl Registry {
    /// The runtimes that need no library: what they compute depends on nothing that is or is not installed.
    pub fn built_in() -> Self {
        Self {
            runtimes: vec![
                Box::new(Null),
                #[cfg(feature = "tract")]
                Box::new(crate::tract::Tract),
            ],
        }
    }

    /// The runtimes, which look for their libraries where `search` says.
    #[cfg_attr(
        not(any(
            feature = "openvino",
            feature = "ort",
            feature = "tensorrt",
            feature = "tflite"
        )),
        allow(unused_mut, unused_variables)
    )]
    pub fn new(search: &Search) -> Self {
        let mut registry = Self::built_in();
        #[cfg(feature = "ort")]
        registry.runtimes.push(Box::new(crate::ort::Ort::new(search)));
        #[cfg(feature = "openvino")]
        registry
            .runtimes
            .push(Box::new(crate::openvino::OpenVino::new(search)));
        #[cfg(feature = "tflite")]
        registry
            .runtimes
            .push(Box::new(crate::tflite::Tflite::new(search)));
        #[cfg(feature = "tensorrt")]
        registry
            .runtimes
            .push(Box::new(crate::tensorrt::TensorRt::new(search)));
        registry
    }

    /// All runtimes of this build, once a library that the user named serves: whoever names one wants nothing else
    /// in its place.
    pub fn checked(search: &Search) -> Result<Self, Error> {
        let registry = Self::new(search);
        #[cfg(any(
            feature = "openvino",
            feature = "ort",
            feature = "tensorrt",
            feature = "tflite"
        ))]
        registry.check_named(search)?;
        Ok(registry)
    }

    /// A path whose name does not say whose library it is must serve one runtime; a variable names its runtime.
    #[cfg(any(
        feature = "openvino",
        feature = "ort",
        feature = "tensorrt",
        feature = "tflite"
    ))]
    fn check_named(&self, search: &Search) -> Result<(), Error> {
        let mut unserved = None;
        let mut served = false;
        for library in LIBRARIES {
            let probe = || self.get(library.name)?.probe();
            if library.is_at_path(search) {
                match probe() {
                    Ok(_) => served = true,
                    Err(error) => unserved = unserved.or(Some(error)),
                }
            } else if library.is_in_environment() {
                probe()?;
            }
        }
        match unserved {
            Some(error) if !served => Err(error),
            _ => Ok(()),
        }
    }

    /// The runtime for models where the user chose none: ONNX Runtime, or tract where that is not installed. A
    /// library that is there and does not serve is an error.
    pub fn preferred(&self) -> Result<&dyn Runtime, Error> {
        let ort = self.get("ort").and_then(|ort| ort.probe().map(|_| ort));
        match ort {
            Err(Error::Missing { .. } | Error::Unknown { .. }) => self.get("tract"),
            found => found,
        }
    }

    /// The runtime of this name.
    pub fn get(&self, name: &str) -> Result<&dyn Runtime, Error> {
        self.iter()
            .find(|runtime| runtime.name() == name)
            .ok_or_else(|| Error::Unknown {
                name: name.to_owned(),
                known: self.iter().map(Runtime::name).collect::<Vec<_>>().join(", "),
            })
    }

    /// All runtimes, in the order in which people are shown them.
    pub fn iter(&self) -> impl Iterator<Item = &dyn Runtime> {
        self.runtimes.iter().map(AsRef::as_ref)
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter().map(Runtime::name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_found() {
        let registry = Registry::new(&Search::default());
        for runtime in registry.iter() {
            let found = registry.get(runtime.name()).map(Runtime::name);
            assert_eq!(found.ok(), Some(runtime.name()));
            let namesakes = registry.iter().filter(|other| other.name() == runtime.name());
            assert_eq!(namesakes.count(), 1, "{}", runtime.name());
        }
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        let registry = Registry::new(&Search::default());
        let error = registry.get("onnx").err().map(|error| error.to_string());
        assert!(
            error
                .as_ref()
                .is_some_and(|e| e.starts_with("unknown runtime `onnx`; this build has null, ")),
            "{error:?}"
        );
    }
}
