//! The regularized incomplete beta function, on which binomial tails and early stopping rest.

use std::f64::consts::PI;

/// `I_x(a, b)` for `a, b > 0` and `x` in 0..=1: the probability that at least `a` of `a + b - 1` Bernoulli
/// trials of chance `x` succeed, for whole `a` and `b`.
///
/// Lentz's evaluation of the continued fraction of NIST DLMF 8.17.22, on the side of the symmetry
/// `I_x(a, b) = 1 - I_{1-x}(b, a)` where it converges fast.
pub fn regularized_incomplete(x: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if x >= 1.0 {
        return 1.0;
    }
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - regularized_incomplete(1.0 - x, b, a);
    }
    let ln_front = a * x.ln() + b * (-x).ln_1p() - ln_beta(a, b);
    ln_front.exp() / a * continued_fraction(x, a, b)
}

/// Lentz's algorithm, with the letters of Numerical Recipes, 6.4.
#[allow(clippy::many_single_char_names)]
fn continued_fraction(x: f64, a: f64, b: f64) -> f64 {
    // The number of terms grows with the square root of the larger parameter; this is far beyond it.
    const MOST_TERMS: u32 = 1_000_000;
    let away_from_zero = |v: f64| {
        if v.abs() < f64::MIN_POSITIVE {
            f64::MIN_POSITIVE
        } else {
            v
        }
    };
    let mut c = 1.0;
    let mut d = 1.0 / away_from_zero(1.0 - (a + b) * x / (a + 1.0));
    let mut fraction = d;
    for term in 1..MOST_TERMS {
        let m = f64::from(term);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        for coefficient in [even, odd] {
            d = 1.0 / away_from_zero(1.0 + coefficient * d);
            c = away_from_zero(1.0 + coefficient / c);
            fraction *= c * d;
        }
        if (c * d - 1.0).abs() < 1e-15 {
            break;
        }
    }
    fraction
}

fn ln_beta(a: f64, b: f64) -> f64 {
    ln_gamma(a) + ln_gamma(b) - ln_gamma(a + b)
}

/// Lanczos' approximation with `g = 7` and nine terms (P. Godfrey's coefficients), for `x >= 0.5`; relative
/// error below 1e-14.
fn ln_gamma(x: f64) -> f64 {
    const COEFFICIENTS: [f64; 9] = [
        0.999_999_999_999_809_9,
        676.520_368_121_885_1,
        -1_259.139_216_722_402_8,
        771.323_428_777_653_1,
        -176.615_029_162_140_6,
        12.507_343_278_686_905,
        -0.138_571_095_265_720_12,
        9.984_369_578_019_572e-6,
        1.505_632_735_149_311_6e-7,
    ];
    let x = x - 1.0;
    let base = x + 7.5;
    let series = (1..)
        .zip(&COEFFICIENTS[1..])
        .map(|(i, c)| c / (x + f64::from(i)))
        .sum::<f64>();
    0.5 * (2.0 * PI).ln() + (x + 0.5) * base.ln() - base + (COEFFICIENTS[0] + series).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binomial_at_least(successes: u32, trials: u32, chance: f64) -> f64 {
        (successes..=trials)
            .map(|k| {
                let ways: f64 = (0..k).map(|i| f64::from(trials - i) / f64::from(i + 1)).product();
                ways * chance.powf(f64::from(k)) * (1.0 - chance).powf(f64::from(trials - k))
            })
            .sum()
    }

    #[test]
    fn equals_the_binomial_tail() {
        for trials in [1, 2, 5, 10, 40] {
            for successes in 1..=trials {
                for chance in [0.01, 0.3, 0.5, 0.9, 0.999] {
                    let (a, b) = (f64::from(successes), f64::from(trials - successes + 1));
                    let difference =
                        regularized_incomplete(chance, a, b) - binomial_at_least(successes, trials, chance);
                    assert!(
                        difference.abs() < 1e-12,
                        "{successes} of {trials} at {chance}: off by {difference}"
                    );
                }
            }
        }
    }

    #[test]
    fn is_a_half_in_the_middle_of_a_symmetric_distribution_of_any_size() {
        for a in [1.0, 10.0, 1e3, 1e6] {
            assert!((regularized_incomplete(0.5, a, a) - 0.5).abs() < 1e-7, "a = {a}");
        }
    }

    #[test]
    fn is_0_and_1_at_the_ends() {
        assert!(regularized_incomplete(0.0, 3.0, 4.0).abs() < f64::EPSILON);
        assert!((regularized_incomplete(1.0, 3.0, 4.0) - 1.0).abs() < f64::EPSILON);
    }
}
