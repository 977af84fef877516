//! An estimate where nothing is measured: power at rest, and more for each processor that works.
//!
//! Both figures come from the user's settings, as a meter at the plug once told them: there are none that hold for all
//! devices. Whatever it gives is marked as an estimate. It knows nothing of frequencies, of what an instruction costs, nor of
//! memory, so that it ranks variants by processor time alone. Time at work is that of `/proc/stat` (proc(5)).

use std::path::{Path, PathBuf};
use std::time::Duration;

use edgefront_protocol::{Microjoules, Rail, Scope, Step};
use serde::Deserialize;

use super::sysfs::text_in;
use super::{Channel, Fault, Found, Meter, Quantity};
use crate::clock::monotonic;
use crate::stat::Counters;

const NAME: &str = "cpu-time";
const PERIOD: Duration = Duration::from_millis(50);
/// Seconds in the unit of `/proc/stat`, which is the same on all of Linux's architectures.
const TICK: f64 = 0.01;

/// What the user knows of the device.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CpuPower {
    /// Watts of the device at rest.
    idle_w: f64,
    /// Watts more for each processor that works.
    core_w: f64,
}

impl CpuPower {
    /// Refuses what no device takes.
    pub(crate) fn checked(self) -> Result<Self, String> {
        let is_power = |watts: f64| (0.0..=1e4).contains(&watts);
        if is_power(self.idle_w) && is_power(self.core_w) {
            Ok(self)
        } else {
            Err("holds watts, each between 0 and 10000".to_owned())
        }
    }
}

struct CpuTime {
    path: PathBuf,
    channels: [Channel; 1],
    power: CpuPower,
    began: u64,
    /// Ticks at work when it began.
    first: u64,
}

pub(super) fn find(root: &Path, power: CpuPower, found: &mut Found) {
    let path = root.join("proc/stat");
    match busy(&path) {
        Ok(first) => found.meters.push(Box::new(CpuTime {
            path,
            channels: [channel(power)],
            power,
            began: monotonic(),
            first,
        })),
        Err(fault) => found.faults.push(fault),
    }
}

fn channel(power: CpuPower) -> Channel {
    Channel {
        rail: Rail {
            meter: NAME.to_owned(),
            name: None,
            scope: Scope::Board,
            is_total: true,
            is_estimate: true,
            step: Some(Step::Energy(Microjoules(micro(power.core_w * TICK)))),
        },
        quantity: Quantity::Energy,
    }
}

fn micro(value: f64) -> u64 {
    (value * 1e6).round() as u64
}

/// Ticks that all processors together were at work.
fn busy(path: &Path) -> Result<u64, Fault> {
    let unreadable = |reason: &str| Fault::Unreadable {
        path: path.to_owned(),
        reason: reason.to_owned(),
    };
    let text = text_in(path)?.ok_or_else(|| unreadable("it is not there"))?;
    let counters = Counters::parse(&text)
        .ok_or_else(|| unreadable("its first line does not tell the time of all processors"))?;
    Ok(counters.at_work())
}

impl Meter for CpuTime {
    fn rails(&self) -> &[Channel] {
        &self.channels
    }

    fn period(&self) -> Duration {
        PERIOD
    }

    fn read(&mut self) -> Result<Vec<u64>, Fault> {
        let at_work = busy(&self.path)?.saturating_sub(self.first) as f64 * TICK;
        let elapsed = monotonic().saturating_sub(self.began) as f64 / 1e9;
        let joules = self.power.idle_w * elapsed + self.power.core_w * at_work;
        Ok(vec![micro(joules)])
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_processor_at_work_takes_what_the_settings_say_and_it_is_an_estimate() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("proc")).unwrap();
        let stat = root.path().join("proc/stat");
        fs::write(&stat, "cpu  1000 0 0 9000 0 0 0 0 0 0\n").unwrap();
        let power = CpuPower {
            idle_w: 0.0,
            core_w: 1.5,
        };
        let mut found = Found::default();
        find(root.path(), power, &mut found);
        let meter = &mut found.meters[0];
        assert!(meter.rails()[0].rail.is_estimate);
        assert_eq!(meter.read().unwrap(), [0]);
        // 200 ticks are 2 s at work: 3 J.
        fs::write(&stat, "cpu  1150 0 50 9000 0 0 0 0 0 0\n").unwrap();
        assert_eq!(meter.read().unwrap(), [3_000_000]);
        fs::write(&stat, "garbage\n").unwrap();
        assert!(meter.read().is_err());
    }

    #[test]
    fn at_rest_it_takes_what_the_settings_say() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("proc")).unwrap();
        fs::write(root.path().join("proc/stat"), "cpu  10 0 0 90 0 0 0 0\n").unwrap();
        let power = CpuPower {
            idle_w: 2.0,
            core_w: 9.0,
        };
        let mut found = Found::default();
        let before = monotonic();
        find(root.path(), power, &mut found);
        let [value] = found.meters[0].read().unwrap()[..] else {
            panic!("one rail")
        };
        let most = (monotonic() - before) as f64 / 1e9 * 2e6 + 1.0;
        assert!((value as f64) <= most, "{value} {most}");
    }

    #[test]
    fn watts_that_are_none_are_refused() {
        for (idle_w, core_w) in [(f64::NAN, 1.0), (-1.0, 1.0), (1.0, f64::INFINITY)] {
            assert!(CpuPower { idle_w, core_w }.checked().is_err());
        }
    }
}
