//! The power chip of the Raspberry Pi 5, by the firmware's `vcgencmd pmic_read_adc`: volts and amperes of what it feeds.
//!
//! A line each, `VDD_CORE_A current(7)=0.92871990A` and `VDD_CORE_V volt(15)=0.72097620V`, of which those of one name
//! belong together; `EXT5V` and `BATT` have no current. It does not feed what takes 5 V: USB, HATs, `NVMe`. Their sum was found
//! lower than a meter at the plug by a seventh and 0.6 W (github.com/jfikar/RPi5-power, one board), so it is told as that
//! of a module.

use std::path::{Path, PathBuf};
use std::time::Duration;

use edgefront_protocol::{Rail, Scope};

use super::sysfs::text_in;
use super::{Channel, Fault, Found, Meter, Quantity};
use crate::vcgencmd;

const NAME: &str = "pmic";
/// Each reading is a process and takes a tenth of a second, most of which it waits.
const PERIOD: Duration = Duration::from_millis(500);

struct Pmic {
    program: PathBuf,
    /// The last one is the sum of the others.
    channels: Vec<Channel>,
}

pub(super) fn find(root: &Path, found: &mut Found) {
    match pmic(root) {
        Ok(pmic) => found
            .meters
            .extend(pmic.map(|pmic| Box::new(pmic) as Box<dyn Meter>)),
        Err(fault) => found.faults.push(fault),
    }
}

/// `None` on another board.
fn pmic(root: &Path) -> Result<Option<Pmic>, Fault> {
    let compatible = text_in(&root.join("proc/device-tree/compatible"))?.unwrap_or_default();
    if !compatible.contains("raspberrypi,5") {
        return Ok(None);
    }
    let program = vcgencmd::program(root);
    let rails = said(&program)?;
    let mut channels: Vec<Channel> = rails.iter().map(|(name, _)| channel(name)).collect();
    let mut sum = channel("sum");
    sum.rail.is_total = true;
    channels.push(sum);
    Ok(Some(Pmic { program, channels }))
}

fn channel(name: &str) -> Channel {
    Channel {
        rail: Rail {
            meter: NAME.to_owned(),
            name: Some(name.to_owned()),
            scope: Scope::Module,
            is_total: false,
            is_estimate: false,
            step: None,
        },
        quantity: Quantity::Power,
    }
}

/// What the program says now: the power of each pair in microwatts, by name.
fn said(program: &Path) -> Result<Vec<(String, u64)>, Fault> {
    let unreadable = |reason: String| Fault::Unreadable {
        path: program.to_owned(),
        reason,
    };
    let text = vcgencmd::ask(program, "pmic_read_adc").map_err(unreadable)?;
    parse(&text).ok_or_else(|| {
        let line = text.lines().next().unwrap_or("nothing").trim();
        unreadable(format!("`pmic_read_adc` says `{line}` and no volts and amperes"))
    })
}

/// Microwatts of each name that has both volts and amperes, by name; `None` where there is none, or a number is none.
pub(crate) fn parse(text: &str) -> Option<Vec<(String, u64)>> {
    let (mut amperes, mut volts) = (Vec::new(), Vec::new());
    for line in text.lines() {
        let Some((name, value)) = line.trim().split_once(' ') else {
            continue;
        };
        let Some((_, value)) = value.split_once('=') else {
            continue;
        };
        if let (Some(name), Some(value)) = (name.strip_suffix("_A"), value.strip_suffix('A')) {
            amperes.push((name, number(value)?));
        } else if let (Some(name), Some(value)) = (name.strip_suffix("_V"), value.strip_suffix('V')) {
            volts.push((name, number(value)?));
        }
    }
    let pairs = amperes.into_iter().filter_map(|(name, amperes)| {
        let (_, volts) = volts.iter().find(|(other, _)| *other == name)?;
        Some((name.to_owned(), (volts * amperes * 1e6).round() as u64))
    });
    let pairs: Vec<_> = pairs.collect();
    (!pairs.is_empty()).then_some(pairs)
}

fn number(text: &str) -> Option<f64> {
    text.parse()
        .ok()
        .filter(|number: &f64| number.is_finite() && *number >= 0.0)
}

impl Meter for Pmic {
    fn rails(&self) -> &[Channel] {
        &self.channels
    }

    fn period(&self) -> Duration {
        PERIOD
    }

    fn read(&mut self) -> Result<Vec<u64>, Fault> {
        let mut values: Vec<u64> = said(&self.program)?.into_iter().map(|(_, power)| power).collect();
        values.push(values.iter().fold(0, |sum, power| sum.saturating_add(*power)));
        if values.len() == self.channels.len() {
            return Ok(values);
        }
        Err(Fault::Unreadable {
            path: self.program.clone(),
            reason: "it tells other rails than before".to_owned(),
        })
    }
}
