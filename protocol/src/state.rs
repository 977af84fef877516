//! The state of a device over the rounds of a job.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Nanos, Round};

/// How the device was while one round of one job ran, read right before it and right after it. `None`: the device does
/// not tell.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RoundState {
    /// Temperature of the hottest zone at the beginning and at the end, in degrees Celsius.
    pub temp_c: [Option<f32>; 2],
    /// Lowest and highest clock of the processors at the two ends, in MHz.
    pub cpu_mhz: Option<[u32; 2]>,
    /// The same of the graphics processor.
    pub gpu_mhz: Option<[u32; 2]>,
    /// What the device told of throttling, each cause once; empty where it told that there was none.
    pub throttling: Option<Vec<Throttle>>,
    /// What other processes took.
    pub load: Option<ForeignLoad>,
    /// The wait before it for the device to cool, where the plan has one.
    pub cooling: Option<Cooling>,
}

/// How a wait for the device to cool ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cooling {
    /// How long it was.
    pub time: Nanos,
    /// False where the plan's limit ended it.
    pub is_reached: bool,
}

impl RoundState {
    /// Whether the round was disturbed, so that its latencies are not those of the device left alone.
    pub fn is_disturbed(&self) -> bool {
        let causes = self.throttling.iter().flatten();
        let throttled = causes.copied().any(Throttle::is_disturbance);
        throttled || self.load.is_some_and(|load| load.is_excessive)
    }
}

/// Why a device runs slower than it can.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Throttle {
    /// The supply's voltage fell too low.
    UnderVoltage,
    /// Something holds the clock below what it may have.
    FrequencyCapped,
    /// The hardware or its firmware throttles, mostly from heat.
    Throttled,
    /// The temperature is past the one at which clocks begin to fall.
    SoftTemperatureLimit,
    /// A limit of current was passed, for which clocks are halved for about a millisecond.
    OverCurrent,
}

impl Throttle {
    /// Whether a round with it is measured again. Boards in their fastest mode pass limits of current all the time, for
    /// a hundredth of it.
    pub fn is_disturbance(self) -> bool {
        self != Self::OverCurrent
    }
}

impl fmt::Display for Throttle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnderVoltage => "under-voltage",
            Self::FrequencyCapped => "a capped clock",
            Self::Throttled => "throttling",
            Self::SoftTemperatureLimit => "the soft temperature limit",
            Self::OverCurrent => "over-current",
        })
    }
}

/// What others took of the processors over a round, in cores: 1 is one core all the time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ForeignLoad {
    /// Kept busy by other processes than the worker and its agent.
    pub cores: f32,
    /// Taken away by a hypervisor.
    pub stolen: f32,
    /// Threads of the worker that were ready to run and waited for a core; `None` where the kernel does not tell.
    pub waiting: Option<f32>,
    /// Whether that is more than the job's plan allows, beyond what the kernel's counters leave in doubt.
    pub is_excessive: bool,
}

/// A round that was disturbed and measured again: its latencies are not in the job's histogram.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SetAside {
    /// The round.
    pub round: Round,
    /// What disturbed it.
    pub state: RoundState,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn over_current_alone_disturbs_nothing() {
        let mut state = RoundState {
            throttling: Some(vec![Throttle::OverCurrent]),
            ..RoundState::default()
        };
        assert!(!state.is_disturbed() && !RoundState::default().is_disturbed());
        state.throttling = Some(vec![Throttle::OverCurrent, Throttle::UnderVoltage]);
        assert!(state.is_disturbed());
    }

    #[test]
    fn load_disturbs_where_it_is_excessive() {
        let with = |is_excessive| RoundState {
            load: Some(ForeignLoad {
                cores: 0.5,
                stolen: 0.0,
                waiting: None,
                is_excessive,
            }),
            ..RoundState::default()
        };
        assert!(with(true).is_disturbed() && !with(false).is_disturbed());
    }
}
