//! Governors and clocks of the processors.

use std::path::Path;

use super::files::{entries, kept, number, text};
use super::{Clock, Moment};

/// Where a policy is for each group of processors that share a clock.
const FOLDER: &str = "sys/devices/system/cpu/cpufreq";

/// One clock a policy.
pub(super) fn look(root: &Path, moment: &mut Moment) {
    for policy in entries(&root.join(FOLDER), "policy") {
        let faults = &mut moment.faults;
        let mut megahertz = |file: &str| {
            let kilohertz = kept(number(&policy.join(file)), faults)?;
            u32::try_from(kilohertz / 1_000).ok().filter(|&value| value > 0)
        };
        let clock = Clock {
            now: megahertz("scaling_cur_freq"),
            allowed: megahertz("scaling_max_freq"),
            possible: megahertz("cpuinfo_max_freq"),
        };
        moment.cpu.push(clock);
        let governor = kept(text(&policy.join("scaling_governor")), &mut moment.faults);
        moment.governors.extend(governor);
    }
    moment.governors.sort();
    moment.governors.dedup();
}
