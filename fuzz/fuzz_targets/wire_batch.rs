#![no_main]

use edgefront_protocol::{SignedBatch, seal, wire};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let device = "device".parse().expect("the name of a device");
    let opened = seal::open(bytes, &device);
    if let Ok(message) = wire::decode::<SignedBatch>(bytes) {
        assert_eq!(opened.ok().map(|(batch, _)| batch), Some(message.batch.clone()));
        // What was accepted must survive being sent on.
        assert_eq!(
            wire::decode::<SignedBatch>(&wire::encode(&message)).ok(),
            Some(message)
        );
    }
});
