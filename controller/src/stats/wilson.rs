//! A confidence interval of a rate.

/// Wilson's 95 % score interval of the rate `hits / trials`; `None` without trials or with more hits than
/// trials.
///
/// E. B. Wilson, Probable Inference, JASA 22 (1927): centre `(p + z²/2n) / (1 + z²/n)`, half width
/// `z / (1 + z²/n) * sqrt(p (1 - p) / n + z²/4n²)`, with `z` = 1.96 (0.975 quantile of the normal
/// distribution).
pub fn interval(hits: u64, trials: u64) -> Option<[f64; 2]> {
    const Z: f64 = 1.959_963_984_540_054;
    if trials == 0 || hits > trials {
        return None;
    }
    let n = trials as f64;
    let p = hits as f64 / n;
    let shrink = 1.0 + Z * Z / n;
    let centre = (p + Z * Z / (2.0 * n)) / shrink;
    let half = Z / shrink * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    // The ends are exact at no hits and at all hits; rounding must not push them out of 0..1.
    let low = if hits == 0 { 0.0 } else { (centre - half).max(0.0) };
    let high = if hits == trials {
        1.0
    } else {
        (centre + half).min(1.0)
    };
    Some([low, high])
}

/// The 95 % interval of the difference of two rates of separate trials, `b - a`, each given with its own interval.
///
/// R. G. Newcombe, Statistics in Medicine 17 (1998), 873-890, method 10: the distances from each rate to the ends of its
/// interval, added as squares.
pub fn difference(a: (f64, [f64; 2]), b: (f64, [f64; 2])) -> [f64; 2] {
    let ((rate_a, [low_a, high_a]), (rate_b, [low_b, high_b])) = (a, b);
    let difference = rate_b - rate_a;
    [
        difference - (rate_b - low_b).hypot(high_a - rate_a),
        difference + (high_b - rate_b).hypot(rate_a - low_a),
    ]
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    fn assert_interval(hits: u64, trials: u64, expected: [f64; 2]) {
        let [low, high] = interval(hits, trials).unwrap();
        assert!(
            (low - expected[0]).abs() < 5e-5 && (high - expected[1]).abs() < 5e-5,
            "{hits} of {trials}: {low}, {high}"
        );
    }

    #[test]
    fn equals_published_intervals() {
        // Newcombe, Statistics in Medicine 17 (1998), table I, method 3.
        assert_interval(81, 263, [0.2553, 0.3662]);
        assert_interval(15, 148, [0.0624, 0.1605]);
        assert_interval(0, 20, [0.0, 0.1611]);
        assert_interval(1, 29, [0.0061, 0.1718]);
    }

    #[test]
    fn all_hits_mirror_no_hits() {
        let [low, high] = interval(20, 20).unwrap();
        assert!((low - (1.0 - 0.1611)).abs() < 5e-5);
        assert!((high - 1.0).abs() < f64::EPSILON);
    }

    /// Table II of the paper, case (a): 56 of 70 less 48 of 80.
    #[test]
    fn the_difference_has_the_published_interval() {
        let of = |hits, trials| (hits as f64 / trials as f64, interval(hits, trials).unwrap());
        let [low, high] = difference(of(48, 80), of(56, 70));
        assert!(
            (low - 0.0524).abs() < 5e-5 && (high - 0.3339).abs() < 5e-5,
            "{low}, {high}"
        );
    }

    #[test]
    fn impossible_counts_have_no_interval() {
        assert_eq!(interval(0, 0), None);
        assert_eq!(interval(3, 2), None);
    }

    #[test]
    fn covers_the_rate_about_as_often_as_it_claims() {
        let mut random = SmallRng::seed_from_u64(2);
        let (rate, trials, repeats) = (0.9, 200, 3_000);
        let covered = (0..repeats)
            .filter(|_| {
                let hits = (0..trials).filter(|_| random.random::<f64>() < rate).count() as u64;
                interval(hits, trials).is_some_and(|[low, high]| (low..=high).contains(&rate))
            })
            .count();
        let share = covered as f64 / f64::from(repeats);
        assert!((0.93..0.97).contains(&share), "{share}");
    }
}
