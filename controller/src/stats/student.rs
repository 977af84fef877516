//! Student's t distribution.

use super::beta;

/// The `t` that a variable of Student's distribution with `freedom` degrees of freedom stays within, on both sides of 0,
/// with a chance of 95 %.
///
/// The chance to stay within is `1 - I_x(freedom / 2, 1 / 2)` with `x = freedom / (freedom + t^2)` (NIST/SEMATECH
/// e-Handbook 1.3.6.6.4); solved by bisection.
pub fn t95(freedom: u32) -> f64 {
    let freedom = f64::from(freedom.max(1));
    let outside = |t: f64| beta::regularized_incomplete(freedom / (freedom + t * t), freedom / 2.0, 0.5);
    let (mut low, mut high) = (0.0, 16.0);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if outside(middle) > 0.05 {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
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
}
