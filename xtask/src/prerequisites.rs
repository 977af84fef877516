//! What some tests need from the machine: Debian's Mosquitto and qemu, the libraries of runtimes, and Python.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Something that could not be set up.
#[derive(Debug)]
pub(crate) struct Missing {
    /// The word by which tests that need it are known.
    pub(crate) word: &'static str,
    /// What to do about it.
    pub(crate) mend: String,
    /// Whether every machine can have it, so that continuous integration must.
    pub(crate) everywhere: bool,
}

/// Installs the broker that the tests compare with, unless it is there.
pub(crate) fn mosquitto() -> Option<Missing> {
    packages("mosquitto", &["mosquitto", "mosquitto-clients"], || {
        on_path("mosquitto") && on_path("mosquitto_pub")
    })
}

/// Installs what runs programs of 64-bit ARM, and the libraries that such programs load, unless they are there.
pub(crate) fn qemu() -> Option<Missing> {
    let names = ["qemu-user-static", "libc6-arm64-cross", "libstdc++6-arm64-cross"];
    packages("qemu", &names, || {
        on_path("qemu-aarch64-static") && Path::new("/usr/aarch64-linux-gnu/lib/libstdc++.so.6").exists()
    })
}

/// Installs packages of Debian, unless what they bring is there.
pub(crate) fn packages(word: &'static str, names: &[&str], present: impl Fn() -> bool) -> Option<Missing> {
    if present() {
        return None;
    }
    println!("== installing {}", names.join(" "));
    // A fresh machine may have no package lists, or old ones.
    let installed = install(names) || (apt_get(&["update"]) && install(names));
    if installed && present() {
        return None;
    }
    Some(Missing {
        word,
        mend: format!("sudo apt-get install {}", names.join(" ")),
        everywhere: true,
    })
}

/// Installs the library of a runtime as a user would, unless it is there. `edgefront` is the built program.
pub(crate) fn runtime(edgefront: &Path, name: &'static str) -> Option<Missing> {
    install_runtimes(edgefront, name, &[name])
}

/// Looks for TVM, whose compiler takes half a gigabyte and so is installed only where all is tested.
pub(crate) fn tvm(edgefront: &Path, all: bool) -> Option<Missing> {
    if all {
        return runtime(edgefront, "tvm");
    }
    // The runtime may be there without its compiler, or with one of another version.
    let compiles = Command::new(edgefront)
        .args([
            "convert",
            "tests/fixtures/models/tiny.onnx",
            "-o",
            "target/prerequisite.so",
        ])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    let found = compiles.is_ok_and(|status| status.success());
    (!found).then(|| Missing {
        word: "tvm",
        mend: "edgefront runtimes install tvm, or cargo xtask test --all".to_owned(),
        everywhere: false,
    })
}

/// Installs the libraries of all runtimes that are published for 64-bit ARM.
pub(crate) fn aarch64_runtimes(edgefront: &Path) -> Option<Missing> {
    install_runtimes(edgefront, "aarch64", &["ort", "tflite", "--arch", "aarch64"])
}

fn install_runtimes(edgefront: &Path, word: &'static str, arguments: &[&str]) -> Option<Missing> {
    let command = format!("edgefront runtimes install {}", arguments.join(" "));
    println!("== {command}");
    let installed = Command::new(edgefront)
        .args(["runtimes", "install"])
        .args(arguments)
        .status();
    if installed.is_ok_and(|status| status.success()) {
        return None;
    }
    Some(Missing {
        word,
        mend: format!("{command} (needs pip and the network)"),
        everywhere: true,
    })
}

/// Looks for Python, which a machine has or its owner installs.
pub(crate) fn python() -> Option<Missing> {
    (!on_path("python3")).then(|| Missing {
        word: "python3",
        mend: "sudo apt-get install python3".to_owned(),
        everywhere: true,
    })
}

/// Debian puts daemons in `/usr/sbin`, which is not on every user's path.
pub(crate) fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    folders.into_iter().any(|folder| folder.join(program).is_file())
}

fn install(packages: &[&str]) -> bool {
    let arguments = [&["install", "--yes", "--no-install-recommends"], packages].concat();
    apt_get(&arguments)
}

/// As root, or through a `sudo` that asks for no password.
fn apt_get(arguments: &[&str]) -> bool {
    let run = |program: &str, before: &[&str]| {
        Command::new(program)
            .args(before)
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdin(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    };
    run("sudo", &["-n", "apt-get"]) || run("apt-get", &[])
}
