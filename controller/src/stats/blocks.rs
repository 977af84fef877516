//! The independent parts of a measurement: what its processes gave, or its rounds where one process ran them all.
//!
//! Runs that follow one another in one process share its state, such as where its memory lies and what the caches
//! and the machine do just then, so that a thousand of them say less than a thousand independent ones. Two parts share
//! none of it but the machine.

use std::collections::BTreeSet;

use edgefront_protocol::outcome::{Latency, PERCENTILES, Round};

/// What one part gave.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Block {
    /// Its runs, at least 1.
    pub runs: f64,
    /// Sum of their latencies in nanoseconds.
    pub total: f64,
    /// Its runs that took no longer than each of [`PERCENTILES`] of all runs.
    pub below: [f64; PERCENTILES.len()],
    /// Logarithm of its median in nanoseconds; of several rounds the mean.
    pub log_median: f64,
}

/// The parts of a measurement: its processes where there were several, and otherwise its rounds.
pub fn of(latency: &Latency) -> Vec<Block> {
    let rounds = || latency.rounds.iter().filter(|round| round.runs > 0);
    let processes: BTreeSet<u32> = rounds().map(|round| round.process).collect();
    if processes.len() > 1 {
        let of_process = |process| rounds().filter(move |round| round.process == process);
        processes
            .into_iter()
            .map(|process| joined(of_process(process)))
            .collect()
    } else {
        rounds().map(|round| joined(std::iter::once(round))).collect()
    }
}

fn joined<'a>(rounds: impl Iterator<Item = &'a Round>) -> Block {
    let rounds: Vec<&Round> = rounds.collect();
    let sum = |figure: &dyn Fn(&Round) -> f64| rounds.iter().map(|round| figure(round)).sum::<f64>();
    let mut below = [0.0; PERCENTILES.len()];
    for (at, below) in below.iter_mut().enumerate() {
        *below = sum(&|round| round.below[at].min(round.runs) as f64);
    }
    Block {
        runs: sum(&|round| round.runs as f64),
        total: sum(&|round| round.total.0 as f64),
        below,
        log_median: sum(&|round| (round.p50.0.max(1) as f64).ln()) / rounds.len() as f64,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use edgefront_protocol::{Nanos, UnixMillis};

    use super::*;

    /// A round of this process, median and runs, each of which took as long as the median.
    pub(crate) fn round(process: u32, p50: u64, runs: u64) -> Round {
        Round {
            position: 0,
            runs,
            total: Nanos(p50 * runs),
            p50: Nanos(p50),
            started: UnixMillis(0),
            process,
            below: [runs / 2; 5],
        }
    }

    fn latency(rounds: Vec<Round>) -> Latency {
        Latency {
            rounds,
            histogram: Vec::new(),
            warmup_runs: 0,
            ended_early: false,
        }
    }

    #[test]
    fn rounds_of_one_process_are_parts_and_those_of_several_are_joined() {
        let one = of(&latency(vec![
            round(0, 100, 4),
            round(0, 400, 2),
            round(0, 100, 0),
        ]));
        assert_eq!(
            one.iter().map(|block| block.total).collect::<Vec<_>>(),
            [400.0, 800.0]
        );
        let two = of(&latency(vec![
            round(0, 100, 4),
            round(0, 400, 2),
            round(1, 100, 2),
        ]));
        assert_eq!(two.len(), 2);
        assert_eq!((two[0].runs, two[0].total, two[0].below[0]), (6.0, 1_200.0, 3.0));
        assert!((two[0].log_median - 200_f64.ln()).abs() < 1e-9);
        assert_eq!(of(&latency(Vec::new())), []);
    }
}
