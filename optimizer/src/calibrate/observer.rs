//! What is kept of the values of one activation.

use super::extremes::{sigmoid, silu};
use super::{Extremes, Histogram, NotFinite, Origin, energy, entropy, percentile};
use crate::simd::vectorized;

/// How the range of an activation is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// All that was seen is in range.
    Minmax,
    /// The range that loses the least information, by the Kullback-Leibler divergence of the quantized from
    /// the original distribution.
    Entropy,
    /// The range that holds a given part of the values.
    Percentile,
    /// The range of the least mean squared error.
    Mse,
}

impl Method {
    /// As it is written in recipes and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Minmax => "minmax",
            Self::Entropy => "entropy",
            Self::Percentile => "percentile",
            Self::Mse => "mse",
        }
    }
}

/// Keeps of a stream of values what methods need.
#[derive(Debug, Clone)]
pub(super) enum Observer {
    Extremes(Extremes),
    Histogram(Histogram),
}

impl Observer {
    /// Keeps what every one of these methods needs.
    pub(super) fn new(methods: &[Method]) -> Self {
        if methods.iter().all(|method| *method == Method::Minmax) {
            Self::Extremes(Extremes::default())
        } else {
            Self::Histogram(Histogram::default())
        }
    }

    /// Adds values. Where they are not finite, this observer is of no more use.
    pub(super) fn add(&mut self, values: &[f32]) -> Result<(), NotFinite> {
        match self {
            Self::Extremes(extremes) => {
                *extremes = extremes.union(vectorized(
                    #[inline(always)]
                    || Extremes::of(values),
                )?);
                Ok(())
            }
            Self::Histogram(histogram) => histogram.add(values),
        }
    }

    /// What would be kept of a value that follows from others, of which `known` tells what was kept.
    pub(super) fn of<'a>(origin: &Origin, known: impl Fn(&str) -> &'a Self) -> Self {
        match origin {
            Origin::Parts(parts) => {
                let mut parts = parts.iter().map(|part| known(part));
                let first = parts.next().expect("something is joined").clone();
                parts.fold(first, Self::joined)
            }
            Origin::Sigmoid(value) => known(value).mapped(sigmoid, Extremes::sigmoid),
            Origin::Silu(value) => known(value).mapped(silu, Extremes::silu),
        }
    }

    fn joined(mut self, other: &Self) -> Self {
        match (&mut self, other) {
            (Self::Extremes(own), Self::Extremes(other)) => *own = own.union(*other),
            (Self::Histogram(own), Self::Histogram(other)) => own.join(other),
            _ => unreachable!("all observers of a calibration keep the same"),
        }
        self
    }

    fn mapped(&self, function: fn(f32) -> f32, extremes: fn(Extremes) -> Extremes) -> Self {
        match self {
            Self::Extremes(own) => Self::Extremes(extremes(*own)),
            Self::Histogram(own) => Self::Histogram(own.map(function, extremes(own.extremes()))),
        }
    }

    /// The range to cover by a method that this observer was made for. `percent` of the values lie within by the
    /// method `percentile`; `step` is the step of a quantizer that covers a range.
    pub(super) fn range(&self, method: Method, percent: f64, step: impl Fn(Extremes) -> f32) -> Extremes {
        let histogram = match self {
            Self::Extremes(extremes) => return *extremes,
            Self::Histogram(histogram) => histogram,
        };
        match method {
            Method::Minmax => histogram.extremes(),
            Method::Entropy => {
                let all = histogram.extremes();
                let levels = (all.magnitude() / step(all)).round() as usize;
                let bins = entropy::threshold(&histogram.magnitudes(), levels);
                histogram.extremes_within([bins; 2])
            }
            Method::Percentile => {
                let tail = histogram.total() as f64 * (1.0 - percent / 100.0) / 2.0;
                histogram.extremes_within(histogram.sides().map(|side| percentile::within(side, tail)))
            }
            Method::Mse => {
                let noise = |bins| step(histogram.extremes_within([bins; 2])) / histogram.width();
                histogram.extremes_within([energy::threshold(&histogram.magnitudes(), noise); 2])
            }
        }
    }
}
