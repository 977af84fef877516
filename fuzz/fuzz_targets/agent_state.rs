#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: (&[u8], &[u8])| {
    let device = "device".parse().expect("the name of a device");
    let next = "next".parse().expect("the name of a batch");
    edgefront_agent::fuzzing::stored_state(&device, &next, bytes.0, bytes.1);
});
