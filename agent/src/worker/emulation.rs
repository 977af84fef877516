//! Whether this process runs on the processor that it was built for.

use std::path::Path;

/// Whether an emulator of user programs (qemu-user and its like) executes this process.
///
/// The kernel then runs the emulator, which answers `/proc/self/exe` with the program that it emulates and hands
/// longer spellings of the same link through to the kernel. Where nothing emulates, both are one. A machine that
/// is emulated as a whole looks real from within and is not noticed; see [`crate::board::is_virtual`].
pub(crate) fn is_emulated() -> bool {
    differ(Path::new("/proc/self/exe"), Path::new("/proc/thread-self/exe"))
}

/// A link that cannot be read tells nothing.
fn differ(program: &Path, kernels: &Path) -> bool {
    match (program.read_link(), kernels.read_link()) {
        (Ok(program), Ok(kernels)) => program != kernels,
        _ => false,
    }
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
        assert!(differ(&agent, &qemu));
        assert!(!differ(&agent, &again));
        assert!(!differ(&agent, &dir.path().join("none")));
    }
}
