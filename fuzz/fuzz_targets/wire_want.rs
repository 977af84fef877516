#![no_main]

use edgefront_protocol::blob::Want;
use edgefront_protocol::wire;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(message) = wire::decode::<Want>(bytes) {
        // What was accepted must survive being sent on.
        assert_eq!(wire::decode::<Want>(&wire::encode(&message)).ok(), Some(message));
    }
});
