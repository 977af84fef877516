//! Temperatures of thermal zones.

use std::path::Path;

use super::Moment;
use super::files::{entries, kept, number, text};

/// Zones that tell no temperature: the power chip of the Jetson Nano always says 100 degrees
/// (github.com/ironsheep/RPi-Reporter-MQTT2HA-Daemon, issue 22).
const NO_SENSORS: [&str; 1] = ["PMIC-Die"];
/// Millidegrees that a board can have and run; zones whose sensor is off say 0, -40,000 or -256,000.
const POSSIBLE: std::ops::Range<i64> = 1..150_000;

/// The hottest zone.
pub(super) fn look(root: &Path, moment: &mut Moment) {
    for zone in entries(&root.join("sys/class/thermal"), "thermal_zone") {
        let kind = kept(text(&zone.join("type")), &mut moment.faults).unwrap_or_default();
        if NO_SENSORS.contains(&kind.as_str()) {
            continue;
        }
        let millidegrees = kept(number(&zone.join("temp")), &mut moment.faults);
        if let Some(millidegrees) = millidegrees.filter(|value| POSSIBLE.contains(value)) {
            let degrees = millidegrees as f32 / 1000.0;
            moment.temp_c = Some(moment.temp_c.map_or(degrees, |hottest| hottest.max(degrees)));
        }
    }
}
