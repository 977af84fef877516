#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| edgefront_agent::fuzzing::meter(bytes));
