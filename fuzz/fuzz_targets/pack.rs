#![no_main]

use edgefront_protocol::Pack;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(pack) = Pack::decode(bytes.to_vec()) {
        pack.input(0..2);
        assert_eq!(
            Pack::decode(pack.encode()).ok().as_ref().map(Pack::len),
            Some(pack.len())
        );
    }
});
