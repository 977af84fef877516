//! When samples suffice to certify a percentile, and so when a job may end: the early-stopping rule of MLPerf Inference.
//!
//! `h` runs at or below a latency and `t` above it show, with confidence `c`, that at least a share `p` of
//! all runs stays below it where `I_p(h, t + 1) <= 1 - c`, with the regularized incomplete beta function
//! `I` (MLPerf Inference rules, appendix "Early Stopping", with tolerance `d = 0` and `c = 0.99`).

use std::fmt;
use std::str::FromStr;

use edgefront_protocol::Plan;
use edgefront_protocol::outcome::PERCENTILES;
use edgefront_stats::regularized_incomplete;
use serde::Deserialize;

/// Confidence with which a percentile is certified.
pub const CONFIDENCE: f64 = 0.99;

/// One of the percentiles that are told, by its place in [`PERCENTILES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Percentile(usize);

impl Percentile {
    const NAMES: [&str; PERCENTILES.len()] = ["p50", "p90", "p95", "p99", "p999"];

    /// All of them, from the least.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..PERCENTILES.len()).map(Self)
    }

    /// As results name it: `p99`.
    pub fn name(self) -> &'static str {
        Self::NAMES[self.0]
    }

    /// As a fraction of 1.
    pub fn share(self) -> f64 {
        PERCENTILES[self.0]
    }

    /// Its place in [`PERCENTILES`].
    pub fn index(self) -> usize {
        self.0
    }
}

impl fmt::Display for Percentile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Percentile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let place = Self::NAMES.iter().position(|name| *name == text);
        place
            .map(Self)
            .ok_or_else(|| format!("`{text}` is none of {}", Self::NAMES.join(", ")))
    }
}

impl TryFrom<String> for Percentile {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// The plan with as many runs at least as certify the percentile, if one is given.
pub fn certifying(plan: Plan, percentile: Option<Percentile>) -> Plan {
    let needed = percentile.map_or(0, |percentile| needed(percentile.share()));
    Plan {
        min_runs: plan.min_runs.max(u32::try_from(needed).unwrap_or(u32::MAX)),
        ..plan
    }
}

/// The fewest runs that certify the percentile `p` (a fraction between 0 and 1) when `over` of them took
/// longer than the latency in question.
pub fn needed_with(p: f64, over: u64) -> u64 {
    let refused = |under: u64| regularized_incomplete(p, under as f64, over as f64 + 1.0) > 1.0 - CONFIDENCE;
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
    fn a_plan_makes_as_many_runs_as_its_percentile_needs_and_no_fewer_than_before() {
        let runs = |min_runs, name: &str| {
            let plan = Plan {
                min_runs,
                ..Plan::default()
            };
            certifying(plan, Some(name.parse().unwrap())).min_runs
        };
        assert_eq!(
            (runs(200, "p99"), runs(200, "p90"), runs(200, "p999")),
            (662, 200, 6636)
        );
        assert_eq!(certifying(Plan::default(), None), Plan::default());
        assert_eq!(
            "p98".parse::<Percentile>(),
            Err("`p98` is none of p50, p90, p95, p99, p999".to_owned())
        );
    }

    #[test]
    fn counts_what_is_missing() {
        assert_eq!(missing(0.99, 200), 462);
        assert_eq!(missing(0.99, 662), 0);
        assert_eq!(missing(0.99, 10_000), 0);
    }
}
