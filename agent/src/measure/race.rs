//! Which jobs of a batch need no further rounds, since another one is beyond doubt better; free of I/O.
//!
//! A *rival* ran in the same way: with the same scenario, batch, threads and processors. It beats a job where it is no
//! less accurate on the same pictures, and in the rounds that both have run it is faster by the medians and by the means,
//! and takes less energy on every rail that a sensor measured.
//!
//! Of a figure, the logarithms `d` of the ratios of the job's rounds to the rival's are `n` values of one kind, since the
//! two took turns. The rival leads by at least `exp(mean d - t s / sqrt n)`, where `s` is their standard deviation and `t`
//! the one-sided quantile of Student's distribution with `n - 1` degrees of freedom (NIST/SEMATECH e-Handbook 7.3.1.1).
//! It is taken at a chance of [`CHANCE`] that is divided among all rivals and all looks that there can be (Bonferroni), so
//! that a job that no rival leads is stopped with that chance at most. All figures of one comparison must lead, so these share nothing.

use std::collections::{BTreeMap, BTreeSet};

use edgefront_protocol::outcome::{Lead, Stopped};
use edgefront_protocol::{JobId, Processors, Scenario, Score};
use edgefront_stats::t_within;

/// The chance, over all looks at a job, that it is stopped though no rival leads it.
const CHANCE: f64 = 0.01;
/// Fewer rounds show nothing of how rounds differ.
const LEAST_ROUNDS: usize = 3;
/// A rival that leads by less is near, and which of the two is better is worth knowing to the end.
const LEAST_LEAD: f64 = 1.02;

/// A job in the race.
#[derive(Debug, Clone)]
pub(super) struct Runner {
    pub(super) job: JobId,
    pub(super) way: Way,
    /// Whether its plan lets it be stopped.
    pub(super) may_be_stopped: bool,
    pub(super) accuracy: Accuracy,
    /// Its rounds in the order in which they ran, one a turn; `None` for one that was disturbed.
    pub(super) laps: Vec<Option<Lap>>,
    /// Rounds of its plan.
    pub(super) rounds: u32,
    /// Rounds that it has at most, those that are measured again among them.
    pub(super) most: u32,
}

/// What must be equal for figures to be compared.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Way {
    pub(super) scenario: Scenario,
    pub(super) batch: u32,
    pub(super) threads: u32,
    pub(super) processors: Processors,
    /// The pack that it is scored on.
    pub(super) validation: Option<edgefront_protocol::BlobRef>,
}

/// What is known of a job's accuracy.
#[derive(Debug, Clone)]
pub(super) enum Accuracy {
    /// It has no pack. Files of one variant are taken to be equally accurate.
    OfVariant(String),
    /// Its pack is not scored yet.
    NotYet,
    /// Its pack is scored.
    Scored(Box<Score>),
}

/// One round.
#[derive(Debug, Clone)]
pub(super) struct Lap {
    /// The process that ran it.
    pub(super) process: u32,
    /// Median and mean latency in nanoseconds.
    pub(super) median: f64,
    pub(super) mean: f64,
    /// Gross energy of an inference in microjoules, of each rail that a sensor measured in it, by meter and name.
    pub(super) energy: BTreeMap<String, f64>,
}

/// The runners that are beaten, by their place in `runners`, and on what evidence. No rival is beaten itself. `entrants` is how
/// many there were at the beginning, among whom the chance is divided whatever becomes of them.
pub(super) fn beaten(runners: &[Runner], entrants: usize) -> Vec<(usize, Stopped)> {
    let mut beaten: Vec<(usize, Stopped)> = Vec::new();
    // The fastest first, so that who is beaten by one who is beaten as well is beaten by who beat both.
    let mut rivals: Vec<&Runner> = runners.iter().collect();
    rivals.sort_by(|a, b| speed(a).total_cmp(&speed(b)));
    for (place, runner) in runners.iter().enumerate() {
        if !runner.may_be_stopped {
            continue;
        }
        let is_rival = |rival: &&&Runner| rival.job != runner.job && rival.way == runner.way;
        let evidence = rivals
            .iter()
            .filter(is_rival)
            .find_map(|rival| beats(rival, runner, entrants.saturating_sub(1).max(1)));
        beaten.extend(evidence.map(|evidence| (place, evidence)));
    }
    // The relation has no circle, for each link is slower than the next; still, a rival goes on, or the evidence would be of
    // one that has fewer rounds than it could have.
    let names: Vec<JobId> = beaten
        .iter()
        .map(|(place, _)| runners[*place].job.clone())
        .collect();
    beaten.retain(|(_, stopped)| !names.contains(&stopped.by));
    beaten
}

/// The mean of the rounds' medians.
fn speed(runner: &Runner) -> f64 {
    let medians: Vec<f64> = runner.laps.iter().flatten().map(|lap| lap.median).collect();
    medians.iter().sum::<f64>() / medians.len() as f64
}

/// The evidence that `rival` beats `runner`, who had so many `rivals` at the beginning.
fn beats(rival: &Runner, runner: &Runner, rivals: usize) -> Option<Stopped> {
    if !is_no_less_accurate(&rival.accuracy, &runner.accuracy) {
        return None;
    }
    let looks = (runner.most as usize).saturating_sub(LEAST_ROUNDS - 1).max(1);
    let chance = CHANCE / (looks * rivals) as f64;
    let pairs = pairs(runner, rival);
    let lead = |figure: &dyn Fn(&Lap) -> Option<f64>| lead(&pairs, figure, chance);
    let latency =
        |figure: &dyn Fn(&Lap) -> Option<f64>| lead(figure).filter(|lead| lead.at_least >= LEAST_LEAD);
    let median = latency(&|lap| Some(lap.median))?;
    let mean = latency(&|lap| Some(lap.mean))?;
    let of_rail =
        |rail: &String| lead(&|lap| lap.energy.get(rail).copied()).filter(|lead| lead.at_least >= 1.0);
    let energies: Vec<Lead> = rails(&pairs).iter().map(of_rail).collect::<Option<_>>()?;
    let energy = energies
        .into_iter()
        .min_by(|a, b| a.at_least.total_cmp(&b.at_least));
    Some(Stopped {
        by: rival.job.clone(),
        rounds: pairs.iter().map(|(_, laps)| laps.len() as u32).sum(),
        of: runner.rounds,
        chance: CHANCE,
        median,
        mean,
        energy,
    })
}

/// Whether the rival's accuracy is no worse. Of packs that were scored as a whole the counts are what they are; a part
/// leaves a doubt that is larger than that of a race.
fn is_no_less_accurate(rival: &Accuracy, own: &Accuracy) -> bool {
    match (rival, own) {
        (Accuracy::OfVariant(rival), Accuracy::OfVariant(own)) => rival == own,
        (Accuracy::Scored(rival), Accuracy::Scored(own)) => {
            let are_whole = is_whole(rival) && is_whole(own);
            are_whole && rival.top1_hits >= own.top1_hits && rival.top5_hits >= own.top5_hits
        }
        _ => false,
    }
}

/// Whether all pictures of the pack were scored.
fn is_whole(score: &Score) -> bool {
    let pack = score.beside.as_ref().map(|beside| beside.pack.pictures);
    score.pictures.is_empty() || pack == Some(score.predictions.len() as u64)
}

/// Turns of both that followed one another. Those in which either kept its process stand together, for what is common to
/// the rounds of one process is in all of them.
type Pairs<'a> = Vec<((u32, u32), Vec<(&'a Lap, &'a Lap)>)>;

fn pairs<'a>(own: &'a Runner, rival: &'a Runner) -> Pairs<'a> {
    let mut pairs: Pairs<'a> = Vec::new();
    for turn in own.laps.iter().zip(&rival.laps) {
        let (Some(own), Some(rival)) = turn else {
            continue;
        };
        let processes = (own.process, rival.process);
        match pairs.last_mut() {
            Some((last, laps)) if last.0 == processes.0 || last.1 == processes.1 => {
                *last = processes;
                laps.push((own, rival));
            }
            _ => pairs.push((processes, vec![(own, rival)])),
        }
    }
    pairs
}

/// The rails that were measured of both. One that is too slow for rounds, or fell silent, says nothing of either.
fn rails(pairs: &Pairs<'_>) -> BTreeSet<String> {
    let names = |of: fn(&(&Lap, &Lap)) -> Vec<String>| -> BTreeSet<String> {
        pairs.iter().flat_map(|(_, laps)| laps).flat_map(of).collect()
    };
    let own = names(|(own, _)| own.energy.keys().cloned().collect());
    let rivals = names(|(_, rival)| rival.energy.keys().cloned().collect());
    own.intersection(&rivals).cloned().collect()
}

/// By how much the rival is better in a figure; `None` where too few rounds have it.
fn lead(pairs: &Pairs<'_>, figure: &dyn Fn(&Lap) -> Option<f64>, chance: f64) -> Option<Lead> {
    let log = |(own, rival): &(&Lap, &Lap)| {
        let ratio = figure(own)? / figure(rival)?;
        (ratio.is_finite() && ratio > 0.0).then(|| ratio.ln())
    };
    let mut logs = Vec::new();
    for (_, laps) in pairs {
        let known: Vec<f64> = laps.iter().filter_map(log).collect();
        if !known.is_empty() {
            logs.push(mean(&known));
        }
    }
    if logs.len() < LEAST_ROUNDS {
        return None;
    }
    let (count, middle) = (logs.len() as f64, mean(&logs));
    let squares = logs.iter().map(|log| (log - middle).powi(2)).sum::<f64>();
    let error = (squares / (count - 1.0) / count).sqrt();
    let quantile = t_within(1.0 - 2.0 * chance, count - 1.0);
    Some(Lead {
        ratio: middle.exp(),
        at_least: (middle - quantile * error).exp(),
    })
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[cfg(test)]
#[path = "race_tests.rs"]
mod tests;
