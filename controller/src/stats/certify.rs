//! When samples suffice to certify a percentile: the early-stopping rule of MLPerf Inference.
//!
//! `h` runs at or below a latency and `t` above it show, with confidence `c`, that at least a share `p` of
//! all runs stays below it where `I_p(h, t + 1) <= 1 - c`, with the regularized incomplete beta function
//! `I` (MLPerf Inference rules, appendix "Early Stopping", with tolerance `d = 0` and `c = 0.99`).

use super::beta;

/// Confidence with which a percentile is certified.
pub const CONFIDENCE: f64 = 0.99;

/// The fewest runs that certify the percentile `p` (a fraction between 0 and 1) when `over` of them took
/// longer than the latency in question.
pub fn needed_with(p: f64, over: u64) -> u64 {
    let refused =
        |under: u64| beta::regularized_incomplete(p, under as f64, over as f64 + 1.0) > 1.0 - CONFIDENCE;
    let mut enough = 1;
    while refused(enough) {
        enough *= 2;
    }
    let mut too_few = enough / 2;
    while enough - too_few > 1 {
        let middle = too_few + (enough - too_few) / 2;
        if refused(middle) {
            too_few = middle;
        } else {
            enough = middle;
        }
    }
    enough + over
}

/// The fewest runs that certify the percentile `p` at all: with one run above it, as the smallest case in
/// which a percentile was seen from both sides.
pub fn needed(p: f64) -> u64 {
    needed_with(p, 1)
}

/// How many runs are missing until `p` is certified; 0 where it is.
pub fn missing(p: f64, samples: u64) -> u64 {
    needed(p).saturating_sub(samples)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needs_as_many_runs_as_mlperf_states() {
        for (p, runs) in [
            (0.5, 11),
            (0.9, 64),
            (0.95, 130),
            (0.97, 219),
            (0.99, 662),
            (0.999, 6636),
        ] {
            assert_eq!(needed(p), runs, "P{}", p * 100.0);
        }
    }

    #[test]
    fn allows_three_slow_runs_of_1024_at_p99() {
        assert!(needed_with(0.99, 3) <= 1024);
        assert!(needed_with(0.99, 4) > 1024);
    }

    #[test]
    fn counts_what_is_missing() {
        assert_eq!(missing(0.99, 200), 462);
        assert_eq!(missing(0.99, 662), 0);
        assert_eq!(missing(0.99, 10_000), 0);
    }
}
