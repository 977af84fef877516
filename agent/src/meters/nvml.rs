//! NVIDIA's management library: graphics cards that tell power, and since Volta (2018) count energy.
//!
//! The library comes with the driver and is loaded where it is. It counts millijoules since the driver was loaded, of
//! the card with its memory. Its power is a mean of the last second on cards since Ampere, and other cards sample a part of
//! the time only (Z. Yang, K. Adamek and W. Armour, Part-time Power Measurements, SC24), so that the counter is believed
//! and the power stands beside it. On a Jetson the library is there and knows no power. Source: NVML's reference,
//! `nvmlDeviceGetPowerUsage` and `nvmlDeviceGetTotalEnergyConsumption`.

use std::path::Path;
use std::time::Duration;

use edgefront_protocol::{Microjoules, Microwatts, Rail, Scope, Step};
use nvml_wrapper::Nvml;
use nvml_wrapper::error::NvmlError;

use super::{Channel, Fault, Found, Meter, Quantity};

const NAME: &str = "nvml";
const LIBRARY: &str = "libnvidia-ml.so.1";
/// The counters of cards change every 20 to 100 ms.
const PERIOD: Duration = Duration::from_millis(100);

struct Cards {
    nvml: Nvml,
    channels: Vec<Channel>,
    /// For each rail, the card's number.
    numbers: Vec<u32>,
}

pub(super) fn find(root: &Path, found: &mut Found) {
    match cards(root) {
        Ok(cards) if cards.channels.is_empty() => {}
        Ok(cards) => found.meters.push(Box::new(cards)),
        // Without a library, or without a card, there is nothing to measure.
        Err(NvmlError::LibloadingError(_) | NvmlError::DriverNotLoaded | NvmlError::NotSupported) => {}
        Err(error) => found.faults.push(fault(root, &error)),
    }
}

/// The system's own library for `/`, by its name, for where it lies differs; that of a copy of a system is in `usr/lib`.
fn cards(root: &Path) -> Result<Cards, NvmlError> {
    let library = match root.parent() {
        None => LIBRARY.into(),
        Some(_) => root.join("usr/lib").join(LIBRARY),
    };
    let nvml = Nvml::builder().lib_path(library.as_os_str()).init()?;
    let (mut channels, mut numbers) = (Vec::new(), Vec::new());
    for card in 0..nvml.device_count()? {
        let device = nvml.device_by_index(card)?;
        let counts = is_there(device.total_energy_consumption())?;
        let tells = is_there(device.power_usage())?;
        let rails = [(counts, Quantity::Energy), (tells, Quantity::Power)];
        for (_, quantity) in rails.into_iter().filter(|(is_there, _)| *is_there) {
            let is_total = quantity == Quantity::Energy || !counts;
            channels.push(channel(card, quantity, is_total));
            numbers.push(card);
        }
    }
    Ok(Cards {
        nvml,
        channels,
        numbers,
    })
}

fn is_there<T>(read: Result<T, NvmlError>) -> Result<bool, NvmlError> {
    match read {
        Ok(_) => Ok(true),
        Err(NvmlError::NotSupported) => Ok(false),
        Err(error) => Err(error),
    }
}

fn channel(card: u32, quantity: Quantity, is_total: bool) -> Channel {
    let (name, step) = match quantity {
        Quantity::Energy => ("energy", Step::Energy(Microjoules(1_000))),
        Quantity::Power => ("power", Step::Power(Microwatts(1_000))),
    };
    Channel {
        rail: Rail {
            meter: NAME.to_owned(),
            name: Some(format!("gpu{card} {name}")),
            scope: Scope::Gpu,
            is_total,
            is_estimate: false,
            step: Some(step),
        },
        quantity,
    }
}

fn fault(root: &Path, error: &NvmlError) -> Fault {
    Fault::Unreadable {
        path: root.join("usr/lib").join(LIBRARY),
        reason: error.to_string(),
    }
}

impl Meter for Cards {
    fn rails(&self) -> &[Channel] {
        &self.channels
    }

    fn period(&self) -> Duration {
        PERIOD
    }

    fn read(&mut self) -> Result<Vec<u64>, Fault> {
        let rails = self.channels.iter().zip(&self.numbers);
        let values = rails.map(|(channel, card)| {
            let device = self.nvml.device_by_index(*card)?;
            // Thousandths of a watt or of a joule.
            let thousandths = match channel.quantity {
                Quantity::Energy => device.total_energy_consumption()?,
                Quantity::Power => device.power_usage()?.into(),
            };
            Ok(thousandths.saturating_mul(1_000))
        });
        let values: Result<Vec<u64>, NvmlError> = values.collect();
        values.map_err(|error| fault(Path::new("/"), &error))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;
    use std::process::Command;

    use super::*;

    /// Two cards: one that counts energy and tells power, and one of before Volta, which tells power.
    const TWO_CARDS: &str = r#"
        typedef int status;
        static unsigned long long counted = 5000;
        status nvmlInit_v2(void) { return 0; }
        status nvmlShutdown(void) { return 0; }
        const char *nvmlErrorString(status s) { return "as the double says"; }
        status nvmlDeviceGetCount_v2(unsigned *count) { *count = 2; return 0; }
        status nvmlDeviceGetHandleByIndex_v2(unsigned index, void **card) { *card = (void *)(long)(index + 1); return 0; }
        status nvmlDeviceGetPowerUsage(void *card, unsigned *milliwatts) { *milliwatts = card == (void *)1 ? 61500 : 42000; return 0; }
        status nvmlDeviceGetTotalEnergyConsumption(void *card, unsigned long long *millijoules) {
            if (card != (void *)1) return 3; /* NVML_ERROR_NOT_SUPPORTED */
            *millijoules = counted += 250; return 0;
        }"#;

    /// As on a Jetson: the library starts and knows no power.
    const NO_POWER: &str = r"
        int nvmlInit_v2(void) { return 0; }
        int nvmlShutdown(void) { return 0; }
        int nvmlDeviceGetCount_v2(unsigned *count) { *count = 1; return 0; }
        int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **card) { *card = (void *)1; return 0; }
        int nvmlDeviceGetPowerUsage(void *card, unsigned *milliwatts) { return 3; }
        int nvmlDeviceGetTotalEnergyConsumption(void *card, unsigned long long *millijoules) { return 3; }";

    /// A library without a card that may be asked.
    const DENIED: &str = "int nvmlInit_v2(void) { return 4; /* NVML_ERROR_NO_PERMISSION */ }";

    /// What is found where this is the library. The C compiler is the one that Rust links with.
    fn found(library: &str) -> Found {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("usr/lib");
        fs::create_dir_all(&folder).unwrap();
        let source = root.path().join("double.c");
        fs::write(&source, library).unwrap();
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-w", "-o"])
            .arg(folder.join(LIBRARY))
            .arg(&source)
            .status();
        assert!(built.unwrap().success());
        let mut found = Found::default();
        find(root.path(), &mut found);
        found
    }

    #[test]
    fn a_counter_is_believed_and_power_stands_beside_it() {
        let mut found = found(TWO_CARDS);
        assert_eq!(found.faults, []);
        let meter = &mut found.meters[0];
        let rails: Vec<_> = meter
            .rails()
            .iter()
            .map(|channel| (channel.to_string(), channel.rail.is_total))
            .collect();
        let expected = [
            ("nvml gpu0 energy", true),
            ("nvml gpu0 power", false),
            ("nvml gpu1 power", true),
        ];
        assert_eq!(
            rails,
            expected.map(|(name, is_total)| (name.to_owned(), is_total))
        );
        // Once to see whether it counts, once now: 5,000 + 2 x 250 mJ. 61.5 W and 42 W.
        assert_eq!(meter.read().unwrap(), [5_500_000, 61_500_000, 42_000_000]);
        assert_eq!(meter.read().unwrap()[0], 5_750_000);
    }

    #[test]
    fn a_library_that_knows_no_power_is_no_meter_and_no_fault() {
        let found = found(NO_POWER);
        assert!(
            found.meters.is_empty() && found.faults.is_empty(),
            "{:?}",
            found.faults
        );
    }

    #[test]
    fn a_library_that_refuses_is_a_fault_that_names_it() {
        let found = found(DENIED);
        let [fault] = &found.faults[..] else {
            panic!("{:?}", found.faults)
        };
        let said = fault.to_string();
        assert!(said.contains("usr/lib/libnvidia-ml.so.1: "), "{said}");
    }

    #[test]
    fn without_the_library_there_is_nothing() {
        let mut found = Found::default();
        find(Path::new("/nowhere"), &mut found);
        assert!(found.meters.is_empty() && found.faults.is_empty());
    }
}
