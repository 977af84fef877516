//! The range that loses the least information (Migacz, *8-bit Inference with TensorRT*, GTC 2017).
//!
//! For each candidate threshold, the reference distribution `P` is the histogram up to it, with all that lies
//! beyond added to its last bin; `Q` is the histogram up to it, spread evenly over the occupied bins of each
//! of the quantizer's levels. The candidate with the least Kullback-Leibler divergence `D(P || Q)` wins.
//!
//! Within a level of mass `S` over `n` occupied bins `Q` is `S / n` in each, so
//! `sum p log(p / q) = sum p log p - sum S log(S / n)`, and running sums over the bins give a candidate's
//! divergence in one step a level instead of one a bin.
//!
//! The divergence asks for the shape of the distribution within a level, which no quantizer keeps; the finer the
//! histogram, the more of the range is given up for it. So bins are added up until there are fewer than two of
//! them a level: at the quantizer's own resolution little of a range is given up, and never more than half.

/// The number of bins, from the first one on, that the quantizer's range should cover.
///
/// `counts` are by magnitude and end with an occupied bin. `levels` is how many steps the quantizer has from
/// zero to the end of its range, which are none where the range is smaller than the least step. Of equal
/// divergences the wider range wins.
pub(super) fn threshold(counts: &[u64], levels: usize) -> usize {
    let levels = levels.max(1);
    let width = (counts.len() / levels).max(1);
    let coarse: Vec<u64> = counts.chunks(width).map(|bins| bins.iter().sum()).collect();
    (coarse_threshold(&coarse, levels) * width).min(counts.len())
}

fn coarse_threshold(counts: &[u64], levels: usize) -> usize {
    let bins = counts.len();
    if bins <= levels {
        return bins;
    }
    let sums = Sums::of(counts);
    let mut best = (f64::INFINITY, bins);
    for candidate in levels..=bins {
        let divergence = sums.divergence(counts, candidate, levels);
        if divergence <= best.0 {
            best = (divergence, candidate);
        }
    }
    best.1
}

/// Running sums over the bins before each index.
struct Sums {
    mass: Vec<f64>,
    occupied: Vec<f64>,
    mass_log_mass: Vec<f64>,
}

impl Sums {
    fn of(counts: &[u64]) -> Self {
        let running = |term: fn(f64) -> f64| {
            let mut sum = 0.0;
            let before = counts.iter().map(|&count| {
                sum += term(count as f64);
                sum
            });
            std::iter::once(0.0).chain(before).collect()
        };
        Self {
            mass: running(|p| p),
            occupied: running(|p| f64::from(u8::from(p > 0.0))),
            mass_log_mass: running(x_log_x),
        }
    }

    /// `D(P || Q)` in nats where the range ends before bin `candidate`; infinite where `Q` gives the last bin
    /// no mass and `P` gives it the outliers.
    fn divergence(&self, counts: &[u64], candidate: usize, levels: usize) -> f64 {
        let bins = counts.len();
        let total = self.mass[bins];
        let kept = self.mass[candidate];
        let outliers = total - kept;
        let last = counts[candidate - 1] as f64;
        if outliers > 0.0 && last == 0.0 {
            return f64::INFINITY;
        }
        let mut cross = 0.0;
        let mut of_last = 0.0;
        let mut from = 0;
        for level in 1..=levels {
            let to = level * candidate / levels;
            let mass = self.mass[to] - self.mass[from];
            if mass > 0.0 {
                of_last = (mass / (self.occupied[to] - self.occupied[from])).ln();
                cross += mass * of_last;
            }
            from = to;
        }
        // The last bin holds the outliers in P, not in Q.
        let own = self.mass_log_mass[candidate] - x_log_x(last) + x_log_x(last + outliers);
        cross += outliers * of_last;
        (own - cross) / total - (total / kept).ln()
    }
}

fn x_log_x(x: f64) -> f64 {
    if x > 0.0 { x * x.ln() } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition, bin by bin.
    fn divergence(counts: &[u64], candidate: usize, levels: usize) -> f64 {
        let mut p: Vec<f64> = counts[..candidate].iter().map(|&c| c as f64).collect();
        p[candidate - 1] += counts[candidate..].iter().sum::<u64>() as f64;
        let mut q = vec![0.0; candidate];
        for level in 0..levels {
            let bins = level * candidate / levels..(level + 1) * candidate / levels;
            let occupied = counts[bins.clone()].iter().filter(|&&c| c > 0).count() as f64;
            let mass = counts[bins.clone()].iter().sum::<u64>() as f64;
            for bin in bins.filter(|&bin| counts[bin] > 0) {
                q[bin] = mass / occupied;
            }
        }
        let (p_sum, q_sum) = (p.iter().sum::<f64>(), q.iter().sum::<f64>());
        p.iter()
            .zip(&q)
            .filter(|(p, _)| **p > 0.0)
            .map(|(p, q)| p / p_sum * (p / p_sum / (q / q_sum)).ln())
            .sum()
    }

    #[test]
    fn few_bins_are_all_kept() {
        assert_eq!(threshold(&[], 128), 0);
        assert_eq!(threshold(&[3, 0, 1], 128), 3);
        assert_eq!(threshold(&[5], 0), 1);
    }

    #[test]
    fn a_lone_outlier_is_cut_off() {
        let mut counts: Vec<u64> = (0..300).map(|i| 1_000_000 / (1 + i)).collect();
        counts.resize(509, 0);
        *counts.last_mut().unwrap() = 1;
        assert!(threshold(&counts, 255) <= 300);
    }

    #[test]
    fn an_even_distribution_is_kept_whole() {
        assert_eq!(threshold(&vec![1000; 2048], 128), 2048);
    }

    proptest! {
        #[test]
        fn the_threshold_is_that_of_the_definition(
            mut counts in prop::collection::vec(prop_oneof![3 => 1_u64..10_000, 1 => Just(0_u64)], 20..200),
            levels in prop::sample::select(vec![4_usize, 8, 16]),
        ) {
            counts.push(1);
            let chosen = coarse_threshold(&counts, levels);
            let least = (levels..=counts.len()).map(|n| divergence(&counts, n, levels)).fold(f64::INFINITY, f64::min);
            prop_assert!(divergence(&counts, chosen, levels) <= least + 1e-9);
        }
    }
}
