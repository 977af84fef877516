#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: (&[u8], &[u8])| {
    let device = "device".parse().expect("the name of a device");
    edgefront_agent::fuzzing::stored_state(&device, bytes.0, bytes.1);
});
