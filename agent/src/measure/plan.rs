//! How a plan's runs and time are spread over its rounds, free of I/O.

use edgefront_protocol::{Nanos, Plan};
use rand::SeedableRng as _;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha8Rng;

use crate::worker::message::{Span, WarmUp};

/// Longest wait for steady runs, in units of the plan's least warm-up time.
const WARM_UP_LIMIT: u64 = 4;
/// The same where that time is shorter.
const WARM_UP_LIMIT_LEAST: Nanos = Nanos(1_000_000_000);
/// The part of the longest time that may go into starting the processes after the first.
const STARTS_PART: u64 = 4;

/// What a job has run so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// Rounds that nothing disturbed.
    pub(crate) rounds: u32,
    /// Their runs.
    pub(crate) runs: u64,
    /// Sum of their timed runs.
    pub(crate) time: Nanos,
    /// Rounds that were disturbed.
    pub(crate) disturbed: u32,
    /// What all rounds took, untimed runs and the way to the worker and back included.
    pub(crate) spent: Nanos,
}

/// The warm-up of `plan`.
pub(crate) fn warm_up(plan: &Plan) -> WarmUp {
    let limit = Nanos(plan.warmup_time.0.saturating_mul(WARM_UP_LIMIT));
    WarmUp {
        runs: plan.warmup_runs,
        time: plan.warmup_time,
        limit: limit.max(WARM_UP_LIMIT_LEAST).min(plan.max_time),
        longest: plan.max_time,
    }
}

/// The warm-up of each of so many processes after the first: an even part of the plan's.
pub(crate) fn warm_up_again(plan: &Plan, processes: u32) -> WarmUp {
    let first = warm_up(plan);
    let part = |time: Nanos| Nanos(time.0.div_ceil(u64::from(processes.max(1))));
    WarmUp {
        runs: first.runs.div_ceil(processes.max(1)),
        time: part(first.time),
        limit: part(first.limit),
        longest: first.longest,
    }
}

/// Processes over which the rounds are spread, where starting the first one took `start`: the plan's, but no more than
/// rounds, and of those after the first only as many as start within a part of the longest time.
pub(crate) fn processes(plan: &Plan, start: Nanos) -> u32 {
    let time = plan.max_time.0 / STARTS_PART;
    let affordable = (time / start.0.max(1)).saturating_add(1);
    plan.processes
        .min(plan.rounds)
        .max(1)
        .min(u32::try_from(affordable).unwrap_or(u32::MAX))
}

/// The process that runs a round, counted from 0, where the rounds are spread evenly over `processes`.
pub(crate) fn process_of(round: u32, plan: &Plan, processes: u32) -> u32 {
    let process = u64::from(round) * u64::from(processes) / u64::from(plan.rounds.max(1));
    process as u32
}

/// How many rounds are measured again at most: half as many as the plan has.
pub(crate) fn most_repeats(plan: &Plan) -> u32 {
    plan.rounds.div_ceil(2)
}

/// Whether so many rounds that nothing disturbed stand for the job: half of the plan's.
pub(crate) fn suffice(plan: &Plan, rounds: u32) -> bool {
    rounds >= plan.rounds.div_ceil(2)
}

/// The next round: an even part of the runs and time that are still to do. `None` after the last round, and
/// once the longest time is used up. Disturbed rounds are made up for while there are repeats left.
pub(crate) fn next_round(plan: &Plan, done: Totals) -> Option<Span> {
    let all = done.rounds + done.disturbed;
    let wanted = plan.rounds.saturating_sub(done.rounds);
    let possible = plan.rounds.saturating_add(most_repeats(plan)).saturating_sub(all);
    let rounds_left = u64::from(wanted.min(possible));
    let time_left = plan.max_time.0.saturating_sub(done.spent.0);
    if rounds_left == 0 || (time_left == 0 && all > 0) {
        return None;
    }
    let part = |least: u64, done: u64| least.saturating_sub(done).div_ceil(rounds_left);
    Some(Span {
        runs: part(u64::from(plan.min_runs), done.runs),
        time: Nanos(part(plan.min_time.0, done.time.0)),
        limit: Nanos(time_left.div_ceil(rounds_left)),
    })
}

/// Whether the longest time ended a job before its least runs or time.
pub(crate) fn ended_early(plan: &Plan, done: Totals) -> bool {
    let is_short = done.runs < u64::from(plan.min_runs) || done.time < plan.min_time;
    // Nothing else ends one that was never disturbed.
    is_short && (done.spent >= plan.max_time || done.disturbed == 0)
}

/// The plan by which a worker runs, of a job's own: that of a sustained run has a round for each window, which ends by its
/// time alone.
pub(crate) fn of_rounds(plan: &Plan) -> Plan {
    let Some(time) = plan.sustained else {
        return *plan;
    };
    Plan {
        rounds: Plan::windows(time),
        processes: 1,
        min_runs: 0,
        min_time: time,
        max_time: time,
        ..*plan
    }
}

/// The order of jobs in each round, the same for the same seed on every machine.
pub(crate) struct Shuffle(ChaCha8Rng);

impl Shuffle {
    pub(crate) fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// The indices below `count` in random order.
    pub(crate) fn next(&mut self, count: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..count).collect();
        order.shuffle(&mut self.0);
        order
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Runs `plan` on a model of constant latency, as a worker does, with no cost but the timed runs.
    fn run(plan: &Plan, nanos: u64) -> Totals {
        run_with(plan, nanos, 0)
    }

    /// The same where each round takes `extra` nanoseconds beside its timed runs.
    fn run_with(plan: &Plan, nanos: u64, extra: u64) -> Totals {
        let mut done = Totals::default();
        while let Some(span) = next_round(plan, done) {
            let (mut runs, mut time) = (0, 0);
            while runs == 0 || (time < span.limit.0 && (runs < span.runs || time < span.time.0)) {
                runs += 1;
                time += nanos;
            }
            done = Totals {
                rounds: done.rounds + 1,
                runs: done.runs + runs,
                time: Nanos(done.time.0 + time),
                spent: Nanos(done.spent.0 + time + extra),
                ..done
            };
        }
        done
    }

    #[test]
    fn a_fast_model_runs_for_the_least_time() {
        let done = run(&Plan::default(), 1_000_000);
        assert_eq!((done.rounds, done.runs), (10, 2_000));
    }

    #[test]
    fn a_slow_model_makes_the_least_runs() {
        let done = run(&Plan::default(), 100_000_000);
        assert_eq!((done.rounds, done.runs), (10, 200));
        assert!(!ended_early(&Plan::default(), done));
    }

    #[test]
    fn the_longest_time_ends_a_job_that_is_slower_still() {
        let done = run(&Plan::default(), 1_000_000_000);
        assert_eq!((done.rounds, done.runs), (10, 60));
        assert!(ended_early(&Plan::default(), done));
        let done = run(&Plan::default(), 30_000_000_000);
        assert_eq!((done.rounds, done.runs), (2, 2));
    }

    #[test]
    fn untimed_runs_count_towards_the_longest_time() {
        let many = Plan {
            rounds: 200,
            ..Plan::default()
        };
        // One run of a second, after another that is not timed.
        let done = run_with(&many, 1_000_000_000, 1_000_000_000);
        assert_eq!((done.runs, done.spent), (30, many.max_time));
    }

    #[test]
    fn rounds_are_spread_evenly_over_processes_that_start_in_time() {
        let plan = Plan {
            rounds: 10,
            processes: 4,
            max_time: Nanos(60),
            ..Plan::default()
        };
        let of_rounds = |processes| {
            (0..10)
                .map(|round| process_of(round, &plan, processes))
                .collect::<Vec<_>>()
        };
        assert_eq!(processes(&plan, Nanos(5)), 4);
        assert_eq!(of_rounds(4), [0, 0, 0, 1, 1, 2, 2, 2, 3, 3]);
        assert_eq!(of_rounds(1), [0; 10]);
        // 15 for the starts after the first.
        assert_eq!(processes(&plan, Nanos(6)), 3);
        assert_eq!(processes(&plan, Nanos(16)), 1);
        assert_eq!(processes(&plan, Nanos(0)), 4);
        let few_rounds = Plan { rounds: 2, ..plan };
        assert_eq!(processes(&few_rounds, Nanos(1)), 2);
        let none = Plan { processes: 0, ..plan };
        assert_eq!(processes(&none, Nanos(1)), 1);
    }

    #[test]
    fn disturbed_rounds_are_made_up_for_within_bounds() {
        let plan = Plan::default();
        let done = |rounds, disturbed| Totals {
            rounds,
            disturbed,
            runs: u64::from(rounds) * 20,
            time: Nanos(u64::from(rounds) * 200_000_000),
            spent: Nanos(u64::from(rounds + disturbed) * 200_000_000),
        };
        assert_eq!(next_round(&plan, done(10, 5)), None);
        assert_eq!(next_round(&plan, done(9, 4)).map(|span| span.runs), Some(20));
        // All that is left is in the last that may be.
        assert_eq!(next_round(&plan, done(8, 6)).map(|span| span.runs), Some(40));
        assert_eq!(next_round(&plan, done(8, 7)), None);
        assert_eq!(next_round(&plan, done(0, 15)), None);
        assert!(suffice(&plan, 5) && !suffice(&plan, 4));
        assert!(!ended_early(&plan, done(8, 7)));
    }

    proptest! {
        #[test]
        fn least_runs_and_time_hold_unless_the_longest_time_is_used_up(
            min_runs in 1..500u32,
            min_time in 0..1_000_000u64,
            max_time in 1..2_000_000u64,
            rounds in 1..20u32,
            nanos in 1..100_000u64,
        ) {
            let plan = Plan {
                min_runs,
                min_time: Nanos(min_time),
                max_time: Nanos(max_time),
                rounds,
                ..Plan::default()
            };
            let done = run(&plan, nanos);
            prop_assert!(done.runs >= 1);
            prop_assert!(!ended_early(&plan, done) || done.time.0 >= max_time);
            prop_assert!(done.time.0 <= max_time + u64::from(rounds) * nanos);
        }

        #[test]
        fn every_round_has_every_job_once(seed: u64, count in 0..40usize) {
            let mut shuffle = Shuffle::new(seed);
            for _ in 0..3 {
                let mut order = shuffle.next(count);
                order.sort_unstable();
                prop_assert_eq!(order, (0..count).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn the_order_of_a_seed_stays_the_same() {
        let mut shuffle = Shuffle::new(7);
        let orders = [shuffle.next(6), shuffle.next(6)];
        assert_eq!(orders, [[0, 3, 5, 2, 4, 1], [1, 2, 4, 5, 3, 0]]);
    }
}
