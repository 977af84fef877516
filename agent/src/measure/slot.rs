//! One job with its worker, from loading to its measurement.

use std::path::Path;
use std::time::{Duration, Instant};

use edgefront_protocol::outcome::{
    Conditions, Failure, Harness, Latency, LayerTime, Measurement, Memory, Round, Score, Stage, Startup,
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
use crate::worker::message::{Answer, Feed, Load, Loaded, Order, Span};
use crate::worker::rss;

/// The note of a measurement on a virtual machine that is not known to be emulated.
const VIRTUAL: &str = "measured on a virtual machine: if its processors are emulated, its times and memory say nothing of a device";

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
    tally: Tally,
    rounds: Vec<Round>,
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
        let mut order = Load {
            artifact: utf8(&assignment.artifact),
            target: job.target.clone(),
            inputs: job.inputs.clone(),
            runtime_path: limits.runtime_path.as_deref().map(utf8),
            kept_max: limits.kept_max,
            feed,
            cold: true,
            profile: false,
        };
        // In a process of its own, as after a start of the device. What it read from the disk is in memory then.
        let cold_load = start(&order, &limits).await?.map(|(_, loaded)| loaded.time);
        order.cold = false;
        let (mut worker, loaded) = start(&order, &limits)
            .await?
            .ok_or_else(|| surprise(Stage::Load, &Answer::NotCold))?;
        let warm_up = plan::warm_up(&job.plan);
        let warming = Order::WarmUp(warm_up);
        let (warmup_runs, steady, first_run) = match worker.ask(&warming, Stage::Run, limits.run).await? {
            Answer::Warm { runs, steady, first } => (runs, steady, first),
            other => return Err(surprise(Stage::Run, &other)),
        };
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
            tally: Tally::default(),
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
        Totals {
            rounds: self.rounds.len() as u32,
            runs: self.rounds.iter().map(|round| round.runs).sum(),
            time: Nanos(self.rounds.iter().map(|round| round.total.0).sum()),
            spent: self.spent.into(),
        }
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
                    (self.peak_rss, self.pss) = (peak_rss, pss);
                    break (started, stretch);
                }
                other => return Err(surprise(Stage::Run, &other)),
            }
        };
        self.rounds.push(round(&tally, position, started)?);
        self.stretches.push(stretch);
        self.spent += begun.elapsed();
        self.harness = Harness {
            time: self.spent.into(),
            cpu: Nanos(self.harness.cpu.0 + clock::of_this_process() - own),
            rss: rss(),
        };
        self.tally.merge(&tally);
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
        drop(self.worker);
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
