//! Processors of devices, under the names that each tool has for them.

use std::path::Path;

use clap::ValueEnum;

use super::BundleError;

/// A device's processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Arch {
    /// ARM of 64 bits.
    Aarch64,
    /// ARM of 32 bits, with floating point.
    Armv7,
    /// PCs.
    #[value(name = "x86_64")]
    X86_64,
}

/// ELF's number of the machine, the kernel's names as a pattern of the shell, and Debian's name.
struct Names {
    name: &'static str,
    elf: u16,
    machines: &'static str,
    debian: &'static str,
}

impl Arch {
    const ALL: [Self; 3] = [Self::Aarch64, Self::Armv7, Self::X86_64];

    const fn names(self) -> Names {
        match self {
            Self::Aarch64 => Names {
                name: "aarch64",
                elf: 183,
                machines: "aarch64",
                debian: "arm64",
            },
            // A kernel of 64 bits may run a system of 32.
            Self::Armv7 => Names {
                name: "armv7",
                elf: 40,
                machines: "armv7l | armv8l | aarch64",
                debian: "armhf",
            },
            Self::X86_64 => Names {
                name: "x86_64",
                elf: 62,
                machines: "x86_64",
                debian: "amd64",
            },
        }
    }

    /// The processor of this machine, if bundles are made for it.
    pub fn of_this_machine() -> Option<Self> {
        let name = std::env::consts::ARCH;
        Self::ALL.into_iter().find(|arch| arch.name() == name)
    }

    /// As users write it.
    pub fn name(self) -> &'static str {
        self.names().name
    }

    pub(super) fn machines(self) -> &'static str {
        self.names().machines
    }

    pub(super) fn debian(self) -> &'static str {
        self.names().debian
    }

    /// Refuses a file that is no program for this processor.
    pub(super) fn check(self, path: &Path, program: &[u8]) -> Result<(), BundleError> {
        let machine = machine(program).ok_or_else(|| BundleError::NoProgram {
            path: path.to_owned(),
        })?;
        if machine == self.names().elf {
            return Ok(());
        }
        let known = Self::ALL.iter().find(|arch| arch.names().elf == machine);
        Err(BundleError::Arch {
            path: path.to_owned(),
            found: known.map_or("another processor", |arch| arch.name()),
            wanted: self.name(),
        })
    }
}

/// The machine in the header of an ELF file whose numbers begin with the lowest byte.
fn machine(program: &[u8]) -> Option<u16> {
    let is_elf = program.starts_with(b"\x7fELF") && program.get(5) == Some(&1);
    let number = program.get(18..20).filter(|_| is_elf)?;
    Some(u16::from_le_bytes([number[0], number[1]]))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The beginning of a program for the machine of this number.
    pub(crate) fn program(machine: u8) -> Vec<u8> {
        let mut head = vec![0; 64];
        head[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        head[18] = machine;
        head
    }

    #[test]
    fn a_program_is_for_one_processor() {
        let path = Path::new("agent");
        let refused = |arch: Arch, program: &[u8]| arch.check(path, program).unwrap_err().to_string();
        for (arch, elf) in [(Arch::Aarch64, 183), (Arch::Armv7, 40), (Arch::X86_64, 62)] {
            arch.check(path, &program(elf)).unwrap();
        }
        assert_eq!(
            refused(Arch::Aarch64, &program(40)),
            "agent is a program for armv7, and the bundle is for aarch64"
        );
        assert_eq!(
            refused(Arch::Aarch64, &program(243)),
            "agent is a program for another processor, and the bundle is for aarch64"
        );
        assert_eq!(
            refused(Arch::Aarch64, b"#!/bin/sh"),
            "agent is no program of Linux"
        );
    }
}
