//! The two version bytes: what is refused, and what a reader tolerates.

use edgefront_protocol::wire::{self, MAJOR, MINOR, WireError};
use edgefront_protocol::{Ack, Cancel};
use proptest::prelude::*;

use crate::strategies;

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
