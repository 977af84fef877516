#![no_main]

use edgefront_protocol::{Batch, wire};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(message) = wire::decode::<Batch>(bytes) {
        // What was accepted must survive being sent on.
        assert_eq!(wire::decode::<Batch>(&wire::encode(&message)).ok(), Some(message));
    }
});
