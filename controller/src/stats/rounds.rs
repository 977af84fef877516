//! Whether the rounds of a measurement agree.

use edgefront_protocol::outcome::Round;
use edgefront_stats::f_exceeds;

/// How the rounds differ.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// Standard deviation of the rounds' medians over their mean.
    pub between: f64,
    /// What it would be if all runs were independent of their round, as the rounds' own runs show.
    pub explained: f64,
    /// The chance of rounds that differ as much or more if all runs were independent of their round.
    pub chance: f64,
}

/// The spread of the rounds' medians, and what of it the spread of runs explains; `None` for fewer than two rounds.
///
/// In each round about half of the runs lie below the median of all. Whether the shares differ by more than counting
/// does is tested by the analysis of variance of "lies below" over the rounds, an F test (of the medians of several
/// samples, after Mood; Conover, Practical Nonparametric Statistics, 3rd ed., section 4.3). It supposes nothing of how
/// latencies are distributed, and F is the factor by which the variance between rounds exceeds what runs explain.
pub fn spread(rounds: &[Round]) -> Option<Spread> {
    let rounds: Vec<&Round> = rounds.iter().filter(|round| round.runs > 0).collect();
    let count = rounds.len() as f64;
    if rounds.len() < 2 {
        return None;
    }
    let medians: Vec<f64> = rounds.iter().map(|round| round.p50.0 as f64).collect();
    let mean = medians.iter().sum::<f64>() / count;
    let variance = medians.iter().map(|p50| (p50 - mean).powi(2)).sum::<f64>() / (count - 1.0);
    let between = if mean > 0.0 { variance.sqrt() / mean } else { 0.0 };

    let runs: f64 = rounds.iter().map(|round| round.runs as f64).sum();
    let share = rounds.iter().map(|round| round.below[0] as f64).sum::<f64>() / runs;
    let (mut of_rounds, mut of_runs) = (0.0, 0.0);
    for round in &rounds {
        let own = (round.below[0] as f64 / round.runs as f64).min(1.0);
        of_rounds += round.runs as f64 * (own - share).powi(2);
        of_runs += round.runs as f64 * own * (1.0 - own);
    }
    let freedom = runs - count;
    let ratio = (of_rounds / (count - 1.0)) / (of_runs / freedom);
    let (ratio, chance) = match (of_rounds > 0.0, of_runs > 0.0 && freedom > 0.0) {
        (true, true) => (ratio, f_exceeds(ratio, count - 1.0, freedom)),
        // No two runs of a round lie on different sides, and those of different rounds do.
        (true, false) if freedom > 0.0 => (f64::INFINITY, 0.0),
        _ => (1.0, 1.0),
    };
    Some(Spread {
        between,
        explained: between / ratio.max(1.0).sqrt(),
        chance,
    })
}

#[cfg(test)]
mod tests {
    use super::super::blocks::tests::round;
    use super::*;

    fn of(rounds: &[(u64, u64)]) -> Spread {
        let rounds: Vec<Round> = rounds
            .iter()
            .map(|&(p50, below)| Round {
                below: [below; 5],
                ..round(0, p50, 100)
            })
            .collect();
        spread(&rounds).unwrap()
    }

    #[test]
    fn rounds_of_one_kind_agree() {
        let spread = of(&[(1_000, 47), (990, 53), (1_010, 45), (1_000, 55)]);
        // The medians' standard deviation is sqrt((0 + 100 + 100 + 0) / 3) = 8.165 of 1,000.
        assert!((spread.between - 0.008_165).abs() < 1e-6, "{spread:?}");
        // Shares off by 0.03, 0.03, 0.05, 0.05: 100 * 0.0068 / 3 over 0.25 is F = 0.91 of 3 degrees.
        assert!((0.3..0.6).contains(&spread.chance), "{spread:?}");
        assert!((spread.explained - spread.between).abs() < 1e-9);
    }

    #[test]
    fn one_round_that_is_slower_is_found() {
        let spread = of(&[(1_000, 60), (1_000, 60), (1_100, 10), (1_000, 60)]);
        assert!(spread.chance < 1e-6, "{spread:?}");
        assert!(spread.between > 4.0 * spread.explained, "{spread:?}");
    }

    /// The interval of the pooled median may be wide then; counting is not misled.
    #[test]
    fn rounds_without_any_run_in_common_are_found() {
        let spread = of(&[(1_000, 100), (1_000, 100), (1_200, 0), (1_200, 0)]);
        assert!(spread.chance <= 0.0 && spread.explained <= 0.0, "{spread:?}");
    }

    #[test]
    fn where_nothing_can_be_told_nothing_is() {
        assert_eq!(spread(&[round(0, 1_000, 10)]), None);
        assert_eq!(spread(&[]), None);
        let alike = of(&[(20, 100), (20, 100)]);
        assert!(alike.chance >= 1.0 && alike.between <= 0.0, "{alike:?}");
        // One run a round tells nothing of what runs explain.
        let single = [round(0, 10, 1), round(0, 20, 1)];
        assert_eq!(spread(&single).map(|spread| spread.chance), Some(1.0));
    }
}
