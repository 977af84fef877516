#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| edgefront_runtimes::fuzzing::trtexec(text));
