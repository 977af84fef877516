#![no_main]

use edgefront_protocol::{Progress, wire};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(message) = wire::decode::<Progress>(bytes) {
        // What was accepted must survive being sent on.
        assert_eq!(
            wire::decode::<Progress>(&wire::encode(&message)).ok(),
            Some(message)
        );
    }
});
