//! The range of the least mean squared error.
//!
//! A value within the range is off by a uniform part of a step, `step^2 / 12` on average (Widrow); one beyond
//! it is off by what it is beyond. A narrower range trades the second for the first.

/// The number of bins, from the first one on, that the quantizer's range should cover.
///
/// `counts` are by magnitude and end with an occupied bin; all values of a bin are taken to be in its middle.
/// `step` is the quantizer's step, in bins, where its range covers so many of them. Of equal errors the wider
/// range wins.
pub(super) fn threshold(counts: &[u64], step: impl Fn(usize) -> f32) -> usize {
    let mut within: f64 = counts.iter().map(|&count| count as f64).sum();
    // Sums over the bins beyond the range of 1, of the position and of its square.
    let mut beyond = (0.0, 0.0, 0.0);
    let mut best = (f64::INFINITY, counts.len());
    for bins in (1..=counts.len()).rev() {
        let end = bins as f64;
        let step = f64::from(step(bins));
        let clipped = beyond.2 - 2.0 * end * beyond.1 + end * end * beyond.0;
        let error = within * step * step / 12.0 + clipped;
        if error < best.0 {
            best = (error, bins);
        }
        let (count, middle) = (counts[bins - 1] as f64, end - 0.5);
        within -= count;
        beyond = (
            beyond.0 + count,
            beyond.1 + count * middle,
            beyond.2 + count * middle * middle,
        );
    }
    best.1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn step(bins: usize) -> f32 {
        bins as f32 / 16.0
    }

    /// The definition, value by value.
    fn error(counts: &[u64], bins: usize) -> f64 {
        let noise = f64::from(step(bins)).powi(2) / 12.0;
        let of_bin = |(bin, &count): (usize, &u64)| {
            let beyond = bin as f64 + 0.5 - bins as f64;
            count as f64 * if bin < bins { noise } else { beyond * beyond }
        };
        counts.iter().enumerate().map(of_bin).sum()
    }

    #[test]
    fn nothing_is_cut_from_nothing() {
        assert_eq!(threshold(&[], step), 0);
        assert_eq!(threshold(&[7], step), 1);
    }

    #[test]
    fn a_lone_outlier_is_cut_off() {
        let mut counts = vec![1_000_000_u64; 100];
        counts.resize(4000, 0);
        *counts.last_mut().unwrap() = 1;
        assert!(threshold(&counts, step) < 300);
    }

    proptest! {
        #[test]
        fn the_threshold_is_that_of_the_definition(
            mut counts in prop::collection::vec(prop_oneof![3 => 0_u64..10_000, 1 => Just(0_u64)], 1..200),
        ) {
            counts.push(1);
            let least = (1..=counts.len()).map(|bins| error(&counts, bins)).fold(f64::INFINITY, f64::min);
            prop_assert!(error(&counts, threshold(&counts, step)) <= least * (1.0 + 1e-9));
        }
    }
}
