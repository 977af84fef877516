#![no_main]

use edgefront::stats::Samples;
use edgefront_protocol::Latency;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let latency = Latency {
        histogram: bytes.to_vec(),
        rounds: Vec::new(),
        warmup_runs: 0,
        ended_early: false,
    };
    if let Ok(samples) = Samples::decode(&latency) {
        assert!(samples.count() > 0);
        assert!(samples.min() <= samples.median());
    }
});
