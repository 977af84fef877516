#![no_main]

use edgefront_protocol::{Cancel, wire};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(message) = wire::decode::<Cancel>(bytes) {
        // What was accepted must survive being sent on.
        assert_eq!(
            wire::decode::<Cancel>(&wire::encode(&message)).ok(),
            Some(message)
        );
    }
});
