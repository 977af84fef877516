//! What the ends of a job's rounds tell of the device as a whole.

use std::collections::BTreeSet;

use crate::conditions::{Fault, Moment};

/// The device as it was seen at the ends of rounds.
#[derive(Debug, Default)]
pub(super) struct Heat {
    governors: Vec<String>,
    max_temp_c: Option<f32>,
    faults: BTreeSet<Fault>,
}

impl Heat {
    pub(super) fn see(&mut self, moment: Moment) {
        self.governors = moment.governors;
        self.max_temp_c = self.max_temp_c.into_iter().chain(moment.temp_c).reduce(f32::max);
        self.faults.extend(moment.faults);
    }

    /// The governor as it was last; several, with commas, where groups of processors differ.
    pub(super) fn governor(&self) -> Option<String> {
        (!self.governors.is_empty()).then(|| self.governors.join(", "))
    }

    /// The highest temperature, in degrees Celsius.
    pub(super) fn max_temp_c(&self) -> Option<f32> {
        self.max_temp_c
    }

    /// What could not be read, a line each.
    pub(super) fn faults(&self) -> impl Iterator<Item = String> {
        self.faults.iter().map(ToString::to_string)
    }
}
