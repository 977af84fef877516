//! The latencies of one measurement.

use serde::{Deserialize, Serialize};

/// Latency statistics in milliseconds. A percentile is `None` where the samples cannot reach it, and so is an interval.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct LatencyRecord {
    /// Median.
    pub p50: f64,
    /// 90th percentile.
    pub p90: Option<f64>,
    /// 95th percentile.
    pub p95: Option<f64>,
    /// 99th percentile.
    pub p99: Option<f64>,
    /// 99.9th percentile.
    pub p999: Option<f64>,
    /// Arithmetic mean.
    pub mean: f64,
    /// Fastest run.
    pub min: f64,
    /// Slowest run.
    pub max: f64,
    /// Timed runs.
    pub samples: u64,
    /// 95 % confidence interval of the median, by order statistics and by how the rounds differ; `None` below 6 samples.
    pub p50_ci95: Option<[f64; 2]>,
    /// Whether the samples suffice for P99 by MLPerf's early-stopping rule (662).
    pub p99_certified: bool,
    /// 95 % confidence intervals of the percentiles, as `p50_ci95`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p90_ci95: Option<[f64; 2]>,
    /// Of the 95th percentile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p95_ci95: Option<[f64; 2]>,
    /// Of the 99th percentile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p99_ci95: Option<[f64; 2]>,
    /// Of the 99.9th percentile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p999_ci95: Option<[f64; 2]>,
    /// 95 % confidence interval of the mean, by a bootstrap of the processes or rounds; `None` for fewer than 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean_ci95: Option<[f64; 2]>,
    /// Seed of that bootstrap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bootstrap_seed: Option<u64>,
    /// Standard deviation of the rounds' medians over their mean; `None` for fewer than two rounds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round_spread: Option<f64>,
    /// What it would be if the runs of a round had nothing in common, as the spread of the runs shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round_spread_explained: Option<f64>,
    /// Which percentiles the samples suffice for by MLPerf's early-stopping rule.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certification: Vec<CertificationRecord>,
    /// The rounds in the order in which they ran.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rounds: Vec<RoundRecord>,
}

/// Whether the samples suffice for a percentile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificationRecord {
    /// The percentile: `p99`.
    pub percentile: String,
    /// Whether they do.
    pub certified: bool,
    /// Runs that are missing until they do; 0 where they do.
    pub missing: u64,
}

/// One round of one measurement. Measurements whose rounds took turns can be compared round by round.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RoundRecord {
    /// Median of the round in milliseconds.
    pub p50: f64,
    /// Arithmetic mean of the round in milliseconds.
    pub mean: f64,
    /// Timed runs.
    pub runs: u64,
    /// Place in the shuffled order of the round, from 0.
    pub position: u32,
    /// Worker process that ran it, counted from 0.
    pub process: u32,
    /// When it began, in milliseconds since 1970 on the device's clock.
    pub started: u64,
}
