#![no_main]

use edgefront_fuzz::folder;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| edgefront_agent::fuzzing::journal(&folder(), bytes));
