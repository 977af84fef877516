//! The bytes of one sample of each message, committed, so that a change of the wire format is seen.
//!
//! A failing test here means that programs already on devices read these messages differently. Append the
//! field at the end of the top-level message and raise `wire::MINOR`, or raise `wire::MAJOR`; then renew the
//! fixtures with `cargo xtask fixtures` and commit them with the change.

use std::fmt::{Debug, Write as _};
use std::path::PathBuf;

use edgefront_protocol::{seal, wire};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::samples;

/// Set by `cargo xtask fixtures`: write the fixtures instead of comparing with them.
const RENEW: &str = "EDGEFRONT_RENEW_FIXTURES";

fn check<T: Serialize + DeserializeOwned + PartialEq + Debug>(name: &str, message: &T) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/wire/golden/{name}.hex"));
    let text = to_hex(&wire::encode(message));
    if std::env::var_os(RENEW).is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        text, golden,
        "the wire format of `{name}` changed: see the head of protocol/tests/wire/golden.rs"
    );
    assert_eq!(&wire::decode::<T>(&from_hex(&golden)).unwrap(), message);
}

/// Lower-case hexadecimal, 16 bytes a line.
fn to_hex(bytes: &[u8]) -> String {
    bytes.chunks(16).fold(String::new(), |mut text, line| {
        let line: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(text, "{}", line.join(" ")).unwrap();
        text
    })
}

fn from_hex(text: &str) -> Vec<u8> {
    text.split_whitespace()
        .map(|byte| u8::from_str_radix(byte, 16).unwrap())
        .collect()
}

#[test]
fn batch() {
    let signed = samples::signed_batch();
    check("batch", &signed);
    // Its key signed it, so a change of what is signed shows in the golden bytes, too.
    let (device, key) = ("pi4".parse().unwrap(), samples::key().public());
    let opened = seal::open(&wire::encode(&signed), &device).unwrap();
    assert_eq!(opened, (samples::batch(), Ok(key)));
    check("batch_unsigned", &samples::unsigned_batch());
}

#[test]
fn ack() {
    check("ack", &samples::ack());
}

#[test]
fn cancel() {
    check("cancel", &samples::cancel());
}

#[test]
fn want() {
    check("want", &samples::want());
}

#[test]
fn chunk() {
    check("chunk", &samples::chunk());
}

#[test]
fn presence() {
    check("presence_online", &samples::presence_online());
    check("presence_offline", &samples::presence_offline());
}

#[test]
fn progress() {
    for (name, message) in samples::progress() {
        check(&format!("progress_{name}"), &message);
    }
}

#[test]
fn outcome() {
    check("outcome_measured", &samples::outcome_measured());
    for (stage, message) in samples::outcome_failed() {
        check(&format!("outcome_failed_{stage}"), &message);
    }
}
