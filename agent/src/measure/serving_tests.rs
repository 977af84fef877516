use edgefront_protocol::{RoundState, Throttle, UnixMillis};

use super::super::tally::Tally;
use super::*;
use crate::worker::server::{Ends, arrivals, tests as virtually};

const SECOND: u64 = 1_000_000_000;

fn plan(p99_bound: Nanos, max_time: u64) -> Plan {
    Plan {
        max_time: Nanos(max_time),
        scenario: Scenario::Server { p99_bound, seed: 11 },
        ..Plan::default()
    }
}

/// Searches on a device that takes `time` for the inference of each number.
fn search(plan: &Plan, service: Nanos, time: impl Fn(u64) -> u64) -> Result<Done, String> {
    let mut serving = Serving::new(plan, service)?.unwrap();
    let mut spent = 0;
    while let Some(serve) = serving.next(Nanos(plan.max_time.0.saturating_sub(spent))) {
        let ends = Ends {
            bound: serve.bound.0,
            late: serve.late,
            limit: serve.limit.0,
        };
        let arrivals = arrivals(serve.seed, serve.rate_qps, serve.queries);
        let latencies = virtually::latencies(&arrivals, ends, &time);
        let mut tally = Tally::default();
        for nanos in &latencies {
            tally.record(*nanos, 1);
        }
        spent += arrivals[latencies.len() - 1] + latencies.last().unwrap();
        let turn = Turn {
            position: 0,
            process: 0,
            started: UnixMillis(0),
            tally,
            stretch: None,
            state: RoundState::default(),
        };
        serving.record(serve, turn);
    }
    serving.finish(plan)
}

/// The share of queries that wait for at most `wait` in a queue with arrivals at random (`rate` per second) and a service
/// of always `service` seconds, one at a time (M/D/1), after Erlang (1909) and Crommelin (1932):
/// (1 - rate D) sum over k from 0 to floor(t / D) of (rate (k D - t))^k / k! * e^(-rate (k D - t)).
fn waits_at_most(wait: f64, rate: f64, service: f64) -> f64 {
    let terms = (wait / service) as i32;
    let mut factorial = 1.0;
    let sum: f64 = (0..=terms)
        .map(|k| {
            factorial *= f64::from(k.max(1));
            let x = rate * (f64::from(k) * service - wait);
            x.powi(k) / factorial * (-x).exp()
        })
        .sum();
    (1.0 - rate * service) * sum
}

/// The rate at which P99 of waiting and service is `bound`, by halving.
fn rate_in_theory(service: f64, bound: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0 / service);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if waits_at_most(bound - service, middle, service) >= 0.99 {
            low = middle;
        } else {
            high = middle;
        }
    }
    low
}

/// By hand, at rate 0.5 and service 1: nobody waits in a half of the cases, and within t < 1 the sum has one term,
/// 0.5 e^(0.5 t); at t = 1 it has the second term -0.5 * 0 more; at t = 1.5 that is 0.5 (e^0.75 - 0.25 e^0.25).
#[test]
fn the_formula_gives_what_is_computed_by_hand() {
    let share = |wait| waits_at_most(wait, 0.5, 1.0);
    let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} {b}");
    near(share(0.0), 0.5);
    near(share(0.5), 0.5 * 0.25_f64.exp());
    near(share(1.0), 0.5 * 0.5_f64.exp());
    near(share(1.5), 0.5 * (0.75_f64.exp() - 0.25 * 0.25_f64.exp()));
    // The mean wait is rho D / (2 (1 - rho)), by Pollaczek and Khinchine: 0.5.
    let steps = 20_000;
    let mean: f64 = (0..steps)
        .map(|step| (1.0 - share(f64::from(step) * 1e-3 + 5e-4)) * 1e-3)
        .sum();
    assert!((mean - 0.5).abs() < 1e-4, "{mean}");
}

#[test]
fn the_rate_of_a_known_service_time_is_that_of_queueing_theory() {
    for (service, bound) in [(2, 10), (2, 20), (5, 12), (1, 3)] {
        let (nanos, bound_nanos) = (service * 1_000_000, Nanos(bound * 1_000_000));
        let done = search(&plan(bound_nanos, 36_000 * SECOND), Nanos(nanos), |_| nanos).unwrap();
        let found = done
            .probes
            .iter()
            .filter(|probe| probe.kept)
            .map(|probe| probe.rate_qps);
        let found = found.fold(0.0, f64::max);
        let theory = rate_in_theory(service as f64 / 1e3, bound as f64 / 1e3);
        let ratio = found / theory;
        assert!(
            (0.95..=1.05).contains(&ratio),
            "{service} {bound}: {found} {theory} {ratio}"
        );
        assert!(!done.cut && done.kept.tally.runs() == MOST);
        assert!(
            done.probes
                .iter()
                .all(|probe| probe.kept == (probe.p99 <= bound_nanos))
        );
    }
}

#[test]
fn a_stall_lowers_the_rate() {
    let time = |number: u64| {
        if number.is_multiple_of(500) {
            102_000_000
        } else {
            2_000_000
        }
    };
    let plan = plan(Nanos(20_000_000), 3_600 * SECOND);
    let steady = search(&plan, Nanos(2_000_000), |_| 2_000_000).unwrap();
    let stalling = search(&plan, Nanos(2_000_000), time).unwrap();
    let rate = |done: &Done| {
        done.probes
            .iter()
            .filter(|probe| probe.kept)
            .fold(0.0, |rate, probe| probe.rate_qps.max(rate))
    };
    assert!(
        rate(&stalling) < rate(&steady) / 2.0,
        "{} {}",
        rate(&stalling),
        rate(&steady)
    );
}

#[test]
fn what_keeps_no_bound_or_takes_too_long_says_so() {
    let bound = Nanos(10_000_000);
    let error = |plan: &Plan, service, time: u64| search(plan, Nanos(service), |_| time).unwrap_err();
    insta::assert_snapshot!(error(&plan(bound, SECOND), 12_000_000, 12_000_000), @"one inference takes 12.000 ms after warm-up, so no rate keeps P99 within 10.000 ms; raise --p99-bound");
    insta::assert_snapshot!(error(&plan(bound, 3_600 * SECOND), 9_000_000, 11_000_000), @"no rate keeps P99 within 10.000 ms: at 0.868 queries a second it is 11.000 ms; raise --p99-bound");
    insta::assert_snapshot!(error(&plan(bound, SECOND), 2_000_000, 2_000_000), @"the plan's longest time of 1s ended the search before a rate kept P99 within 10.000 ms: 662 queries at 250.000 a second take 3 s; raise --max-time");
}

#[test]
fn a_search_that_is_cut_keeps_what_it_found() {
    let done = search(&plan(Nanos(20_000_000), 6 * SECOND), Nanos(2_000_000), |_| {
        2_000_000
    })
    .unwrap();
    assert!(done.cut && done.kept.tally.runs() >= FEWEST, "{done:?}");
}

#[test]
fn other_scenarios_have_no_search() {
    assert!(Serving::new(&Plan::default(), Nanos(1)).unwrap().is_none());
}

/// A trial whose queries took so long: of each length so many.
fn trial(latencies: &[(u64, u64)], is_disturbed: bool) -> Turn {
    let mut tally = Tally::default();
    for (nanos, count) in latencies {
        tally.record(*nanos, *count);
    }
    let causes = if is_disturbed {
        vec![Throttle::Throttled]
    } else {
        Vec::new()
    };
    Turn {
        position: 0,
        process: 0,
        started: UnixMillis(0),
        tally,
        stretch: None,
        state: RoundState {
            throttling: Some(causes),
            ..RoundState::default()
        },
    }
}

fn begun() -> (Plan, Serving) {
    let plan = plan(Nanos(10_000_000), 600 * SECOND);
    (plan, Serving::new(&plan, Nanos(2_000_000)).unwrap().unwrap())
}

#[test]
fn a_disturbed_trial_that_fails_is_made_again_and_set_aside() {
    let (plan, mut serving) = begun();
    let first = serving.next(plan.max_time).unwrap();
    serving.record(first, trial(&[(20_000_000, first.queries)], true));
    let again = serving.next(plan.max_time).unwrap();
    assert_eq!(again, first);
    serving.record(again, trial(&[(3_000_000, again.queries)], false));
    let higher = serving.next(plan.max_time).unwrap();
    assert!(higher.rate_qps > first.rate_qps);
    for _ in 0..MOST_REPEATS {
        serving.record(higher, trial(&[(20_000_000, higher.queries)], true));
    }
    assert!(serving.next(plan.max_time).unwrap().rate_qps < higher.rate_qps);
    let done = serving.finish(&plan).unwrap();
    assert_eq!(
        (done.aside.len(), done.doubtful),
        (MOST_REPEATS, vec![higher.rate_qps])
    );
}

#[test]
fn a_trial_that_the_longest_time_cuts_says_nothing_of_its_rate() {
    for latencies in [&[][..], &[(3_000_000, 197), (20_000_000, 3)]] {
        let (plan, mut serving) = begun();
        let first = serving.next(plan.max_time).unwrap();
        serving.record(first, trial(&[(3_000_000, first.queries)], false));
        let cut = serving.next(plan.max_time).unwrap();
        assert!(cut.late > 3);
        serving.record(cut, trial(latencies, false));
        assert_eq!(serving.next(plan.max_time), None);
        let done = serving.finish(&plan).unwrap();
        assert!(done.cut && done.probes.len() == 1, "{:?}", done.probes);
    }
}
