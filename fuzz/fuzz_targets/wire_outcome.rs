#![no_main]

use edgefront_protocol::{Outcome, wire};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(message) = wire::decode::<Outcome>(bytes) {
        // What was accepted must survive being sent on.
        assert_eq!(
            wire::decode::<Outcome>(&wire::encode(&message)).ok(),
            Some(message)
        );
    }
});
