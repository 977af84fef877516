//! The rounds of one job as they come in, and which of them its figures are made of; free of I/O.

use std::time::Duration;

use edgefront_protocol::outcome::{PERCENTILES, Round};
use edgefront_protocol::{Nanos, Plan, Rail, RailEnergy, RoundState, SetAside, UnixMillis};

use super::plan::{self, Totals};
use super::race::Lap;
use super::tally::Tally;
use crate::clock::Stretch;
use crate::worker::message::Span;

/// One round that ran.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Turn {
    pub(super) position: u32,
    /// The worker process that ran it, counted from 0.
    pub(super) process: u32,
    pub(super) started: UnixMillis,
    /// Its latencies, of which there is at least one.
    pub(super) tally: Tally,
    /// When its timed runs were.
    pub(super) stretch: Option<Stretch>,
    pub(super) state: RoundState,
}

/// The rounds of one job.
#[derive(Debug)]
pub(super) struct Rounds {
    plan: Plan,
    turns: Vec<Turn>,
    /// Those that no figure may be made of.
    aside: Vec<Turn>,
    spent: Duration,
    /// Whether another job beat this one, so that it has fewer rounds than its plan.
    is_beaten: bool,
}

/// What figures are made of.
pub(super) struct Settled {
    pub(super) tally: Tally,
    pub(super) rounds: Vec<Round>,
    pub(super) states: Vec<RoundState>,
    pub(super) set_aside: Vec<SetAside>,
    /// The windows of a sustained run in which the device became warm.
    pub(super) warming: Vec<SetAside>,
}

impl Rounds {
    pub(super) fn new(plan: Plan) -> Self {
        Self {
            plan,
            turns: Vec::new(),
            aside: Vec::new(),
            spent: Duration::ZERO,
            is_beaten: false,
        }
    }

    /// Ends them: another job beat this one by rounds that nothing disturbed, of which there are enough for that.
    pub(super) fn end_beaten(&mut self) {
        self.is_beaten = true;
    }

    /// Takes a round.
    pub(super) fn push(&mut self, turn: Turn) {
        self.turns.push(turn);
    }

    /// Takes rounds that no figure may be made of.
    pub(super) fn put_aside(&mut self, turns: Vec<Turn>) {
        self.aside.extend(turns);
    }

    /// What is left of the plan's longest time.
    pub(super) fn time_left(&self) -> Nanos {
        Nanos(self.plan.max_time.0.saturating_sub(Nanos::from(self.spent).0))
    }

    /// Counts time that was needed for a round, or between rounds.
    pub(super) fn spend(&mut self, time: Duration) {
        self.spent += time;
    }

    /// The process, counted from 0, that the next round is for, where the plan's rounds are spread over so many. Disturbed
    /// rounds, too, take their turn in it, and what is measured again is in further ones.
    pub(super) fn next_process(&self, processes: u32) -> u32 {
        plan::process_of(self.turns.len() as u32, &self.plan, processes)
    }

    /// Inferences that fit into a second.
    pub(super) fn in_a_second(&self) -> u32 {
        let totals = self.totals_of(|_| true);
        let inferences = totals.runs.saturating_mul(1_000_000_000) / totals.time.0.max(1);
        u32::try_from(inferences).unwrap_or(u32::MAX)
    }

    /// The next round; `None` after the last one.
    pub(super) fn next(&self) -> Option<Span> {
        if self.is_beaten {
            return None;
        }
        plan::next_round(&self.plan, self.totals())
    }

    /// Rounds done that count, and rounds in all.
    pub(super) fn progress(&self) -> (u32, u32) {
        (self.totals().rounds, self.plan.rounds)
    }

    /// Whether the longest time ended the job before its least runs or time.
    pub(super) fn ended_early(&self) -> bool {
        if self.is_sustained() || self.is_beaten {
            return false;
        }
        let totals = if self.is_hopeless() {
            self.totals_of(|_| true)
        } else {
            self.totals()
        };
        plan::ended_early(&self.plan, totals)
    }

    /// The stretches of the rounds that figures are made of.
    pub(super) fn stretches(&self) -> Vec<Option<Stretch>> {
        self.used().map(|turn| turn.stretch).collect()
    }

    /// When each of its turns ran, disturbed ones among them.
    pub(super) fn turns(&self) -> Vec<Option<Stretch>> {
        self.turns.iter().map(|turn| turn.stretch).collect()
    }

    /// Its rounds as the race sees them, one a turn, with what the rails took in these turns.
    pub(super) fn laps(&self, rails: &[RailEnergy]) -> Vec<Option<Lap>> {
        let has_total = |meter: &str| {
            rails
                .iter()
                .any(|energy| energy.rail.meter == meter && energy.rail.is_total)
        };
        // Of a meter that has one rail for all, the others are parts of that.
        let is_told = |rail: &Rail| !rail.is_estimate && (rail.is_total || !has_total(&rail.meter));
        let lap = |(number, turn): (usize, &Turn)| {
            let runs = turn.tally.runs().max(1) as f64;
            let joules = |energy: &RailEnergy| {
                let window = energy.rounds.get(number).copied().flatten()?;
                let name = energy.rail.name.as_deref().unwrap_or_default();
                Some((
                    format!("{}/{name}", energy.rail.meter),
                    window.energy.0 as f64 / runs,
                ))
            };
            (!turn.state.is_disturbed()).then(|| Lap {
                process: turn.process,
                median: turn.tally.median().unwrap_or_default().0 as f64,
                mean: turn.tally.total().0 as f64 / runs,
                energy: rails
                    .iter()
                    .filter(|energy| is_told(&energy.rail))
                    .filter_map(joules)
                    .collect(),
            })
        };
        self.turns.iter().enumerate().map(lap).collect()
    }

    /// What the job's figures are made of: the rounds that nothing disturbed, or all where those are too few.
    pub(super) fn settle(&self) -> Settled {
        let mut tally = Tally::default();
        for turn in self.used() {
            tally.merge(&turn.tally);
        }
        let percentiles = PERCENTILES.map(|p| tally.percentile(p).unwrap_or_default());
        let aside = |turn: &Turn| SetAside {
            round: turn.round(percentiles),
            state: turn.state.clone(),
        };
        let unused = self.unused().chain(&self.aside).map(aside).collect();
        let (set_aside, warming) = if self.is_sustained() {
            (Vec::new(), unused)
        } else {
            (unused, Vec::new())
        };
        Settled {
            rounds: self.used().map(|turn| turn.round(percentiles)).collect(),
            states: self.used().map(|turn| turn.state.clone()).collect(),
            set_aside,
            warming,
            tally,
        }
    }

    /// Whether they are the windows of a sustained run.
    fn is_sustained(&self) -> bool {
        self.plan.sustained.is_some()
    }

    /// Whether the round is to be measured again. In a sustained run nothing is: that the device throttles is what it is for.
    fn is_disturbed(&self, turn: &Turn) -> bool {
        !self.is_sustained() && turn.state.is_disturbed()
    }

    /// Whether so many rounds were disturbed that those left say too little.
    fn is_hopeless(&self) -> bool {
        let totals = self.totals();
        totals.disturbed > 0 && !self.is_beaten && !plan::suffice(&self.plan, totals.rounds)
    }

    /// Of a sustained run the second half, in which the device is warm.
    fn is_used(&self, place: usize, turn: &Turn) -> bool {
        if self.is_sustained() {
            return place >= self.turns.len() / 2;
        }
        self.is_hopeless() || !turn.state.is_disturbed()
    }

    fn used(&self) -> impl Iterator<Item = &Turn> {
        let used = |(place, turn): (usize, _)| self.is_used(place, turn).then_some(turn);
        self.turns.iter().enumerate().filter_map(used)
    }

    fn unused(&self) -> impl Iterator<Item = &Turn> {
        let unused = |(place, turn): (usize, _)| (!self.is_used(place, turn)).then_some(turn);
        self.turns.iter().enumerate().filter_map(unused)
    }

    fn totals(&self) -> Totals {
        self.totals_of(|turn| !self.is_disturbed(turn))
    }

    fn totals_of(&self, counts: impl Fn(&Turn) -> bool) -> Totals {
        let used = || {
            self.turns
                .iter()
                .filter(|turn| counts(turn))
                .map(|turn| &turn.tally)
        };
        let rounds = used().count();
        Totals {
            rounds: rounds as u32,
            runs: used().map(Tally::runs).sum(),
            time: Nanos(used().map(|tally| tally.total().0).sum()),
            disturbed: (self.turns.len() - rounds) as u32,
            spent: self.spent.into(),
        }
    }
}

impl Turn {
    /// What is told of it, beside the percentiles of all rounds that figures are made of.
    fn round(&self, percentiles: [Nanos; PERCENTILES.len()]) -> Round {
        Round {
            position: self.position,
            runs: self.tally.runs(),
            total: self.tally.total(),
            p50: self.tally.median().unwrap_or_default(),
            started: self.started,
            process: self.process,
            below: percentiles.map(|latency| self.tally.at_most(latency)),
        }
    }
}

#[cfg(test)]
mod tests {
    use edgefront_protocol::Throttle;
    use proptest::prelude::*;

    use super::*;

    /// Runs of a microsecond each, or of two where something disturbs them.
    fn turn(runs: u64, is_disturbed: bool) -> Turn {
        let causes = if is_disturbed {
            vec![Throttle::Throttled]
        } else {
            Vec::new()
        };
        let mut tally = Tally::default();
        tally.record(if is_disturbed { 2_000 } else { 1_000 }, runs);
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

    /// Runs a plan of ten rounds of which those numbered are disturbed.
    fn run(is_disturbed: impl Fn(usize) -> bool) -> Rounds {
        let mut rounds = Rounds::new(Plan {
            min_time: Nanos(0),
            ..Plan::default()
        });
        while let Some(span) = rounds.next() {
            let turn = turn(span.runs, is_disturbed(rounds.turns.len()));
            rounds.push(turn);
            rounds.spend(Duration::from_millis(1));
        }
        rounds
    }

    #[test]
    fn a_disturbed_round_is_measured_again_and_in_no_figure() {
        let rounds = run(|number| number == 1 || number == 4);
        assert_eq!(rounds.progress(), (10, 10));
        assert_eq!((rounds.turns.len(), rounds.ended_early()), (12, false));
        let settled = rounds.settle();
        assert_eq!((settled.rounds.len(), settled.set_aside.len()), (10, 2));
        assert_eq!(
            (settled.tally.runs(), settled.tally.total()),
            (200, Nanos(200_000))
        );
        assert!(!settled.states.iter().any(RoundState::is_disturbed));
    }

    #[test]
    fn disturbed_rounds_do_not_keep_a_process() {
        let rounds = run(|_| true);
        assert_eq!((rounds.progress(), rounds.turns.len()), ((0, 10), 15));
        assert_eq!((rounds.next_process(10), rounds.next_process(2)), (15, 3));
    }

    #[test]
    fn where_too_few_are_left_all_are_used_and_show_it() {
        let settled = run(|number| number % 4 != 0).settle();
        assert_eq!((settled.rounds.len(), settled.set_aside.len()), (15, 0));
        assert_eq!(
            settled.states.iter().filter(|state| state.is_disturbed()).count(),
            11
        );
        assert!(settled.tally.runs() >= 200);
        assert_eq!(run(|_| true).settle().rounds.len(), 15);
    }

    #[test]
    fn a_sustained_run_counts_from_when_the_device_is_warm() {
        let time = Nanos(8_000_000_000);
        let plan = Plan {
            sustained: Some(time),
            ..Plan::default()
        };
        let mut rounds = Rounds::new(plan::of_rounds(&plan));
        while let Some(span) = rounds.next() {
            assert_eq!(span.limit, Nanos(1_000_000_000));
            // It throttles from the third second on.
            rounds.push(turn(span.limit.0 / 1_000, rounds.turns.len() >= 2));
            rounds.spend(Duration::from_secs(1));
        }
        assert!(!rounds.ended_early());
        let settled = rounds.settle();
        assert_eq!((settled.rounds.len(), settled.warming.len()), (4, 4));
        assert_eq!(settled.tally.median(), Some(Nanos(2_000)));
        assert!(settled.set_aside.is_empty() && settled.states.iter().all(RoundState::is_disturbed));
        assert!(!settled.warming[1].state.is_disturbed() && settled.warming[2].state.is_disturbed());
    }

    #[test]
    fn a_beaten_job_keeps_the_rounds_that_beat_it_and_no_other() {
        let mut rounds = Rounds::new(Plan::default());
        for number in 0..5 {
            rounds.push(turn(20, number == 1));
        }
        rounds.end_beaten();
        assert!(rounds.next().is_none() && !rounds.ended_early());
        let settled = rounds.settle();
        assert_eq!((settled.rounds.len(), settled.set_aside.len()), (4, 1));
    }

    proptest! {
        #[test]
        fn repeats_are_bounded_and_nothing_is_lost(disturbed in prop::collection::vec(any::<bool>(), 20)) {
            let rounds = run(|number| disturbed[number]);
            prop_assert!(rounds.turns.len() <= 15);
            let all = rounds.turns.len();
            let settled = rounds.settle();
            prop_assert_eq!(settled.rounds.len() + settled.set_aside.len(), all);
            prop_assert_eq!(settled.rounds.len(), settled.states.len());
            prop_assert_eq!(settled.tally.runs(), settled.rounds.iter().map(|round| round.runs).sum::<u64>());
            let mixed = settled.states.iter().any(RoundState::is_disturbed);
            prop_assert!(!mixed || settled.set_aside.is_empty());
        }
    }
}
