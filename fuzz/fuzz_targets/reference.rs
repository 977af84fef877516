#![no_main]

use edgefront_protocol::Reference;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(reference) = Reference::decode(bytes) {
        let _ = (reference.outputs(1), reference.hits(1), reference.counts());
        assert_eq!(
            Reference::decode(&reference.encode()).ok().map(|read| read.len()),
            Some(reference.len())
        );
    }
});
