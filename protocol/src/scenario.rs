//! How queries come to a model while it is timed, after MLPerf's scenarios.
//!
//! A *query* is what one latency is of: one or more inferences that are wanted together.

use serde::{Deserialize, Serialize};

use crate::{Nanos, Target};

/// How queries come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Scenario {
    /// The next inference begins when the last one is over.
    #[default]
    Single,
    /// The same with queries of several samples.
    Multi {
        /// Samples of a query, a multiple of the target's batch.
        samples: u32,
    },
    /// All samples are there from the beginning; what counts is how many are done in a second.
    Offline,
    /// Queries of one inference come at random moments, and latency counts from when a query should have come. What is
    /// found is the highest rate that keeps P99 within a bound.
    Server {
        /// What P99 must not exceed.
        p99_bound: Nanos,
        /// Seeds the moments.
        seed: u64,
    },
}

impl Scenario {
    /// The name in command lines and results.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::Multi { .. } => "multi",
            Self::Offline => "offline",
            Self::Server { .. } => "server",
        }
    }

    /// What a configuration carries of it: `server20ms`. `None` for a single stream, which is what is meant where
    /// nothing is said.
    pub fn label(self) -> Option<String> {
        match self {
            Self::Single => None,
            Self::Multi { samples } => Some(format!("multi{samples}")),
            Self::Offline => Some(self.as_str().to_owned()),
            Self::Server { p99_bound, .. } => Some(format!("server{}ms", p99_bound.as_millis_f64())),
        }
    }

    /// Samples of one query on a target.
    pub fn samples_per_query(self, target: &Target) -> u32 {
        match self {
            Self::Multi { samples } => samples,
            _ => target.batch,
        }
    }

    /// Inferences of one query on a target; the error says why it has no whole number of them.
    pub fn inferences_per_query(self, target: &Target) -> Result<u32, String> {
        let samples = self.samples_per_query(target);
        match samples.checked_rem(target.batch) {
            Some(0) if samples > 0 => Ok(samples / target.batch),
            _ => Err(format!(
                "a query of {samples} samples is no whole number of batches of {}",
                target.batch
            )),
        }
    }
}

/// One trial of a rate in the server scenario.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    /// Queries a second that came on average.
    pub rate_qps: f64,
    /// Queries that were answered; fewer than asked for where it was clear before that P99 exceeds the bound.
    pub queries: u64,
    /// P99 of them by nearest rank, from when each should have come.
    pub p99: Nanos,
    /// Whether that is within the bound.
    pub kept: bool,
}
