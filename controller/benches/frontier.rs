//! The frontier of many points.

use divan::{Bencher, black_box};
use edgefront::frontier::dominance::{frontier_of_many, frontier_of_two};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

fn main() {
    divan::main();
}

#[divan::bench(args = [1_000, 1_000_000], sample_count = 10)]
fn two_objectives(bencher: Bencher, points: usize) {
    let mut random = SmallRng::seed_from_u64(1);
    let points: Vec<[f64; 2]> = (0..points).map(|_| [random.random(), random.random()]).collect();
    bencher.bench_local(|| frontier_of_two(black_box(&points)));
}

#[divan::bench(args = [1_000, 100_000], sample_count = 10)]
fn three_objectives(bencher: Bencher, points: usize) {
    let mut random = SmallRng::seed_from_u64(1);
    let points: Vec<Vec<f64>> = (0..points)
        .map(|_| (0..3).map(|_| random.random()).collect())
        .collect();
    bencher.bench_local(|| frontier_of_many(black_box(&points)));
}
