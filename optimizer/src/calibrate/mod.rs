//! Calibration: what values the activations of a model take on samples of its input.
//!
//! The model runs once over the samples with the wanted activations as additional outputs. The values of each
//! batch go into one observer an activation and are dropped, so memory does not grow with the samples.

mod batch;
mod derived;
mod energy;
mod entropy;
mod extremes;
mod histogram;
mod means;
mod observe;
mod observer;
mod percentile;
pub(crate) mod run;
mod tables;

use std::collections::HashSet;
use std::io;

use edgefront_runtimes::{Registry, Tensor};

use crate::error::Error;

pub use derived::{Derived, Origin};
pub use extremes::{Extremes, NotFinite};
pub use histogram::Histogram;
pub use observe::{Statistics, observe};
pub use observer::Method;

/// Samples of a model's input, streamed: none is held longer than its batch.
pub trait Samples: Sync {
    /// Number of samples.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One tensor an input of the model, in its order, each with a leading batch axis of 1. The error names the
    /// file that cannot be read.
    fn sample(&self, index: usize) -> io::Result<Vec<Tensor>>;

    /// The class of a sample, where it is known.
    fn class(&self, _index: usize) -> Option<usize> {
        None
    }
}

/// With what and how a model is calibrated.
pub struct Calibration<'a> {
    /// The samples.
    pub samples: &'a dyn Samples,
    /// How many of them to use, from the first on; all where it is not given.
    pub limit: Option<usize>,
    /// How ranges are chosen: each gives ranges of its own.
    pub methods: &'a [Method],
    /// The part of the values that the method `percentile` covers, in percent.
    pub percentile: f64,
    /// Values whose channels' means are wanted.
    pub means: HashSet<String>,
    /// The step of a quantizer that covers a range.
    pub step: &'a (dyn Fn(Extremes) -> f32 + Sync),
    /// Where to run the model: on `ort` where its library is found, else on `tract`.
    pub runtimes: &'a Registry,
    /// Threads of the runtime, at least 1.
    pub threads: usize,
    /// Is told how many samples of how many are done.
    pub progress: &'a dyn Fn(usize, usize),
}

/// A sample, or why it cannot be had.
pub(crate) fn read(samples: &dyn Samples, index: usize) -> Result<Vec<Tensor>, Error> {
    let read = samples.sample(index);
    read.map_err(|source| Error::Sample { index, source })
}

fn refused(reason: impl Into<String>) -> Error {
    Error::Refused {
        pass: "calibration".to_owned(),
        reason: reason.into(),
    }
}
