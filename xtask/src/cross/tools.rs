//! What compiles for another processor: Rust's standard library for it, and zig as C compiler and linker, which brings
//! the symbols of every glibc.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

use super::Arch;
use crate::prerequisites::on_path;
use crate::step;

/// Where zig is put if the machine has none.
const FOLDER: &str = "target/cross/tools";
/// Its version.
const REQUIREMENTS: &str = "cross/requirements.txt";

/// The tools, ready to build.
#[derive(Debug)]
pub(crate) struct Tools {
    /// Where `cargo-zigbuild` and zig were put; `None` where the machine has them on its path.
    folder: Option<PathBuf>,
}

impl Tools {
    /// Finds the tools or installs them. The error says in one line what to install by hand.
    pub(crate) fn set_up(arch: Arch) -> anyhow::Result<Self> {
        standard_library(arch.target)?;
        let folder = if on_path("cargo-zigbuild") && on_path("zig") {
            None
        } else {
            Some(zig()?)
        };
        Ok(Self { folder })
    }

    /// `cargo zigbuild`, to be completed.
    pub(super) fn zigbuild(&self) -> Command {
        let Some(folder) = &self.folder else {
            return step::cargo(&["zigbuild"]);
        };
        let mut command = Command::new(folder.join("bin/cargo-zigbuild"));
        command.arg("zigbuild");
        command.env("CARGO_ZIGBUILD_ZIG_PATH", folder.join("ziglang/zig"));
        command
    }
}

/// Asks the compiler that cargo will take, which may not be rustup's.
fn standard_library(target: &str) -> anyhow::Result<()> {
    if has_standard_library(target) {
        return Ok(());
    }
    println!("== rustup target add {target}");
    let added = Command::new("rustup").args(["target", "add", target]).status();
    if added.is_ok_and(|status| status.success()) && has_standard_library(target) {
        return Ok(());
    }
    bail!("rust's standard library for {target} is missing: `rustup target add {target}`, or see docs/arm.md")
}

fn has_standard_library(target: &str) -> bool {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc)
        .args(["--print", "target-libdir", "--target", target])
        .stderr(Stdio::null())
        .output();
    // A compiler names the folder whether it is there or not.
    output.is_ok_and(|output| Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_dir())
}

/// The folder that holds zig, fetched if it was not.
fn zig() -> anyhow::Result<PathBuf> {
    let folder = std::path::absolute(FOLDER).with_context(|| format!("cannot find {FOLDER}"))?;
    let is_there = || folder.join("bin/cargo-zigbuild").is_file() && folder.join("ziglang/zig").is_file();
    if is_there() {
        return Ok(folder);
    }
    println!("== installing {REQUIREMENTS} into {FOLDER}");
    let installed = Command::new("python3")
        .args([
            "-m",
            "pip",
            "--disable-pip-version-check",
            "--no-input",
            "install",
        ])
        .args(["--quiet", "--no-deps", "--upgrade", "--target"])
        .arg(&folder)
        .env("PIP_ROOT_USER_ACTION", "ignore")
        .args(["--requirement", REQUIREMENTS])
        .stdin(Stdio::null())
        .status();
    if installed.is_ok_and(|status| status.success()) && is_there() {
        return Ok(folder);
    }
    bail!(
        "zig is missing: put zig and cargo-zigbuild on the path, as `python3 -m pip install -r {REQUIREMENTS}` does"
    )
}
