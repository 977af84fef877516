//! One job with its worker, from loading to its measurement.

use std::path::Path;
use std::time::{Duration, Instant};

use edgefront_protocol::outcome::{
    Conditions, Failure, Harness, Latency, Measurement, Memory, Stage, Startup, Stopped, Sustained,
};
use edgefront_protocol::{Bytes, CoolDown, Cooling, Job, JobId, Nanos, Probe, RoundState, Score};

use super::child::{Worker, failure};
use super::heat::Heat;
use super::plan;
use super::power::Power;

use super::race::{Accuracy, Runner, Way};
use super::rounds::{Rounds, Turn};
use super::serving::Serving;
use super::start::{Ready, allow, layers, not_asked, order, ready, surprise};
use super::tally::Tally;
use super::{Assignment, Limits, utf8};
use crate::board;
use crate::clock;
use crate::conditions::Observer;
use crate::worker::message::{Answer, Feed, Load, Loaded, Order, Scoring, Serve, Span};
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
    /// Worker processes over which the rounds are spread, and which of them is there.
    processes: u32,
    process: u32,
    rounds: Rounds,
    /// The search of the server scenario, whose trials are its turns in place of rounds.
    serving: Option<Serving>,
    harness: Harness,
    peak_rss: Option<Bytes>,
    pss: Option<Bytes>,
    score: Option<Score>,
    /// Why it has no further rounds, where another job beat it.
    stopped: Option<Stopped>,
    heat: Heat,
    conditions: Conditions,
}

/// What a job does when it is its turn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Task {
    Round(Span),
    Trial(Serve),
}

impl Slot {
    /// Starts a worker, loads the artifact and warms it up.
    pub(super) async fn load(assignment: Assignment, feed: Feed, limits: Limits) -> Result<Self, Failure> {
        let job = &assignment.job;
        allow(job, &limits).map_err(|why| failure(Stage::Load, why))?;
        let order = order(&assignment, feed, &limits)?;
        let warm_up = plan::warm_up(&job.plan);
        let Ready {
            worker,
            loaded,
            runs: warmup_runs,
            steady,
            median,
            first_run,
            time,
        } = ready(&order, warm_up, &limits).await?.ok_or_else(not_asked)?;
        let rounds = plan::of_rounds(&job.plan);
        let processes = plan::processes(&rounds, time.into());
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
        let wanted = rounds.processes.min(rounds.rounds);
        if processes < wanted {
            conditions.notes.push(format!(
                "measured in {processes} of {wanted} processes: starting one takes {}",
                seconds(time)
            ));
        }
        Ok(Self {
            peak_rss: loaded.peak_rss,
            pss: None,
            score: None,
            stopped: None,
            rounds: Rounds::new(rounds),
            profile: assignment.job.plan.layers.then_some(Load {
                profile: true,
                ..order
            }),
            assignment,
            worker,
            limits,
            loaded,
            startup: Startup {
                cold_load: None,
                first_run,
            },
            warmup_runs,
            processes,
            process: 0,
            serving,
            harness: Harness::default(),
            heat: Heat::default(),
            conditions,
        })
    }

    pub(super) fn job(&self) -> &JobId {
        &self.assignment.job.id
    }

    /// The wait for the device to cool before its next round. A sustained run has one before its first.
    pub(super) fn cool_down(&self) -> Option<CoolDown> {
        let plan = &self.assignment.job.plan;
        plan.cool_down
            .filter(|_| plan.sustained.is_none() || self.rounds.turns().is_empty())
    }

    /// Whether the other job asks for the same answers: the same file on the same target and pack.
    pub(super) fn answers_as(&self, other: &Job) -> bool {
        let own = &self.assignment.job;
        own.artifact == other.artifact
            && own.target == other.target
            && own.inputs == other.inputs
            && own.validation == other.validation
            && own.reference == other.reference
            && own.plan.accuracy_margin == other.plan.accuracy_margin
    }

    /// The job with its score, if it has one.
    pub(super) fn scored(&self) -> Option<(&Job, &Score)> {
        Some((&self.assignment.job, self.score.as_ref()?))
    }

    /// Takes the score of a job that [`answers_as`](Self::answers_as) it.
    pub(super) fn take_score(&mut self, score: Score) {
        self.score = Some(score);
    }

    /// Rounds done that count, and rounds in all; of a search, whose end is not known, its trials.
    pub(super) fn progress(&self) -> (u32, u32) {
        let (done, rounds) = self.rounds.progress();
        match &self.serving {
            Some(serving) => (serving.trials().min(rounds.saturating_sub(1)), rounds),
            None => (done, rounds),
        }
    }

    /// What this job does next; `None` when it has had its last turn.
    pub(super) fn next_task(&self) -> Option<Task> {
        match &self.serving {
            Some(serving) => serving.next(self.rounds.time_left()).map(Task::Trial),
            None => self.rounds.next().map(Task::Round),
        }
    }

    /// The job, where its next round is for another process than the one that is there.
    pub(super) fn wants_process(&self) -> Option<&Assignment> {
        let next = self.rounds.next_process(self.processes);
        (next > self.process).then_some(&self.assignment)
    }

    /// Ends the process that is there and starts the next, which loads the artifact and warms it up again.
    pub(super) async fn renew(&mut self, feed: Feed) -> Result<(), Failure> {
        let begun = Instant::now();
        let warm_up = plan::warm_up_again(&self.assignment.job.plan, self.processes);
        self.worker.end().await;
        let mut order = order(&self.assignment, feed, &self.limits)?;
        // The first one's artifact was in memory, where its digest was computed.
        order.cold = self.process == 0;
        let ready = match ready(&order, warm_up, &self.limits).await? {
            Some(cold) if order.cold => {
                self.startup.cold_load = Some(cold.loaded.time);
                cold
            }
            Some(ready) => ready,
            None => {
                order.cold = false;
                let warm = ready(&order, warm_up, &self.limits).await?;
                warm.ok_or_else(not_asked)?
            }
        };
        self.worker = ready.worker;
        self.warmup_runs = self.warmup_runs.saturating_add(ready.runs);
        self.process += 1;
        self.rounds.spend(begun.elapsed());
        Ok(())
    }

    /// One turn, after a wait for the device to cool and while all other workers are blocked. The device is looked at
    /// before it and after it, and never within.
    pub(super) async fn turn(
        &mut self,
        task: Task,
        position: u32,
        observer: &Observer,
        cooling: Option<Cooling>,
    ) -> Result<(), Failure> {
        let before = observer.look(self.worker.id()).await;
        let (begun, own) = (Instant::now(), clock::of_this_process());
        let order = match task {
            Task::Round(span) => Order::Round(span),
            Task::Trial(serve) => Order::Serve(serve),
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
        if tally.runs() == 0 && matches!(task, Task::Round(_)) {
            return Err(failure(Stage::Run, "the worker made a round without a run"));
        }
        let spent = begun.elapsed();
        self.harness = Harness {
            time: Nanos(self.harness.time.0 + Nanos::from(spent).0),
            cpu: Nanos(self.harness.cpu.0 + clock::of_this_process() - own),
            rss: rss(),
        };
        let after = observer.look(self.worker.id()).await;
        let turn = Turn {
            position,
            process: self.process,
            started,
            tally,
            stretch,
            state: RoundState {
                cooling,
                ..observer.between(&before, &after, most_load(&self.assignment.job))
            },
        };
        self.heat.see(before);
        self.heat.see(after);
        self.rounds.spend(spent);
        match (task, &mut self.serving) {
            (Task::Trial(serve), Some(serving)) => serving.record(serve, turn),
            _ => self.rounds.push(turn),
        }
        Ok(())
    }

    /// Takes the trial of the rate that was found for the job's round; returns all trials, and whether the search was
    /// ended early.
    fn settle(&mut self) -> Result<(Vec<Probe>, bool), Failure> {
        let plan = self.assignment.job.plan;
        let Some(serving) = self.serving.take() else {
            return Ok((Vec::new(), self.rounds.ended_early()));
        };
        let done = serving.finish(&plan).map_err(|why| failure(Stage::Run, why))?;
        self.rounds.push(done.kept);
        self.rounds.put_aside(done.aside);
        if let Some(rate) = done.doubtful.first() {
            self.note(format!(
                "every trial of {rate:.3} queries a second was disturbed and failed, so the rate that was found may be too low"
            ));
        }
        Ok((done.probes, done.cut))
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

    /// Whether its rounds can be set against those of others: a search has none.
    pub(super) fn races(&self) -> bool {
        let is_sustained = self.assignment.job.plan.sustained.is_some();
        self.serving.is_none() && self.stopped.is_none() && !is_sustained
    }

    /// What the race knows of it.
    pub(super) fn runner(&self, power: &Power) -> Runner {
        let job = &self.assignment.job;
        let accuracy = match (&self.assignment.pack, &self.score) {
            (None, _) => Accuracy::OfVariant(job.variant.clone()),
            (Some(_), None) => Accuracy::NotYet,
            (Some(_), Some(score)) => Accuracy::Scored(Box::new(score.clone())),
        };
        Runner {
            job: job.id.clone(),
            way: Way {
                scenario: job.plan.scenario,
                batch: job.target.batch,
                threads: job.target.threads,
                processors: job.plan.processors,
                validation: job.validation,
            },
            // One that has had its last round has nothing to save.
            may_be_stopped: job.plan.race && self.next_task().is_some(),
            accuracy,
            laps: self.rounds.laps(&power.energies(&self.rounds.turns())),
            rounds: job.plan.rounds,
            most: job.plan.rounds.saturating_add(plan::most_repeats(&job.plan)),
        }
    }

    /// Ends its rounds; what it has measured is kept. The memory of its worker is free with this.
    pub(super) async fn stop(&mut self, stopped: Stopped) {
        self.stopped = Some(stopped);
        self.rounds.end_beaten();
        self.worker.end().await;
    }

    /// Takes what the rounds took of each rail. The worker ends with this.
    pub(super) async fn finish(mut self, power: &Power) -> Result<Measurement, Failure> {
        let (probes, ended_early) = self.settle()?;
        let stretches = self.rounds.stretches();
        let energy = power.energies(&stretches);
        self.conditions.notes.extend(power.faults(&stretches));
        if !power.is_off() && stretches.iter().all(Option::is_none) {
            self.note("energy is not known: a program of the runtime's own timed the rounds, and does not tell when".to_owned());
        }
        if ended_early {
            let longest = Duration::from(self.assignment.job.plan.max_time);
            self.note(format!("ended early by the plan's longest time of {longest:?}"));
        }
        let inferences = self.rounds.in_a_second().clamp(10, 200);
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
            memory: Memory {
                harness: self.loaded.rss_at_first,
                model: self.loaded.grown,
                pss: self.pss,
            },
            startup: self.startup,
            score: self.score,
            conditions: self.conditions,
            energy,
            harness: self.harness,
            layers,
            scenario: self.assignment.job.plan.scenario,
            probes,
            processors: self.loaded.processors,
            stopped: self.stopped,
            sustained: self.assignment.job.plan.sustained.map(|time| Sustained {
                time,
                warming: settled.warming,
            }),
        })
    }

    /// Whether it has a pack that is not scored yet.
    pub(super) fn is_to_score(&self) -> bool {
        self.assignment.pack.is_some() && self.score.is_none()
    }

    /// Scores the pack, if the job has one. Its worker should have no further rounds: reading the pack takes memory.
    /// `seed` decides the order of the pictures where not all may be needed.
    pub(super) async fn score(&mut self, seed: u64) -> Result<(), Failure> {
        let Some(pack) = &self.assignment.pack else {
            return Ok(());
        };
        let order = Order::Score(Scoring {
            pack: utf8(pack),
            reference: self.assignment.reference.as_deref().map(utf8),
            margin: self.assignment.job.plan.accuracy_margin,
            seed,
        });
        match self.worker.ask(&order, Stage::Score, self.limits.run).await? {
            Answer::Score(score) => self.score = Some(score),
            other => return Err(surprise(Stage::Score, &other)),
        }
        Ok(())
    }
}

/// As in `1.3 s`.
fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

/// How many cores other processes may take while the job runs.
fn most_load(job: &Job) -> f32 {
    job.plan.max_load as f32 / 100.0 * job.target.threads as f32
}
