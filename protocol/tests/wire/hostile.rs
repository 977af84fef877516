//! Bytes and texts from outside: an error at worst, never a panic.

use edgefront_protocol::blob::{Chunk, Want};
use edgefront_protocol::wire::{self, MAJOR, MINOR};
use edgefront_protocol::{
    Ack, Batch, Cancel, DeviceId, Digest, Outcome, Presence, Progress, SignedBatch, Topic,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::strategies;

/// Runs every decoder; whether one accepts the bytes does not matter here.
fn decode_as_everything(bytes: &[u8]) {
    let _ = wire::decode::<Batch>(bytes);
    let _ = wire::decode::<SignedBatch>(bytes);
    let _ = wire::decode::<Ack>(bytes);
    let _ = wire::decode::<Cancel>(bytes);
    let _ = wire::decode::<Want>(bytes);
    let _ = wire::decode::<Chunk>(bytes);
    let _ = wire::decode::<Presence>(bytes);
    let _ = wire::decode::<Progress>(bytes);
    let _ = wire::decode::<Outcome>(bytes);
}

proptest! {
    #[test]
    fn arbitrary_bytes_do_not_panic(bytes in vec(any::<u8>(), 0..256)) {
        decode_as_everything(&bytes);
    }

    #[test]
    fn arbitrary_bodies_do_not_panic(body in vec(any::<u8>(), 0..256)) {
        decode_as_everything(&[&[MAJOR, MINOR][..], &body].concat());
    }

    #[test]
    fn a_flipped_bit_does_not_panic(message in strategies::outcome(), position in any::<prop::sample::Index>(), bit in 0..8u32) {
        let mut bytes = wire::encode(&message);
        let position = position.index(bytes.len());
        bytes[position] ^= 1u8 << bit;
        decode_as_everything(&bytes);
    }

    #[test]
    fn a_text_is_a_topic_only_if_it_is_that_topics_own_text(text in "(edgefront/1/)?\\PC{0,80}") {
        if let Ok(topic) = text.parse::<Topic>() {
            prop_assert_eq!(topic.to_string(), text);
        }
    }

    #[test]
    fn an_accepted_name_is_safe_in_topics_and_paths(text in "\\PC{0,70}") {
        if let Ok(id) = text.parse::<DeviceId>() {
            prop_assert!(!id.as_str().is_empty() && !id.as_str().starts_with('.'));
            prop_assert!(!id.as_str().contains(['/', '\\', '+', '#', '\0', ' ']));
        }
    }
}

#[test]
fn a_vector_that_claims_to_be_endless_is_refused_without_being_allocated() {
    // A chunk whose data claims 2^63 bytes: digest, index 0, checksum 0, then a length of ten bytes.
    let mut bytes = vec![MAJOR, MINOR];
    bytes.extend_from_slice(&[0; 34]);
    bytes.extend_from_slice(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]);
    assert!(wire::decode::<Chunk>(&bytes).is_err());
}

#[test]
fn an_id_inside_a_message_is_validated() {
    for hostile in [
        "",
        "../../etc",
        "a/b",
        "+",
        "#",
        ".hidden",
        "sp ace",
        "ä",
        &"x".repeat(65),
    ] {
        let length = u8::try_from(hostile.len()).unwrap();
        let bytes = [&[MAJOR, MINOR, length][..], hostile.as_bytes()].concat();
        assert!(wire::decode::<Ack>(&bytes).is_err(), "`{hostile}` was accepted");
    }
}

#[test]
fn hostile_topics_are_refused() {
    let digest = Digest::of(b"blob").to_string();
    let texts = [
        "",
        "/",
        "edgefront",
        "edgefront/1",
        "edgefront/1/",
        "edgefront/2/device/pi4/presence",
        "edgefront/1/device/pi4",
        "edgefront/1/device/pi4/presence/",
        "edgefront/1/device//presence",
        "edgefront/1/device/+/presence",
        "edgefront/1/device/#",
        "edgefront/1/device/../presence",
        "edgefront/1/device/pi4/Presence",
        "edgefront/1/device/pi4/reboot",
        "edgefront/1/device/pi\0/ack",
        "edgefront/1/controller/c/progress",
        "edgefront/1/controller/c/batch/pi4",
        "edgefront/1/controller/c/want/pi4/more",
        "edgefront/1/blob/abc",
        &format!("edgefront/1/blob/{}", digest.to_uppercase()),
        &format!(" edgefront/1/blob/{digest}"),
        &format!("edgefront/1/blob/{digest}\n"),
        "$SYS/broker/version",
    ];
    for text in texts {
        assert!(text.parse::<Topic>().is_err(), "`{text}` was accepted");
    }
}
