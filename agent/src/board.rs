//! What the device is built on, read from the files of its system.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use edgefront_protocol::Board;

/// Reads what the system below `root` tells: `/`, or a copy of the parts that are read.
pub(crate) fn read(root: &Path) -> Board {
    Board {
        model: device_tree(root).or_else(|| dmi(root)),
        governor: governors(root),
        max_mhz: max_mhz(root),
        jetpack: jetpack(root),
        gpus: gpus(root),
    }
}

/// Boards on ARM.
fn device_tree(root: &Path) -> Option<String> {
    text(&root.join("proc/device-tree/model"))
}

/// Machines with a firmware of PCs: who made it, and its name unless that repeats the maker's.
fn dmi(root: &Path) -> Option<String> {
    let dmi = root.join("sys/class/dmi/id");
    let [vendor, product] = ["sys_vendor", "product_name"].map(|name| text(&dmi.join(name)));
    match (vendor, product) {
        (Some(vendor), Some(product)) if !product.starts_with(&vendor) => Some(format!("{vendor} {product}")),
        (vendor, product) => product.or(vendor),
    }
}

/// Whether the device tree is that of a virtual machine, as of qemu's `virt`; its processors may be real ones.
pub(crate) fn is_virtual(root: &Path) -> bool {
    let compatible = fs::read(root.join("proc/device-tree/compatible")).unwrap_or_default();
    compatible
        .split(|&byte| byte == 0)
        .any(|name| name == b"linux,dummy-virt")
}

fn governors(root: &Path) -> Option<String> {
    let found = policies(root)
        .into_iter()
        .filter_map(|policy| text(&policy.join("scaling_governor")));
    let names: Vec<String> = found.collect::<BTreeSet<_>>().into_iter().collect();
    (!names.is_empty()).then(|| names.join(", "))
}

fn max_mhz(root: &Path) -> Option<u32> {
    let kilohertz = policies(root)
        .into_iter()
        .filter_map(|policy| text(&policy.join("cpuinfo_max_freq"))?.parse::<u32>().ok());
    kilohertz.max().map(|kilohertz| kilohertz / 1000)
}

/// A folder for each group of processors that share a clock.
fn policies(root: &Path) -> Vec<PathBuf> {
    entries(&root.join("sys/devices/system/cpu/cpufreq"), "policy")
}

/// `6.2 (L4T 36.4.3)`, or one of the two: the package that brings all of `JetPack` need not be there.
fn jetpack(root: &Path) -> Option<String> {
    let l4t = text(&root.join("etc/nv_tegra_release")).and_then(|text| l4t(&text));
    let package = fs::read_to_string(root.join("var/lib/dpkg/status")).ok();
    let version = package.and_then(|status| package_version(&status, "nvidia-jetpack"));
    match (version, l4t) {
        (Some(version), Some(l4t)) => Some(format!("{version} (L4T {l4t})")),
        (version, l4t) => version.or_else(|| Some(format!("L4T {}", l4t?))),
    }
}

/// `36.4.3` of `# R36 (release), REVISION: 4.3, GCID: ...`.
fn l4t(text: &str) -> Option<String> {
    let release = text.strip_prefix("# R")?.split_whitespace().next()?;
    let revision = text.split("REVISION:").nth(1)?.split(',').next()?.trim();
    Some(format!("{release}.{revision}"))
}

/// The version of an installed package without its build number: `6.2` of `6.2+b77`.
fn package_version(status: &str, package: &str) -> Option<String> {
    let head = format!("Package: {package}");
    let entry = status
        .split("\n\n")
        .find(|entry| entry.lines().next() == Some(&head))?;
    let field = |name: &str| entry.lines().find_map(|line| line.strip_prefix(name));
    field("Status: ").filter(|state| state.ends_with(" installed"))?;
    let version = field("Version: ")?;
    Some(version.split(['+', '-']).next().unwrap_or(version).to_owned())
}

fn gpus(root: &Path) -> Vec<String> {
    let mut gpus = nvidia_cards(root);
    gpus.extend(tegra(root));
    if gpus.is_empty() {
        gpus = drivers(root);
    }
    gpus
}

/// Cards of NVIDIA's driver for PCs, by name.
fn nvidia_cards(root: &Path) -> Vec<String> {
    let cards = entries(&root.join("proc/driver/nvidia/gpus"), "");
    let name = |card: PathBuf| {
        let information = fs::read_to_string(card.join("information")).ok()?;
        let model = information.lines().find_map(|line| line.strip_prefix("Model:"))?;
        Some(model.trim().to_owned())
    };
    cards.into_iter().filter_map(name).collect()
}

/// The integrated GPU of a Jetson, by the name of its generation.
fn tegra(root: &Path) -> Option<String> {
    const GENERATIONS: [(&str, &str); 5] = [
        ("gm20b", "Maxwell"),
        ("gp10b", "Pascal"),
        ("gv11b", "Volta"),
        ("ga10b", "Ampere"),
        ("gb10b", "Blackwell"),
    ];
    entries(&root.join("sys/class/devfreq"), "")
        .into_iter()
        .find_map(|device| {
            let compatible = text(&device.join("device/of_node/compatible"))?;
            let (chip, generation) = GENERATIONS.iter().find(|(chip, _)| compatible.contains(chip))?;
            Some(format!("{chip} ({generation})"))
        })
}

/// The kernel's drivers of other cards.
fn drivers(root: &Path) -> Vec<String> {
    let cards = entries(&root.join("sys/class/drm"), "card");
    let driver = |card: PathBuf| {
        let uevent = fs::read_to_string(card.join("device/uevent")).ok()?;
        let driver = uevent.lines().find_map(|line| line.strip_prefix("DRIVER="))?;
        Some(driver.to_owned())
    };
    // Connectors are named after their card.
    let own = cards.into_iter().filter(|card| {
        let name = card.file_name().unwrap_or_default().to_string_lossy();
        !name.contains('-')
    });
    own.filter_map(driver).collect()
}

/// What lies in a folder under names that begin so, by name.
fn entries(folder: &Path, beginning: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut found: Vec<PathBuf> = entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(beginning))
        .map(|entry| entry.path())
        .collect();
    found.sort();
    found
}

/// The text of a file; those of the device tree end with a zero.
fn text(path: &Path) -> Option<String> {
    let bytes = fs::read(path).ok()?;
    let text = String::from_utf8_lossy(&bytes).replace('\0', " ");
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// A tree of files with these texts.
    fn system(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn a_raspberry_pi() {
        let root = system(&[
            ("proc/device-tree/model", "Raspberry Pi 4 Model B Rev 1.4\0"),
            (
                "sys/devices/system/cpu/cpufreq/policy0/scaling_governor",
                "ondemand\n",
            ),
            (
                "sys/devices/system/cpu/cpufreq/policy0/cpuinfo_max_freq",
                "1800000\n",
            ),
            ("sys/class/drm/card0/device/uevent", "DRIVER=v3d\nOF_NAME=v3d\n"),
            ("sys/class/drm/card0-HDMI-A-1/device/uevent", "DRIVER=vc4\n"),
        ]);
        let expected = Board {
            model: Some("Raspberry Pi 4 Model B Rev 1.4".to_owned()),
            governor: Some("ondemand".to_owned()),
            max_mhz: Some(1800),
            jetpack: None,
            gpus: vec!["v3d".to_owned()],
        };
        assert_eq!(read(root.path()), expected);
    }

    #[test]
    fn a_virtual_machine() {
        let tree = |names| is_virtual(system(&[("proc/device-tree/compatible", names)]).path());
        assert!(tree("linux,dummy-virt\0"));
        assert!(!tree("raspberrypi,4-model-b\0brcm,bcm2711\0"));
        assert!(!is_virtual(system(&[]).path()));
    }

    #[test]
    fn a_jetson() {
        let release = "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64, DATE: Wed Jan  8\n";
        let packages = "Package: nvidia-jetpack-dev\nStatus: install ok installed\nVersion: 1\n\n\
                        Package: nvidia-jetpack\nStatus: install ok installed\nArchitecture: arm64\nVersion: 6.2+b77\n";
        let gpu = "sys/class/devfreq/17000000.gpu/device/of_node/compatible";
        let mut files = vec![
            (
                "proc/device-tree/model",
                "NVIDIA Jetson Orin Nano Developer Kit\0",
            ),
            (
                "sys/devices/system/cpu/cpufreq/policy0/scaling_governor",
                "schedutil\n",
            ),
            (
                "sys/devices/system/cpu/cpufreq/policy4/scaling_governor",
                "performance\n",
            ),
            (
                "sys/devices/system/cpu/cpufreq/policy4/cpuinfo_max_freq",
                "1510400\n",
            ),
            (gpu, "nvidia,ga10b\0"),
            ("etc/nv_tegra_release", release),
        ];
        let board = read(system(&files).path());
        assert_eq!(board.jetpack.as_deref(), Some("L4T 36.4.3"));
        files.push(("var/lib/dpkg/status", packages));
        let board = read(system(&files).path());
        assert_eq!(board.jetpack.as_deref(), Some("6.2 (L4T 36.4.3)"));
        assert_eq!(board.governor.as_deref(), Some("performance, schedutil"));
        assert_eq!(
            (board.max_mhz, board.gpus),
            (Some(1510), vec!["ga10b (Ampere)".to_owned()])
        );
    }

    #[test]
    fn a_pc_with_a_card() {
        let files = [
            ("sys/class/dmi/id/sys_vendor", "LENOVO\n"),
            ("sys/class/dmi/id/product_name", "20XWCTO1WW\n"),
            (
                "proc/driver/nvidia/gpus/0000:01:00.0/information",
                "Model: \t\t NVIDIA T500\nIRQ: 170\n",
            ),
        ];
        let board = read(system(&files).path());
        assert_eq!(board.model.as_deref(), Some("LENOVO 20XWCTO1WW"));
        assert_eq!(board.gpus, ["NVIDIA T500"]);
    }

    #[test]
    fn what_is_not_told_is_absent() {
        assert_eq!(read(system(&[]).path()), Board::default());
        let removed = "Package: nvidia-jetpack\nStatus: deinstall ok config-files\nVersion: 6.2\n";
        assert_eq!(package_version(removed, "nvidia-jetpack"), None);
        assert_eq!(l4t("# R36"), None);
    }
}
