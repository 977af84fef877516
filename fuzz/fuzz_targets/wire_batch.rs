#![no_main]

use edgefront_protocol::{PublicKey, SignedBatch, seal, wire};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let device = "device".parse().expect("the name of a device");
    let read = wire::decode::<SignedBatch>(bytes);
    // Trusted is whoever the message names, so that its signature is looked at.
    let named = read.iter().filter_map(|message| message.seal);
    let controllers: Vec<PublicKey> = named.map(|seal| seal.key).collect();
    let opened = seal::open(bytes, &device, &controllers);
    assert_eq!(read.is_ok(), opened.is_ok());
    if let Ok(message) = read {
        // What was accepted must survive being sent on.
        assert_eq!(
            wire::decode::<SignedBatch>(&wire::encode(&message)).ok(),
            Some(message)
        );
    }
});
