//! The scenario of a study, from what users say of it.

use std::time::Duration;

use edgefront_protocol::Scenario;
use serde::Deserialize;

use crate::ui::UsageError;

/// The batches that are tried offline where none are given.
pub(crate) const SWEEP: [u32; 6] = [1, 2, 4, 8, 16, 32];

/// Samples of a query of several streams, as MLPerf has them.
const STREAMS: u32 = 8;

/// The scenarios by name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Name {
    /// One inference after the other.
    #[default]
    Single,
    /// One query of several samples after the other.
    Multi,
    /// All samples at once: the batch of the highest throughput.
    Offline,
    /// Queries at random moments: the highest rate that keeps P99 within --p99-bound.
    Server,
}

/// What users say of a scenario.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    /// Which one.
    pub name: Name,
    /// What P99 must not exceed.
    pub p99_bound: Option<Duration>,
    /// Samples of a query.
    pub samples_per_query: Option<u32>,
}

impl Asked {
    /// The scenario, with the seed of the moments at which queries come. What it needs is there, and what it does not
    /// know is not.
    pub(crate) fn scenario(self, seed: u64) -> anyhow::Result<Scenario> {
        let Self {
            name,
            p99_bound,
            samples_per_query,
        } = self;
        if p99_bound.is_some() && name != Name::Server {
            return Err(UsageError::new("a bound of P99 is for --scenario server alone"));
        }
        if samples_per_query.is_some() && name != Name::Multi {
            return Err(UsageError::new(
                "samples per query are for --scenario multi alone",
            ));
        }
        match (name, p99_bound) {
            (Name::Single, _) => Ok(Scenario::Single),
            (Name::Multi, _) => Ok(Scenario::Multi {
                samples: samples_per_query.unwrap_or(STREAMS),
            }),
            (Name::Offline, _) => Ok(Scenario::Offline),
            (Name::Server, Some(bound)) if !bound.is_zero() => Ok(Scenario::Server {
                p99_bound: bound.into(),
                seed,
            }),
            (Name::Server, _) => Err(UsageError::new(
                "the scenario server needs what P99 must not exceed; give --p99-bound, as in --p99-bound 20ms, or \
                 `p99_bound` in a study file",
            )),
        }
    }
}

/// The batches of a study: those that are given, or all that are tried offline, or one picture at a time.
pub(crate) fn batches(given: Option<Vec<u32>>, scenario: Scenario) -> Vec<u32> {
    given.unwrap_or_else(|| match scenario {
        Scenario::Offline => SWEEP.to_vec(),
        _ => vec![1],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(name: Name) -> Asked {
        Asked {
            name,
            ..Asked::default()
        }
    }

    #[test]
    fn a_scenario_has_what_it_needs_and_nothing_else() {
        assert_eq!(asked(Name::Single).scenario(3).unwrap(), Scenario::Single);
        assert_eq!(
            asked(Name::Multi).scenario(3).unwrap(),
            Scenario::Multi { samples: 8 }
        );
        let bound = Some(Duration::from_millis(20));
        let server = Asked {
            p99_bound: bound,
            ..asked(Name::Server)
        };
        assert_eq!(server.scenario(3).unwrap().label().as_deref(), Some("server20ms"));
        for refused in [
            asked(Name::Server),
            Asked {
                p99_bound: Some(Duration::ZERO),
                ..asked(Name::Server)
            },
            Asked {
                p99_bound: bound,
                ..asked(Name::Offline)
            },
            Asked {
                samples_per_query: Some(8),
                ..server
            },
        ] {
            assert!(refused.scenario(3).is_err(), "{refused:?}");
        }
    }

    #[test]
    fn offline_tries_several_batches_unless_they_are_given() {
        assert_eq!(batches(None, Scenario::Offline), SWEEP);
        assert_eq!(batches(None, Scenario::Single), [1]);
        assert_eq!(batches(Some(vec![3]), Scenario::Offline), [3]);
    }
}
