#![no_main]

use edgefront_protocol::results::Results;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = serde_json::from_slice::<Results>(bytes);
});
