use edgefront_protocol::{Beside, PackCounts};
use proptest::prelude::*;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::*;

/// With as many entrants as there are.
fn beaten(runners: &[Runner]) -> Vec<(usize, Stopped)> {
    super::beaten(runners, runners.len())
}

const ROUNDS: u32 = 10;

fn runner(name: &str, laps: Vec<Option<Lap>>) -> Runner {
    Runner {
        job: name.parse().unwrap(),
        way: Way {
            scenario: Scenario::Single,
            batch: 1,
            threads: 1,
            processors: Processors::All,
            validation: None,
        },
        may_be_stopped: true,
        accuracy: Accuracy::OfVariant("fp32".to_owned()),
        laps,
        rounds: ROUNDS,
        most: ROUNDS + ROUNDS / 2,
    }
}

fn lap(process: u32, median: f64, energy: &[f64]) -> Lap {
    Lap {
        process,
        median,
        mean: median * 1.01,
        energy: energy
            .iter()
            .map(|&energy| ("ina3221/VDD_IN".to_owned(), energy))
            .collect(),
    }
}

/// Rounds in processes of their own, whose logarithms scatter evenly with this standard deviation.
fn laps(rng: &mut ChaCha8Rng, median: f64, scatter: f64, count: usize) -> Vec<Option<Lap>> {
    let half = scatter * 3.0_f64.sqrt();
    let mut lap_of = |process| {
        let noise: f64 = rng.random_range(-1.0..=1.0) * half;
        Some(lap(process, median * noise.exp(), &[]))
    };
    (0..count as u32).map(&mut lap_of).collect()
}

fn score(top1_hits: u64) -> Accuracy {
    Accuracy::Scored(Box::new(Score {
        top1_hits,
        top5_hits: top1_hits + 5,
        ..Score::default()
    }))
}

/// A score of some of four pictures.
fn part(pictures: &[u32]) -> Accuracy {
    Accuracy::Scored(Box::new(Score {
        predictions: vec![0; pictures.len()],
        pictures: pictures.to_vec(),
        beside: Some(Beside {
            pack: PackCounts {
                pictures: 4,
                ..PackCounts::default()
            },
            ..Beside::default()
        }),
        ..Score::default()
    }))
}

/// The first and a second one that takes so many times as long, three rounds each.
fn two(times: f64) -> [Runner; 2] {
    let laps = |median: f64| (0..3).map(|round| Some(lap(round, median, &[median]))).collect();
    [runner("fast", laps(1e6)), runner("slow", laps(1e6 * times))]
}

#[test]
fn who_is_slower_and_no_better_is_stopped_on_evidence() {
    let [fast, slow] = two(2.0);
    let found = beaten(&[slow, fast.clone()]);
    let [(0, stopped)] = &found[..] else {
        panic!("{found:?}");
    };
    assert_eq!((&stopped.by, stopped.rounds, stopped.of), (&fast.job, 3, 10));
    for lead in [stopped.median, stopped.mean, stopped.energy.unwrap()] {
        assert!((lead.ratio - 2.0).abs() < 1e-9 && (lead.at_least - 2.0).abs() < 1e-9);
    }
}

#[test]
fn near_ones_few_rounds_and_other_ways_show_nothing() {
    assert_eq!(beaten(&two(1.019)), []);
    let [fast, slow] = two(2.0);
    let mut short = slow.clone();
    short.laps[1] = None;
    let mut other = slow.clone();
    other.way.threads = 2;
    let kept = Runner {
        may_be_stopped: false,
        ..slow
    };
    for runner in [short, other, kept] {
        assert_eq!(beaten(&[fast.clone(), runner]), []);
    }
}

#[test]
fn who_is_better_in_anything_goes_on() {
    let [fast, slow] = two(2.0);
    let with = |runner: &Runner, accuracy| Runner {
        accuracy,
        ..runner.clone()
    };
    let is_stopped = |rival, own| !beaten(&[with(&fast, rival), with(&slow, own)]).is_empty();
    assert!(is_stopped(score(80), score(80)) && !is_stopped(score(80), score(81)));
    assert!(!is_stopped(Accuracy::NotYet, score(80)) && !is_stopped(score(80), Accuracy::NotYet));
    // Parts of a pack leave a doubt, unless they are the whole of it.
    assert!(is_stopped(part(&[2, 0, 3, 1]), part(&[2, 0, 3, 1])));
    assert!(!is_stopped(part(&[2, 0, 3, 1]), part(&[2, 0, 3])));
    let mut frugal = slow.clone();
    for lap in frugal.laps.iter_mut().flatten() {
        lap.energy.insert("ina3221/VDD_IN".to_owned(), 9e5);
    }
    assert_eq!(beaten(&[fast.clone(), frugal]), []);
    // A meter that told of one round only leaves it open, and one that told of none says nothing.
    let known_in = |rounds: usize| {
        let mut slow = slow.clone();
        for lap in slow.laps.iter_mut().flatten().skip(rounds) {
            lap.energy.clear();
        }
        !beaten(&[fast.clone(), slow]).is_empty()
    };
    assert_eq!([0, 1, 2, 3].map(known_in), [true, false, false, true]);
}

#[test]
fn without_a_pack_only_files_of_one_variant_race() {
    let mut runners = two(2.0);
    assert_eq!(beaten(&runners).len(), 1);
    runners[1].accuracy = Accuracy::OfVariant("ptq-int8".to_owned());
    assert!(beaten(&runners).is_empty());
}

#[test]
fn of_three_the_fastest_stops_both() {
    let [fast, slow] = two(2.0);
    let laps = (0..3).map(|round| Some(lap(round, 4e6, &[4e6]))).collect();
    let found = beaten(&[slow, runner("slowest", laps), fast]);
    let by: Vec<&str> = found.iter().map(|(_, stopped)| stopped.by.as_str()).collect();
    assert_eq!(by, ["fast", "fast"]);
}

#[test]
fn rounds_in_which_one_keeps_its_process_are_one_value() {
    let laps =
        |median: f64, of: fn(u32) -> u32| (0..9).map(|round| Some(lap(of(round), median, &[]))).collect();
    let halves = |median| laps(median, |round| round / 5);
    assert_eq!(beaten(&[runner("a", halves(1e6)), runner("b", halves(2e6))]), []);
    // One process against nine.
    let rounds = laps(1e6, |round| round);
    assert_eq!(beaten(&[runner("a", rounds), runner("b", laps(2e6, |_| 0))]), []);
}

#[test]
fn what_a_process_has_in_common_is_no_evidence() {
    // Both have one process for three rounds each, which differ by 10 %; the rounds within hardly do.
    let race = |seed| {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut of_processes = || -> Vec<Option<Lap>> {
            let processes = laps(&mut rng, 1e6, 0.1, 3);
            let medians = processes.into_iter().flatten().map(|lap| lap.median);
            let rounds = medians.enumerate().flat_map(|(process, median)| {
                (0..3).map(move |round| {
                    Some(lap(process as u32, median * (1.0 + 1e-4 * f64::from(round)), &[]))
                })
            });
            rounds.collect()
        };
        let (fast, slow) = (of_processes(), of_processes());
        !beaten(&[runner("fast", fast), runner("slow", slow)]).is_empty()
    };
    let stopped = (0..500).filter(|&seed| race(seed)).count();
    assert!(stopped <= 12, "{stopped} of 500");
}

/// Runs races of two, looked at after each turn, and tells how many stop the second, and after how many rounds.
fn races(times: f64, scatter: f64, races: u64) -> Vec<usize> {
    let race = |seed| {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let [fast, slow] = [1e6, 1e6 * times].map(|median| laps(&mut rng, median, scatter, ROUNDS as usize));
        let upto = |laps: &[Option<Lap>], turns: usize| laps[..turns].to_vec();
        (1..=ROUNDS as usize).find(|&turns| {
            let runners = [
                runner("fast", upto(&fast, turns)),
                runner("slow", upto(&slow, turns)),
            ];
            beaten(&runners).iter().any(|(place, _)| *place == 1)
        })
    };
    (0..races).filter_map(race).collect()
}

#[test]
fn a_rival_that_is_no_further_ahead_than_counts_stops_one_in_a_hundred_at_most() {
    // Binomial: 1,000 races of a chance of 1 % have more than 20 in one of a thousand cases.
    let stopped = races(LEAST_LEAD, 0.02, 1_000).len();
    assert!(stopped <= 20, "{stopped} of 1,000");
    assert_eq!(races(1.0, 0.05, 300).len(), 0);
}

#[test]
fn who_takes_twice_as_long_is_stopped_early() {
    let after = races(2.0, 0.02, 200);
    assert_eq!(after.len(), 200);
    let early = after.iter().filter(|&&rounds| rounds <= 4).count();
    assert!(early >= 190, "{early} of 200 after 4 of 10 rounds");
}

proptest! {
    #[test]
    fn who_stops_another_goes_on_and_is_no_worse(
        seed: u64,
        medians in prop::collection::vec((1.0..4.0f64, 70..75u64, any::<bool>()), 1..8),
        rounds in 0..8usize,
    ) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let runners: Vec<Runner> = medians
            .iter()
            .enumerate()
            .map(|(number, &(median, hits, may_be_stopped))| Runner {
                accuracy: score(hits),
                may_be_stopped,
                ..runner(&format!("job-{number}"), laps(&mut rng, median * 1e6, 0.02, rounds))
            })
            .collect();
        let found = beaten(&runners);
        for (place, stopped) in &found {
            let by = runners.iter().position(|runner| runner.job == stopped.by).unwrap();
            prop_assert!(found.iter().all(|(other, _)| *other != by));
            prop_assert!(runners[*place].may_be_stopped);
            prop_assert!(medians[by].1 >= medians[*place].1);
            prop_assert!(stopped.median.ratio >= stopped.median.at_least && stopped.median.at_least >= LEAST_LEAD);
        }
        prop_assert!(found.len() < runners.len());
    }
}
