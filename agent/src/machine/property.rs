//! Whatever happens in whatever order, with crashes between any two effects, every job ends exactly once and
//! its outcome is kept until it is acknowledged.

#![allow(clippy::unwrap_used)]

use edgefront_protocol::batch::{Artifact, Format, Precision, Target};
use edgefront_protocol::{Ack, Bytes, Cancel, Plan};
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

const BATCHES: usize = 3;
const JOBS: usize = 3;
const REFUSED: &str = "it is not signed";

#[derive(Debug, Clone)]
enum Step {
    Send(Index),
    Cancel(Index),
    Ack(Index),
    /// A batch came that is not signed, or not rightly.
    Refuse(Index),
    Connected,
    BlobGrew,
    BlobReady,
    BlobFailed,
    Stall,
    JobLoads(Index),
    JobEnds(Index),
    Measured,
    /// An event that belongs to work which was stopped long ago.
    StaleEnd(Index),
    StaleMeasured(Index),
    /// The agent dies after so many of the next step's effects.
    Crash(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => any::<Index>().prop_map(Step::Send),
        1 => any::<Index>().prop_map(Step::Cancel),
        3 => any::<Index>().prop_map(Step::Ack),
        1 => any::<Index>().prop_map(Step::Refuse),
        1 => Just(Step::Connected),
        1 => Just(Step::BlobGrew),
        8 => Just(Step::BlobReady),
        1 => Just(Step::BlobFailed),
        1 => Just(Step::Stall),
        1 => any::<Index>().prop_map(Step::JobLoads),
        6 => any::<Index>().prop_map(Step::JobEnds),
        3 => Just(Step::Measured),
        1 => any::<Index>().prop_map(Step::StaleEnd),
        1 => any::<Index>().prop_map(Step::StaleMeasured),
        2 => (0..6usize).prop_map(Step::Crash),
    ]
}

/// The device's disk, its doings, and what the controller has seen.
struct World {
    machine: Machine,
    disk: Memory,
    fetching: Option<BlobRef>,
    measuring: Option<Batch>,
    crash_after: Option<usize>,
    sent: BTreeSet<JobId>,
    /// Every outcome that was ever stored. One that differs from the first would be a second end.
    ended: BTreeMap<JobId, Outcome>,
    heard: BTreeMap<JobId, Outcome>,
    acknowledged: BTreeSet<JobId>,
    serial: usize,
}

impl World {
    fn new() -> Self {
        let (machine, effects) = Machine::restore(device(), Memory::default());
        assert_eq!(effects, []);
        Self {
            machine,
            disk: Memory::default(),
            fetching: None,
            measuring: None,
            crash_after: None,
            sent: BTreeSet::new(),
            ended: BTreeMap::new(),
            heard: BTreeMap::new(),
            acknowledged: BTreeSet::new(),
            serial: 0,
        }
    }

    fn take(&mut self, step: &Step) {
        let event = match step {
            Step::Send(index) => Event::Batch(self.send(index.index(BATCHES)), None),
            Step::Cancel(index) => Event::Cancel(Cancel {
                batch: batch(index.index(BATCHES)).id,
            }),
            Step::Ack(index) => match self.ack(*index) {
                Some(event) => event,
                None => return,
            },
            Step::Refuse(index) => Event::Refused(batch(index.index(BATCHES)), REFUSED.to_owned()),
            Step::Connected => Event::Connected,
            Step::BlobGrew => match self.fetching {
                Some(blob) => Event::BlobGrew(blob.digest, 1),
                None => return,
            },
            Step::BlobReady => match self.fetching.take() {
                Some(blob) => Event::BlobReady(blob.digest),
                None => return,
            },
            Step::BlobFailed => match self.fetching.take() {
                Some(blob) => Event::BlobFailed(blob.digest, "broken".to_owned()),
                None => return,
            },
            Step::Stall => match self.fetching {
                Some(blob) => Event::FetchStalled(blob.digest),
                None => return,
            },
            Step::JobLoads(index) => match self.measured_job(*index) {
                Some(job) => Event::State(job, JobState::Loading),
                None => return,
            },
            Step::JobEnds(index) => match self.measured_job(*index) {
                Some(job) => self.end(job),
                None => return,
            },
            Step::Measured => match self.measuring.take() {
                Some(batch) => Event::Measured(batch.id),
                None => return,
            },
            Step::StaleEnd(index) => self.end(job_id(index.index(BATCHES * JOBS))),
            Step::StaleMeasured(index) => {
                let id = batch(index.index(BATCHES)).id;
                if self.measuring.as_ref().is_some_and(|batch| batch.id == id) {
                    return;
                }
                Event::Measured(id)
            }
            Step::Crash(effects) => {
                self.crash_after = Some(*effects);
                return;
            }
        };
        let effects = self.machine.handle(event);
        self.carry_out(effects);
    }

    fn send(&mut self, index: usize) -> Batch {
        let batch = batch(index);
        self.sent.extend(batch.jobs.iter().map(|job| job.id.clone()));
        batch
    }

    fn ack(&mut self, index: Index) -> Option<Event> {
        let jobs: Vec<_> = self.heard.keys().cloned().collect();
        let job = jobs.get(index.index(jobs.len().max(1)))?.clone();
        self.acknowledged.insert(job.clone());
        Some(Event::Ack(Ack { job }))
    }

    fn measured_job(&self, index: Index) -> Option<JobId> {
        let jobs = &self.measuring.as_ref()?.jobs;
        Some(jobs[index.index(jobs.len())].id.clone())
    }

    /// Every measurement differs from every other, so that a second one of the same job shows.
    fn end(&mut self, job: JobId) -> Event {
        self.serial += 1;
        let outcome = Outcome {
            batch: batch(0).id,
            job,
            device: device(),
            result: Err(Failure {
                stage: Stage::Run,
                error: self.serial.to_string(),
            }),
        };
        Event::Ended(Box::new(outcome))
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        let crash = self.crash_after.take();
        let count = crash.map_or(effects.len(), |count| count.min(effects.len()));
        for effect in effects.into_iter().take(count) {
            self.carry_out_one(effect);
        }
        if crash.is_some() {
            self.restart();
        }
    }

    fn carry_out_one(&mut self, effect: Effect) {
        match effect {
            Effect::SaveBatch(saved) => {
                self.disk.batches.retain(|other| other.batch.id != saved.batch.id);
                self.disk.batches.push(saved);
            }
            Effect::RemoveBatch(id) => self.disk.batches.retain(|saved| saved.batch.id != id),
            Effect::SaveSettled(settled) => self.disk.settled = settled,
            Effect::SaveOutcome(outcome) => {
                let first = self.ended.insert(outcome.job.clone(), outcome.clone());
                assert_eq!(first, None, "a second end");
                self.disk.outcomes.push(outcome);
            }
            Effect::RemoveOutcome(job) => {
                assert!(
                    self.acknowledged.contains(&job),
                    "forgotten before it was acknowledged"
                );
                self.disk.outcomes.retain(|outcome| outcome.job != job);
            }
            Effect::SayOutcome(_, outcome) if is_refusal(&outcome) => {
                let has = |saved: &Saved| saved.batch.jobs.iter().any(|job| job.id == outcome.job);
                assert!(
                    !self.disk.batches.iter().any(has),
                    "a job that was taken is refused"
                );
            }
            Effect::SayOutcome(_, outcome) => {
                assert!(self.disk.outcomes.contains(&outcome), "said before it was stored");
                self.heard.insert(outcome.job.clone(), outcome);
            }
            Effect::SayProgress(_, progress) => {
                let stored = |saved: &Saved| saved.batch.id == progress.batch;
                assert!(self.disk.batches.iter().any(stored), "said before it was stored");
            }
            Effect::Fetch(_, blob) => {
                assert_eq!(
                    (self.fetching, &self.measuring),
                    (None, &None),
                    "two things at once"
                );
                self.fetching = Some(blob);
            }
            Effect::AskAgain => assert!(self.fetching.is_some()),
            Effect::StopFetch => assert!(self.fetching.take().is_some()),
            Effect::Measure(batch) => {
                assert_eq!(
                    (self.fetching, &self.measuring),
                    (None, &None),
                    "two things at once"
                );
                assert!(!batch.jobs.is_empty());
                self.measuring = Some(batch);
            }
            Effect::StopMeasuring => assert!(self.measuring.take().is_some()),
        }
    }

    fn restart(&mut self) {
        (self.fetching, self.measuring) = (None, None);
        let (machine, effects) = Machine::restore(device(), self.disk.clone());
        self.machine = machine;
        self.carry_out(effects);
        for event in [Event::Started, Event::Connected] {
            let effects = self.machine.handle(event);
            self.carry_out(effects);
        }
    }

    /// Everything works from now on, and the controller sends its batches again until it has all outcomes.
    fn finish(&mut self) {
        self.crash_after = None;
        for index in 0..BATCHES {
            if batch(index).jobs.iter().any(|job| self.sent.contains(&job.id)) {
                let batch = self.send(index);
                let effects = self.machine.handle(Event::Batch(batch, None));
                self.carry_out(effects);
            }
        }
        self.take(&Step::Connected);
        for _ in 0..200 {
            self.take(&Step::BlobReady);
            for job in self.measuring.clone().into_iter().flat_map(|batch| batch.jobs) {
                let event = self.end(job.id);
                let effects = self.machine.handle(event);
                self.carry_out(effects);
            }
            self.take(&Step::Measured);
        }
    }
}

fn is_refusal(outcome: &Outcome) -> bool {
    outcome
        .result
        .as_ref()
        .is_err_and(|failure| failure.error == REFUSED)
}

fn device() -> DeviceId {
    "pi4".parse().unwrap()
}

fn job_id(index: usize) -> JobId {
    format!("job-{index}").parse().unwrap()
}

fn blob(name: usize) -> BlobRef {
    BlobRef {
        digest: Digest::of(&name.to_le_bytes()),
        bytes: Bytes(10),
    }
}

/// Three jobs; all share a pack, and the first of each batch shares its artifact.
fn batch(index: usize) -> Batch {
    let job = |number: usize| Job {
        id: job_id(index * JOBS + number),
        variant: "fp32".to_owned(),
        artifact: Artifact {
            blob: blob(if number == 0 { 0 } else { index * JOBS + number }),
            format: Format::Onnx,
        },
        target: Target {
            runtime: "null".to_owned(),
            provider: "cpu".to_owned(),
            precision: Precision::Fp32,
            threads: 1,
            batch: 1,
        },
        inputs: Vec::new(),
        validation: Some(blob(100)),
        reference: None,
        plan: Plan::default(),
    };
    Batch {
        id: format!("batch-{index}").parse().unwrap(),
        controller: "study".parse().unwrap(),
        seed: 1,
        jobs: (0..JOBS).map(job).collect(),
    }
}

#[test]
fn a_refused_batch_ends_its_jobs_and_leaves_nothing() {
    let (mut machine, _) = Machine::restore(device(), Memory::default());
    let refused = batch(0);
    let effects = machine.handle(Event::Refused(refused.clone(), REFUSED.to_owned()));
    let said: Vec<&JobId> = effects
        .iter()
        .map(|effect| match effect {
            Effect::SayOutcome(controller, outcome) if *controller == refused.controller => {
                assert!(is_refusal(outcome));
                &outcome.job
            }
            other => panic!("unexpected: {other:?}"),
        })
        .collect();
    let jobs: Vec<&JobId> = refused.jobs.iter().map(|job| &job.id).collect();
    assert_eq!(said, jobs);
    assert!(machine.needed_blobs().is_empty());
    // Signed, it is taken.
    let effects = machine.handle(Event::Batch(refused, None));
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Fetch(..))));
}

proptest! {
    #[test]
    fn every_job_ends_exactly_once(steps in prop::collection::vec(step(), 0..80)) {
        let mut world = World::new();
        for step in &steps {
            world.take(step);
        }
        world.finish();
        let ended: BTreeSet<JobId> = world.ended.keys().cloned().collect();
        prop_assert_eq!(&ended, &world.sent);
        prop_assert_eq!(&world.heard, &world.ended);
        for job in &world.sent {
            let kept = world.disk.outcomes.iter().any(|outcome| outcome.job == *job);
            prop_assert!(kept || world.acknowledged.contains(job));
        }
    }

    #[test]
    fn nothing_is_left_once_everything_is_acknowledged(steps in prop::collection::vec(step(), 0..80)) {
        let mut world = World::new();
        for step in &steps {
            world.take(step);
        }
        world.finish();
        for job in world.sent.clone() {
            world.acknowledged.insert(job.clone());
            let effects = world.machine.handle(Event::Ack(Ack { job }));
            world.carry_out(effects);
        }
        prop_assert_eq!(&world.disk.batches, &[]);
        prop_assert_eq!(&world.disk.outcomes, &[]);
        prop_assert!(world.machine.needed_blobs().is_empty());
    }
}
