//! Energy as it was metered. Figures per inference and their errors are derived later.
//!
//! A *meter* is one driver on one sensor; it has one or more *rails*. A *window* is a stretch of time over which a
//! rail's energy is known: the timed runs of a round, or a time at rest.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Microjoules, Microwatts, Nanos};

/// What a rail feeds. Figures of different scopes are not comparable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Scope {
    /// A part of the device that is not known better.
    Part,
    /// The processor alone, or a part of it.
    Soc,
    /// A graphics card.
    Gpu,
    /// A module with processor and memory, without the board that carries it.
    Module,
    /// The whole device behind its own power supply or battery.
    Board,
    /// The whole device with its power supply.
    Wall,
}

impl Scope {
    /// All of them, the narrowest first.
    pub const ALL: [Self; 6] = [
        Self::Part,
        Self::Soc,
        Self::Gpu,
        Self::Module,
        Self::Board,
        Self::Wall,
    ];

    /// As results and settings write it: `module`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Part => "part",
            Self::Soc => "soc",
            Self::Gpu => "gpu",
            Self::Module => "module",
            Self::Board => "board",
            Self::Wall => "wall",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The smallest difference that a rail's sensor can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// The sensor tells power.
    Power(Microwatts),
    /// The sensor counts energy.
    Energy(Microjoules),
}

/// One rail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rail {
    /// The meter: `ina3221`.
    pub meter: String,
    /// Its name on the meter: `VDD_IN`; `None` where the meter has only one.
    pub name: Option<String>,
    /// What it feeds.
    pub scope: Scope,
    /// Whether it holds all that its meter measures, so that no sum of rails is larger.
    pub is_total: bool,
    /// A model and no sensor.
    pub is_estimate: bool,
    /// What its sensor can tell; `None` where that is not known.
    pub step: Option<Step>,
}

/// What one rail took while one job ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RailEnergy {
    /// The rail.
    pub rail: Rail,
    /// The timed runs of each round, as `Latency::rounds` has them; `None` where the sensor gave too little.
    pub rounds: Vec<Option<Window>>,
    /// At rest before the first round.
    pub idle_before: Option<Window>,
    /// At rest after the last round.
    pub idle_after: Option<Window>,
}

/// The energy of a stretch of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// The stretch.
    pub time: Nanos,
    /// What flowed in it.
    pub energy: Microjoules,
    /// Readings of the sensor within it.
    pub readings: u32,
}

impl Window {
    /// Mean power in watts.
    pub fn mean_watts(&self) -> f64 {
        // Microjoules by nanoseconds are kilowatts.
        self.energy.0 as f64 / self.time.0.max(1) as f64 * 1e3
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_of_two_joules_in_half_a_second_has_four_watts() {
        let window = Window {
            time: Nanos(500_000_000),
            energy: Microjoules(2_000_000),
            readings: 50,
        };
        assert!((window.mean_watts() - 4.0).abs() < 1e-12);
    }
}
