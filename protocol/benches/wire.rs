//! The codec: what a transfer and the end of a job pass through it.

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use edgefront_protocol::blob::Chunk;
use edgefront_protocol::outcome::{Conditions, Harness, Latency, Memory, Round, Startup};
use edgefront_protocol::{Bytes, Digest, Measurement, Nanos, Outcome, Scenario, Score, UnixMillis, wire};

fn main() {
    divan::main();
}

/// A chunk as transfers send it.
fn chunk() -> Chunk {
    Chunk::new(Digest::of(b"blob"), 7, vec![0x5a; 64 << 10])
}

/// The outcome of a job with ten rounds, a histogram of 4 KiB, and predictions of 10,000 pictures.
fn outcome() -> Outcome {
    let round = Round {
        position: 3,
        runs: 120,
        total: Nanos(123_456_789),
        p50: Nanos(1_000_000),
        started: UnixMillis(1_700_000_000_000),
        process: 3,
        below: [60, 108, 114, 119, 120],
    };
    let measurement = Measurement {
        runtime_version: "1.32.0".to_owned(),
        provider: "cpu".to_owned(),
        latency: Latency {
            histogram: vec![0x81; 4 << 10],
            rounds: vec![round; 10],
            warmup_runs: 52,
            ended_early: false,
        },
        load: Nanos(12_000_000),
        peak_rss: Some(Bytes(61_000_000)),
        memory: Memory::default(),
        startup: Startup::default(),
        score: Some(Score {
            top1_hits: 7_000,
            top5_hits: 9_000,
            predictions: (0..10_000).map(|i| i % 1_000).collect(),
            ..Score::default()
        }),
        conditions: Conditions::default(),
        energy: Vec::new(),
        harness: Harness::default(),
        layers: Vec::new(),
        scenario: Scenario::Single,
        probes: Vec::new(),
        processors: Vec::new(),
        stopped: None,
        sustained: None,
    };
    let id = |text: &str| text.to_owned();
    Outcome {
        job: id("job-1").try_into().expect("invariant: a valid name"),
        batch: id("batch-1").try_into().expect("invariant: a valid name"),
        device: id("pi4").try_into().expect("invariant: a valid name"),
        result: Ok(measurement),
    }
}

#[divan::bench]
fn encode_chunk(bencher: Bencher) {
    let chunk = chunk();
    bencher
        .counter(BytesCount::new(chunk.data.len()))
        .bench(|| wire::encode(black_box(&chunk)));
}

#[divan::bench]
fn decode_chunk(bencher: Bencher) {
    let bytes = wire::encode(&chunk());
    bencher
        .counter(BytesCount::new(bytes.len()))
        .bench(|| wire::decode::<Chunk>(black_box(&bytes)));
}

#[divan::bench]
fn encode_outcome(bencher: Bencher) {
    let outcome = outcome();
    bencher.bench(|| wire::encode(black_box(&outcome)));
}

#[divan::bench]
fn decode_outcome(bencher: Bencher) {
    let bytes = wire::encode(&outcome());
    bencher.bench(|| wire::decode::<Outcome>(black_box(&bytes)));
}
