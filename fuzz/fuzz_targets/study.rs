#![no_main]

use edgefront::study::Study;
use edgefront_fuzz::with_file;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    with_file("toml", bytes, |path| {
        let _ = Study::read(path);
    });
});
