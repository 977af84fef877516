//! The INA3221 of Jetson modules: volts and amperes of up to three rails a chip.
//!
//! `JetPack` 5 and later have the kernel's own driver: `inN_input` is millivolts, `currN_input` milliamperes,
//! `shuntN_resistor` microohms. Its `in4` to `in7` are voltages of shunts and their sum in microvolts, and no rails.
//! One step of the current is 40 uV at the shunt. `JetPack` 4 has a driver of NVIDIA's own, which tells milliwatts.
//! Sources: the kernel's `drivers/hwmon/ina3221.c` and `Documentation/hwmon/ina3221.rst`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use edgefront_protocol::{Microwatts, Rail, Scope, Step};

use super::boards::{self, Board};
use super::sysfs::{Number, entries, number_in, text_in};
use super::{Channel, Fault, Found, Meter, Quantity};

pub(super) const NAME: &str = "ina3221";

/// Channels of one chip.
const CHANNELS: u32 = 3;
/// Microvolts at the shunt that one step of the current is.
const SHUNT_STEP_UV: u64 = 40;
/// Shortest time between two readings: each goes over a bus that the board uses for other things, too.
const LEAST_PERIOD: Duration = Duration::from_millis(10);

/// All chips of a board.
struct Ina3221 {
    channels: Vec<Channel>,
    sensors: Vec<Sensor>,
    /// Positions of the rails that the last channel is the sum of; empty where a rail of its own is the total.
    parts: Vec<usize>,
    period: Duration,
}

/// One rail's files.
enum Sensor {
    /// Millivolts and milliamperes.
    Product(Number, Number),
    /// Milliwatts.
    Power(Number),
}

/// One rail as it was found.
struct Found3221 {
    label: String,
    sensor: Sensor,
    step: Option<Microwatts>,
}

pub(super) fn find(root: &Path, found: &mut Found) {
    let board = match boards::of(root) {
        Ok(board) => board,
        Err(fault) => return found.faults.push(fault),
    };
    let drivers = root.join("sys/bus/i2c/drivers");
    let (mut rails, mut period) = (Vec::new(), LEAST_PERIOD);
    for folder in below(&drivers.join("ina3221"), "hwmon") {
        for chip in entries(&folder) {
            for channel in 1..=CHANNELS {
                keep(hwmon(&chip, channel), &mut rails, &mut found.faults);
            }
            let interval = number_in(chip.join("update_interval")).unwrap_or_default();
            period = period.max(Duration::from_millis(interval.unwrap_or_default()));
        }
    }
    for folder in below(&drivers.join("ina3221x"), "") {
        for channel in 0..CHANNELS {
            keep(iio(&folder, channel), &mut rails, &mut found.faults);
        }
    }
    if !rails.is_empty() {
        let meter = Ina3221::new(rails, period, board.as_ref(), &mut found.faults);
        found.meters.push(Box::new(meter));
    }
}

/// Folders of this name in each device of a driver; of `iio:deviceN` where no name is given.
fn below(driver: &Path, name: &str) -> Vec<PathBuf> {
    let of_device = |device: PathBuf| {
        let folders = entries(&device).into_iter();
        folders.filter(move |folder| {
            let found = folder.file_name().unwrap_or_default().to_string_lossy();
            if name.is_empty() {
                found.starts_with("iio:device")
            } else {
                found == name
            }
        })
    };
    entries(driver).into_iter().flat_map(of_device).collect()
}

fn keep(rail: Result<Option<Found3221>, Fault>, rails: &mut Vec<Found3221>, faults: &mut Vec<Fault>) {
    match rail {
        Ok(rail) => rails.extend(rail),
        Err(fault) => faults.push(fault),
    }
}

/// A channel of the kernel's driver; `None` where there is none.
fn hwmon(chip: &Path, channel: u32) -> Result<Option<Found3221>, Fault> {
    let Some(label) = text_in(&chip.join(format!("in{channel}_label")))? else {
        return Ok(None);
    };
    connected(&label, channel)?;
    let volts = Number::open(chip.join(format!("in{channel}_input")))?;
    let amperes = Number::open(chip.join(format!("curr{channel}_input")))?;
    let (Some(volts), Some(amperes)) = (volts, amperes) else {
        return Ok(None);
    };
    // A channel that is switched off has its files, and an error in them.
    let millivolts = volts.read_unsigned()?;
    amperes.read_unsigned()?;
    let shunt = number_in(chip.join(format!("shunt{channel}_resistor")))?;
    // Microvolts by microohms are amperes, so this is millivolts x 1000 x amperes.
    let step = shunt
        .filter(|shunt| *shunt > 0)
        .map(|shunt| Microwatts(millivolts * 1000 * SHUNT_STEP_UV / shunt));
    Ok(Some(Found3221 {
        label,
        sensor: Sensor::Product(volts, amperes),
        step,
    }))
}

/// A channel of NVIDIA's driver; `None` where there is none.
fn iio(device: &Path, channel: u32) -> Result<Option<Found3221>, Fault> {
    let Some(label) = text_in(&device.join(format!("rail_name_{channel}")))? else {
        return Ok(None);
    };
    connected(&label, channel)?;
    let Some(power) = Number::open(device.join(format!("in_power{channel}_input")))? else {
        return Ok(None);
    };
    power.read_unsigned()?;
    Ok(Some(Found3221 {
        label,
        sensor: Sensor::Power(power),
        step: None,
    }))
}

fn connected(label: &str, channel: u32) -> Result<(), Fault> {
    if !label.is_empty() && !label.contains("NC") {
        return Ok(());
    }
    Err(Fault::NotConnected {
        meter: NAME,
        channel,
        label: label.to_owned(),
    })
}

impl Ina3221 {
    fn new(rails: Vec<Found3221>, period: Duration, board: Option<&Board>, faults: &mut Vec<Fault>) -> Self {
        let scope = |label: &str| board.and_then(|board| board.rails.get(label)).copied();
        let mut channels: Vec<Channel> = rails
            .iter()
            .map(|rail| channel(rail.label.clone(), scope(&rail.label), rail.step))
            .collect();
        let mut parts = Vec::new();
        if let Some(board) = board {
            let place = |label: &String| rails.iter().position(|rail| rail.label == *label);
            for label in board.rails.keys().filter(|label| place(label).is_none()) {
                faults.push(Fault::MissingRail {
                    meter: NAME,
                    board: board.name.clone(),
                    rail: label.clone(),
                });
            }
            // A sum without one of its parts would be too small and look like a total.
            let places: Option<Vec<usize>> = board.total.iter().map(place).collect();
            match places.as_deref() {
                Some(&[only]) => channels[only].rail.is_total = true,
                Some(several) => {
                    let steps = several.iter().map(|&part| rails[part].step);
                    let step = steps.sum::<Option<Microwatts>>();
                    let mut sum = channel(board.total.join("+"), Some(Scope::Module), step);
                    sum.rail.is_total = true;
                    channels.push(sum);
                    parts = several.to_vec();
                }
                None => {}
            }
        }
        Self {
            channels,
            sensors: rails.into_iter().map(|rail| rail.sensor).collect(),
            parts,
            period,
        }
    }
}

fn channel(label: String, scope: Option<Scope>, step: Option<Microwatts>) -> Channel {
    Channel {
        rail: Rail {
            meter: NAME.to_owned(),
            name: Some(label),
            scope: scope.unwrap_or(Scope::Part),
            is_total: false,
            is_estimate: false,
            step: step.map(Step::Power),
        },
        quantity: Quantity::Power,
    }
}

impl Meter for Ina3221 {
    fn rails(&self) -> &[Channel] {
        &self.channels
    }

    fn period(&self) -> Duration {
        self.period
    }

    fn read(&mut self) -> Result<Vec<u64>, Fault> {
        let mut values = self
            .sensors
            .iter()
            .map(Sensor::microwatts)
            .collect::<Result<Vec<_>, _>>()?;
        if !self.parts.is_empty() {
            values.push(self.parts.iter().map(|&part| values[part]).sum());
        }
        Ok(values)
    }
}

impl Sensor {
    fn microwatts(&self) -> Result<u64, Fault> {
        Ok(match self {
            Self::Product(volts, amperes) => volts.read_unsigned()?.saturating_mul(amperes.read_unsigned()?),
            Self::Power(power) => power.read_unsigned()?.saturating_mul(1000),
        })
    }
}
