//! A confidence interval of the median that supposes nothing of the distribution.

use super::beta;

/// The ranks of the two samples that enclose the median with a confidence of at least 95 %, symmetric about
/// the middle; `None` below 6 samples, where no two samples reach it.
///
/// The count of `n` independent samples below the median is binomial with chance 1/2, so the samples of
/// rank `l` and `n + 1 - l` enclose it with probability `1 - 2 P(B <= l - 1)`; `l` is the largest rank with
/// `P(B <= l - 1) <= 0.025` (David and Nagaraja, Order Statistics, 3rd ed., section 7.1). The ranks are
/// exact for every `n`: the tail is `I_{1/2}(n - l + 1, l)`.
pub fn interval_ranks(samples: u64) -> Option<(u64, u64)> {
    const TAIL: f64 = 0.025;
    let tail = |rank: u64| beta::regularized_incomplete(0.5, (samples - rank + 1) as f64, rank as f64);
    if samples == 0 || tail(1) > TAIL {
        return None;
    }
    let (mut fits, mut too_high) = (1, samples / 2 + 1);
    while too_high - fits > 1 {
        let middle = fits + (too_high - fits) / 2;
        if tail(middle) <= TAIL {
            fits = middle;
        } else {
            too_high = middle;
        }
    }
    Some((fits, samples + 1 - fits))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    #[test]
    fn equals_the_published_ranks() {
        // Conover, Practical Nonparametric Statistics; Hahn and Meeker, Statistical Intervals, table A.15.
        for (samples, ranks) in [
            (6, (1, 6)),
            (8, (1, 8)),
            (9, (2, 8)),
            (10, (2, 9)),
            (20, (6, 15)),
            (50, (18, 33)),
            (100, (40, 61)),
        ] {
            assert_eq!(interval_ranks(samples), Some(ranks), "n = {samples}");
        }
    }

    #[test]
    fn needs_six_samples() {
        assert_eq!(interval_ranks(0), None);
        assert_eq!(interval_ranks(1), None);
        assert_eq!(interval_ranks(5), None);
    }

    #[test]
    fn agrees_with_the_normal_approximation_for_many_samples() {
        for samples in [10_000_u64, 1_000_000, 100_000_000] {
            let n = samples as f64;
            let expected = n / 2.0 - 1.959_964 * n.sqrt() / 2.0;
            let (low, high) = interval_ranks(samples).unwrap();
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
        let (low, high) = interval_ranks(25).unwrap();
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
