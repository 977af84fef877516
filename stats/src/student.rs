//! Student's t distribution and Fisher's F.

use super::beta;

/// The `t` that a variable of Student's distribution with `freedom` degrees of freedom, at least 1, stays within, on both
/// sides of 0, with this chance.
///
/// The chance to stay within is `1 - I_x(freedom / 2, 1 / 2)` with `x = freedom / (freedom + t^2)` (NIST/SEMATECH
/// e-Handbook 1.3.6.6.4); solved by bisection.
pub fn t_within(chance: f64, freedom: f64) -> f64 {
    let freedom = freedom.max(1.0);
    let outside = |t: f64| beta::regularized_incomplete(freedom / (freedom + t * t), freedom / 2.0, 0.5);
    let is_exceeded = |t: f64| outside(t) > 1.0 - chance;
    let mut high = 16.0;
    // With two degrees of freedom, a chance of one in ten thousand is at 100.
    while is_exceeded(high) && high < 1e12 {
        high *= 2.0;
    }
    let mut low = 0.0;
    for _ in 0..100 {
        let middle = f64::midpoint(low, high);
        if is_exceeded(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

/// [`t_within`] a chance of 95 %.
pub fn t95(freedom: u32) -> f64 {
    t_within(0.95, f64::from(freedom))
}

/// The chance that Fisher's F with so many degrees of freedom exceeds `ratio`: `I_x(within / 2, between / 2)` with
/// `x = within / (within + between ratio)` (NIST/SEMATECH e-Handbook 1.3.6.6.5).
pub fn f_exceeds(ratio: f64, between: f64, within: f64) -> f64 {
    beta::regularized_incomplete(within / (within + between * ratio), within / 2.0, between / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Table A.2 of NIST/SEMATECH's e-Handbook, 1.3.6.7.2.
    #[test]
    fn the_quantiles_are_those_of_the_tables() {
        for (freedom, expected) in [
            (1, 12.706),
            (2, 4.303),
            (4, 2.776),
            (9, 2.262),
            (29, 2.045),
            (100, 1.984),
        ] {
            assert!(
                (t95(freedom) - expected).abs() < 5e-4,
                "{freedom}: {}",
                t95(freedom)
            );
        }
    }

    /// The quantile of one degree of freedom is a tangent, and that of two has a closed form as well.
    #[test]
    fn rare_chances_are_far_out() {
        let outside: f64 = 1e-6;
        let of_two = (1.0 - outside) * (2.0 / (outside * (2.0 - outside))).sqrt();
        let of_one = (std::f64::consts::FRAC_PI_2 * (1.0 - outside)).tan();
        for (freedom, expected) in [(2.0, of_two), (1.0, of_one)] {
            let found = t_within(1.0 - outside, freedom);
            assert!(
                (found / expected - 1.0).abs() < 1e-6,
                "{found} and not {expected}"
            );
        }
    }

    /// Table A.3 of the same, 1.3.6.7.3, and A.2 for one side of 80 %.
    #[test]
    fn other_chances_are_those_of_the_tables() {
        for (ratio, between, within) in [(1.975, 9.0, 100.0), (3.326, 5.0, 10.0), (4.965, 1.0, 10.0)] {
            let chance = f_exceeds(ratio, between, within);
            assert!((chance - 0.05).abs() < 5e-4, "{ratio}: {chance}");
        }
        assert!(
            (t_within(0.6, 9.0) - 0.883).abs() < 5e-4,
            "{}",
            t_within(0.6, 9.0)
        );
    }
}
