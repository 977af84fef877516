//! What the firmware of Raspberry Pis tells of throttling.
//!
//! `get_throttled` is a number whose bits 0 to 3 tell of now and whose bits 16 to 19 tell that it happened since the
//! start, or since they were cleared (github.com/raspberrypi/documentation, `graphics-utilities.adoc`). A kernel's file has
//! it in older kernels of the board's maker, in hexadecimal without `0x`; else `vcgencmd` asks the firmware. A mainline
//! kernel tells of under-voltage alone, as an alarm of the sensor `rpi_volt`.

use std::path::{Path, PathBuf};

use edgefront_protocol::Throttle;

use super::files::{Fault, entries, kept, nonsense, number, text};
use super::{Moment, Sign, Value};
use crate::vcgencmd;

/// What each bit means, in its order.
const CAUSES: [Throttle; 4] = [
    Throttle::UnderVoltage,
    Throttle::FrequencyCapped,
    Throttle::Throttled,
    Throttle::SoftTemperatureLimit,
];
/// By how many bits those of the past are beside those of now.
const PAST: usize = 16;

pub(super) fn look(root: &Path, moment: &mut Moment) {
    let told = throttled(root).unwrap_or_else(|fault| {
        moment.faults.push(fault);
        None
    });
    if let Some((place, bits)) = told {
        moment.signs.extend(signs(&place, bits));
    }
    for sensor in entries(&root.join("sys/class/hwmon"), "hwmon") {
        let name = kept(text(&sensor.join("name")), &mut moment.faults);
        if name.as_deref() != Some("rpi_volt") {
            continue;
        }
        let place = sensor.join("in0_lcrit_alarm");
        if let Some(alarm) = kept(number(&place), &mut moment.faults) {
            let value = Value::Now(alarm != 0);
            let cause = Throttle::UnderVoltage;
            moment.signs.push(Sign { cause, place, value });
        }
    }
}

/// The bits and where they come from; `None` on another board.
fn throttled(root: &Path) -> Result<Option<(PathBuf, u32)>, Fault> {
    let file = root.join("sys/devices/platform/soc/soc:firmware/get_throttled");
    if let Some(text) = text(&file)? {
        let bits = u32::from_str_radix(text.trim_start_matches("0x"), 16);
        let bits = bits.map_err(|_| nonsense(&file, &text, "hexadecimal number"))?;
        return Ok(Some((file, bits)));
    }
    let board = text(&root.join("proc/device-tree/compatible"))?.unwrap_or_default();
    if !board.contains("raspberrypi,") {
        return Ok(None);
    }
    let program = vcgencmd::program(root);
    let said = vcgencmd::ask(&program, "get_throttled").map_err(|reason| Fault::Unreadable {
        path: program.clone(),
        reason: format!("throttling is not known: {reason}"),
    })?;
    let bits = parse(&said).ok_or_else(|| nonsense(&program, said.trim(), "`throttled=0x…`"))?;
    Ok(Some((program, bits)))
}

/// The number in what `vcgencmd get_throttled` prints: `throttled=0x50005`.
pub(crate) fn parse(said: &str) -> Option<u32> {
    let digits = said.trim().strip_prefix("throttled=0x")?;
    u32::from_str_radix(digits, 16).ok()
}

fn signs(place: &Path, bits: u32) -> impl Iterator<Item = Sign> {
    let is_set = move |bit: usize| bits >> bit & 1 == 1;
    CAUSES.into_iter().enumerate().flat_map(move |(bit, cause)| {
        [
            ("now", Value::Now(is_set(bit))),
            ("past", Value::Count(u64::from(is_set(bit + PAST)))),
        ]
        .map(|(when, value)| Sign {
            cause,
            place: place.join(format!("{bit}-{when}")),
            value,
        })
    })
}
