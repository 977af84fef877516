#![no_main]

use edgefront::data::{self, Labels};
use edgefront_fuzz::{PICTURE, folder};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let folder = folder();
    let class = folder.join("class");
    std::fs::create_dir_all(&class).expect("the temporary folder takes folders");
    for name in ["picture.png", "picture.jpg"] {
        std::fs::write(class.join(name), bytes).expect("the temporary folder takes files");
    }
    let _ = data::load(&folder, Some("unit"), PICTURE, Labels::Read, None);
});
