//! One job with its worker, from loading to its measurement.

use std::path::Path;
use std::time::{Duration, Instant};

use edgefront_protocol::outcome::{Conditions, Failure, Latency, Measurement, Round, Score, Stage};
use edgefront_protocol::{Bytes, Cooling, Format, Job, JobId, Plan, RailEnergy, RoundState, UnixMillis};
use edgefront_runtimes::{Registry, Search};

use super::child::{Worker, failure};
use super::heat::Heat;
use super::plan;
use super::power::Power;
use super::rounds::{Rounds, Turn};
use super::tally::Tally;
use super::{Assignment, Limits, NO_MACHINE_CODE, utf8};
use crate::board;
use crate::conditions::Observer;
use crate::worker::message::{Answer, Feed, Load, Loaded, Order, Span};

/// The note of a measurement on a virtual machine that is not known to be emulated.
const VIRTUAL: &str = "measured on a virtual machine: if its processors are emulated, its times and memory say nothing of a device";

/// A job whose artifact is loaded and warm.
pub(super) struct Slot {
    assignment: Assignment,
    worker: Worker,
    limits: Limits,
    loaded: Loaded,
    warmup_runs: u32,
    rounds: Rounds,
    energy: Vec<RailEnergy>,
    peak_rss: Option<Bytes>,
    heat: Heat,
    conditions: Conditions,
}

impl Slot {
    /// Starts a worker, loads the artifact and warms it up.
    pub(super) async fn load(assignment: Assignment, feed: Feed, limits: Limits) -> Result<Self, Failure> {
        let job = &assignment.job;
        allow(job, &limits).map_err(|why| failure(Stage::Load, why))?;
        let mut worker = Worker::start(&limits.worker)?;
        let order = Load {
            artifact: utf8(&assignment.artifact),
            target: job.target.clone(),
            inputs: job.inputs.clone(),
            runtime_path: limits.runtime_path.as_deref().map(utf8),
            kept_max: limits.kept_max,
            feed,
        };
        let order = Order::Load(Box::new(order));
        let loaded = match worker.ask(&order, Stage::Load, limits.load).await? {
            Answer::Loaded(loaded) => loaded,
            other => return Err(surprise(Stage::Load, &other)),
        };
        let warm_up = plan::warm_up(&job.plan);
        let order = Order::WarmUp(warm_up);
        let (warmup_runs, steady) = match worker.ask(&order, Stage::Run, limits.run).await? {
            Answer::Warm { runs, steady } => (runs, steady),
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
            rounds: Rounds::new(assignment.job.plan),
            assignment,
            worker,
            limits,
            loaded,
            warmup_runs,
            energy: Vec::new(),
            heat: Heat::default(),
            conditions,
        })
    }

    pub(super) fn job(&self) -> &JobId {
        &self.assignment.job.id
    }

    pub(super) fn plan(&self) -> &Plan {
        &self.assignment.job.plan
    }

    /// Rounds done that count, and rounds in all.
    pub(super) fn progress(&self) -> (u32, u32) {
        self.rounds.progress()
    }

    /// The next round of this job; `None` when it has had its last.
    pub(super) fn next_round(&self) -> Option<Span> {
        self.rounds.next()
    }

    /// One round, after a wait for the device to cool and while all other workers are blocked. The device is looked at
    /// before it and after it, and never within.
    pub(super) async fn round(
        &mut self,
        span: Span,
        position: u32,
        observer: &Observer,
        cooling: Option<Cooling>,
    ) -> Result<(), Failure> {
        let before = observer.look(self.worker.id()).await;
        let begun = Instant::now();
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
                } => {
                    self.peak_rss = peak_rss;
                    break (started, stretch);
                }
                other => return Err(surprise(Stage::Run, &other)),
            }
        };
        let spent = begun.elapsed();
        let after = observer.look(self.worker.id()).await;
        let turn = Turn {
            round: round(&tally, position, started)?,
            stretch,
            state: RoundState {
                cooling,
                ..observer.between(&before, &after, most_load(&self.assignment.job))
            },
        };
        self.heat.see(before);
        self.heat.see(after);
        self.rounds.push(turn, &tally, spent);
        Ok(())
    }

    /// Takes what the rounds took of each rail.
    pub(super) fn meter(&mut self, power: &Power) {
        self.energy = power.energies(&self.rounds.stretches());
        self.conditions.notes.extend(power.faults());
    }

    /// Takes how the device was set up, and how it was at the ends of this job's rounds.
    pub(super) fn describe_device(&mut self, observer: &Observer) {
        let conditions = &mut self.conditions;
        conditions.governor = self.heat.governor();
        conditions.max_temp_c = self.heat.max_temp_c();
        conditions.notes.extend(self.heat.faults());
        conditions.power_mode = observer.power_mode();
        conditions.cpu_limit_mhz = observer.cpu_limit_mhz();
    }

    /// Adds a line for who reads the figures.
    pub(super) fn note(&mut self, note: String) {
        self.conditions.notes.push(note);
    }

    /// Scores the pack, if the job has one. The worker ends with this.
    pub(super) async fn finish(mut self) -> Result<Measurement, Failure> {
        let score = self.score().await?;
        let ended_early = self.rounds.ended_early();
        if ended_early {
            let longest = Duration::from(self.assignment.job.plan.max_time);
            self.note(format!("ended early by the plan's longest time of {longest:?}"));
        }
        let settled = self.rounds.settle();
        self.conditions.rounds = settled.states;
        self.conditions.set_aside = settled.set_aside;
        Ok(Measurement {
            runtime_version: self.loaded.runtime_version,
            provider: self.loaded.provider,
            latency: Latency {
                histogram: settled.tally.encode(),
                rounds: settled.rounds,
                warmup_runs: self.warmup_runs,
                ended_early,
            },
            load: self.loaded.time,
            peak_rss: self.peak_rss,
            score,
            conditions: self.conditions,
            energy: self.energy,
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

/// How many cores other processes may take while the job runs.
fn most_load(job: &Job) -> f32 {
    job.plan.max_load as f32 / 100.0 * job.target.threads as f32
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
