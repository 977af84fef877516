//! Whether one of two measurements is faster, from their rounds.

use std::collections::BTreeSet;

use edgefront_protocol::results::RoundRecord;
use edgefront_stats::t_within;
use serde::Serialize;

/// What a comparison says of the second measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Verdict {
    /// The whole interval of the ratio lies below 1.
    #[serde(rename = "faster")]
    Faster,
    /// The whole interval lies above 1.
    #[serde(rename = "slower")]
    Slower,
    /// 1 lies in the interval.
    #[serde(rename = "no difference shown")]
    NoneShown,
}

impl Verdict {
    /// As people read it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Faster => "faster",
            Self::Slower => "slower",
            Self::NoneShown => "no difference shown",
        }
    }
}

/// The ratio of two latencies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ratio {
    /// Typical median of a round of the second over that of the first.
    pub ratio: f64,
    /// Its 95 % confidence interval.
    pub ci95: [f64; 2],
    /// The smallest difference from 1 that such data show in four of five cases.
    pub shows: f64,
    /// Whether round was set against round, because the two took turns.
    pub paired: bool,
    /// Independent parts: pairs, or parts of the first and of the second.
    pub parts: [usize; 2],
    /// Whether one process ran all rounds of one of them, so that how processes differ is not in the interval.
    pub single_process: bool,
}

impl Ratio {
    /// What the interval says of the second.
    pub fn verdict(&self) -> Verdict {
        match self.ci95 {
            [_, high] if high < 1.0 => Verdict::Faster,
            [low, _] if low > 1.0 => Verdict::Slower,
            _ => Verdict::NoneShown,
        }
    }

    /// From the logarithm of the ratio, its standard error and the degrees of freedom of that.
    fn of(log: f64, error: f64, freedom: f64) -> Self {
        let half = t_within(0.95, freedom) * error;
        // One side of Student's t at 80 % is both sides at 60 %.
        let shows = half + t_within(0.6, freedom) * error;
        Self {
            ratio: log.exp(),
            ci95: [(log - half).exp(), (log + half).exp()],
            shows: shows.exp_m1(),
            paired: false,
            parts: [0; 2],
            single_process: false,
        }
    }
}

/// Compares `b` with `a` by their rounds' medians; `None` where one has fewer than two parts.
///
/// Where the two took turns, so that heat and other load fell on both alike, the logarithms of the ratios of the medians
/// of each turn are `n` values of one kind, and their mean has Student's interval of `n - 1` degrees of freedom
/// (the paired t test; NIST/SEMATECH e-Handbook 7.3.1.1). Turns that the same two processes ran are one value, their mean.
/// Otherwise the logarithms of the medians of each are set against each other by Welch's interval (Biometrika 34 (1947);
/// e-Handbook 7.3.1). The smallest difference that is shown in four of five cases is `(t_0.975 + t_0.8)` standard errors.
pub fn ratio(a: &[RoundRecord], b: &[RoundRecord]) -> Option<Ratio> {
    let single_process = [a, b].iter().any(|rounds| processes(rounds) < 2);
    let turns = turns(a, b);
    // Where rounds were set aside the other's are alone; of two studies one after the other only the ends are neighbours.
    let took_turns = turns.len() >= 2 && turns.len() * 2 > a.len().min(b.len());
    let compared = if took_turns {
        paired(&turns)?
    } else {
        unpaired(a, b)?
    };
    Some(Ratio {
        single_process,
        ..compared
    })
}

type Turn<'a> = (&'a RoundRecord, &'a RoundRecord);

/// The rounds of both that followed one another, each once, in the order in which they began.
fn turns<'a>(a: &'a [RoundRecord], b: &'a [RoundRecord]) -> Vec<Turn<'a>> {
    let numbered = |rounds: &'a [RoundRecord], is_b: bool| {
        let numbered = rounds.iter().enumerate();
        numbered.map(move |(number, round)| (round.started, number, is_b, round))
    };
    let mut all: Vec<_> = numbered(a, false).chain(numbered(b, true)).collect();
    // Rounds may be shorter than the clock's millisecond.
    all.sort_by_key(|&(started, number, is_b, _)| (started, number, is_b));
    let mut turns = Vec::new();
    let mut rest = all.as_slice();
    while let [(.., one_is_b, one), (.., is_b, other), ..] = rest {
        if one_is_b == is_b {
            rest = &rest[1..];
        } else {
            turns.push(if *is_b { (*one, *other) } else { (*other, *one) });
            rest = &rest[2..];
        }
    }
    turns
}

fn paired(turns: &[Turn<'_>]) -> Option<Ratio> {
    let ratios = turns
        .iter()
        .map(|(a, b)| ((a.process, b.process), log(b) - log(a)));
    let (mean, error, count) = mean_and_error(&parts(ratios))?;
    Some(Ratio {
        paired: true,
        parts: [count; 2],
        ..Ratio::of(mean, error, (count - 1) as f64)
    })
}

fn unpaired(a: &[RoundRecord], b: &[RoundRecord]) -> Option<Ratio> {
    let of = |rounds: &[RoundRecord]| {
        let logs = rounds.iter().map(|round| (round.process, log(round)));
        mean_and_error(&parts(logs))
    };
    let ((mean_a, error_a, count_a), (mean_b, error_b, count_b)) = (of(a)?, of(b)?);
    let (variance_a, variance_b) = (error_a * error_a, error_b * error_b);
    let variance = variance_a + variance_b;
    let shares = variance_a.powi(2) / (count_a - 1) as f64 + variance_b.powi(2) / (count_b - 1) as f64;
    // Without any variance the degrees of freedom do not matter.
    let freedom = if shares > 0.0 {
        variance.powi(2) / shares
    } else {
        1.0
    };
    Some(Ratio {
        parts: [count_a, count_b],
        ..Ratio::of(mean_b - mean_a, variance.sqrt(), freedom)
    })
}

fn processes(rounds: &[RoundRecord]) -> usize {
    rounds
        .iter()
        .map(|round| round.process)
        .collect::<BTreeSet<_>>()
        .len()
}

/// The logarithm of a round's median.
fn log(round: &RoundRecord) -> f64 {
    // A nanosecond, the clock's least.
    round.p50.max(1e-6).ln()
}

/// The mean of the values of each key, in turn; each value by itself where all have one key.
fn parts<K: PartialEq>(values: impl Iterator<Item = (K, f64)>) -> Vec<f64> {
    let values: Vec<(K, f64)> = values.collect();
    let of_part = |part: &[(K, f64)]| part.iter().map(|(_, value)| value).sum::<f64>() / part.len() as f64;
    let parts: Vec<f64> = values
        .chunk_by(|one, next| one.0 == next.0)
        .map(of_part)
        .collect();
    if parts.len() > 1 {
        parts
    } else {
        values.into_iter().map(|(_, value)| value).collect()
    }
}

/// The mean, its standard error and the number of values; `None` for fewer than two.
fn mean_and_error(values: &[f64]) -> Option<(f64, f64, usize)> {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (values.len() >= 2).then(|| (mean, (squares / (count * (count - 1.0))).sqrt(), values.len()))
}

#[cfg(test)]
#[path = "compare_tests.rs"]
mod tests;
