//! What is kept of the values of one activation.

use super::{Extremes, Histogram, threshold};

/// How the range of an activation is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// All that was seen is in range.
    Minmax,
    /// The range that loses the least information, by the Kullback-Leibler divergence of the quantized from
    /// the original distribution.
    Entropy,
}

/// Keeps of a stream of values what its method needs.
#[derive(Debug, Clone)]
pub(super) enum Observer {
    Minmax(Extremes),
    Entropy(Histogram),
}

impl Observer {
    pub(super) fn new(method: Method) -> Self {
        match method {
            Method::Minmax => Self::Minmax(Extremes::default()),
            Method::Entropy => Self::Entropy(Histogram::default()),
        }
    }

    /// Adds values, which must be finite.
    pub(super) fn add(&mut self, values: &[f32]) {
        match self {
            Self::Minmax(extremes) => *extremes = extremes.union(Extremes::of(values)),
            Self::Entropy(histogram) => histogram.add(values),
        }
    }

    /// The range to cover. `levels` is how many steps a quantizer of values with these extremes has from zero
    /// to the end of its range.
    pub(super) fn range(&self, levels: impl Fn(Extremes) -> usize) -> Extremes {
        match self {
            Self::Minmax(extremes) => *extremes,
            Self::Entropy(histogram) => {
                let extremes = histogram.extremes();
                let bins = threshold(histogram.counts(), levels(extremes));
                let end = bins as f32 * histogram.width();
                Extremes {
                    min: extremes.min.max(-end),
                    max: extremes.max.min(end),
                }
            }
        }
    }
}
