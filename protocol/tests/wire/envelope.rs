//! The two version bytes: what is refused, and what a reader tolerates.

use edgefront_protocol::wire::{self, MAJOR, MINOR, WireError};
use edgefront_protocol::{Ack, Cancel, Meters, Outcome, Presence};
use proptest::prelude::*;
use serde::Serialize;

use crate::{samples, strategies};

proptest! {
    #[test]
    fn another_major_version_is_refused_by_name(message in strategies::ack(), major in any::<u8>(), minor in any::<u8>()) {
        prop_assume!(major != MAJOR);
        let mut bytes = wire::encode(&message);
        bytes[0] = major;
        bytes[1] = minor;
        let error = wire::decode::<Ack>(&bytes).unwrap_err();
        let refused = matches!(error, WireError::Version { found } if found == major);
        prop_assert!(refused);
        let named = error.to_string().contains(&format!("wire version {major}"));
        prop_assert!(named);
    }

    #[test]
    fn trailing_bytes_of_a_newer_minor_version_are_ignored(
        message in strategies::outcome(),
        minor in MINOR + 1..=u8::MAX,
        new_fields in proptest::collection::vec(any::<u8>(), 0..64),
    ) {
        let mut bytes = wire::encode(&message);
        bytes[1] = minor;
        bytes.extend_from_slice(&new_fields);
        prop_assert_eq!(wire::decode::<edgefront_protocol::Outcome>(&bytes).unwrap(), message);
    }

    #[test]
    fn an_older_minor_version_is_read(message in strategies::outcome(), minor in 0..MINOR) {
        let mut bytes = wire::encode(&message);
        bytes[1] = minor;
        prop_assert_eq!(wire::decode::<edgefront_protocol::Outcome>(&bytes).unwrap(), message);
        bytes.push(1);
        let error = wire::decode::<edgefront_protocol::Outcome>(&bytes).unwrap_err();
        prop_assert!(matches!(error, WireError::Surplus(1)));
    }

    #[test]
    fn trailing_bytes_of_the_same_version_are_refused(
        message in strategies::cancel(),
        surplus in proptest::collection::vec(any::<u8>(), 1..64),
    ) {
        let mut bytes = wire::encode(&message);
        bytes.extend_from_slice(&surplus);
        let error = wire::decode::<Cancel>(&bytes).unwrap_err();
        prop_assert!(matches!(error, WireError::Surplus(n) if n == surplus.len()));
    }

    #[test]
    fn a_truncated_message_is_refused(message in strategies::batch(), keep in 0.0f64..1.0) {
        let bytes = wire::encode(&message);
        let length = (bytes.len() as f64 * keep) as usize;
        let error = wire::decode::<edgefront_protocol::Batch>(&bytes[..length]).unwrap_err();
        prop_assert!(matches!(error, WireError::Short(_) | WireError::Malformed(_)));
    }
}

/// Presences of minor version 1 have no count of announcements.
#[test]
fn a_field_that_an_older_message_lacks_is_zero() {
    let Presence::Offline(id, run, _) = samples::presence_offline() else {
        unreachable!()
    };
    let mut bytes = wire::encode(&samples::presence_offline());
    bytes[1] = 1;
    bytes.pop();
    let read: Presence = wire::decode(&bytes).unwrap();
    assert_eq!(read, Presence::Offline(id, run, 0));
}

/// Presences of minor version 2 tell nothing of the board.
#[test]
fn a_board_that_an_older_message_lacks_is_not_told() {
    let Presence::Online(device, count, board, trust, meters) = samples::presence_online() else {
        unreachable!()
    };
    let mut bytes = wire::encode(&samples::presence_online());
    bytes[1] = 2;
    let lengths = [length(&board), length(&trust), length(&meters)];
    bytes.truncate(bytes.len() - lengths.iter().sum::<usize>());
    let read: Presence = wire::decode(&bytes).unwrap();
    let (board, trust, meters) = Default::default();
    assert_eq!(read, Presence::Online(device, count, board, trust, meters));
}

/// Presences of minor version 3 do not tell whose jobs the device takes.
#[test]
fn a_trust_that_an_older_message_lacks_is_not_told() {
    let Presence::Online(device, count, board, trust, meters) = samples::presence_online() else {
        unreachable!()
    };
    let mut bytes = wire::encode(&samples::presence_online());
    bytes[1] = 3;
    bytes.truncate(bytes.len() - length(&trust) - length(&meters));
    let read: Presence = wire::decode(&bytes).unwrap();
    let (trust, meters) = Default::default();
    assert_eq!(read, Presence::Online(device, count, board, trust, meters));
}

/// Presences of minor version 4 do not tell what measures power.
#[test]
fn meters_that_an_older_message_lacks_are_not_told() {
    let Presence::Online(device, count, board, trust, meters) = samples::presence_online() else {
        unreachable!()
    };
    let mut bytes = wire::encode(&samples::presence_online());
    bytes[1] = 4;
    bytes.truncate(bytes.len() - length(&meters));
    let read: Presence = wire::decode(&bytes).unwrap();
    let expected = Presence::Online(device, count, board, trust, Meters::default());
    assert_eq!(read, expected);
}

/// Measurements of minor version 4 have no energy.
#[test]
fn energy_that_an_older_message_lacks_is_none() {
    let mut expected = samples::outcome_measured();
    let mut bytes = wire::encode(&expected);
    bytes[1] = 4;
    let energy = &mut expected.result.as_mut().unwrap().energy;
    bytes.truncate(bytes.len() - length(energy));
    energy.clear();
    assert_eq!(wire::decode::<Outcome>(&bytes).unwrap(), expected);
}

/// Bytes of a field within a message.
fn length(field: &impl Serialize) -> usize {
    wire::encode(field).len() - 2
}

#[test]
fn every_message_begins_with_the_version() {
    let message = Ack {
        job: "j".parse().unwrap(),
    };
    assert_eq!(wire::encode(&message)[..2], [MAJOR, MINOR]);
}

#[test]
fn an_empty_payload_is_refused() {
    assert!(matches!(wire::decode::<Ack>(&[]), Err(WireError::Short(0))));
    assert!(matches!(wire::decode::<Ack>(&[MAJOR]), Err(WireError::Short(1))));
}
