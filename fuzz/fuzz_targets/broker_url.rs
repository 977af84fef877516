#![no_main]

use edgefront_link::BrokerUrl;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let _ = text.parse::<BrokerUrl>();
});
