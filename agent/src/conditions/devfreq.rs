//! Clocks of a board's graphics processor, where the kernel scales it by devfreq.

use std::path::Path;

use super::files::{entries, kept, number, text};
use super::{Clock, Moment};

/// What device trees call the graphics processors of Jetsons (`jtop/core/gpu.py` of `rbonghi/jetson_stats`).
const NAMES: [&str; 5] = ["gv11b", "gp10b", "ga10b", "gb10b", "gpu"];

/// One clock a graphics processor; memories and buses have entries beside it.
pub(super) fn look(root: &Path, moment: &mut Moment) {
    for entry in entries(&root.join("sys/class/devfreq"), "") {
        let node = kept(text(&entry.join("device/of_node/name")), &mut moment.faults);
        let own = entry.extension().map(|name| name.to_string_lossy().into_owned());
        let is_gpu = |name: &Option<String>| name.as_deref().is_some_and(|name| NAMES.contains(&name));
        if !is_gpu(&node) && !is_gpu(&own) {
            continue;
        }
        let faults = &mut moment.faults;
        let mut megahertz = |file: &str| {
            let hertz = kept(number(&entry.join(file)), faults)?;
            u32::try_from(hertz / 1_000_000).ok().filter(|&value| value > 0)
        };
        let clock = Clock {
            now: megahertz("cur_freq"),
            allowed: megahertz("max_freq"),
            possible: None,
        };
        moment.gpu.push(clock);
    }
}
