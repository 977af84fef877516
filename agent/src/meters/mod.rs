//! Where the device tells its power.
//!
//! A *meter* is one driver on one sensor, with one file below this folder and one line in [`DRIVERS`]. It names its
//! *rails* and gives all their values at once. What is not there is absent, what cannot be read is a [`Fault`] that
//! names the file and the mend; no meter ever gives a power that it did not read.

mod battery;
mod boards;
mod hwmon;
mod ina3221;
mod pmic;
mod rapl;
mod sampler;
mod series;
mod sysfs;

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fmt, io};

use edgefront_protocol::{Meters, Rail};

pub(crate) use sampler::Sampler;

/// Every driver, the one that knows most of its sensor first.
const DRIVERS: [Driver; 5] = [ina3221::find, pmic::find, rapl::find, hwmon::find, battery::find];

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
    #[error(
        "{rail} gave the same value at all of {readings} readings, at rest and under load, so it is not believed"
    )]
    Stuck { rail: String, readings: usize },
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
    /// What stands in the way of others.
    pub(crate) faults: Vec<Fault>,
}

/// Looks for every meter below `root`.
pub(crate) fn find(root: &Path) -> Found {
    let mut found = Found::default();
    for driver in DRIVERS {
        driver(root, &mut found);
    }
    found
}

/// Every rail that is there, and why others are not, as the device tells its fleet.
pub(crate) fn announce(root: &Path) -> Meters {
    let found = find(root);
    let channels = found.meters.iter().flat_map(|meter| meter.rails());
    Meters {
        rails: channels.map(|channel| channel.rail.clone()).collect(),
        faults: found.faults.iter().map(ToString::to_string).collect(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
