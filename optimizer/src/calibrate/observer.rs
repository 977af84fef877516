//! What is kept of the values of one activation.

use super::{Extremes, Histogram, NotFinite, energy, entropy, percentile};
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

/// Keeps of a stream of values what its method needs.
#[derive(Debug, Clone)]
pub(super) enum Observer {
    Minmax(Extremes),
    Entropy(Histogram),
    Percentile(Histogram),
    Mse(Histogram),
}

impl Observer {
    pub(super) fn new(method: Method) -> Self {
        match method {
            Method::Minmax => Self::Minmax(Extremes::default()),
            Method::Entropy => Self::Entropy(Histogram::default()),
            Method::Percentile => Self::Percentile(Histogram::default()),
            Method::Mse => Self::Mse(Histogram::default()),
        }
    }

    /// Adds values. Where they are not finite, this observer is of no more use.
    pub(super) fn add(&mut self, values: &[f32]) -> Result<(), NotFinite> {
        match self {
            Self::Minmax(extremes) => {
                *extremes = extremes.union(vectorized(
                    #[inline(always)]
                    || Extremes::of(values),
                )?);
                Ok(())
            }
            Self::Entropy(histogram) | Self::Percentile(histogram) | Self::Mse(histogram) => {
                histogram.add(values)
            }
        }
    }

    /// The range to cover. `percent` of the values lie within by the method `percentile`; `step` is the step of
    /// a quantizer that covers a range.
    pub(super) fn range(&self, percent: f64, step: impl Fn(Extremes) -> f32) -> Extremes {
        match self {
            Self::Minmax(extremes) => *extremes,
            Self::Entropy(histogram) => {
                let all = histogram.extremes();
                let levels = (all.magnitude() / step(all)).round() as usize;
                let bins = entropy::threshold(&histogram.magnitudes(), levels);
                histogram.extremes_within([bins; 2])
            }
            Self::Percentile(histogram) => {
                let tail = histogram.total() as f64 * (1.0 - percent / 100.0) / 2.0;
                histogram.extremes_within(histogram.sides().map(|side| percentile::within(side, tail)))
            }
            Self::Mse(histogram) => {
                let noise = |bins| step(histogram.extremes_within([bins; 2])) / histogram.width();
                histogram.extremes_within([energy::threshold(&histogram.magnitudes(), noise); 2])
            }
        }
    }
}
