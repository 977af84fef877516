//! Narrow counters of a few values, so small that they stay in a core's own cache.

use super::Extremes;
use super::histogram::BINS;

/// Values that are turned to bins at once, in a loop that the compiler vectorizes.
const BLOCK: usize = 256;

/// Where exact zeros go, which nobody reads.
const ZEROS: usize = 2 * BINS;

/// Counts by bin of values below zero and of values above it.
pub(super) struct Tables {
    /// The bins below zero, those above it, and [`ZEROS`].
    counts: Box<[[u16; Tables::LANES]]>,
    /// How many bins of each side may hold counts.
    used: [usize; 2],
}

impl Tables {
    /// Counters that take turns, so that runs of equal values do not wait for one.
    pub(super) const LANES: usize = 4;

    /// So many values overflow no counter.
    pub(super) const MOST: usize = u16::MAX as usize * Self::LANES;

    pub(super) fn new() -> Self {
        Self {
            counts: vec![[0; Self::LANES]; ZEROS + 1].into_boxed_slice(),
            used: [0; 2],
        }
    }

    /// Counts values of these extremes, at this many bins a unit.
    #[allow(clippy::inline_always)] // For the vectors of the caller.
    #[inline(always)]
    pub(super) fn count(&mut self, values: &[f32], extremes: Extremes, bins_per_unit: f32) {
        let mut bins = [0; BLOCK];
        for block in values.chunks(BLOCK) {
            for (bin, &value) in bins.iter_mut().zip(block) {
                let side = if value > 0.0 { BINS as u32 } else { 0 };
                let of_value = side | bin_of(value.abs(), bins_per_unit);
                *bin = if value == 0.0 { ZEROS as u32 } else { of_value };
            }
            for (turn, &bin) in bins[..block.len()].iter().enumerate() {
                let count = &mut self.counts[bin as usize][turn % Self::LANES];
                *count = count.wrapping_add(1);
            }
        }
        for (used, end) in self.used.iter_mut().zip([-extremes.min, extremes.max]) {
            if end > 0.0 {
                *used = (*used).max(bin_of(end, bins_per_unit) as usize + 1);
            }
        }
    }

    /// The counts of the two sides up to the last bin that was used, for the caller to take and to clear.
    pub(super) fn take(&mut self) -> [&mut [[u16; Self::LANES]]; 2] {
        let [below, above] = std::mem::take(&mut self.used);
        let (lower, upper) = self.counts.split_at_mut(BINS);
        [&mut lower[..below], &mut upper[..above]]
    }
}

/// The bin of a magnitude. All is done in floats, because a saturating conversion to an integer is not vectorized.
#[allow(clippy::inline_always)] // For the vectors of the caller.
#[inline(always)]
fn bin_of(magnitude: f32, bins_per_unit: f32) -> u32 {
    const LAST: f32 = (BINS - 1) as f32;
    /// From here to twice of it floats are the whole numbers, whose offset is in the low bits.
    const WHOLE: f32 = (1 << 23) as f32;
    let bins = magnitude * bins_per_unit;
    let bins = if bins < LAST { bins } else { LAST };
    let nearest = (bins + WHOLE) - WHOLE;
    let floor = if nearest > bins { nearest - 1.0 } else { nearest };
    (floor + WHOLE).to_bits() ^ WHOLE.to_bits()
}
