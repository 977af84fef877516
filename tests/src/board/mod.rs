//! A whole machine of 64-bit ARM, as far as qemu makes one: its `virt` board with Debian's kernel, its own /proc and
//! /sys, and a small root on which a bundle was installed.

mod root;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use edgefront_link::BrokerUrl;
use tempfile::TempDir;

use crate::fleet::{DEVICE, Running};
use crate::{emulator, program};

/// A cortex-a72 is the processor of a Raspberry Pi 4.
const MACHINE: [&str; 19] = [
    "-machine",
    "virt",
    "-accel",
    "tcg",
    "-cpu",
    "cortex-a72",
    "-smp",
    "2",
    "-m",
    "1G",
    "-display",
    "none",
    "-monitor",
    "none",
    // It ends where the kernel gives up.
    "-no-reboot",
    "-append",
    "console=ttyAMA0 quiet panic=-1",
    "-netdev",
    "user,id=net",
];
const DEVICES: [&str; 4] = [
    "-device",
    "virtio-net-device,netdev=net",
    // So that nothing waits for randomness.
    "-device",
    "virtio-rng-device",
];
/// This machine's loopback, as the board sees it.
const GATEWAY: &str = "10.0.2.2";
/// A program of 32 bits, which the board's kernel could run and for which its root has no libraries.
const MISFIT: &str = "xtask/fixtures/glibc-2.28.armv7";

/// The board, ended when dropped.
#[derive(Debug)]
pub struct Board {
    console: PathBuf,
    initramfs_bytes: u64,
    _machine: Running,
    _folder: TempDir,
}

impl Board {
    /// Switches a board on, on which the bundle of [`DEVICE`] for this broker is installed, with ONNX Runtime and
    /// LiteRT.
    ///
    /// # Panics
    /// If the bundle cannot be made, or a part of the board is not there.
    pub fn boot(broker: &BrokerUrl) -> Self {
        let folder = tempfile::tempdir().expect("temporary folders can be made");
        let [bundle, misfit, initramfs, console] =
            ["bundle", "misfit", "initramfs", "console.log"].map(|name| folder.path().join(name));
        let agent = emulator::program();
        make_bundle(
            &["--arch", "aarch64", "--runtimes", "ort,tflite"],
            &agent,
            broker,
            &bundle,
        );
        make_bundle(
            &["--arch", "armv7"],
            &program::workspace().join(MISFIT),
            broker,
            &misfit,
        );
        let initramfs_bytes = File::create(&initramfs)
            .and_then(|file| root::write(file, &bundle, &misfit))
            .expect("the parts of the board are there; `cargo xtask test --all` fetches them");

        let mut machine = Command::new("qemu-system-aarch64");
        machine.args(MACHINE).args(DEVICES);
        machine
            .arg("-kernel")
            .arg(root::kernel().expect("it was fetched with them"));
        machine.arg("-initrd").arg(initramfs);
        machine.arg("-serial").arg(format!("file:{}", console.display()));
        Self {
            console,
            initramfs_bytes,
            _machine: Running::start(&mut machine),
            _folder: folder,
        }
    }

    /// The size of its root.
    pub fn initramfs_bytes(&self) -> u64 {
        self.initramfs_bytes
    }

    /// What the board said on its console so far.
    pub fn console(&self) -> String {
        let bytes = std::fs::read(&self.console).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The version of the kernel that it runs.
    ///
    /// # Panics
    /// If the kernel is not there.
    pub fn kernel_version() -> String {
        let kernel = root::kernel().expect("the kernel is there");
        let name = kernel.file_name().unwrap_or_default().to_string_lossy();
        name.trim_start_matches(root::KERNEL).to_owned()
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the board's console:\n{}", self.console());
        }
    }
}

/// As a user makes it, for a board that reaches the broker through [`GATEWAY`].
fn make_bundle(kind: &[&str], agent: &Path, broker: &BrokerUrl, folder: &Path) {
    let broker = BrokerUrl::new(GATEWAY, broker.port).to_string();
    let made = program::edgefront()
        .arg("bundle")
        .args(kind)
        .args(["--broker", &broker, "--id", DEVICE, "--agent"])
        .arg(agent)
        .arg("-o")
        .arg(folder)
        .output()
        .expect("edgefront starts");
    let words = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "{words}");
}
