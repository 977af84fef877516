//! The shipped configuration of mosquitto, loaded by a real one.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Child, Command};

use edgefront_link::{BrokerUrl, Connection, Event, LinkError, Publisher, Qos, Settings};
use edgefront_protocol::Topic;
use edgefront_tests::PATIENCE;
use edgefront_tests::broker::{free_port, mosquitto};

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// The shipped file with `edits`, which must all apply, on a free loopback port.
fn start(folder: &Path, edits: &[(&str, &str)]) -> (Running, u16) {
    let port = free_port();
    let mut text = include_str!("../../configs/mosquitto.conf").to_owned();
    let listener = format!("\nlistener {port} 127.0.0.1\n");
    let location = format!("\npersistence_location {}/\n", folder.display());
    let ours = [
        ("\nlistener 1883\n", listener.as_str()),
        ("\npersistence_location /var/lib/mosquitto/\n", &location),
    ];
    for (from, to) in ours.iter().chain(edits) {
        assert!(text.contains(from), "the file has no `{from}`");
        text = text.replace(from, to);
    }
    // mosquitto gives up the rights of root before it reads and writes its files.
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(folder, open).unwrap();
    let config = folder.join("mosquitto.conf");
    std::fs::write(&config, text).unwrap();
    let child = mosquitto(&config).unwrap_or_else(|said| panic!("{said}"));
    (Running(child), port)
}

async fn open(port: u16, user: &str, password: &str, filter: String) -> (Publisher, Connection) {
    let (publisher, mut connection) = Connection::open(settings(port, user, password, filter))
        .await
        .unwrap();
    while !matches!(connection.next().await, Some(Event::Connected)) {}
    (publisher, connection)
}

fn settings(port: u16, user: &str, password: &str, filter: String) -> Settings {
    Settings {
        url: BrokerUrl {
            credentials: Some((user.to_owned(), password.to_owned())),
            ..BrokerUrl::new("127.0.0.1", port)
        },
        client_id: user.to_owned(),
        subscriptions: vec![filter],
        will: None,
    }
}

#[tokio::test]
async fn the_shipped_mosquitto_file_serves_a_controller_and_a_device() {
    let folder = tempfile::tempdir().unwrap();
    let (_running, port) = start(folder.path(), &[]);
    let (_controller, mut controller) = open(port, "controller", "x", Topic::all_presence()).await;
    let presence = Topic::Presence("pi4".parse().unwrap());
    let (device, _connection) = open(port, "pi4", "x", "edgefront/1/device/pi4/#".to_owned()).await;
    device
        .publish(&presence, b"online".to_vec(), Qos::AtLeastOnce, true)
        .await
        .unwrap();
    let event = tokio::time::timeout(PATIENCE, controller.next()).await.unwrap();
    assert!(matches!(event, Some(Event::Message { topic, .. }) if topic == presence));
}

#[tokio::test]
async fn with_the_shipped_access_rules_of_mosquitto_a_device_speaks_for_itself_alone() {
    let folder = tempfile::tempdir().unwrap();
    let passwords = folder.path().join("passwords");
    for (user, create) in [("controller", true), ("pi4", false)] {
        let mut command = Command::new("mosquitto_passwd");
        command.arg("-b").args(create.then_some("-c"));
        let made = command.arg(&passwords).args([user, "secret"]).status().unwrap();
        assert!(made.success());
    }
    let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(&passwords, readable).unwrap();
    let rules = folder.path().join("rules");
    std::fs::write(&rules, include_str!("../../configs/mosquitto.acl")).unwrap();
    let anonymous = ("\nallow_anonymous true\n", "\n");
    let closed = ("\n#allow_anonymous false\n", "\nallow_anonymous false\n");
    let password_file = format!("\npassword_file {}\n", passwords.display());
    let acl_file = format!("\nacl_file {}\n", rules.display());
    let (_running, port) = start(
        folder.path(),
        &[
            anonymous,
            closed,
            ("\n#password_file edgefront.passwords\n", &password_file),
            ("\n#acl_file configs/mosquitto.acl\n", &acl_file),
        ],
    );

    let wrong = Connection::open(settings(port, "pi4", "wrong", Topic::all_presence())).await;
    assert!(
        matches!(wrong, Err(LinkError::Refused { .. })),
        "{:?}",
        wrong.err()
    );

    let (_controller, mut controller) = open(port, "controller", "secret", Topic::all_presence()).await;
    let (device, _connection) = open(port, "pi4", "secret", "edgefront/1/device/pi4/batch".to_owned()).await;
    for id in ["jetson", "pi4"] {
        let presence = Topic::Presence(id.parse().unwrap());
        device
            .publish(&presence, id.as_bytes().to_vec(), Qos::AtLeastOnce, true)
            .await
            .unwrap();
    }
    // The broker takes both in order and hands on the device's own alone.
    let event = tokio::time::timeout(PATIENCE, controller.next()).await.unwrap();
    assert!(
        matches!(&event, Some(Event::Message { payload, .. }) if payload[..] == b"pi4"[..]),
        "{event:?}"
    );
}
