use super::*;

/// Rounds with these medians in milliseconds, a second apart from `started`, each in a process of its own.
fn rounds(started: u64, medians: &[f64]) -> Vec<RoundRecord> {
    let round = |(at, &p50): (usize, &f64)| RoundRecord {
        p50,
        mean: p50,
        runs: 20,
        position: 0,
        process: at as u32,
        started: started + 1_000 * at as u64,
    };
    medians.iter().enumerate().map(round).collect()
}

#[test]
fn rounds_that_took_turns_are_paired_and_drift_does_not_matter() {
    let drifting = [1.0, 1.2, 1.5, 1.9, 1.3];
    let slower: Vec<f64> = drifting
        .iter()
        .zip([1.02, 1.03, 1.03, 1.04, 1.03])
        .map(|(a, by)| a * by)
        .collect();
    let paired = ratio(&rounds(0, &drifting), &rounds(300, &slower)).unwrap();
    assert!(paired.paired && !paired.single_process);
    assert!((paired.ratio - 1.03).abs() < 1e-4, "{paired:?}");
    // The logarithms' standard deviation is 0.00687; times t of 4 degrees, 2.776, over sqrt(5): 0.00853.
    assert!(
        (paired.ci95[1] / paired.ratio - 1.008_56).abs() < 2e-4,
        "{paired:?}"
    );
    assert_eq!(paired.verdict(), Verdict::Slower);

    let later = ratio(&rounds(0, &drifting), &rounds(60_000, &slower)).unwrap();
    assert!(!later.paired);
    assert_eq!(later.verdict(), Verdict::NoneShown);
}

#[test]
fn rounds_that_were_set_aside_leave_the_others_in_pairs() {
    let (mut a, mut b) = (rounds(0, &[1.0; 9]), rounds(300, &[1.1; 9]));
    a.remove(2);
    b.remove(6);
    let compared = ratio(&a, &b).unwrap();
    assert!(
        compared.paired && (compared.ratio - 1.1).abs() < 1e-9,
        "{compared:?}"
    );
    // A2 is not there, so B2 is paired with A3 and so on, until B6 is not there either.
    assert_eq!(compared.parts, [8, 8]);
}

/// Welch's own degrees of freedom, by hand: logarithms 0, 0.02, 0.04 and 0.1, 0.1, 0.1, 0.14.
#[test]
fn rounds_of_different_times_are_set_against_each_other_as_welch_does() {
    let [a, b] = [[0.0, 0.02, 0.04].as_slice(), &[0.1, 0.1, 0.1, 0.14]]
        .map(|logs| logs.iter().copied().map(f64::exp).collect::<Vec<f64>>());
    let compared = ratio(&rounds(0, &a), &rounds(60_000, &b)).unwrap();
    assert!((compared.ratio.ln() - 0.09).abs() < 1e-9);
    // Squared errors 0.0004 / 3 and 0.0004 / 4 make 0.015275; 4.4545 degrees, of which t is 2.6682.
    let half = compared.ci95[1].ln() - 0.09;
    assert!((half / 0.015_275 - 2.6682).abs() < 1e-3, "{}", half / 0.015_275);
    assert_eq!(compared.parts, [3, 4]);
}

#[test]
fn rounds_of_one_process_are_one_part_of_several_and_all_parts_of_one() {
    let medians = [1.0, 1.1, 1.0, 1.1];
    let with = |processes: [u32; 4]| {
        let mut rounds = rounds(0, &medians);
        for (round, process) in rounds.iter_mut().zip(processes) {
            round.process = process;
        }
        rounds
    };
    let of = |a, b| ratio(&with(a), &with(b)).unwrap();
    let several = of([0, 0, 1, 1], [0, 0, 1, 1]);
    assert_eq!((several.parts, several.single_process), ([2, 2], false));
    let one = of([0; 4], [0; 4]);
    assert_eq!((one.parts, one.single_process), ([4, 4], true));
    assert!(of([0, 1, 2, 3], [0; 4]).single_process);
}

#[test]
fn what_would_be_shown_is_larger_than_the_interval_and_too_few_rounds_show_nothing() {
    let compared = ratio(&rounds(0, &[1.0, 1.1, 1.0]), &rounds(10, &[1.1, 1.0, 1.0])).unwrap();
    assert!(
        compared.shows > compared.ci95[1] / compared.ratio - 1.0,
        "{compared:?}"
    );
    assert_eq!(ratio(&rounds(0, &[1.0]), &rounds(10, &[1.1])), None);
    assert_eq!(ratio(&[], &[]), None);
}

/// Rounds of ten copies of one network that were measured in turns, by batch; tests/fixtures/rounds tells how.
fn recorded() -> Vec<Vec<Vec<RoundRecord>>> {
    let text = include_str!("../../../tests/fixtures/rounds/resnet18_half-ort.csv");
    let mut batches: Vec<Vec<Vec<RoundRecord>>> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let mut figures = line.split(',');
        let batch: usize = figures.next().unwrap().parse().unwrap();
        let _copy = figures.next();
        let medians: Vec<f64> = figures
            .map(|figure| figure.parse::<f64>().unwrap() / 1e3)
            .collect();
        batches.resize_with(batches.len().max(batch), Vec::new);
        batches[batch - 1].push(rounds(60_000 * batch as u64, &medians));
    }
    batches
}

/// Pairs of copies of one batch.
fn pairs(batch: &[Vec<RoundRecord>]) -> impl Iterator<Item = [&Vec<RoundRecord>; 2]> {
    let copies = batch.iter().enumerate();
    copies.flat_map(move |(at, first)| batch[at + 1..].iter().map(move |second| [first, second]))
}

fn slowed(rounds: &[RoundRecord], by: f64) -> Vec<RoundRecord> {
    let slow = |round: &RoundRecord| RoundRecord {
        p50: round.p50 * by,
        ..*round
    };
    rounds.iter().map(slow).collect()
}

#[test]
fn a_network_is_rarely_said_to_differ_from_itself() {
    let is_claim = |[a, b]: &[&Vec<RoundRecord>; 2]| ratio(a, b).unwrap().verdict() != Verdict::NoneShown;
    let batches = recorded();
    // A hundred pairs, no measurement in two of them; and every pair there is.
    let separate = batches
        .iter()
        .flat_map(|batch| batch.chunks_exact(2).map(|pair| [&pair[0], &pair[1]]));
    let (all, claims) = (separate.clone().count(), separate.filter(is_claim).count());
    println!("{claims} of {all} separate pairs");
    assert!(all == 100 && claims <= 5, "{claims} of {all}");
    let every = || batches.iter().flat_map(|batch| pairs(batch));
    let (all, claims) = (every().count(), every().filter(is_claim).count());
    println!("{claims} of {all} pairs");
    assert!(all == 900 && claims * 20 <= all, "{claims} of {all}");
}

/// All rounds of a copy, those of the batches one after the other, so that each has 200.
#[test]
fn a_slowdown_of_three_percent_is_found_in_two_hundred_rounds() {
    let batches = recorded();
    let copy =
        |at: usize| -> Vec<RoundRecord> { batches.iter().flat_map(|batch| batch[at].clone()).collect() };
    let copies: Vec<Vec<RoundRecord>> = (0..10).map(copy).collect();
    for [a, b] in pairs(&copies) {
        let slower = ratio(a, &slowed(b, 1.03)).unwrap();
        assert!(slower.paired && slower.shows < 0.03, "{slower:?}");
        assert_eq!(slower.verdict(), Verdict::Slower, "{slower:?}");
    }
}

/// A measurement says what it would show in four of five cases: a slowdown by that is found in as many.
#[test]
fn what_is_said_to_be_shown_is_shown_as_often() {
    let batches = recorded();
    let (mut all, mut found) = (0_u32, 0_u32);
    for [a, b] in batches.iter().flat_map(|batch| pairs(batch)) {
        let limit = ratio(a, b).unwrap().shows;
        let slower = ratio(a, &slowed(b, 1.0 + limit)).unwrap();
        all += 1;
        found += u32::from(slower.verdict() == Verdict::Slower);
    }
    let share = f64::from(found) / f64::from(all);
    assert!((0.72..0.9).contains(&share), "{share}");
}
