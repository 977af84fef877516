//! The parts of the virtual board, a whole machine of 64-bit ARM: qemu, and Debian's kernel and busybox for that
//! processor. These are unpacked, not installed, and by lists of packages of their own, so that nothing else of the
//! machine learns of the processor.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};

use crate::prerequisites::{self, Missing, on_path};

/// By which the tests that need the board are known.
const WORD: &str = "debian";
/// Where the parts are fetched and unpacked.
const FOLDER: &str = "target/board";
/// The kernel of virtual machines is a third of the one for all boards. This package names the newest version of it.
const KERNEL: &str = "linux-image-cloud-arm64";
const BUSYBOX: &str = "busybox-static";

/// Fetches the parts that are not there; gives what could not be fetched.
pub(crate) fn set_up() -> Option<Missing> {
    let qemu = prerequisites::packages(WORD, &["qemu-system-arm"], || on_path("qemu-system-aarch64"));
    qemu.or_else(|| {
        let error = unpack().err()?;
        Some(Missing {
            word: WORD,
            mend: format!("have apt-get and Debian's archive ({error:#})"),
            // Other systems with apt have no such packages.
            everywhere: false,
        })
    })
}

/// Leaves the files of the packages in `root` of the folder.
fn unpack() -> anyhow::Result<()> {
    let folder = std::path::absolute(FOLDER).with_context(|| format!("cannot find {FOLDER}"))?;
    let root = folder.join("root");
    if root.is_dir() {
        return Ok(());
    }
    println!("== unpacking {KERNEL} and {BUSYBOX} into {}", root.display());
    // What an earlier try left is of no use.
    let part = folder.join("part");
    fs::remove_dir_all(&part).ok();
    fetch(&part.join("lists"), &part.join("packages"))?;
    extract(&part.join("packages"), &part.join("root"))?;
    fs::rename(part.join("root"), &root).with_context(|| format!("cannot make {}", root.display()))?;
    fs::remove_dir_all(&part).with_context(|| format!("cannot remove {}", part.display()))
}

/// Downloads the packages by lists of their own.
fn fetch(lists: &Path, packages: &Path) -> anyhow::Result<()> {
    for folder in [lists.join("partial"), packages.to_owned()] {
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let apt = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.args(["-o", "APT::Architecture=arm64", "-o", "APT::Architectures=arm64"]);
        for (setting, path) in [
            ("State::lists", lists),
            // Nothing is installed of that processor.
            ("State::status", Path::new("/dev/null")),
            ("Cache", lists),
        ] {
            command
                .arg("-o")
                .arg(format!("Dir::{setting}={}", path.display()));
        }
        said(command.args(arguments).current_dir(packages))
    };
    apt("apt-get", &["update"])?;
    let kernel = apt("apt-cache", &["depends", "--important", KERNEL])?;
    let kernel = dependency(&kernel).with_context(|| format!("{KERNEL} is not what names a kernel"))?;
    apt("apt-get", &["download", kernel, BUSYBOX])?;
    Ok(())
}

/// The first package in what `apt-cache depends` says.
fn dependency(said: &str) -> Option<&str> {
    said.lines()
        .find_map(|line| line.trim().strip_prefix("Depends: "))
}

fn extract(packages: &Path, root: &Path) -> anyhow::Result<()> {
    let listed = fs::read_dir(packages).with_context(|| format!("cannot read {}", packages.display()))?;
    for package in listed.flatten() {
        said(
            Command::new("dpkg-deb")
                .arg("--extract")
                .arg(package.path())
                .arg(root),
        )?;
    }
    Ok(())
}

/// What a program says; the last line of its complaint where it fails.
fn said(command: &mut Command) -> anyhow::Result<String> {
    let program = command.get_program().display().to_string();
    let output = command
        // In the words that are read here.
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {program}"))?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    let last = complaint.lines().last().unwrap_or_default();
    ensure!(output.status.success(), "{program}: {last}");
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_names_the_kernel_by_what_it_depends_on() {
        let said = "linux-image-cloud-arm64\n  Depends: linux-image-6.1.0-56-cloud-arm64\n";
        assert_eq!(dependency(said), Some("linux-image-6.1.0-56-cloud-arm64"));
        assert_eq!(dependency("linux-image-cloud-arm64\n"), None);
    }
}
