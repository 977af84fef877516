//! One job with its worker, from loading to its measurement.

use std::path::Path;
use std::time::{Duration, Instant};

use edgefront_protocol::outcome::{Conditions, Failure, Latency, Measurement, Round, Score, Stage};
use edgefront_protocol::{Bytes, Format, Job, JobId, Nanos, Probe, UnixMillis};
use edgefront_runtimes::{Registry, Search};

use super::child::{Worker, failure};
use super::conditions::Observer;
use super::plan::{self, Totals};
use super::power::Power;
use super::processors;
use super::serving::Serving;
use super::tally::Tally;
use super::{Assignment, Limits, NO_MACHINE_CODE, utf8};
use crate::board;
use crate::clock::Stretch;
use crate::worker::message::{Answer, Feed, Load, Loaded, Order, Serve, Span};

/// The note of a measurement on a virtual machine that is not known to be emulated.
const VIRTUAL: &str = "measured on a virtual machine: if its processors are emulated, its times and memory say nothing of a device";

/// A job whose artifact is loaded and warm.
pub(super) struct Slot {
    assignment: Assignment,
    worker: Worker,
    limits: Limits,
    loaded: Loaded,
    warmup_runs: u32,
    tally: Tally,
    rounds: Vec<Round>,
    /// When the timed runs of each round were.
    stretches: Vec<Option<Stretch>>,
    /// The search of the server scenario, whose trials are its turns in place of rounds.
    serving: Option<Serving>,
    spent: Duration,
    peak_rss: Option<Bytes>,
    conditions: Conditions,
}

/// What a job does when it is its turn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Turn {
    Round(Span),
    Trial(Serve),
}

impl Slot {
    /// Starts a worker, loads the artifact and warms it up.
    pub(super) async fn load(assignment: Assignment, feed: Feed, limits: Limits) -> Result<Self, Failure> {
        let job = &assignment.job;
        allow(job, &limits).map_err(|why| failure(Stage::Load, why))?;
        let processors = processors::resolve(&limits.system, job.plan.processors)
            .map_err(|why| failure(Stage::Load, why))?;
        let mut worker = Worker::start(&limits.worker)?;
        let order = Load {
            artifact: utf8(&assignment.artifact),
            target: job.target.clone(),
            inputs: job.inputs.clone(),
            runtime_path: limits.runtime_path.as_deref().map(utf8),
            kept_max: limits.kept_max,
            feed,
            scenario: job.plan.scenario,
            processors,
        };
        let order = Order::Load(Box::new(order));
        let loaded = match worker.ask(&order, Stage::Load, limits.load).await? {
            Answer::Loaded(loaded) => loaded,
            other => return Err(surprise(Stage::Load, &other)),
        };
        let warm_up = plan::warm_up(&job.plan);
        let order = Order::WarmUp(warm_up);
        let (warmup_runs, steady, median) = match worker.ask(&order, Stage::Run, limits.run).await? {
            Answer::Warm { runs, steady, median } => (runs, steady, median),
            other => return Err(surprise(Stage::Run, &other)),
        };
        let serving = Serving::new(&job.plan, median).map_err(|why| failure(Stage::Run, why))?;
        let mut conditions = Conditions {
            notes: loaded.remark.iter().cloned().collect(),
            ..Conditions::default()
        };
        if loaded.emulated {
            conditions.notes.push(Conditions::EMULATED.to_owned());
        } else if board::is_virtual(Path::new("/")) {
            conditions.notes.push(VIRTUAL.to_owned());
        }
        if !limits.worker.runner.is_empty() {
            let runner = limits.worker.runner.join(" ");
            conditions.notes.push(format!("run by `{runner}`"));
        }
        if warmup_runs < warm_up.runs {
            let (wanted, longest) = (warm_up.runs, Duration::from(warm_up.longest));
            conditions.notes.push(format!(
                "warm-up ended after {warmup_runs} of {wanted} runs by the plan's longest time of {longest:?}"
            ));
        } else if !steady {
            let limit = Duration::from(warm_up.limit);
            conditions
                .notes
                .push(format!("runs did not become steady within {limit:?} of warm-up"));
        }
        Ok(Self {
            peak_rss: loaded.peak_rss,
            assignment,
            worker,
            limits,
            loaded,
            warmup_runs,
            tally: Tally::default(),
            rounds: Vec::new(),
            stretches: Vec::new(),
            serving,
            spent: Duration::ZERO,
            conditions,
        })
    }

    pub(super) fn job(&self) -> &JobId {
        &self.assignment.job.id
    }

    /// Rounds done, and rounds in all; of a search, whose end is not known, its trials.
    pub(super) fn progress(&self) -> (u32, u32) {
        let rounds = self.assignment.job.plan.rounds;
        match &self.serving {
            Some(serving) => (serving.trials().min(rounds.saturating_sub(1)), rounds),
            None => (self.rounds.len() as u32, rounds),
        }
    }

    /// The next turn of this job; `None` when it has had its last.
    pub(super) fn next_turn(&self) -> Option<Turn> {
        let plan = &self.assignment.job.plan;
        match &self.serving {
            Some(serving) => {
                let left = plan.max_time.0.saturating_sub(Nanos::from(self.spent).0);
                serving.next(Nanos(left)).map(Turn::Trial)
            }
            None => plan::next_round(plan, self.totals()).map(Turn::Round),
        }
    }

    fn totals(&self) -> Totals {
        Totals {
            rounds: self.rounds.len() as u32,
            runs: self.rounds.iter().map(|round| round.runs).sum(),
            time: Nanos(self.rounds.iter().map(|round| round.total.0).sum()),
            spent: self.spent.into(),
        }
    }

    /// One turn, all other workers being blocked.
    pub(super) async fn turn(&mut self, turn: Turn, position: u32) -> Result<(), Failure> {
        let begun = Instant::now();
        let order = match turn {
            Turn::Round(span) => Order::Round(span),
            Turn::Trial(serve) => Order::Serve(serve),
        };
        let mut answer = self.worker.ask(&order, Stage::Run, self.limits.run).await?;
        let mut tally = Tally::default();
        let (started, stretch) = loop {
            match answer {
                Answer::Samples(counts) => {
                    for (nanos, count) in counts {
                        tally.record(nanos, u64::from(count));
                    }
                    answer = self.worker.answer(Stage::Run, self.limits.run).await?;
                }
                Answer::Round {
                    started,
                    stretch,
                    peak_rss,
                } => {
                    self.peak_rss = peak_rss;
                    break (started, stretch);
                }
                other => return Err(surprise(Stage::Run, &other)),
            }
        };
        self.spent += begun.elapsed();
        let round = round(&tally, position, started)?;
        if let (Turn::Trial(serve), Some(serving)) = (turn, &mut self.serving) {
            serving.record(serve, tally, round, stretch);
        } else {
            self.rounds.push(round);
            self.stretches.push(stretch);
            self.tally.merge(&tally);
        }
        Ok(())
    }

    /// Takes the trial of the rate that was found for the job's round; returns all trials, and whether the search was
    /// ended early.
    fn settle(&mut self) -> Result<(Vec<Probe>, bool), Failure> {
        let plan = self.assignment.job.plan;
        let Some(serving) = self.serving.take() else {
            return Ok((Vec::new(), plan::ended_early(&plan, self.totals())));
        };
        let done = serving.finish(&plan).map_err(|why| failure(Stage::Run, why))?;
        self.tally = done.kept.tally;
        self.rounds = vec![done.kept.round];
        self.stretches = vec![done.kept.stretch];
        Ok((done.probes, done.cut))
    }

    /// Notes the device's state at a round's boundary.
    pub(super) fn observe(&mut self, observer: &Observer) {
        observer.look(&mut self.conditions);
    }

    /// Adds a line for who reads the figures.
    pub(super) fn note(&mut self, note: String) {
        self.conditions.notes.push(note);
    }

    /// Scores the pack, if the job has one, and takes what the rounds took of each rail. The worker ends with this.
    pub(super) async fn finish(mut self, power: &Power) -> Result<Measurement, Failure> {
        let (probes, ended_early) = self.settle()?;
        let energy = power.energies(&self.stretches);
        self.conditions.notes.extend(power.faults());
        let score = self.score().await?;
        if ended_early {
            let longest = Duration::from(self.assignment.job.plan.max_time);
            self.note(format!("ended early by the plan's longest time of {longest:?}"));
        }
        Ok(Measurement {
            runtime_version: self.loaded.runtime_version,
            provider: self.loaded.provider,
            latency: Latency {
                histogram: self.tally.encode(),
                rounds: self.rounds,
                warmup_runs: self.warmup_runs,
                ended_early,
            },
            load: self.loaded.time,
            peak_rss: self.peak_rss,
            score,
            conditions: self.conditions,
            energy,
            scenario: self.assignment.job.plan.scenario,
            probes,
            processors: self.loaded.processors,
        })
    }

    async fn score(&mut self) -> Result<Option<Score>, Failure> {
        let Some(pack) = &self.assignment.pack else {
            return Ok(None);
        };
        let order = Order::Score { pack: utf8(pack) };
        match self.worker.ask(&order, Stage::Score, self.limits.run).await? {
            Answer::Score(score) => Ok(Some(score)),
            other => Err(surprise(Stage::Score, &other)),
        }
    }
}

/// Refuses what no worker should be started for.
fn allow(job: &Job, limits: &Limits) -> Result<(), String> {
    let positive = [job.target.threads, job.target.batch, job.plan.rounds];
    if positive.contains(&0) {
        return Err("threads, batch and rounds must be at least 1".to_owned());
    }
    job.plan.scenario.inferences_per_query(&job.target)?;
    let registry = Registry::new(&Search {
        runtime_path: limits.runtime_path.clone(),
    });
    let runtime = registry
        .get(&job.target.runtime)
        .map_err(|error| error.to_string())?;
    // Before the next check, which believes the format: a runtime runs its artifact whatever the job calls it.
    let (formats, format) = (runtime.formats(), job.artifact.format.as_str());
    if !formats.contains(&format) {
        return Err(format!(
            "{} loads .{} files and no .{format}",
            runtime.name(),
            formats.join(", .")
        ));
    }
    if job.artifact.format == Format::So && !limits.machine_code {
        return Err(NO_MACHINE_CODE.to_owned());
    }
    Ok(())
}

fn round(tally: &Tally, position: u32, started: UnixMillis) -> Result<Round, Failure> {
    let p50 = tally
        .median()
        .ok_or_else(|| failure(Stage::Run, "the worker made a round without a run"))?;
    Ok(Round {
        position,
        runs: tally.runs(),
        total: tally.total(),
        p50,
        started,
    })
}

fn surprise(stage: Stage, answer: &Answer) -> Failure {
    failure(
        stage,
        format!("the worker answered an order with another's answer: {answer:?}"),
    )
}
