//! Cooling devices that slow a processor: by the kernel's thermal governors, and the alerts of Jetsons.
//!
//! An alert's state is 0 while all is well, 1 past its trip and 2 where it is gone (NVIDIA's `thermal-trip-event`). Fans
//! are cooling devices, too, and slow nothing.

use std::path::Path;

use edgefront_protocol::Throttle;

use super::files::{entries, kept, number, text};
use super::{Moment, Sign, Value};

/// How the kinds begin that cap a clock or make a processor idle; of the last two those of PCs.
const CAPS: [&str; 6] = [
    "cpufreq-",
    "thermal-cpufreq-",
    "devfreq-",
    "thermal-devfreq-",
    "Processor",
    "intel_powerclamp",
];
const ALERT: &str = "-throttle-alert";

pub(super) fn look(root: &Path, moment: &mut Moment) {
    for device in entries(&root.join("sys/class/thermal"), "cooling_device") {
        let Some(kind) = kept(text(&device.join("type")), &mut moment.faults) else {
            continue;
        };
        let is_cap = CAPS.iter().any(|beginning| kind.starts_with(beginning));
        let (cause, on) = if kind.ends_with(ALERT) {
            (Throttle::Throttled, 1..=1)
        } else if is_cap {
            (Throttle::FrequencyCapped, 1..=i64::MAX)
        } else {
            continue;
        };
        let place = device.join("cur_state");
        // Idle, intel_powerclamp says -1.
        if let Some(state) = kept(number(&place), &mut moment.faults) {
            let value = Value::Now(on.contains(&state));
            moment.signs.push(Sign { cause, place, value });
        }
    }
}
