//! Intel's and AMD's running average power limit: counters of energy in the processor, through the kernel's powercap.
//!
//! A counter wraps at `max_energy_range_uj`: after 1.5 hours at 45 W on Intel's processors, 24 minutes on AMD's. Since
//! 2020 only root may read them (CVE-2020-8694). The zone `dram` lies below that of the package, whose counter does not
//! hold it; `core` and `uncore` are parts of the package. Sources: the kernel's
//! `Documentation/power/powercap/powercap.rst`, powercap/powercap issue 3.

use std::path::Path;
use std::time::{Duration, Instant};

use edgefront_protocol::{Rail, Scope};

use super::sysfs::{Number, entries, number_in, text_in};
use super::{Channel, Fault, Found, Meter, Quantity};

const NAME: &str = "rapl";
/// The counters change about once a millisecond; one hundred readings a second cost the least that windows of a
/// second need.
const PERIOD: Duration = Duration::from_millis(10);

/// More than any processor takes; a counter that says so was set back.
const MOST_WATTS: u64 = 5_000;

/// The counters that could be opened.
struct Rapl {
    channels: Vec<Channel>,
    zones: Vec<Zone>,
    /// Positions of the zones that the last channel is the sum of.
    parts: Vec<usize>,
}

/// One counter.
struct Zone {
    name: String,
    largest: u64,
    counter: Number,
    /// Its last value, and when that was.
    last: u64,
    last_at: Instant,
    /// What it has counted since it was found.
    counted: u64,
}

pub(super) fn find(root: &Path, found: &mut Found) {
    let folders = entries(&root.join("sys/class/powercap"));
    let (mut zones, mut is_whole) = (Vec::new(), true);
    for folder in folders.iter().filter(|folder| is_zone(folder)) {
        match zone(folder) {
            Ok(zone) => zones.extend(zone),
            // What holds for one counter holds for all.
            Err(fault @ Fault::Denied { .. }) => return found.faults.push(fault),
            Err(fault) => {
                is_whole = false;
                found.faults.push(fault);
            }
        }
    }
    if !zones.is_empty() {
        found.meters.push(Box::new(Rapl::new(zones, is_whole)));
    }
}

/// `intel-rapl:0` and `intel-rapl:0:1`, on AMD's processors too. `intel-rapl-mmio:0` is the same package once more.
fn is_zone(folder: &Path) -> bool {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with("intel-rapl:")
}

/// A counter; `None` where the folder has none.
fn zone(folder: &Path) -> Result<Option<Zone>, Fault> {
    let path = folder.join("energy_uj");
    let Some(counter) = Number::open(path.clone())? else {
        return Ok(None);
    };
    let unreadable = |reason: String| Fault::Unreadable { path, reason };
    let Some(largest) = number_in(folder.join("max_energy_range_uj"))? else {
        return Err(unreadable(
            "nothing tells at which value it begins again".to_owned(),
        ));
    };
    let last = counter.read_unsigned()?;
    if last > largest {
        return Err(unreadable(format!(
            "it holds {last}, beyond its range of {largest}"
        )));
    }
    let name = text_in(&folder.join("name"))?;
    Ok(Some(Zone {
        name: name.unwrap_or_else(|| folder.display().to_string()),
        largest,
        counter,
        last,
        last_at: Instant::now(),
        counted: 0,
    }))
}

impl Rapl {
    /// The processor is its packages and their memory. `psys` is what the maker of the machine wired to it, mostly all
    /// of it, and holds them. A sum without one of its parts would be too small and look like the whole, so that there is
    /// none where one could not be read.
    fn new(zones: Vec<Zone>, is_whole: bool) -> Self {
        let is_part = |zone: &Zone| zone.name.starts_with("package") || zone.name == "dram";
        let mut channels: Vec<Channel> = zones.iter().map(|zone| channel(&zone.name)).collect();
        let parts = (0..zones.len()).filter(|&index| is_whole && is_part(&zones[index]));
        let parts: Vec<usize> = parts.collect();
        match parts[..] {
            [] => {}
            [only] => channels[only].rail.is_total = true,
            _ => {
                let names: Vec<&str> = parts.iter().map(|&part| zones[part].name.as_str()).collect();
                let mut sum = channel(&names.join("+"));
                sum.rail.is_total = true;
                channels.push(sum);
            }
        }
        Self {
            channels,
            zones,
            parts,
        }
    }
}

fn channel(name: &str) -> Channel {
    Channel {
        rail: Rail {
            meter: NAME.to_owned(),
            name: Some(name.to_owned()),
            scope: if name == "psys" { Scope::Board } else { Scope::Soc },
            is_total: false,
            is_estimate: false,
            step: None,
        },
        quantity: Quantity::Energy,
    }
}

impl Meter for Rapl {
    fn rails(&self) -> &[Channel] {
        &self.channels
    }

    fn period(&self) -> Duration {
        PERIOD
    }

    fn read(&mut self) -> Result<Vec<u64>, Fault> {
        let mut values = self
            .zones
            .iter_mut()
            .map(Zone::read)
            .collect::<Result<Vec<_>, _>>()?;
        if values.len() < self.channels.len() {
            values.push(self.parts.iter().map(|&part| values[part]).sum());
        }
        Ok(values)
    }
}

impl Zone {
    /// Microjoules since it was found.
    fn read(&mut self) -> Result<u64, Fault> {
        let value = self.counter.read_unsigned()?;
        let more = match value.checked_sub(self.last) {
            Some(more) => more,
            // It has begun again at 0.
            None => value.saturating_add(self.largest.saturating_sub(self.last)),
        };
        let now = Instant::now();
        let most = MOST_WATTS * now.duration_since(self.last_at).as_micros() as u64;
        // As after the machine slept, or the driver was loaded anew: no energy is told of a time across that.
        self.counted = if more > most.max(MOST_WATTS * 1_000_000) {
            0
        } else {
            self.counted + more
        };
        (self.last, self.last_at) = (value, now);
        Ok(self.counted)
    }
}
