//! From the processors that a job asks for to those of this device, by the files of its system.

use std::fs;
use std::path::Path;

use edgefront_protocol::Processors;
use edgefront_protocol::processors::list;

/// The numbers of the processors, ascending; empty where all are meant. What is asked for and is not there is an error.
pub(super) fn resolve(root: &Path, asked: Processors) -> Result<Vec<u32>, String> {
    let cpus = root.join("sys/devices/system/cpu");
    match asked {
        Processors::All => Ok(Vec::new()),
        Processors::Range { first, last } => {
            let online = online(&cpus)?;
            let is_there = |number: &u32| (first..=last).contains(number);
            let found: Vec<u32> = online.iter().copied().filter(is_there).collect();
            // Not by listing the range, whose end may be any number.
            if found.len() as u64 == u64::from(last) - u64::from(first) + 1 {
                return Ok(found);
            }
            let online = list(&online);
            Err(format!(
                "processors {asked} are not all there; this device has {online}; give others with --cpus"
            ))
        }
        Processors::Big | Processors::Little => of_capacity(&cpus, asked),
    }
}

fn of_capacity(cpus: &Path, asked: Processors) -> Result<Vec<u32>, String> {
    let capacities: Option<Vec<(u32, u64)>> = online(cpus)?
        .into_iter()
        .map(|number| {
            let capacity = fs::read_to_string(cpus.join(format!("cpu{number}/cpu_capacity"))).ok()?;
            Some((number, capacity.trim().parse().ok()?))
        })
        .collect();
    let capacities = capacities.ok_or_else(|| {
        format!("the device does not tell the capacity of its processors, so which are {asked} is not known; give their numbers with --cpus")
    })?;
    let all = || capacities.iter().map(|(_, capacity)| *capacity);
    let (least, most) = (all().min().unwrap_or_default(), all().max().unwrap_or_default());
    if least == most {
        return Err(format!(
            "all processors of this device have the same capacity, so none are {asked}; leave out --cpus"
        ));
    }
    let wanted = if asked == Processors::Big { most } else { least };
    let of_it = capacities.iter().filter(|(_, capacity)| *capacity == wanted);
    Ok(of_it.map(|(number, _)| *number).collect())
}

fn online(cpus: &Path) -> Result<Vec<u32>, String> {
    let path = cpus.join("online");
    let text =
        fs::read_to_string(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    numbers(text.trim()).ok_or_else(|| format!("{} holds no list of processors", path.display()))
}

/// The numbers of `0-3,6`.
fn numbers(text: &str) -> Option<Vec<u32>> {
    /// More than any machine has, against a list that does not end.
    const MOST: u32 = 1 << 16;
    let mut numbers = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        if first > last || last >= MOST {
            return None;
        }
        numbers.extend(first..=last);
    }
    Some(numbers)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn device(capacities: &[Option<u32>]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let cpus = root.path().join("sys/devices/system/cpu");
        fs::create_dir_all(&cpus).unwrap();
        fs::write(cpus.join("online"), format!("0-{}\n", capacities.len() - 1)).unwrap();
        for (number, capacity) in capacities.iter().enumerate() {
            let cpu = cpus.join(format!("cpu{number}"));
            fs::create_dir(&cpu).unwrap();
            if let Some(capacity) = capacity {
                fs::write(cpu.join("cpu_capacity"), format!("{capacity}\n")).unwrap();
            }
        }
        root
    }

    fn of(capacities: &[Option<u32>], asked: &str) -> Result<Vec<u32>, String> {
        resolve(device(capacities).path(), asked.parse().unwrap())
    }

    /// The `capacity-dmips-mhz` of Linux's `rk3588-base.dtsi` are 530 for the four Cortex-A55 (0 to 3) and 1024 for the
    /// four Cortex-A76 (4 to 7).
    const RK3588: [Option<u32>; 8] = [
        Some(530),
        Some(530),
        Some(530),
        Some(530),
        Some(1024),
        Some(1024),
        Some(1024),
        Some(1024),
    ];
    /// Four processors of one kind, as on a Raspberry Pi 4 or 5.
    const ALIKE: [Option<u32>; 4] = [Some(1024); 4];

    #[test]
    fn clusters_are_told_by_capacity() {
        assert_eq!(of(&RK3588, "big").unwrap(), [4, 5, 6, 7]);
        assert_eq!(of(&RK3588, "little").unwrap(), [0, 1, 2, 3]);
        assert_eq!(of(&RK3588, "2-5").unwrap(), [2, 3, 4, 5]);
        assert!(of(&RK3588, "all").unwrap().is_empty());
    }

    #[test]
    fn what_is_asked_for_and_is_missing_is_an_error() {
        insta::assert_snapshot!(of(&ALIKE, "big").unwrap_err(), @"all processors of this device have the same capacity, so none are big; leave out --cpus");
        insta::assert_snapshot!(of(&[None; 2], "little").unwrap_err(), @"the device does not tell the capacity of its processors, so which are little is not known; give their numbers with --cpus");
        insta::assert_snapshot!(of(&ALIKE, "2-5").unwrap_err(), @"processors 2-5 are not all there; this device has 0-3; give others with --cpus");
        assert!(of(&ALIKE, "0-4294967295").is_err());
        assert!(resolve(Path::new("/nowhere"), Processors::Big).is_err());
    }

    #[test]
    fn lists_are_read_as_linux_writes_them() {
        assert_eq!(numbers("0-3,6"), Some(vec![0, 1, 2, 3, 6]));
        for broken in ["", "3-1", "0-4294967295", "a"] {
            assert_eq!(numbers(broken), None, "{broken}");
        }
    }
}
