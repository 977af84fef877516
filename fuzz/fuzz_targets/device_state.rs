#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| edgefront_agent::fuzzing::device_state(text));
