#![no_main]

use edgefront::data::{self, Labels};
use edgefront_fuzz::with_file;
use edgefront_protocol::PictureShape;

const PICTURE: PictureShape = PictureShape {
    channels: 3,
    height: 2,
    width: 2,
};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    with_file("npz", bytes, |path| {
        let _ = data::load(path, Some("unit"), PICTURE, Labels::Read, None);
    });
});
