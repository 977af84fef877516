//! A device of another processor, as far as qemu's emulation of programs makes one: the agent that is built for 64-bit
//! ARM runs on this machine's kernel, and starts its workers under qemu as it is started itself.

use std::fmt::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use edgefront_link::BrokerUrl;
use tempfile::TempDir;

use crate::fleet::{DEVICE, Running};
use crate::program;

const QEMU: &str = "qemu-aarch64-static";
/// Of a Raspberry Pi 4.
const CPU: &str = "cortex-a72";
/// Where Debian puts the libraries of 64-bit ARM.
pub(crate) const LIBRARIES: &str = "/usr/aarch64-linux-gnu/lib";

/// What the kernel of a Raspberry Pi 4 says of a processor. qemu hands this machine's words through, and ONNX Runtime
/// does not survive reading those of an x86.
const CPUINFO: &str = "BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm crc32 cpuid
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: 0xd08
CPU revision\t: 3
";

/// The files that the device sees in place of this machine's; all others are this machine's.
#[derive(Debug)]
pub struct Emulator {
    folder: TempDir,
}

impl Emulator {
    /// A device whose user has the runtimes that `edgefront runtimes install --arch aarch64` installed here.
    ///
    /// # Panics
    /// If its files cannot be written.
    pub fn aarch64() -> Self {
        let folder = tempfile::tempdir().expect("temporary folders can be made");
        let emulator = Self { folder };
        emulator.write().expect("the folder can be written to");
        emulator
    }

    fn write(&self) -> std::io::Result<()> {
        let root = self.root();
        std::fs::create_dir_all(root.join("proc"))?;
        symlink(LIBRARIES, root.join("lib"))?;
        let processors = std::thread::available_parallelism()?.get();
        let mut cpuinfo = String::new();
        for number in 0..processors {
            writeln!(cpuinfo, "processor\t: {number}\n{CPUINFO}").expect("a text can be written to");
        }
        std::fs::write(root.join("proc/cpuinfo"), cpuinfo)?;

        let runner: Vec<String> = self.qemu().map(|word| format!("{word:?}")).collect();
        let config = format!("worker_runner = [{}]\n", runner.join(", "));
        std::fs::write(self.config(), config)?;

        std::fs::create_dir_all(self.cache().join("edgefront"))?;
        if let Some(runtimes) = edgefront_runtimes::folder() {
            symlink(runtimes.join("aarch64"), self.cache().join("edgefront/runtimes"))?;
        }
        Ok(())
    }

    /// Starts the agent of [`DEVICE`]; what it knows survives in `state`.
    pub fn agent(&self, broker: &BrokerUrl, state: &Path) -> Running {
        let mut command = Command::new(QEMU);
        command.args(self.qemu().skip(1)).arg(self::program());
        command.args(["--id", DEVICE, "--broker", &broker.to_string(), "--config"]);
        command.arg(self.config()).arg("--state").arg(state);
        command
            .env("XDG_CACHE_HOME", self.cache())
            .env("EDGEFRONT_LOG", "info");
        Running::start(&mut command)
    }

    fn qemu(&self) -> impl Iterator<Item = String> {
        let root = self.root().display().to_string();
        [QEMU, "-cpu", CPU, "-L"]
            .map(str::to_owned)
            .into_iter()
            .chain([root])
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("agent.toml")
    }

    fn cache(&self) -> PathBuf {
        self.folder.path().join("cache")
    }
}

/// The agent for 64-bit ARM, as `cargo xtask test` builds it.
pub(crate) fn program() -> PathBuf {
    let program = program::workspace().join("target/aarch64-unknown-linux-gnu/emulated/edgefront-agent");
    assert!(
        program.is_file(),
        "{} is not built; `cargo xtask test` does that",
        program.display()
    );
    program
}
