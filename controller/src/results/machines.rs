//! Machines that share a device's name, told apart: most results are of a machine that calls itself `local`.

use edgefront_protocol::results::{DeviceRecord, Results};

/// Gives the devices of `new` other names where a machine of `old` has theirs: `local (2)`. Machines are the
/// same where processor, cores, architecture and memory are; of one that is not described, its name decides.
pub(super) fn rename_clashing(old: &[DeviceRecord], new: &mut Results) {
    let mut taken = old.to_vec();
    let mut names = Vec::new();
    for device in &new.devices {
        let free = candidates(&device.id).find(|name| {
            let holder = taken.iter().find(|other| other.id == *name);
            holder.is_none_or(|holder| same_machine(holder, device))
        });
        let name = free.unwrap_or_else(|| device.id.clone());
        taken.push(DeviceRecord {
            id: name.clone(),
            ..device.clone()
        });
        names.push((device.id.clone(), name));
    }
    let rename = |device: &mut String| {
        if let Some((_, name)) = names.iter().find(|(old, _)| old == device) {
            device.clone_from(name);
        }
    };
    new.devices.iter_mut().for_each(|device| rename(&mut device.id));
    new.records
        .iter_mut()
        .for_each(|record| rename(&mut record.device));
    new.failed
        .iter_mut()
        .for_each(|failed| rename(&mut failed.device));
}

/// The name without a number, then with 2 and more: a machine that an earlier merge numbered is found again.
fn candidates(name: &str) -> impl Iterator<Item = String> {
    let base = base(name).to_owned();
    let numbered = base.clone();
    std::iter::once(base).chain((2..).map(move |number| format!("{numbered} ({number})")))
}

fn base(name: &str) -> &str {
    let numbered = name.strip_suffix(')').and_then(|rest| rest.rsplit_once(" ("));
    match numbered {
        Some((base, number)) if number.parse::<u32>().is_ok() => base,
        _ => name,
    }
}

fn same_machine(a: &DeviceRecord, b: &DeviceRecord) -> bool {
    // Another kernel leaves some megabytes more or less of the same memory.
    let same_memory = a.memory_bytes.abs_diff(b.memory_bytes) <= a.memory_bytes.max(b.memory_bytes) / 16;
    (&a.cpu, a.cores, &a.arch) == (&b.cpu, b.cores, &b.arch) && same_memory
}

#[cfg(test)]
mod tests {
    use crate::results::{fixture, merge};

    /// The fixture on another machine of the same name.
    fn elsewhere(cores: u32) -> super::Results {
        let mut results = fixture::results();
        results.devices[0].cores = cores;
        for record in &mut results.records {
            record.latency_ms.p50 *= f64::from(cores);
        }
        results.failed[0].device = "local".into();
        results
    }

    fn names(results: &super::Results) -> Vec<(&str, u32)> {
        let devices = results.devices.iter();
        devices.map(|device| (device.id.as_str(), device.cores)).collect()
    }

    #[test]
    fn two_machines_of_one_name_are_two_devices() {
        let merged = merge([fixture::results(), elsewhere(8)]).unwrap();
        assert_eq!(
            names(&merged),
            [("local", 2), ("pi-kitchen", 4), ("local (2)", 8)]
        );
        let of = |device: &str| merged.records.iter().filter(|r| r.device == device).count();
        assert_eq!((of("local"), of("local (2)"), of("pi-kitchen")), (14, 14, 28));
        assert_eq!(merged.failed[1].device, "local (2)");
    }

    #[test]
    fn a_machine_that_was_numbered_is_found_again() {
        let first = merge([fixture::results(), elsewhere(8)]).unwrap();
        for (again, devices) in [
            (merge([first.clone(), elsewhere(8)]).unwrap(), 3),
            (merge([first.clone(), elsewhere(16)]).unwrap(), 4),
            (merge([elsewhere(8), first.clone()]).unwrap(), 3),
        ] {
            assert_eq!(again.devices.len(), devices, "{:?}", names(&again));
            let mut distinct = names(&again);
            distinct.sort_unstable();
            distinct.dedup_by_key(|(name, _)| *name);
            assert_eq!(distinct.len(), devices);
            let records = if devices == 3 { 56 } else { 84 };
            assert_eq!(again.records.len(), records);
        }
    }

    #[test]
    fn a_machine_that_nobody_described_is_known_by_its_name() {
        let mut bare = elsewhere(8);
        bare.devices.clear();
        let merged = merge([fixture::results(), bare]).unwrap();
        assert_eq!(names(&merged), [("local", 2), ("pi-kitchen", 4)]);
    }
}
