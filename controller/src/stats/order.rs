//! Confidence intervals of percentiles by order statistics, which suppose nothing of the distribution.

use edgefront_stats::regularized_incomplete;

/// What lies outside the interval on each side.
const TAIL: f64 = 0.025;

/// The ranks of the two of `samples` runs that enclose the percentile `p` (a fraction of 1) with a confidence of at least
/// 95 %, where the runs say as much as `effective` independent ones; `None` where no two runs reach it.
///
/// The count of `n` independent runs below the percentile is binomial with chance `p`, so those of rank `l` and `u`
/// enclose it but for `P(B <= l - 1)` and `P(B >= u)`; `l` is the largest rank and `u` the smallest with at most 0.025
/// (David and Nagaraja, Order Statistics, 3rd ed., section 7.1). The tail is `I_{1-p}(n - l + 1, l)`, exact for every
/// `n`. Of `effective < samples` runs, which need not be whole, the ranks are stretched over all runs (Korn and Graubard,
/// Survey Methodology 24 (1998), for proportions, from which Woodruff, JASA 47 (1952), takes those of percentiles).
pub(super) fn interval_ranks(p: f64, effective: f64, samples: u64) -> Option<(u64, u64)> {
    let stretch = samples as f64 / effective;
    // A hair above, for ranks that are whole but for rounding.
    let below = |rank: f64| (rank * stretch + 1e-6).floor().max(1.0) as u64;
    let low = below(lowest_rank(1.0 - p, effective)?);
    let high = (samples + 1).checked_sub(below(lowest_rank(p, effective)?))?;
    (low <= high).then_some((low, high.min(samples)))
}

/// The largest rank `l >= 1`, not whole, whose tail `I_chance(n - l + 1, l)` is at most 0.025 of `n` runs; by bisection.
fn lowest_rank(chance: f64, n: f64) -> Option<f64> {
    let tail = |rank: f64| regularized_incomplete(chance, n - rank + 1.0, rank);
    if n < 1.0 || tail(1.0) > TAIL {
        return None;
    }
    let (mut fits, mut too_high) = (1.0, n);
    for _ in 0..60 {
        let middle = f64::midpoint(fits, too_high);
        if tail(middle) <= TAIL {
            fits = middle;
        } else {
            too_high = middle;
        }
    }
    Some(fits)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    /// Of independent runs, about the median.
    fn ranks(samples: u64) -> Option<(u64, u64)> {
        interval_ranks(0.5, samples as f64, samples)
    }

    #[test]
    fn equals_the_published_ranks() {
        // Conover, Practical Nonparametric Statistics; Hahn and Meeker, Statistical Intervals, table A.15.
        for (samples, expected) in [
            (6, (1, 6)),
            (8, (1, 8)),
            (9, (2, 8)),
            (10, (2, 9)),
            (20, (6, 15)),
            (50, (18, 33)),
            (100, (40, 61)),
        ] {
            assert_eq!(ranks(samples), Some(expected), "n = {samples}");
        }
    }

    #[test]
    fn needs_six_samples() {
        assert_eq!(ranks(0), None);
        assert_eq!(ranks(1), None);
        assert_eq!(ranks(5), None);
    }

    /// Of 100 runs, fewer than 84 lie below P90 with a chance of 0.0206, and 96 or more with one of 0.0237.
    #[test]
    fn encloses_other_percentiles_where_there_are_runs_enough() {
        assert_eq!(interval_ranks(0.9, 100.0, 100), Some((84, 96)));
        // 0.9^n <= 0.025 from 36 runs on; 0.99^n from 368, 0.999^n from 3,688.
        for (p, fewest) in [(0.9, 36_u64), (0.95, 72), (0.99, 368), (0.999, 3_688)] {
            assert!(interval_ranks(p, fewest as f64, fewest).is_some(), "{p}");
            assert_eq!(interval_ranks(p, fewest as f64 - 1.0, fewest - 1), None, "{p}");
        }
    }

    #[test]
    fn runs_that_say_less_enclose_more() {
        let (low, high) = interval_ranks(0.5, 25.0, 1_000).unwrap();
        // The tail of 25 is 0.025 at rank 8.147, which is rank 325.9 of 1,000.
        assert_eq!((low, high), (325, 676));
        assert_eq!(interval_ranks(0.5, 5.0, 1_000), None);
    }

    #[test]
    fn agrees_with_the_normal_approximation_for_many_samples() {
        for samples in [10_000_u64, 1_000_000, 100_000_000] {
            let n = samples as f64;
            let expected = n / 2.0 - 1.959_964 * n.sqrt() / 2.0;
            let (low, high) = ranks(samples).unwrap();
            assert!(
                (low as f64 - expected).abs() <= 2.0,
                "n = {samples}: {low} for {expected}"
            );
            assert_eq!(low + high, samples + 1);
        }
    }

    /// The exact coverage at n = 25 is 0.9567 (ranks 8 and 18), so 4,000 seeded trials of a skewed
    /// distribution stay within four standard errors of it.
    #[test]
    fn covers_the_median_as_often_as_it_claims() {
        let mut random = SmallRng::seed_from_u64(1);
        let median = 2.0_f64.ln();
        let (low, high) = ranks(25).unwrap();
        assert_eq!((low, high), (8, 18));
        let trials = 4_000;
        let covered = (0..trials)
            .filter(|_| {
                let mut samples: Vec<f64> = (0..25).map(|_| -(1.0 - random.random::<f64>()).ln()).collect();
                samples.sort_by(f64::total_cmp);
                samples[low as usize - 1] <= median && median <= samples[high as usize - 1]
            })
            .count();
        let share = covered as f64 / f64::from(trials);
        assert!(
            (share - 0.9567).abs() < 4.0 * (0.9567_f64 * 0.0433 / f64::from(trials)).sqrt(),
            "{share}"
        );
    }
}
