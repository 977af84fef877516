//! The path of a latency: counted after each round, encoded as a histogram in the end.

use divan::{Bencher, black_box};
use edgefront_agent::measure::Tally;

fn main() {
    divan::main();
}

/// Latencies around one millisecond with a long tail, as a model on a busy machine has them.
fn latencies(count: u64) -> impl Iterator<Item = u64> {
    (0..count).map(|i| 1_000_000 + i * 7_919 % 40_000 + if i % 100 == 0 { i * 977 % 5_000_000 } else { 0 })
}

fn tally(count: u64) -> Tally {
    let mut tally = Tally::default();
    for nanos in latencies(count) {
        tally.record(nanos, 1);
    }
    tally
}

#[divan::bench(args = [200, 2_000, 200_000])]
fn record(bencher: Bencher, count: u64) {
    bencher.counter(count).bench(|| tally(black_box(count)));
}

#[divan::bench(args = [200, 2_000, 200_000])]
fn encode(bencher: Bencher, count: u64) {
    let tally = tally(count);
    bencher.bench(|| black_box(&tally).encode());
}
