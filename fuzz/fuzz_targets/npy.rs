#![no_main]

use std::io::{Cursor, Write as _};

use edgefront::data;
use edgefront_fuzz::with_file;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

// Within a container whose checksums are right, which a fuzzer seldom finds by itself.
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut npz = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    npz.start_file("images.npy", options).expect("memory takes files");
    npz.write_all(bytes).expect("memory takes files");
    let npz = npz.finish().expect("memory takes files").into_inner();
    with_file("npz", &npz, |path| {
        let _ = data::picture(path, Some("unit"));
    });
});
