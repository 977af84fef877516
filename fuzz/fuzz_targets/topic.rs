#![no_main]

use edgefront_protocol::Topic;

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Ok(topic) = text.parse::<Topic>() {
        assert_eq!(topic.to_string(), text);
    }
});
