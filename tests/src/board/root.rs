//! The board's root: an archive that the kernel unpacks into its memory (`initramfs`), of Debian's busybox and kernel
//! modules, the libraries that programs need, and the bundles that are to be installed.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use cpio::NewcBuilder;
use cpio::newc::{ModeFileType, trailer};

use crate::emulator::LIBRARIES;
use crate::program;

/// Where `cargo xtask test --all` unpacks Debian's packages.
const PACKAGES: &str = "target/board/root";
/// How the names of kernels begin.
pub(super) const KERNEL: &str = "vmlinuz-";
/// Drivers of the network and of randomness, each after those that it needs.
const MODULES: [&str; 7] = [
    "virtio_ring",
    "virtio",
    "virtio_mmio",
    "failover",
    "net_failover",
    "virtio_net",
    "virtio-rng",
];
/// What the agent and the libraries of runtimes are linked with.
const LINKED: [&str; 8] = [
    "ld-linux-aarch64.so.1",
    "libc.so.6",
    "libdl.so.2",
    "libgcc_s.so.1",
    "libm.so.6",
    "libpthread.so.0",
    "librt.so.1",
    "libstdc++.so.6",
];
const FOLDERS: [&str; 9] = [
    "bin",
    "dev",
    "etc",
    "lib",
    "lib/modules",
    "proc",
    "sys",
    "var",
    "var/lib",
];
const INIT: &str = include_str!("../../fixtures/board/init");
/// The agent's user is there already, for busybox has no tool of the installer's to make it.
const USERS: &str = "root:x:0:0:root:/:/bin/sh\nedgefront:x:100:100::/var/lib/edgefront:/bin/false\n";
const GROUPS: &str = "root:x:0:\nedgefront:x:100:\n";

/// Debian's kernel for 64-bit ARM.
pub(super) fn kernel() -> io::Result<PathBuf> {
    let folder = unpacked("boot");
    let mut found = fs::read_dir(&folder)?.flatten().map(|entry| entry.path());
    let is_kernel = |path: &PathBuf| {
        path.file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with(KERNEL))
    };
    found.find(is_kernel).ok_or_else(|| missing(&folder.join(KERNEL)))
}

/// Writes the archive and gives its size.
pub(super) fn write(file: File, bundle: &Path, misfit: &Path) -> io::Result<u64> {
    let mut archive = Archive(BufWriter::new(file));
    for folder in FOLDERS {
        archive.folder(folder)?;
    }
    archive.content("init", 0o755, INIT.as_bytes())?;
    archive.content("etc/passwd", 0o644, USERS.as_bytes())?;
    archive.content("etc/group", 0o644, GROUPS.as_bytes())?;
    archive.file("bin/busybox", &unpacked("bin/busybox"))?;
    for name in LINKED {
        archive.file(&format!("lib/{name}"), &Path::new(LIBRARIES).join(name))?;
    }
    for (number, name) in MODULES.iter().enumerate() {
        let module = module(&unpacked("lib/modules"), name)?;
        let file = module.file_name().unwrap_or_default().display();
        archive.file(&format!("lib/modules/{number}-{file}"), &module)?;
    }
    for (name, bundle) in [("bundle", bundle), ("misfit", misfit)] {
        archive.folder(name)?;
        archive.file(&format!("{name}/install.sh"), &bundle.join("install.sh"))?;
        archive.tree(&format!("{name}/root"), &bundle.join("root"))?;
    }
    archive.end()
}

/// What the packages bring; those of Debian 13 have all but the kernel below `usr`.
fn unpacked(path: &str) -> PathBuf {
    let packages = program::workspace().join(PACKAGES);
    let below_usr = packages.join("usr").join(path);
    if below_usr.exists() {
        below_usr
    } else {
        packages.join(path)
    }
}

fn missing(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("{} is missing", path.display()))
}

/// The file of a module, compressed or not.
fn module(folder: &Path, name: &str) -> io::Result<PathBuf> {
    let beginning = format!("{name}.ko");
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else if entry.file_name().to_string_lossy().starts_with(&beginning) {
                return Ok(entry.path());
            }
        }
    }
    Err(missing(&folder.join(beginning)))
}

/// The archive while it is written. All belongs to root.
struct Archive(BufWriter<File>);

impl Archive {
    fn folder(&mut self, path: &str) -> io::Result<()> {
        self.entry(path, ModeFileType::Directory, 0o755, &[])
    }

    fn content(&mut self, path: &str, mode: u32, content: &[u8]) -> io::Result<()> {
        self.entry(path, ModeFileType::Regular, mode, content)
    }

    /// A file with its mode; what a link leads to.
    fn file(&mut self, path: &str, source: &Path) -> io::Result<()> {
        let of_source =
            |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", source.display()));
        let mode = fs::metadata(source).map_err(of_source)?.permissions().mode();
        let content = fs::read(source).map_err(of_source)?;
        self.content(path, mode & 0o777, &content)
    }

    fn tree(&mut self, path: &str, source: &Path) -> io::Result<()> {
        self.folder(path)?;
        for entry in fs::read_dir(source)? {
            let entry = entry?;
            let inner = format!("{path}/{}", entry.file_name().to_string_lossy());
            if entry.file_type()?.is_dir() {
                self.tree(&inner, &entry.path())?;
            } else {
                self.file(&inner, &entry.path())?;
            }
        }
        Ok(())
    }

    fn entry(&mut self, path: &str, kind: ModeFileType, mode: u32, content: &[u8]) -> io::Result<()> {
        let header = NewcBuilder::new(path).mode(mode).set_mode_file_type(kind);
        let mut entry = header.write(&mut self.0, content.len() as u32);
        entry.write_all(content)?;
        entry.finish()?;
        Ok(())
    }

    fn end(mut self) -> io::Result<u64> {
        trailer(&mut self.0)?;
        let file = self.0.into_inner()?;
        Ok(file.metadata()?.len())
    }
}
