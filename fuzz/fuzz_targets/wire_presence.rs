#![no_main]

use edgefront_protocol::{Presence, wire};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(message) = wire::decode::<Presence>(bytes) {
        // What was accepted must survive being sent on.
        assert_eq!(
            wire::decode::<Presence>(&wire::encode(&message)).ok(),
            Some(message)
        );
    }
});
