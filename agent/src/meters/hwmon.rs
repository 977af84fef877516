//! Sensors of power and energy that the kernel shows in the form that all of them share.
//!
//! `powerN_input` and `powerN_average` are microwatts, `energyN_input` microjoules, `update_interval` and
//! `powerN_average_interval` milliseconds. Source: the kernel's `Documentation/hwmon/sysfs-interface.rst`.

use std::path::Path;
use std::time::Duration;

use edgefront_protocol::{Rail, Scope};

use super::sysfs::{Number, entries, number_in, text_in};
use super::{Channel, Fault, Found, Meter, Quantity, ina3221};

/// Shortest time between two readings of a sensor that does not say how often its values change.
const PERIOD: Duration = Duration::from_millis(20);

/// What sensors feed, by the name of their driver; of others it is not known.
const SCOPES: [(&str, Scope); 4] = [
    ("amdgpu", Scope::Gpu),
    ("amd_energy", Scope::Soc),
    ("power_meter", Scope::Board),
    ("zenpower", Scope::Soc),
];

/// One sensor's values.
struct Hwmon {
    channels: Vec<Channel>,
    period: Duration,
    files: Vec<Number>,
}

pub(super) fn find(root: &Path, found: &mut Found) {
    for folder in entries(&root.join("sys/class/hwmon")) {
        match sensor(&folder) {
            Ok(Some(sensor)) => found.meters.push(Box::new(sensor)),
            Ok(None) => {}
            Err(fault) => found.faults.push(fault),
        }
    }
}

fn sensor(folder: &Path) -> Result<Option<Hwmon>, Fault> {
    let name = text_in(&folder.join("name"))?.unwrap_or_default();
    // It tells volts and amperes, and its driver here knows its boards.
    if name == ina3221::NAME {
        return Ok(None);
    }
    let (mut channels, mut files) = (Vec::new(), Vec::new());
    for number in 1..=MOST_CHANNELS {
        let power = [format!("power{number}_input"), format!("power{number}_average")];
        for (kind, candidates) in [
            ("power", &power[..]),
            ("energy", &[format!("energy{number}_input")][..]),
        ] {
            let Some(file) = first(folder, candidates)? else {
                continue;
            };
            let label = text_in(&folder.join(format!("{kind}{number}_label")))?;
            files.push(file);
            channels.push(channel(&name, kind, number, label));
        }
    }
    if channels.is_empty() {
        return Ok(None);
    }
    if let [only] = &mut channels[..] {
        only.rail.is_total = true;
    }
    let interval = [
        number_in(folder.join("update_interval"))?,
        number_in(folder.join("power1_average_interval"))?,
    ];
    let interval = interval.into_iter().flatten().max().map(Duration::from_millis);
    Ok(Some(Hwmon {
        channels,
        period: interval.unwrap_or_default().max(PERIOD),
        files,
    }))
}

/// Channels that are looked for; drivers count from 1 and few have more than a handful.
const MOST_CHANNELS: u32 = 16;

/// The first of these files that is there.
fn first(folder: &Path, names: &[String]) -> Result<Option<Number>, Fault> {
    for name in names {
        if let Some(file) = Number::open(folder.join(name))? {
            return Ok(Some(file));
        }
    }
    Ok(None)
}

fn channel(sensor: &str, kind: &str, number: u32, label: Option<String>) -> Channel {
    let scope = SCOPES.iter().find(|(name, _)| *name == sensor);
    Channel {
        rail: Rail {
            meter: sensor.to_owned(),
            name: Some(label.unwrap_or_else(|| format!("{kind}{number}"))),
            scope: scope.map_or(Scope::Part, |(_, scope)| *scope),
            is_total: false,
            is_estimate: false,
            step: None,
        },
        quantity: match kind {
            "power" => Quantity::Power,
            _ => Quantity::Energy,
        },
    }
}

impl Meter for Hwmon {
    fn rails(&self) -> &[Channel] {
        &self.channels
    }

    fn period(&self) -> Duration {
        self.period
    }

    fn read(&mut self) -> Result<Vec<u64>, Fault> {
        self.files.iter().map(Number::read_unsigned).collect()
    }
}
