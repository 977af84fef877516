#![no_main]

use std::path::Path;

use edgefront::data;
use edgefront_fuzz::with_file;

/// Pictures to which the rules are applied.
const PICTURES: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../tests/fixtures/preprocess/file.npz"
);

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    with_file("toml", bytes, |path| {
        let _ = data::picture(Path::new(PICTURES), path.to_str());
    });
});
