//! Whether this process runs on the processor that it was built for.

use std::path::Path;

use crate::board;

/// Whether an emulator executes this process, as far as that shows.
pub(crate) fn is_emulated() -> bool {
    is_program(Path::new("/proc/self/exe"), Path::new("/proc/thread-self/exe")) || is_machine(Path::new("/"))
}

/// Whether an emulator of user programs (qemu-user and its like) does.
///
/// The kernel then runs the emulator, which answers `/proc/self/exe` with the program that it emulates and hands
/// longer spellings of the same link through to the kernel. Where nothing emulates, both are one. A link that cannot be
/// read tells nothing.
fn is_program(program: &Path, kernels: &Path) -> bool {
    match (program.read_link(), kernels.read_link()) {
        (Ok(program), Ok(kernels)) => program != kernels,
        _ => false,
    }
}

/// Whether the machine of this system is qemu's emulation of one of 64-bit ARM.
///
/// It looks like a virtual machine on a real processor but for its timer: a virtual machine has that of the real
/// processor, and qemu's emulated ones count at 62.5 MHz, which Linux says as twice as many "`BogoMIPS`" and which no
/// processor is known to do. Those that qemu emulates since version 9.1 as `max` count as fast as real new ones do and
/// are not noticed.
fn is_machine(root: &Path) -> bool {
    let cpuinfo = std::fs::read_to_string(root.join("proc/cpuinfo")).unwrap_or_default();
    let rate = |line: &str| Some(line.strip_prefix("BogoMIPS")?.split_once(':')?.1.trim() == "125.00");
    board::is_virtual(root) && cpuinfo.lines().find_map(rate) == Some(true)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// That an emulated worker is noticed is tested under qemu.
    #[test]
    fn only_two_different_programs_are_a_sign() {
        let dir = tempfile::tempdir().unwrap();
        let link = |name: &str, to: &str| {
            let link = dir.path().join(name);
            std::os::unix::fs::symlink(to, &link).unwrap();
            link
        };
        let (agent, again, qemu) = (link("a", "/agent"), link("b", "/agent"), link("c", "/qemu"));
        assert!(is_program(&agent, &qemu));
        assert!(!is_program(&agent, &again));
        assert!(!is_program(&agent, &dir.path().join("none")));
    }

    #[test]
    fn only_a_virtual_machine_with_qemus_timer_is_an_emulated_one() {
        let emulated = |compatible: &str, bogomips: &str| {
            let root = tempfile::tempdir().unwrap();
            let proc = root.path().join("proc");
            std::fs::create_dir_all(proc.join("device-tree")).unwrap();
            std::fs::write(proc.join("device-tree/compatible"), compatible).unwrap();
            let cpuinfo = format!("processor\t: 0\nBogoMIPS\t: {bogomips}\nFeatures\t: fp asimd\n");
            std::fs::write(proc.join("cpuinfo"), cpuinfo).unwrap();
            is_machine(root.path())
        };
        assert!(emulated("linux,dummy-virt\0", "125.00"));
        assert!(!emulated("linux,dummy-virt\0", "50.00"));
        assert!(!emulated("raspberrypi,4-model-b\0brcm,bcm2711\0", "125.00"));
        assert!(!is_machine(tempfile::tempdir().unwrap().path()));
    }
}
