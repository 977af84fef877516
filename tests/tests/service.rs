//! The agent as a service: what it tells its manager, and how a board gets it.

#![allow(clippy::unwrap_used)]

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;

use edgefront_tests::broker::{Broker, Kind};
use edgefront_tests::fleet::Running;
use edgefront_tests::{PATIENCE, program};

/// What the manager hears next.
fn heard(manager: &UnixDatagram) -> String {
    let mut bytes = [0; 256];
    let length = manager.recv(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes[..length]).into_owned()
}

#[test]
fn a_service_manager_hears_of_the_agent() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("notify");
    let manager = UnixDatagram::bind(&socket).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let broker = Broker::start(Kind::BuiltIn);
    let mut command = Command::new(program::path("edgefront-agent"));
    command
        .args(["--id", "pi", "--broker", &broker.url().to_string(), "--state"])
        .arg(dir.path().join("state"))
        .env("NOTIFY_SOCKET", &socket)
        .env("WATCHDOG_USEC", "200000");
    let agent = Running::start(&mut command);
    assert!(heard(&manager).contains("READY=1"));
    for _ in 0..2 {
        assert!(heard(&manager).contains("WATCHDOG=1"));
    }
    assert_eq!(agent.terminate(), 0);
    let last = std::iter::repeat_with(|| heard(&manager)).find(|text| !text.contains("WATCHDOG=1"));
    assert!(last.unwrap().contains("STOPPING=1"));
}

fn edgefront(args: &[&str], folder: &Path) -> (bool, String) {
    let output = program::edgefront()
        .args(args)
        .current_dir(folder)
        .output()
        .unwrap();
    let words = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&words).into_owned(),
    )
}

/// The installer puts the files below a folder, and the agent that lies there joins the fleet by its own settings.
#[test]
fn a_bundle_makes_a_device_of_a_board() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(Kind::BuiltIn);
    let url = broker.url().to_string();
    let agent = program::path("edgefront-agent").display().to_string();
    let bundle = [
        "bundle",
        "--broker",
        &url,
        "--id",
        "pi-kitchen",
        "--agent",
        &agent,
        "-o",
        "out",
    ];
    let (made, words) = edgefront(&bundle, dir.path());
    assert!(made, "{words}");

    let root = dir.path().join("board");
    let installed = Command::new(dir.path().join("out/install.sh"))
        .arg("--root")
        .arg(&root)
        .status();
    assert!(installed.unwrap().success());
    let mut command = Command::new(root.join("opt/edgefront/edgefront-agent"));
    command.arg("--config").arg(root.join("etc/edgefront/agent.toml"));
    // The settings name a folder of the system.
    command.arg("--state").arg(dir.path().join("state"));
    let _agent = Running::start(&mut command);
    let listed = || edgefront(&["devices", "--broker", &url], dir.path()).1;
    let there = std::iter::repeat_with(listed)
        .take(60)
        .find(|text| text.contains("pi-kitchen"));
    assert!(there.is_some_and(|text| text.contains("online")));
}

/// A board whose settings were changed keeps them beside the new ones.
#[test]
fn settings_that_were_there_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    // A bundle is laid out below a folder for any processor, and this program is small.
    let agent = Path::new(env!("CARGO_MANIFEST_DIR")).join("../xtask/fixtures/glibc-2.28.armv7");
    let agent = agent.display().to_string();
    let root = dir.path().join("board");
    let install = |broker: &str| {
        let (made, words) = edgefront(
            &[
                "bundle", "--arch", "armv7", "--broker", broker, "--agent", &agent, "-o", "out",
            ],
            dir.path(),
        );
        assert!(made, "{words}");
        let mut installer = Command::new(dir.path().join("out/install.sh"));
        assert!(installer.arg("--root").arg(&root).status().unwrap().success());
    };
    install("mqtt://10.0.0.1");
    let settings = |name: &str| std::fs::read_to_string(root.join("etc/edgefront").join(name));
    settings("agent.toml.old").unwrap_err();
    install("mqtt://10.0.0.2");
    install("mqtt://10.0.0.3");
    assert!(settings("agent.toml.old").unwrap().contains("10.0.0.1"));
    assert!(settings("agent.toml.old.2").unwrap().contains("10.0.0.2"));
    assert!(settings("agent.toml").unwrap().contains("10.0.0.3"));
}
