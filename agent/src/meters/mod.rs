//! Where the device tells its power.
//!
//! A *meter* is one driver on one sensor, with one file below this folder and one line in [`DRIVERS`]. It names its
//! *rails* and gives all their values at once. What is not there is absent, what cannot be read is a [`Fault`] that
//! names the file and the mend; no meter ever gives a power that it did not read.

mod battery;
mod boards;
mod cpu_time;
mod external;
mod hwmon;
mod ina3221;
mod nvml;
mod pmic;
mod rapl;
mod sampler;
mod series;
mod survey;
mod sysfs;

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fmt, io};

use edgefront_protocol::{Meters, Rail};

pub(crate) use cpu_time::CpuPower;
pub(crate) use external::{External, Written};
pub(crate) use sampler::Sampler;
pub(crate) use survey::survey;

/// Where to look for meters.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sources {
    /// The root of the system whose sensors are read: `/`, or where a container finds its host's.
    pub system: PathBuf,
    /// Meters outside of the device.
    pub external: Vec<External>,
    /// By what to estimate power from processor time; `None`: not at all.
    pub cpu_power: Option<CpuPower>,
}

/// Every driver, the one that knows most of its sensor first.
const DRIVERS: [Driver; 6] = [
    ina3221::find,
    pmic::find,
    nvml::find,
    rapl::find,
    hwmon::find,
    battery::find,
];

/// Looks for a driver's meters below the root of a system: `/`, or a copy of the parts that are read.
type Driver = fn(&Path, &mut Found);

/// A sensor of power or energy.
pub(crate) trait Meter: Send {
    /// What it measures, in the order of its values.
    fn rails(&self) -> &[Channel];

    /// The shortest time in which its values change; asked more often it would repeat itself.
    fn period(&self) -> Duration;

    /// The values of this moment, one for each rail: microwatts or microjoules, as the rail's [`Quantity`] says.
    fn read(&mut self) -> Result<Vec<u64>, Fault>;
}

/// A rail and the form of its values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Channel {
    pub(crate) rail: Rail,
    pub(crate) quantity: Quantity,
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.rail.name {
            Some(name) => write!(f, "{} {name}", self.rail.meter),
            None => f.write_str(&self.rail.meter),
        }
    }
}

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quantity {
    /// Power in microwatts.
    Power,
    /// Energy in microjoules since some moment, which only grows.
    Energy,
}

/// Why a meter or a rail is not measured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    #[error("{} may not be read: {}", path.display(), mend(path))]
    Denied { path: PathBuf },
    #[error("{}: {reason}", path.display())]
    Unreadable { path: PathBuf, reason: String },
    #[error("{meter} of {board} should have the rail {rail}, which is not there")]
    MissingRail {
        meter: &'static str,
        board: String,
        rail: String,
    },
    #[error("channel {channel} of {meter} is not connected (its label is `{label}`)")]
    NotConnected {
        meter: &'static str,
        channel: u32,
        label: String,
    },
    #[error("{rail} gave the same value at all of {readings} readings, so it is not believed")]
    Stuck { rail: String, readings: usize },
    #[error("{0}")]
    External(String),
    #[error("{rail} gave no value, or none that changed")]
    Silent { rail: String },
    #[error(
        "{rail} gave a value every {every:.2?}, too seldom for rounds of {round:.2?}, so there is no energy; measure longer, \
         as with --min-time {needed:.0?}"
    )]
    TooSeldom {
        rail: String,
        every: Duration,
        round: Duration,
        needed: Duration,
    },
}

impl Fault {
    fn of(path: &Path, error: &io::Error) -> Self {
        let path = path.to_owned();
        match error.kind() {
            io::ErrorKind::PermissionDenied => Self::Denied { path },
            _ => Self::Unreadable {
                path,
                reason: error.to_string(),
            },
        }
    }
}

fn mend(path: &Path) -> String {
    format!(
        "let the agent's user read it (`chmod a+r {}` until the next start, or a rule of udev)",
        path.display()
    )
}

/// What was found on a device.
#[derive(Default)]
pub(crate) struct Found {
    /// Those that can be read.
    pub(crate) meters: Vec<Box<dyn Meter>>,
    /// Those that are listened to.
    pub(crate) external: Vec<External>,
    /// What stands in the way of others.
    pub(crate) faults: Vec<Fault>,
}

impl Found {
    /// What can be measured.
    fn channels(&self) -> Vec<Channel> {
        let read = self.meters.iter().flat_map(|meter| meter.rails()).cloned();
        read.chain(self.external.iter().map(External::channel)).collect()
    }
}

/// Looks for every meter.
pub(crate) fn find(sources: &Sources) -> Found {
    let mut found = Found {
        external: sources.external.clone(),
        ..Found::default()
    };
    for driver in DRIVERS {
        driver(&sources.system, &mut found);
    }
    if let Some(power) = sources.cpu_power {
        cpu_time::find(&sources.system, power, &mut found);
    }
    found
}

/// Every rail that is there, and why others are not, as the device tells its fleet.
pub(crate) fn announce(sources: &Sources) -> Meters {
    let found = find(sources);
    Meters {
        rails: found.channels().into_iter().map(|channel| channel.rail).collect(),
        faults: found.faults.iter().map(ToString::to_string).collect(),
    }
}

/// Reads `text` as each of those that come from elsewhere may be read.
pub(crate) fn fuzz(text: &[u8]) {
    let said = String::from_utf8_lossy(text);
    pmic::parse(&said);
    external::fuzz(text);
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
