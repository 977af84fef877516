#![no_main]

use edgefront_optimizer::{Model, check};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(model) = Model::decode(bytes, None) {
        let _ = check::check(&model);
    }
});
