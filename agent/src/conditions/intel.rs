//! Thermal events of Intel's processors: each count is one time that a processor, or its package, was too hot.
//!
//! What limits of power do to the clock is not in them (the kernel's `therm_throt.c`). AMD's processors have no such
//! counters.

use std::path::Path;

use edgefront_protocol::Throttle;

use super::files::{entries, kept, number};
use super::{Moment, Sign, Value};

pub(super) fn look(root: &Path, moment: &mut Moment) {
    for processor in entries(&root.join("sys/devices/system/cpu"), "cpu") {
        for file in ["core_throttle_count", "package_throttle_count"] {
            let place = processor.join("thermal_throttle").join(file);
            if let Some(count) = kept(number(&place), &mut moment.faults) {
                let value = Value::Count(count.try_into().unwrap_or_default());
                let cause = Throttle::Throttled;
                moment.signs.push(Sign { cause, place, value });
            }
        }
    }
}
