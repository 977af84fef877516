//! What some tests need from the machine: Debian's Mosquitto, the libraries of runtimes, and Python.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Something that could not be set up.
#[derive(Debug)]
pub(crate) struct Missing {
    /// The word by which tests that need it are known.
    pub(crate) word: &'static str,
    /// What to do about it.
    pub(crate) mend: String,
}

const MOSQUITTO_PACKAGES: [&str; 2] = ["mosquitto", "mosquitto-clients"];

/// Installs the broker that the tests compare with, unless it is there.
pub(crate) fn mosquitto() -> Option<Missing> {
    let present = || on_path("mosquitto") && on_path("mosquitto_pub");
    if present() {
        return None;
    }
    println!("== installing {}", MOSQUITTO_PACKAGES.join(" "));
    // A fresh machine may have no package lists, or old ones.
    if !(install(&MOSQUITTO_PACKAGES) || (apt_get(&["update"]) && install(&MOSQUITTO_PACKAGES))) || !present()
    {
        let mend = format!("sudo apt-get install {}", MOSQUITTO_PACKAGES.join(" "));
        return Some(Missing {
            word: "mosquitto",
            mend,
        });
    }
    None
}

/// Installs the library of a runtime as a user would, unless it is there. `edgefront` is the built program.
pub(crate) fn runtime(edgefront: &Path, name: &'static str) -> Option<Missing> {
    println!("== edgefront runtimes install {name}");
    let installed = Command::new(edgefront)
        .args(["runtimes", "install", name])
        .status();
    if installed.is_ok_and(|status| status.success()) {
        return None;
    }
    Some(Missing {
        word: name,
        mend: format!("edgefront runtimes install {name} (needs pip and the network)"),
    })
}

/// Looks for Python, which a machine has or its owner installs.
pub(crate) fn python() -> Option<Missing> {
    (!on_path("python3")).then(|| Missing {
        word: "python3",
        mend: "sudo apt-get install python3".to_owned(),
    })
}

/// Debian puts daemons in `/usr/sbin`, which is not on every user's path.
fn on_path(program: &str) -> bool {
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
