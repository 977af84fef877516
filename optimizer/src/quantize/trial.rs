//! Which method chooses the ranges, where none is asked for: each of two makes a model, and the one whose outputs stay
//! closer to the float model's on some samples is taken.
//!
//! The least squared error of every activation by itself is mostly the better guide, but it cuts off rare large values
//! that the outputs of some networks hang on: torchvision's `SqueezeNet` and a U-Net lost 2 and 9 dB by it.

use std::io;

use edgefront_runtimes::Tensor;
use serde::{Deserialize, Serialize};

use super::Calibrated;
use crate::answers::Answers;
use crate::calibrate::run::Source;
use crate::calibrate::{Method, Samples, Statistics};
use crate::error::Error;
use crate::model::Model;
use crate::sensitivity::decibels;

/// The methods that are tried.
pub(super) const METHODS: [Method; 2] = [Method::Mse, Method::Minmax];

/// Samples that the models are compared on.
const SAMPLES: usize = 32;

/// Decibels by which a later method must be better: less is chance, which would fall otherwise on another machine.
const CLEARLY: f64 = 0.5;

/// How the method was chosen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    /// The method that was taken.
    pub method: Method,
    /// Samples that the models were compared on.
    pub samples: usize,
    /// What each method gave.
    pub trials: Vec<Trial>,
}

/// What a method gave.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// The method.
    pub method: Method,
    /// Signal to quantization noise ratio of the outputs in decibels; `None` where they do not change.
    pub sqnr_db: Option<f64>,
}

/// Gives `calibrated` the ranges of one of the candidates, and says how it was chosen; of the first one and nothing
/// where their outputs cannot be compared.
pub(super) fn choose(
    calibrated: &mut Calibrated,
    mut candidates: Vec<(Method, Statistics)>,
    model: &Model,
    source: &Source<'_>,
) -> Result<Option<Choice>, Error> {
    let samples = Spread {
        samples: source.samples,
        of: source.total,
        count: SAMPLES.min(source.total),
    };
    let mut source = Source {
        samples: &samples,
        total: samples.count,
        ..*source
    };
    source.total = Answers::holdable(model, &source)?;
    let reference = Answers::of(model, &source)?;
    let mut noise = |statistics: &Statistics| {
        calibrated.statistics = statistics.clone();
        let (variant, _) = calibrated.quantize(&calibrated.options.float_nodes)?;
        match Answers::of(&variant, &source) {
            Ok(answers) => Ok(answers.noise(&reference)),
            Err(error @ Error::Sample { .. }) => Err(error),
            // What the runtime at hand does not run may be for another one.
            Err(_) => Ok(f64::INFINITY),
        }
    };
    let noises: Vec<f64> = candidates
        .iter()
        .map(|(_, statistics)| noise(statistics))
        .collect::<Result<_, Error>>()?;
    let best = best(&noises);
    let trial = |(&(method, _), &noise): (&(Method, Statistics), &f64)| Trial {
        method,
        sqnr_db: Some(decibels(noise)).filter(|decibels| decibels.is_finite()),
    };
    let choice = Choice {
        method: candidates[best].0,
        samples: source.total,
        trials: candidates.iter().zip(&noises).map(trial).collect(),
    };
    calibrated.statistics = candidates.swap_remove(best).1;
    Ok(noises.iter().all(|noise| noise.is_finite()).then_some(choice))
}

/// The place of the least noise; of an earlier one where that is not clearly less.
fn best(noises: &[f64]) -> usize {
    let better = |best: usize, other: usize| {
        let gain = decibels(noises[other]) - decibels(noises[best]);
        if gain >= CLEARLY { other } else { best }
    };
    (1..noises.len()).fold(0, better)
}

/// Some of the first `of` samples, evenly spread: neighbours in a data set are often of one class.
struct Spread<'a> {
    samples: &'a dyn Samples,
    of: usize,
    count: usize,
}

impl Samples for Spread<'_> {
    fn len(&self) -> usize {
        self.count
    }

    fn sample(&self, index: usize) -> io::Result<Vec<Tensor>> {
        self.samples.sample(index * self.of / self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_method_is_taken_where_it_is_clearly_better() {
        assert_eq!(best(&[1e-3]), 0);
        assert_eq!(best(&[1e-3, 0.95e-3]), 0);
        assert_eq!(best(&[1e-3, 0.8e-3]), 1);
        assert_eq!(best(&[0.0, 0.0]), 0);
        assert_eq!(best(&[1e-3, 0.0]), 1);
        assert_eq!(best(&[f64::INFINITY, f64::INFINITY]), 0);
        assert_eq!(best(&[f64::INFINITY, 1.0]), 1);
    }
}
