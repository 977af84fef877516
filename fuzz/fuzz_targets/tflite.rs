//! The inputs of a TensorFlow Lite file, and all of it that LiteRT takes for granted.
#![no_main]

libfuzzer_sys::fuzz_target!(|file: &[u8]| {
    let _ = edgefront_runtimes::tflite::inputs(file);
});
