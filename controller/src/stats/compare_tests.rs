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
