//! Latencies as they are counted while a job runs, and the histogram that is sent in the end.
//!
//! The worker keeps no histogram: at five significant digits one takes megabytes, which would count as the
//! model's memory and push its data out of the caches. It sends its latencies after each round instead.

use std::collections::BTreeMap;

use edgefront_protocol::Nanos;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Serializer as _, V2Serializer};

/// Significant digits of the histogram.
const DIGITS: u8 = 5;

/// How often each latency in nanoseconds occurred.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    counts: BTreeMap<u64, u64>,
}

impl Tally {
    /// Adds one latency that occurred `count` times.
    pub fn record(&mut self, nanos: u64, count: u64) {
        *self.counts.entry(nanos).or_default() += count;
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Self) {
        for (&nanos, &count) in &other.counts {
            self.record(nanos, count);
        }
    }

    /// Number of runs.
    pub fn runs(&self) -> u64 {
        self.counts.values().sum()
    }

    /// Sum of the latencies.
    pub fn total(&self) -> Nanos {
        Nanos(self.counts.iter().map(|(nanos, count)| nanos * count).sum())
    }

    /// The run of rank `ceil(n / 2)`; `None` without runs.
    pub fn median(&self) -> Option<Nanos> {
        self.at_rank(self.runs().div_ceil(2))
    }

    /// The run of rank `ceil(p n)`, `p` being a fraction of 1; `None` without runs.
    pub fn percentile(&self, p: f64) -> Option<Nanos> {
        self.at_rank((p * self.runs() as f64).ceil().max(1.0) as u64)
    }

    /// The run of this rank, of which the fastest has 1; `None` where there are not as many.
    pub(crate) fn at_rank(&self, rank: u64) -> Option<Nanos> {
        let mut seen = 0;
        self.counts.iter().find_map(|(&nanos, count)| {
            seen += count;
            (seen >= rank).then_some(Nanos(nanos))
        })
    }

    /// Number of runs that took no longer than `latency`.
    pub fn at_most(&self, latency: Nanos) -> u64 {
        self.counts.range(..=latency.0).map(|(_, count)| count).sum()
    }

    /// The HDR histogram in V2 encoding, five significant digits.
    pub fn encode(&self) -> Vec<u8> {
        let highest = self.counts.keys().next_back().copied().unwrap_or_default();
        let mut histogram = Histogram::<u64>::new_with_max(highest.max(2), DIGITS)
            .expect("invariant: 1 to at least 2 at five digits is a valid range");
        for (&nanos, &count) in &self.counts {
            histogram.saturating_record_n(nanos, count);
        }
        let mut bytes = Vec::new();
        V2Serializer::new()
            .serialize(&histogram, &mut bytes)
            .expect("invariant: writing to memory does not fail");
        bytes
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use hdrhistogram::serialization::Deserializer;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn the_histogram_holds_every_run(mut nanos in prop::collection::vec(1..5_000_000_000u64, 1..60)) {
            let mut tally = Tally::default();
            for &value in &nanos {
                tally.record(value, 1);
            }
            nanos.sort_unstable();
            prop_assert_eq!(tally.runs() as usize, nanos.len());
            prop_assert_eq!(tally.total().0, nanos.iter().sum::<u64>());
            let median = tally.median().unwrap();
            prop_assert_eq!(median.0, nanos[nanos.len().div_ceil(2) - 1]);
            prop_assert_eq!(tally.percentile(0.5), Some(median));
            let p90 = tally.percentile(0.9).unwrap();
            prop_assert_eq!(p90.0, nanos[(0.9 * nanos.len() as f64).ceil() as usize - 1]);
            prop_assert_eq!(tally.at_most(p90) as usize, nanos.iter().filter(|&&n| n <= p90.0).count());
            let decoded: Histogram<u64> =
                Deserializer::new().deserialize(&mut tally.encode().as_slice()).unwrap();
            prop_assert_eq!(decoded.len() as usize, nanos.len());
            prop_assert_eq!(decoded.sigfig(), DIGITS);
            for step in decoded.iter_recorded() {
                let near = |value: &u64| value.abs_diff(step.value_iterated_to()) as f64 <= *value as f64 * 1e-5;
                prop_assert!(nanos.iter().any(near));
            }
        }

        #[test]
        fn merging_equals_recording_all_in_one(
            a in prop::collection::vec((1..100u64, 1..9u64), 0..20),
            b in prop::collection::vec((1..100u64, 1..9u64), 0..20),
        ) {
            let of = |counts: &[(u64, u64)]| {
                let mut tally = Tally::default();
                for &(nanos, count) in counts {
                    tally.record(nanos, count);
                }
                tally
            };
            let mut merged = of(&a);
            merged.merge(&of(&b));
            prop_assert_eq!(merged, of(&[a, b].concat()));
        }
    }
}
