//! The gauge of a battery: what the whole device takes while nothing charges it.
//!
//! `power_now` is microwatts, or `voltage_now` microvolts and `current_now` microamperes, which some drivers make
//! negative while the battery gives. Source: the kernel's `Documentation/ABI/testing/sysfs-class-power`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use edgefront_protocol::{Rail, Scope};

use super::sysfs::{Number, entries, text_in};
use super::{Channel, Fault, Found, Meter, Quantity};

const NAME: &str = "battery";
/// Gauges renew their values every few seconds.
const PERIOD: Duration = Duration::from_secs(1);

struct Battery {
    channel: [Channel; 1],
    status: PathBuf,
    gauge: Gauge,
}

enum Gauge {
    Power(Number),
    VoltsAndAmperes(Number, Number),
}

pub(super) fn find(root: &Path, found: &mut Found) {
    for folder in entries(&root.join("sys/class/power_supply")) {
        match battery(&folder) {
            Ok(Some(battery)) => found.meters.push(Box::new(battery)),
            Ok(None) => {}
            Err(fault) => found.faults.push(fault),
        }
    }
}

fn battery(folder: &Path) -> Result<Option<Battery>, Fault> {
    let is_battery = text_in(&folder.join("type"))?.as_deref() == Some("Battery");
    // Those of a mouse or a pen say whose they are.
    let is_of_device = text_in(&folder.join("scope"))?.as_deref() == Some("Device");
    if !is_battery || is_of_device {
        return Ok(None);
    }
    let gauge = match Number::open(folder.join("power_now"))? {
        Some(power) => Gauge::Power(power),
        None => match (
            Number::open(folder.join("voltage_now"))?,
            Number::open(folder.join("current_now"))?,
        ) {
            (Some(volts), Some(amperes)) => Gauge::VoltsAndAmperes(volts, amperes),
            _ => return Ok(None),
        },
    };
    let rail = Rail {
        meter: NAME.to_owned(),
        name: folder.file_name().map(|name| name.to_string_lossy().into_owned()),
        scope: Scope::Board,
        is_total: true,
        is_estimate: false,
        step: None,
    };
    let battery = Battery {
        channel: [Channel {
            rail,
            quantity: Quantity::Power,
        }],
        status: folder.join("status"),
        gauge,
    };
    battery.discharges()?;
    Ok(Some(battery))
}

impl Battery {
    /// While it charges or is full, the device lives on another supply of which it knows nothing.
    fn discharges(&self) -> Result<(), Fault> {
        let status = text_in(&self.status)?.unwrap_or_default();
        if status == "Discharging" {
            return Ok(());
        }
        Err(self.unreadable(format!(
            "the battery is `{status}`, so it does not tell what the device takes; unplug the charger"
        )))
    }

    fn unreadable(&self, reason: String) -> Fault {
        Fault::Unreadable {
            path: self.status.clone(),
            reason,
        }
    }
}

impl Meter for Battery {
    fn rails(&self) -> &[Channel] {
        &self.channel
    }

    fn period(&self) -> Duration {
        PERIOD
    }

    fn read(&mut self) -> Result<Vec<u64>, Fault> {
        self.discharges()?;
        let microwatts = match &self.gauge {
            Gauge::Power(power) => power.read()?.unsigned_abs(),
            Gauge::VoltsAndAmperes(volts, amperes) => {
                let product = u128::from(volts.read_unsigned()?) * u128::from(amperes.read()?.unsigned_abs());
                u64::try_from(product / 1_000_000).unwrap_or(u64::MAX)
            }
        };
        if microwatts == 0 {
            // A device that runs takes something.
            return Err(self.unreadable("it tells 0 W".to_owned()));
        }
        Ok(vec![microwatts])
    }
}
