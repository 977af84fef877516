#![no_main]

use edgefront_protocol::{Ack, wire};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(message) = wire::decode::<Ack>(bytes) {
        // What was accepted must survive being sent on.
        assert_eq!(wire::decode::<Ack>(&wire::encode(&message)).ok(), Some(message));
    }
});
