#![no_main]

use edgefront::data::{self, Labels};
use edgefront_fuzz::{PICTURE, with_file};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    with_file("npz", bytes, |path| {
        let _ = data::load(path, Some("unit"), PICTURE, Labels::Read, None);
    });
});
