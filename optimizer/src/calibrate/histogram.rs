//! A histogram of a stream of values whose range is not known beforehand.
//!
//! Bins are of equal width over `[0, reach)` for the values above zero and for the magnitudes of those below,
//! and `reach` is a power of two. A value beyond it doubles the reach until it fits, by adding up neighbouring
//! bins. Scaling by powers of two is exact, so one pass over the data gives the very counts that a second pass
//! with the final reach would give. Memory does not grow with the data.

use super::{Extremes, NotFinite, tables::Tables};
use crate::simd::vectorized;

/// Bins of each side. The reach is at most twice the largest magnitude, so at least half of those of one side
/// are used.
pub(super) const BINS: usize = 4096;

/// Values that are looked at twice, for their extremes and then for their bins: they stay in the fastest cache.
const PIECE: usize = 4096;

/// The least reach is `2^LEAST`: below it, the number of bins per unit would overflow.
const LEAST: i32 = -100;

/// Counts of values, and their exact extremes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Histogram {
    /// The reach is two to this power; `None` until a value other than zero was seen.
    exponent: Option<i32>,
    /// Values below zero and values above it. Bin `i` counts magnitudes of `[i * width, (i + 1) * width)`.
    sides: [Vec<u64>; 2],
    /// All values, zeros included.
    total: u64,
    extremes: Extremes,
}

impl Histogram {
    /// Adds values. Where they are not finite, the histogram is of no more use.
    pub fn add(&mut self, values: &[f32]) -> Result<(), NotFinite> {
        vectorized(
            #[inline(always)]
            || {
                for part in values.chunks(Tables::MOST / PIECE * PIECE) {
                    self.add_part(part)?;
                }
                Ok(())
            },
        )
    }

    /// Adds at most [`Tables::MOST`] values.
    #[allow(clippy::inline_always)] // For the vectors of the caller.
    #[inline(always)]
    fn add_part(&mut self, values: &[f32]) -> Result<(), NotFinite> {
        let mut tables = Tables::new();
        for piece in values.chunks(PIECE) {
            let extremes = Extremes::of(piece)?;
            self.extremes = self.extremes.union(extremes);
            let magnitude = extremes.magnitude();
            let reached = |exponent| f64::from(magnitude) < 2_f64.powi(exponent);
            if magnitude > 0.0 && !self.exponent.is_some_and(reached) {
                self.empty(&mut tables);
                self.reach(magnitude);
            }
            if let Some(exponent) = self.exponent {
                tables.count(piece, extremes, bins_per_unit(exponent));
            }
        }
        self.total += values.len() as u64;
        self.empty(&mut tables);
        Ok(())
    }

    /// Takes over the counts of tables, which are empty afterwards.
    #[allow(clippy::inline_always)] // For the vectors of the caller.
    #[inline(always)]
    fn empty(&mut self, tables: &mut Tables) {
        for (side, counts) in self.sides.iter_mut().zip(tables.take()) {
            for (count, lanes) in side.iter_mut().zip(counts.iter_mut()) {
                *count += lanes.iter().copied().map(u64::from).sum::<u64>();
            }
            counts.fill([0; Tables::LANES]);
        }
    }

    /// Adds the values of another histogram, as if they had been added one by one.
    pub(super) fn join(&mut self, other: &Self) {
        self.extremes = self.extremes.union(other.extremes);
        self.total += other.total;
        let Some(theirs) = other.exponent else {
            return;
        };
        let mut other = other.clone();
        let reach = self.exponent.map_or(theirs, |own| own.max(theirs));
        self.widen(reach);
        other.widen(reach);
        for (own, theirs) in self.sides.iter_mut().zip(&other.sides) {
            for (own, theirs) in own.iter_mut().zip(theirs) {
                *own += theirs;
            }
        }
    }

    /// The histogram of a function of the values: of the middle of each bin, and of zero. `extremes` are those of
    /// the function's values.
    pub(super) fn map(&self, function: impl Fn(f32) -> f32, extremes: Extremes) -> Self {
        let mut mapped = Self {
            total: self.total,
            extremes,
            ..Self::default()
        };
        if extremes.magnitude() > 0.0 {
            mapped.widen(exponent_above(extremes.magnitude()));
        }
        let counted: u64 = self.sides.iter().flatten().sum();
        mapped.count(function(0.0), self.total - counted);
        for (side, sign) in self.sides.iter().zip([-1.0, 1.0]) {
            for (bin, &count) in side.iter().enumerate().filter(|(_, count)| **count > 0) {
                let middle = (bin as f32 + 0.5) * self.width() * sign;
                // The middle of a bin may lie beyond the last value.
                let middle = middle.clamp(self.extremes.min, self.extremes.max);
                mapped.count(function(middle), count);
            }
        }
        mapped
    }

    /// Counts a value so many times, within the reach.
    fn count(&mut self, value: f32, times: u64) {
        // Where nothing is counted, the extremes may be those of nothing.
        if times == 0 {
            return;
        }
        let value = value.clamp(self.extremes.min, self.extremes.max);
        if value != 0.0 {
            let bin = ((value.abs() / self.width()) as usize).min(BINS - 1);
            self.sides[usize::from(value > 0.0)][bin] += times;
        }
    }

    /// Exact extremes of all values.
    pub fn extremes(&self) -> Extremes {
        self.extremes
    }

    /// How many values were added, zeros included.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The extremes of the values in the first bins of the two sides, those beyond taken as lying at their end.
    pub fn extremes_within(&self, [below, above]: [usize; 2]) -> Extremes {
        let end = |bins: usize| bins as f32 * self.width();
        Extremes {
            min: self.extremes.min.max(-end(below)),
            max: self.extremes.max.min(end(above)),
        }
    }

    /// Width of a bin, or 0 where all values were zero.
    pub fn width(&self) -> f32 {
        self.exponent
            .map_or(0.0, |exponent| 1.0 / bins_per_unit(exponent))
    }

    /// Counts of the magnitudes of values below zero and of values above it, each up to the largest one.
    /// Exact zeros are left out, as every quantizer here keeps them exactly.
    pub fn sides(&self) -> [&[u64]; 2] {
        self.sides.each_ref().map(|side| used(side))
    }

    /// Counts by magnitude alone, up to the largest one, without exact zeros.
    pub fn magnitudes(&self) -> Vec<u64> {
        let [below, above] = &self.sides;
        let mut counts: Vec<u64> = below
            .iter()
            .zip(above)
            .map(|(below, above)| below + above)
            .collect();
        counts.truncate(used(&counts).len());
        counts
    }

    /// Doubles the reach until `magnitude` is within.
    fn reach(&mut self, magnitude: f32) {
        self.widen(exponent_above(magnitude));
    }

    /// Doubles the reach until it is two to this power.
    fn widen(&mut self, wanted: i32) {
        match self.exponent {
            None => self.sides = [vec![0; BINS], vec![0; BINS]],
            // After so many doublings all counts are in the first bin.
            Some(exponent) => {
                for _ in 0..(wanted - exponent).clamp(0, BINS.ilog2() as i32) {
                    self.sides.iter_mut().for_each(|side| halve(side));
                }
            }
        }
        self.exponent = self.exponent.max(Some(wanted));
    }
}

/// Adds up neighbouring bins, which halves the resolution and doubles the reach.
fn halve(side: &mut [u64]) {
    for i in 0..BINS / 2 {
        side[i] = side[2 * i] + side[2 * i + 1];
    }
    side[BINS / 2..].fill(0);
}

/// The bins up to the last one that is occupied.
fn used(counts: &[u64]) -> &[u64] {
    let last = counts.iter().rposition(|&count| count > 0);
    &counts[..last.map_or(0, |last| last + 1)]
}

/// The least `e` of at least [`LEAST`] with `magnitude < 2^e`.
fn exponent_above(magnitude: f32) -> i32 {
    let mut exponent = LEAST;
    while f64::from(magnitude) >= 2_f64.powi(exponent) {
        exponent += 1;
    }
    exponent
}

fn bins_per_unit(exponent: i32) -> f32 {
    (BINS as f64 / 2_f64.powi(exponent)) as f32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::calibrate::extremes::{sigmoid, silu};

    fn histogram(pieces: &[&[f32]]) -> Histogram {
        let mut histogram = Histogram::default();
        for piece in pieces {
            histogram.add(piece).unwrap();
        }
        histogram
    }

    #[test]
    fn zeros_and_empty_pieces_have_no_bins() {
        let empty = histogram(&[&[], &[0.0, -0.0]]);
        assert_eq!(
            (empty.width(), empty.magnitudes().len(), empty.total()),
            (0.0, 0, 2)
        );
        assert_eq!(empty.extremes(), Extremes { min: 0.0, max: 0.0 });
        let nothing = Histogram::default();
        for (function, extremes) in [
            (sigmoid as fn(f32) -> f32, nothing.extremes().sigmoid()),
            (silu, nothing.extremes().silu()),
        ] {
            assert_eq!(nothing.map(function, extremes), nothing);
        }
    }

    #[test]
    fn a_far_outlier_moves_all_into_the_first_bin() {
        let counts = histogram(&[&[1e-30, 2e-30, 3e-30], &[1e30]]);
        assert_eq!(counts.sides()[1][0], 3);
        assert_eq!(counts.sides()[1].iter().sum::<u64>(), 4);
    }

    #[test]
    fn subnormal_and_huge_magnitudes_are_counted() {
        let counts = histogram(&[&[f32::MIN_POSITIVE / 4.0], &[f32::MAX, f32::MIN]]);
        assert_eq!(counts.sides().map(|side| side.iter().sum::<u64>()), [1, 2]);
        assert!(counts.width().is_finite());
    }

    /// Bins up to the last one that is occupied, and what else is known.
    type Known<'a> = ([&'a [u64]; 2], f32, u64, Extremes);

    fn known(histogram: &Histogram) -> Known<'_> {
        (
            histogram.sides(),
            histogram.width(),
            histogram.total(),
            histogram.extremes(),
        )
    }

    proptest! {
        #[test]
        fn a_joined_histogram_is_that_of_all_values(
            pieces in prop::collection::vec(prop::collection::vec(-1e3_f32..1e3, 0..300), 1..6),
            scales in prop::collection::vec(prop_oneof![Just(0.0), 1e-6_f32..1e3], 6),
        ) {
            let pieces: Vec<Vec<f32>> = pieces.iter().zip(&scales)
                .map(|(piece, scale)| piece.iter().map(|v| v * scale).collect()).collect();
            let mut joined = Histogram::default();
            for piece in &pieces {
                joined.join(&histogram(&[piece]));
            }
            let all = histogram(&[&pieces.concat()]);
            prop_assert_eq!(known(&joined), known(&all));
        }

        #[test]
        fn a_mapped_histogram_has_each_value_within_a_bin_of_both(
            values in prop::collection::vec(prop_oneof![Just(0.0), -30_f32..30.0], 1..400),
        ) {
            let of_values = histogram(&[&values]);
            for (function, extremes) in [
                (sigmoid as fn(f32) -> f32, of_values.extremes().sigmoid()),
                (silu, of_values.extremes().silu()),
            ] {
                let mapped = of_values.map(function, extremes);
                let exact: Vec<f32> = values.iter().map(|&value| function(value)).collect();
                prop_assert_eq!(mapped.total(), values.len() as u64);
                let steepest = 1.1 * of_values.width() + mapped.width() + 1e-6;
                // Sorted, both are the same one by one but for that.
                let mut exact: Vec<f32> = exact.into_iter().filter(|value| *value != 0.0).collect();
                exact.sort_by(f32::total_cmp);
                let [below, above] = mapped.sides();
                let spread = |side: &[u64], sign: f32| -> Vec<f32> {
                    let middle = |bin: usize| (bin as f32 + 0.5) * mapped.width() * sign;
                    side.iter().enumerate().flat_map(|(bin, &count)| vec![middle(bin); count as usize]).collect()
                };
                let mut counted = [spread(below, -1.0), spread(above, 1.0)].concat();
                counted.sort_by(f32::total_cmp);
                prop_assert!(counted.len().abs_diff(exact.len()) <= values.len() / 10);
                if counted.len() == exact.len() {
                    for (a, b) in counted.iter().zip(&exact) {
                        prop_assert!((a - b).abs() <= steepest, "{a} {b}, {steepest}");
                    }
                }
            }
        }

        #[test]
        fn one_pass_counts_what_a_second_pass_with_the_final_reach_counts(
            pieces in prop::collection::vec(prop::collection::vec(-1e3_f32..1e3, 0..600), 1..6),
            scales in prop::collection::vec(1e-6_f32..1e3, 6),
        ) {
            let pieces: Vec<Vec<f32>> = pieces.iter().zip(&scales)
                .map(|(piece, scale)| piece.iter().map(|v| v * scale).collect()).collect();
            let streamed = histogram(&pieces.iter().map(Vec::as_slice).collect::<Vec<_>>());

            let all = pieces.concat();
            let largest = all.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
            prop_assume!(largest > 0.0);
            prop_assert!(largest >= streamed.width() * BINS as f32 / 2.0, "at least half the bins are used");
            let mut counts = [vec![0_u64; BINS], vec![0; BINS]];
            for value in all.iter().filter(|value| **value != 0.0) {
                let bin = (f64::from(value.abs()) / f64::from(streamed.width())) as usize;
                counts[usize::from(*value > 0.0)][bin] += 1;
            }
            let magnitudes: Vec<u64> = counts[0].iter().zip(&counts[1]).map(|(a, b)| a + b).collect();
            prop_assert_eq!(streamed.magnitudes(), used(&magnitudes));
            prop_assert_eq!(streamed.sides(), counts.each_ref().map(|side| used(side)));
            prop_assert_eq!(streamed.total(), all.len() as u64);
        }
    }
}
