//! Measuring the jobs of one batch, side by side.
//!
//! All artifacts are loaded, each in a worker of its own, as many as memory allows; then the workers take
//! turns: in each round every one runs once, in an order shuffled anew, while all others are blocked. So a
//! drift of the machine (heat, clock, other load) falls on all jobs alike. A round that throttling or other load
//! disturbed is measured again, as long as such are few. Artifacts that find no memory form the next group. After its
//! rounds each worker scores its pack.

mod child;
mod cool;
mod heat;
mod memory;
mod plan;
mod power;
mod processors;
mod race;
mod rate;
mod rounds;
mod serving;
mod slot;
mod start;
mod tally;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use edgefront_protocol::outcome::{Failure, Measurement, Stage};
use edgefront_protocol::{Bytes, CoolDown, Cooling, Job, JobId, JobState, Pack, PictureShape, Score};
use tokio::sync::mpsc;

pub(crate) use child::{Worker, failure};
use cool::Next;
use memory::Memory;
use plan::Shuffle;
use power::Power;
use race::Runner;
use slot::Slot;
pub use tally::Tally;

use crate::conditions::Observer;
use crate::worker::message::{Feed, MAX_BYTES};
use crate::worker::picture_batch;
use crate::{Config, Sources, WorkerCommand, governor};

/// Least time between two reports of how far the rounds are.
const TELL_EVERY: Duration = Duration::from_millis(500);

/// One job with its blobs on this device.
#[derive(Debug, Clone, PartialEq)]
pub struct Assignment {
    /// The job.
    pub job: Job,
    /// Where its artifact is.
    pub artifact: PathBuf,
    /// Where its validation pack is, if it has one.
    pub pack: Option<PathBuf>,
    /// Where what its answers are set beside is, if there is such.
    pub reference: Option<PathBuf>,
}

/// How workers are started and how long they may be silent.
#[derive(Debug, Clone)]
pub struct Limits {
    /// How a worker is started.
    pub worker: WorkerCommand,
    /// A runtime's library or a folder of such, looked into first.
    pub runtime_path: Option<PathBuf>,
    /// Largest size of what each runtime made of models and keeps.
    pub kept_max: Bytes,
    /// Whether jobs may bring machine code of their own.
    pub machine_code: bool,
    /// Longest time to load an artifact.
    pub load: Duration,
    /// Longest silence of a worker that runs.
    pub run: Duration,
    /// Where to look for meters.
    pub meters: Sources,
    /// How long the power at rest is measured.
    pub idle: Duration,
    /// The folder that keeps what has to be put back after the batch.
    pub state: PathBuf,
}

impl Limits {
    pub(crate) fn of(config: &Config) -> Self {
        Self {
            worker: config.worker.clone(),
            runtime_path: config.runtime_path.clone(),
            kept_max: config.kept_max,
            machine_code: config.machine_code,
            load: config.load_timeout,
            run: config.run_timeout,
            meters: config.meters.clone(),
            idle: config.idle,
            state: config.state_dir.clone(),
        }
    }
}

/// Why a job that brings machine code is not measured.
pub(crate) const NO_MACHINE_CODE: &str = "this agent runs no machine code that jobs bring; `machine_code = true` in its \
     agent.toml lets the `controllers` that it names there run programs as its user";

/// Why a job that is to wait for the device to cool is not measured.
const NO_TEMPERATURE: &str = "the job is to begin its rounds on a cool device, and no thermal zone of this one tells a \
     temperature; measure without --cool-to";

/// What is told while a batch is measured.
#[derive(Debug, Clone, PartialEq)]
pub enum Report {
    /// A job came to another state.
    State(JobId, JobState),
    /// A job ended.
    Ended(JobId, Result<Box<Measurement>, Failure>),
}

/// Measures all jobs; each ends in one [`Report::Ended`]. `seed` decides the order within each round. Dropped,
/// it kills its workers.
pub async fn measure(jobs: Vec<Assignment>, seed: u64, limits: Limits, reports: mpsc::Sender<Report>) {
    let _governor = match set_governor(&jobs, &limits) {
        Ok(set) => set,
        Err(error) => {
            for assignment in jobs {
                let failed = Err(failure(Stage::Load, error.clone()));
                drop(reports.send(Report::Ended(assignment.job.id, failed)).await);
            }
            return;
        }
    };
    let mut bench = Bench {
        shuffle: Shuffle::new(seed),
        feeds: Feeds { seed, last: None },
        observer: Observer::new(&limits.meters.system).await,
        limits,
        reports,
        scores: Vec::new(),
    };
    let mut power = Power::begin(bench.limits.meters.clone(), bench.limits.idle).await;
    let is_sustained = |assignment: &Assignment| assignment.job.plan.sustained.is_some();
    let (sustained, between): (Vec<_>, Vec<_>) = jobs.into_iter().partition(is_sustained);
    let mut waiting = VecDeque::from(between);
    let mut number = 1;
    while !waiting.is_empty() {
        let mut group = bench.load_group(&mut waiting).await;
        if number > 1 || !waiting.is_empty() {
            let note = format!("not all jobs of the batch fit into memory; this one was in group {number}");
            for slot in &mut group {
                slot.note(note.clone());
            }
        }
        bench.run_group(group, &mut power).await;
        number += 1;
    }
    for assignment in sustained {
        let alone = bench.load_group(&mut VecDeque::from([assignment])).await;
        bench.run_group(alone, &mut power).await;
    }
}

/// Sets the governor that the jobs ask for, until what is returned is dropped; `None` where they ask for none.
fn set_governor(jobs: &[Assignment], limits: &Limits) -> Result<Option<governor::Set>, String> {
    let mut wanted = jobs.iter().map(|assignment| assignment.job.plan.governor);
    let Some(first) = wanted.next() else {
        return Ok(None);
    };
    if wanted.any(|other| other != first) {
        return Err("the jobs of one batch ask for different governors; send them as several".to_owned());
    }
    let set = first.map(|wanted| governor::set(&limits.meters.system, &limits.state, wanted));
    set.transpose().map_err(|error| error.to_string())
}

struct Bench {
    shuffle: Shuffle,
    feeds: Feeds,
    observer: Observer,
    limits: Limits,
    reports: mpsc::Sender<Report>,
    /// What the jobs that are scored answered: one that runs the same file again, in another course, answers the same.
    scores: Vec<(Job, Score)>,
}

impl Bench {
    /// Loads jobs one after the other while there is memory; at least one.
    async fn load_group(&mut self, waiting: &mut VecDeque<Assignment>) -> Vec<Slot> {
        let mut group: Vec<Slot> = Vec::new();
        while let Some(next) = waiting.front() {
            let bytes = next.job.artifact.blob.bytes;
            let has_room = Memory::now().is_none_or(|memory| memory.has_room_for(bytes));
            if !group.is_empty() && !has_room {
                break;
            }
            let Some(assignment) = waiting.pop_front() else {
                break;
            };
            let id = assignment.job.id.clone();
            self.say(Report::State(id.clone(), JobState::Loading)).await;
            match self.load(assignment).await {
                Ok(slot) => group.push(slot),
                Err(failure) => self.say(Report::Ended(id, Err(failure))).await,
            }
        }
        group
    }

    async fn load(&mut self, assignment: Assignment) -> Result<Slot, Failure> {
        if assignment.job.plan.cool_down.is_some() && self.observer.temperature().is_none() {
            return Err(failure(Stage::Load, NO_TEMPERATURE));
        }
        let feed = self.feeds.of(&assignment).await?;
        Slot::load(assignment, feed, self.limits.clone()).await
    }

    /// Measures jobs that are loaded.
    async fn run_group(&mut self, group: Vec<Slot>, power: &mut Power) {
        let group = self.run_rounds(group, power).await;
        power.end().await;
        self.finish(group, power).await;
    }

    /// Lets the jobs take turns until each has had its last round, or another one has beaten it.
    async fn run_rounds(&mut self, group: Vec<Slot>, power: &Power) -> Vec<Slot> {
        let mut group: Vec<Option<Slot>> = group.into_iter().map(Some).collect();
        let mut told: Option<Instant> = None;
        let entrants = group.len();
        loop {
            stop_beaten(&mut group, entrants, power).await;
            let order: Vec<usize> = self
                .shuffle
                .next(group.len())
                .into_iter()
                .filter(|&index| {
                    group[index]
                        .as_ref()
                        .is_some_and(|slot| slot.next_task().is_some())
                })
                .collect();
            if order.is_empty() {
                return group.into_iter().flatten().collect();
            }
            if told.is_none_or(|told| told.elapsed() >= TELL_EVERY) {
                self.say_rounds(&group).await;
                told = Some(Instant::now());
            }
            for (position, index) in order.into_iter().enumerate() {
                group[index] = match group[index].take() {
                    Some(slot) => self.run_round(slot, position as u32).await,
                    None => None,
                };
            }
        }
    }

    /// One round of one job; `None` if the job failed in it.
    async fn run_round(&mut self, mut slot: Slot, position: u32) -> Option<Slot> {
        if let Err(failure) = self.renew(&mut slot).await {
            self.say(Report::Ended(slot.job().clone(), Err(failure))).await;
            return None;
        }
        let Some(task) = slot.next_task() else {
            // Starting its process took the last of its time.
            return Some(slot);
        };
        let cooling = self.cool(slot.cool_down()).await;
        match slot.turn(task, position, &self.observer, cooling).await {
            Ok(()) => Some(slot),
            Err(failure) => {
                self.say(Report::Ended(slot.job().clone(), Err(failure))).await;
                None
            }
        }
    }

    /// Gives the job the process that its next round is for, where that is another one.
    async fn renew(&mut self, slot: &mut Slot) -> Result<(), Failure> {
        if slot.wants_process().is_none() {
            return Ok(());
        }
        // Who is beaten can be known early only where accuracy is.
        self.score(slot).await?;
        let Some(assignment) = slot.wants_process() else {
            return Ok(());
        };
        let feed = self.feeds.of(assignment).await?;
        slot.renew(feed).await
    }

    /// Scores the job's pack, unless that is done.
    async fn score(&mut self, slot: &mut Slot) -> Result<(), Failure> {
        if !slot.is_to_score() {
            return Ok(());
        }
        let mut known = self.scores.iter();
        if let Some((_, score)) = known.find(|(job, _)| slot.answers_as(job)) {
            slot.take_score(score.clone());
            return Ok(());
        }
        self.say(Report::State(slot.job().clone(), JobState::Scoring))
            .await;
        slot.score(self.feeds.seed).await?;
        let scored = slot.scored().map(|(job, score)| (job.clone(), score.clone()));
        self.scores.extend(scored);
        Ok(())
    }

    /// Waits until the device is as cool as the plan wants, or the plan's limit ends that.
    async fn cool(&self, plan: Option<CoolDown>) -> Option<Cooling> {
        let plan = plan?;
        let begun = Instant::now();
        loop {
            match cool::next(plan, self.observer.temperature(), begun.elapsed()) {
                Next::Look(after) => tokio::time::sleep(after).await,
                Next::Begin(cooling) => return Some(cooling),
            }
        }
    }

    /// Progress is told between rounds of all jobs and never within one, so that a device that measures is
    /// quiet.
    async fn say_rounds(&self, group: &[Option<Slot>]) {
        for slot in group.iter().flatten() {
            let (done, rounds) = slot.progress();
            let state = JobState::Measuring { done, rounds };
            self.say(Report::State(slot.job().clone(), state)).await;
        }
    }

    async fn finish(&mut self, group: Vec<Slot>, power: &Power) {
        for mut slot in group {
            let id = slot.job().clone();
            slot.describe_device(&self.observer);
            let result = match self.score(&mut slot).await {
                Ok(()) => slot.finish(power).await.map(Box::new),
                Err(failure) => Err(failure),
            };
            self.say(Report::Ended(id, result)).await;
        }
    }

    async fn say(&self, report: Report) {
        // Nobody listens any more only when the agent itself ends.
        drop(self.reports.send(report).await);
    }
}

/// Ends the jobs that another one of the group has beaten.
async fn stop_beaten(group: &mut [Option<Slot>], entrants: usize, power: &Power) {
    let racing = group.iter_mut().flatten().filter(|slot| slot.races());
    let mut racing: Vec<&mut Slot> = racing.collect();
    let runners: Vec<Runner> = racing.iter().map(|slot| slot.runner(power)).collect();
    for (place, stopped) in race::beaten(&runners, entrants) {
        racing[place].stop(stopped).await;
    }
}

/// What the models are given while they are timed. The agent reads the pack, so that it does not count as a
/// worker's memory; jobs that follow one another share what was read.
struct Feeds {
    seed: u64,
    last: Option<((PathBuf, usize), Feed)>,
}

impl Feeds {
    /// The first pictures of the job's pack, or random values where it has none.
    async fn of(&mut self, assignment: &Assignment) -> Result<Feed, Failure> {
        let Some(path) = &assignment.pack else {
            return Ok(Feed::Random { seed: self.seed });
        };
        let key = (path.clone(), assignment.job.target.batch as usize);
        if let Some((last, feed)) = &self.last
            && *last == key
        {
            return Ok(feed.clone());
        }
        let (file, batch) = key.clone();
        let read = tokio::task::spawn_blocking(move || pictures(&file, batch)).await;
        let feed = read
            .unwrap_or_else(|error| Err(error.to_string()))
            .map_err(|error| failure(Stage::Score, format!("data set: {error}")))?;
        self.last = Some((key, feed.clone()));
        Ok(feed)
    }
}

fn pictures(path: &Path, batch: usize) -> Result<Feed, String> {
    let file = std::fs::read(path).map_err(|error| error.to_string())?;
    let pack = Pack::decode(file).map_err(|error| error.to_string())?;
    if pack.labels().is_none() {
        return Err(edgefront_protocol::PackError::NoLabels.to_string());
    }
    let shape = pack.picture();
    let bytes = batch as u128 * shape.volume() as u128 * size_of::<f32>() as u128;
    if bytes >= u128::from(MAX_BYTES) {
        return Err(format!(
            "a batch of {batch} pictures has {bytes} bytes, more than a worker takes; give a smaller batch"
        ));
    }
    let PictureShape {
        channels,
        height,
        width,
    } = shape;
    Ok(Feed::Pictures {
        picture: [channels, height, width],
        values: picture_batch(&pack, 0..pack.len(), batch),
    })
}

/// The configuration holds UTF-8 paths only, and what lies below them has names of ours.
pub(crate) fn utf8(path: &Path) -> String {
    path.to_str()
        .expect("invariant: state folder and runtime path are UTF-8")
        .to_owned()
}
