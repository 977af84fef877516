//! One job with its worker, from loading to its measurement.

use std::path::Path;
use std::time::{Duration, Instant};

use edgefront_protocol::outcome::{
    Conditions, Failure, Harness, Latency, LayerTime, Measurement, Memory, PERCENTILES, Round, Score, Stage,
    Startup,
};
use edgefront_protocol::{Bytes, Format, Job, JobId, Nanos, RailEnergy, UnixMillis};
use edgefront_runtimes::{Registry, Search};

use super::child::{Worker, failure};
use super::conditions::Observer;
use super::plan::{self, Totals};
use super::power::Power;
use super::tally::Tally;
use super::{Assignment, Limits, NO_MACHINE_CODE, utf8};
use crate::board;
use crate::clock::{self, Stretch};
use crate::worker::message::{Answer, Feed, Load, Loaded, Order, Span, WarmUp};
use crate::worker::rss;

/// The note of a measurement on a virtual machine that is not known to be emulated.
const VIRTUAL: &str = "measured on a virtual machine: if its processors are emulated, its times and memory say nothing of a device";

/// What one round gave.
struct Turn {
    position: u32,
    process: u32,
    started: UnixMillis,
    tally: Tally,
}

/// A worker that is loaded and warm.
struct Ready {
    worker: Worker,
    loaded: Loaded,
    runs: u32,
    steady: bool,
    first_run: Option<Nanos>,
    /// From the start of the process on.
    time: Duration,
}

/// A job whose artifact is loaded and warm.
pub(super) struct Slot {
    assignment: Assignment,
    worker: Worker,
    limits: Limits,
    loaded: Loaded,
    /// How its layers are to be timed, if they are.
    profile: Option<Load>,
    startup: Startup,
    warmup_runs: u32,
    /// Worker processes over which the rounds are spread, and which of them is there.
    processes: u32,
    process: u32,
    rounds: Vec<Turn>,
    /// When the timed runs of each round were.
    stretches: Vec<Option<Stretch>>,
    energy: Vec<RailEnergy>,
    harness: Harness,
    spent: Duration,
    peak_rss: Option<Bytes>,
    pss: Option<Bytes>,
    conditions: Conditions,
}

impl Slot {
    /// Starts a worker, loads the artifact and warms it up.
    pub(super) async fn load(assignment: Assignment, feed: Feed, limits: Limits) -> Result<Self, Failure> {
        let job = &assignment.job;
        allow(job, &limits).map_err(|why| failure(Stage::Load, why))?;
        let mut order = order(&assignment, feed, &limits);
        // In a process of its own, as after a start of the device. What it read from the disk is in memory then.
        order.cold = true;
        let cold_load = start(&order, &limits).await?.map(|(_, loaded)| loaded.time);
        order.cold = false;
        let warm_up = plan::warm_up(&job.plan);
        let Ready {
            worker,
            loaded,
            runs: warmup_runs,
            steady,
            first_run,
            time,
        } = ready(&order, warm_up, &limits).await?;
        let processes = plan::processes(&job.plan, time.into());
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
        let wanted = job.plan.processes.min(job.plan.rounds);
        if processes < wanted {
            conditions.notes.push(format!(
                "measured in {processes} of {wanted} processes: starting one takes {}",
                seconds(time)
            ));
        }
        Ok(Self {
            peak_rss: loaded.peak_rss,
            pss: None,
            assignment,
            worker,
            limits,
            loaded,
            profile: assignment.job.plan.layers.then_some(Load {
                profile: true,
                ..order
            }),
            startup: Startup { cold_load, first_run },
            warmup_runs,
            processes,
            process: 0,
            rounds: Vec::new(),
            stretches: Vec::new(),
            energy: Vec::new(),
            harness: Harness::default(),
            spent: Duration::ZERO,
            conditions,
        })
    }

    pub(super) fn job(&self) -> &JobId {
        &self.assignment.job.id
    }

    /// Rounds done, and rounds in all.
    pub(super) fn progress(&self) -> (u32, u32) {
        (self.rounds.len() as u32, self.assignment.job.plan.rounds)
    }

    /// The next round of this job; `None` when it has had its last.
    pub(super) fn next_round(&self) -> Option<Span> {
        plan::next_round(&self.assignment.job.plan, self.totals())
    }

    fn totals(&self) -> Totals {
        let tallies = || self.rounds.iter().map(|turn| &turn.tally);
        Totals {
            rounds: self.rounds.len() as u32,
            runs: tallies().map(Tally::runs).sum(),
            time: Nanos(tallies().map(|tally| tally.total().0).sum()),
            spent: self.spent.into(),
        }
    }

    /// The job, where its next round is for another process than the one that is there.
    pub(super) fn wants_process(&self) -> Option<&Assignment> {
        let next = plan::process_of(
            self.rounds.len() as u32,
            &self.assignment.job.plan,
            self.processes,
        );
        (next > self.process).then_some(&self.assignment)
    }

    /// Ends the process that is there and starts the next, which loads the artifact and warms it up again.
    pub(super) async fn renew(&mut self, feed: Feed) -> Result<(), Failure> {
        let begun = Instant::now();
        let warm_up = plan::warm_up_again(&self.assignment.job.plan, self.processes);
        self.worker.end().await;
        let ready = ready(&order(&self.assignment, feed, &self.limits), warm_up, &self.limits).await?;
        self.worker = ready.worker;
        self.warmup_runs = self.warmup_runs.saturating_add(ready.runs);
        self.process += 1;
        self.spent += begun.elapsed();
        Ok(())
    }

    /// One round, all other workers being blocked.
    pub(super) async fn round(&mut self, span: Span, position: u32) -> Result<(), Failure> {
        let (begun, own) = (Instant::now(), clock::of_this_process());
        let order = Order::Round(span);
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
                    pss,
                } => {
                    // The highest of all processes; unknown where a round does not tell.
                    self.peak_rss = peak_rss.map(|own| self.peak_rss.map_or(own, |before| before.max(own)));
                    self.pss = pss;
                    break (started, stretch);
                }
                other => return Err(surprise(Stage::Run, &other)),
            }
        };
        if tally.runs() == 0 {
            return Err(failure(Stage::Run, "the worker made a round without a run"));
        }
        self.rounds.push(Turn {
            position,
            process: self.process,
            started,
            tally,
        });
        self.stretches.push(stretch);
        self.spent += begun.elapsed();
        self.harness = Harness {
            time: Nanos(self.harness.time.0 + Nanos::from(begun.elapsed()).0),
            cpu: Nanos(self.harness.cpu.0 + clock::of_this_process() - own),
            rss: rss(),
        };
        Ok(())
    }

    /// Notes the device's state at a round's boundary.
    pub(super) fn observe(&mut self, observer: &Observer) {
        observer.look(&mut self.conditions);
    }

    /// Takes what the rounds took of each rail.
    pub(super) fn meter(&mut self, power: &Power) {
        self.energy = power.energies(&self.stretches);
        self.conditions.notes.extend(power.faults(&self.stretches));
    }

    /// Adds a line for who reads the figures.
    pub(super) fn note(&mut self, note: String) {
        self.conditions.notes.push(note);
    }

    /// Scores the pack, if the job has one. The worker ends with this.
    pub(super) async fn finish(mut self) -> Result<Measurement, Failure> {
        let score = self.score().await?;
        let ended_early = plan::ended_early(&self.assignment.job.plan, self.totals());
        if ended_early {
            let longest = Duration::from(self.assignment.job.plan.max_time);
            self.note(format!("ended early by the plan's longest time of {longest:?}"));
        }
        let inferences = profiled(self.totals());
        // Its memory is free for the next one.
        self.worker.end().await;
        let layers = match self.profile {
            Some(order) => layers(&order, inferences, &self.limits).await,
            None => Ok(Vec::new()),
        };
        let layers = layers.unwrap_or_else(|why| {
            self.conditions
                .notes
                .push(format!("layers were not timed: {}", why.error));
            Vec::new()
        });
        let (histogram, rounds) = told(&self.rounds);
        Ok(Measurement {
            runtime_version: self.loaded.runtime_version,
            provider: self.loaded.provider,
            latency: Latency {
                histogram,
                rounds,
                warmup_runs: self.warmup_runs,
                ended_early,
            },
            load: self.loaded.time,
            peak_rss: self.peak_rss,
            memory: Memory {
                harness: self.loaded.rss_at_first,
                model: self.loaded.grown,
                pss: self.pss,
            },
            startup: self.startup,
            score,
            conditions: self.conditions,
            energy: self.energy,
            harness: self.harness,
            layers,
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

/// A worker with a loaded artifact; `None` where it was to come from the disk and could not.
async fn start(order: &Load, limits: &Limits) -> Result<Option<(Worker, Loaded)>, Failure> {
    let mut worker = Worker::start(&limits.worker)?;
    let order = Order::Load(Box::new(order.clone()));
    match worker.ask(&order, Stage::Load, limits.load).await? {
        Answer::Loaded(loaded) => Ok(Some((worker, loaded))),
        Answer::NotCold => Ok(None),
        other => Err(surprise(Stage::Load, &other)),
    }
}

/// The time of each layer, in a worker of its own: what tells them may slow inferences down.
async fn layers(order: &Load, inferences: u32, limits: &Limits) -> Result<Vec<LayerTime>, Failure> {
    let (mut worker, _) = start(order, limits)
        .await?
        .ok_or_else(|| surprise(Stage::Load, &Answer::NotCold))?;
    let ask = Order::Profile { inferences };
    match worker.ask(&ask, Stage::Run, limits.run).await? {
        Answer::Layers(Some(layers)) => Ok(layers),
        Answer::Layers(None) => Err(failure(
            Stage::Run,
            format!("{} does not tell them", order.target.runtime),
        )),
        other => Err(surprise(Stage::Run, &other)),
    }
}

/// Inferences of about a second, of which there are neither few nor many.
fn profiled(done: Totals) -> u32 {
    let in_a_second = done.runs.saturating_mul(1_000_000_000) / done.time.0.max(1);
    in_a_second.clamp(10, 200) as u32
}

/// Refuses what no worker should be started for.
fn allow(job: &Job, limits: &Limits) -> Result<(), String> {
    let positive = [job.target.threads, job.target.batch, job.plan.rounds];
    if positive.contains(&0) {
        return Err("threads, batch and rounds must be at least 1".to_owned());
    }
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

/// How a job's artifact is loaded.
fn order(assignment: &Assignment, feed: Feed, limits: &Limits) -> Load {
    Load {
        artifact: utf8(&assignment.artifact),
        target: assignment.job.target.clone(),
        inputs: assignment.job.inputs.clone(),
        runtime_path: limits.runtime_path.as_deref().map(utf8),
        kept_max: limits.kept_max,
        feed,
        cold: false,
        profile: false,
    }
}

/// Starts a worker, loads the artifact and warms it up.
async fn ready(order: &Load, warm_up: WarmUp, limits: &Limits) -> Result<Ready, Failure> {
    let begun = Instant::now();
    let (mut worker, loaded) = start(order, limits)
        .await?
        .ok_or_else(|| surprise(Stage::Load, &Answer::NotCold))?;
    let warm = Order::WarmUp(warm_up);
    match worker.ask(&warm, Stage::Run, limits.run).await? {
        Answer::Warm { runs, steady, first } => Ok(Ready {
            worker,
            loaded,
            runs,
            steady,
            first_run: first,
            time: begun.elapsed(),
        }),
        other => Err(surprise(Stage::Run, &other)),
    }
}

/// The histogram of all rounds, and what is told of each of them.
fn told(turns: &[Turn]) -> (Vec<u8>, Vec<Round>) {
    let mut all = Tally::default();
    for turn in turns {
        all.merge(&turn.tally);
    }
    let percentiles = PERCENTILES.map(|p| all.percentile(p).unwrap_or_default());
    let rounds = turns.iter().map(|turn| Round {
        position: turn.position,
        runs: turn.tally.runs(),
        total: turn.tally.total(),
        p50: turn.tally.median().unwrap_or_default(),
        started: turn.started,
        process: turn.process,
        below: percentiles.map(|latency| turn.tally.at_most(latency)),
    });
    (all.encode(), rounds.collect())
}

/// As in `1.3 s`.
fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

fn surprise(stage: Stage, answer: &Answer) -> Failure {
    failure(
        stage,
        format!("the worker answered an order with another's answer: {answer:?}"),
    )
}
