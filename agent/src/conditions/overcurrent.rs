//! Over-current events of Jetsons, for each of which the hardware halves clocks for about a millisecond.

use std::path::Path;

use edgefront_protocol::Throttle;

use super::files::{entries, kept, number, text};
use super::{Moment, Sign, Value};

/// The counters of the sensor `soctherm_oc` since the start; which limit each counts differs by board.
pub(super) fn look(root: &Path, moment: &mut Moment) {
    for sensor in entries(&root.join("sys/class/hwmon"), "hwmon") {
        let name = kept(text(&sensor.join("name")), &mut moment.faults);
        if name.as_deref() != Some("soctherm_oc") {
            continue;
        }
        for limit in 1..=3 {
            let place = sensor.join(format!("oc{limit}_event_cnt"));
            if let Some(count) = kept(number(&place), &mut moment.faults) {
                let value = Value::Count(count.try_into().unwrap_or_default());
                let cause = Throttle::OverCurrent;
                moment.signs.push(Sign { cause, place, value });
            }
        }
    }
}
