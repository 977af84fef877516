//! The life of batches and jobs on this device, free of I/O: events in, effects out.
//!
//! The effects of one event are carried out in their order, and what is stored comes before what is said. So
//! whatever an agent said, it still knows after a crash at any moment. A job ends once: its first outcome is
//! stored, and none replaces it.
//!
//! A disk that takes nothing more changes this as little as possible: the jobs of a batch that cannot be stored
//! fail, and an outcome that cannot be is said from memory. Should the agent end before that is acknowledged, the job
//! is measured anew, and the controller keeps the outcome that it stored first.

mod event;
#[cfg(test)]
mod property;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use edgefront_protocol::outcome::{Failure, Outcome, Stage};
use edgefront_protocol::{
    Batch, BatchId, BlobRef, DeviceId, Digest, Job, JobId, JobState, Progress, PublicKey,
};

pub(crate) use event::{Effect, Event, Memory, Saved};

/// Settled batches that are remembered, so that a late duplicate of one is not measured again.
const SETTLED: usize = 1024;

/// The state of all batches on this device.
#[derive(Debug)]
pub(crate) struct Machine {
    device: DeviceId,
    /// In the order in which they take their turn.
    batches: VecDeque<Saved>,
    outcomes: BTreeMap<JobId, Outcome>,
    settled: VecDeque<BatchId>,
    states: BTreeMap<JobId, JobState>,
    activity: Activity,
    effects: Vec<Effect>,
}

/// What the device is doing. One batch at a time, so that nothing disturbs a measurement.
#[derive(Debug, Clone, PartialEq)]
enum Activity {
    Idle,
    /// Getting the blobs of a batch; the first of `missing` is under way.
    Fetching {
        batch: BatchId,
        missing: VecDeque<BlobRef>,
        have: u64,
    },
    Measuring {
        batch: BatchId,
    },
}

impl Machine {
    /// Continues from what is stored; the effects mend what a crash left half done.
    pub(crate) fn restore(device: DeviceId, memory: Memory) -> (Self, Vec<Effect>) {
        let settled: VecDeque<BatchId> = memory.settled.into();
        let (gone, mut batches): (Vec<_>, Vec<_>) = memory
            .batches
            .into_iter()
            .partition(|saved| settled.contains(&saved.batch.id));
        batches.sort_by_key(|saved| saved.sequence);
        let mut machine = Self {
            device,
            batches: batches.into(),
            outcomes: BTreeMap::new(),
            settled,
            states: BTreeMap::new(),
            activity: Activity::Idle,
            effects: gone
                .into_iter()
                .map(|saved| Effect::RemoveBatch(saved.batch.id))
                .collect(),
        };
        for outcome in memory.outcomes {
            if machine.batch_of(&outcome.job).is_some() {
                machine.outcomes.insert(outcome.job.clone(), outcome);
            } else {
                // Its acknowledgement was stored, and the agent ended before it forgot the outcome.
                machine.effects.push(Effect::RemoveOutcome(outcome.job));
            }
        }
        let effects = std::mem::take(&mut machine.effects);
        (machine, effects)
    }

    /// Takes an event; the effects are to be carried out in order before the next one.
    pub(crate) fn handle(&mut self, event: Event) -> Vec<Effect> {
        match event {
            Event::Started => self.advance(),
            Event::Connected => self.repeat_everything(),
            Event::Batch(batch, signer) => self.on_batch(batch, signer),
            Event::Refused(batch, error) => self.refuse(&batch, &error),
            Event::Barred(batch, error) => self.call_off(&batch, Stage::Fetch, &error),
            Event::Cancel(cancel) => {
                self.call_off(&cancel.batch, Stage::Cancelled, "cancelled by the controller");
            }
            Event::Ack(ack) => self.on_ack(&ack.job),
            Event::BlobGrew(digest, have) => self.on_blob_grew(digest, have),
            Event::BlobReady(digest) => self.on_blob(digest),
            Event::BlobFailed(digest, error) => self.on_blob_failed(digest, &error),
            Event::FetchStalled(digest) => self.on_stall(digest),
            Event::State(job, state) => self.on_state(&job, state),
            Event::Ended(outcome) => self.on_ended(*outcome),
            Event::Measured(batch) => self.on_measured(&batch),
        }
        std::mem::take(&mut self.effects)
    }

    /// The blobs of all jobs that are still to be measured.
    pub(crate) fn needed_blobs(&self) -> BTreeSet<Digest> {
        let pending = self.batches.iter().flat_map(|saved| self.pending(&saved.batch));
        pending.flat_map(blobs).map(|blob| blob.digest).collect()
    }

    fn on_batch(&mut self, mut batch: Batch, signer: Option<PublicKey>) {
        if self.settled.contains(&batch.id) {
            return;
        }
        if self.find(&batch.id).is_some() {
            self.repeat(&batch.id);
            if matches!(&self.activity, Activity::Fetching { batch: active, .. } if *active == batch.id) {
                self.effects.push(Effect::AskAgain);
            }
            return;
        }
        let mut seen = BTreeSet::new();
        batch
            .jobs
            .retain(|job| self.batch_of(&job.id).is_none() && seen.insert(job.id.clone()));
        if batch.jobs.is_empty() {
            return;
        }
        let last = self.batches.iter().map(|saved| saved.sequence).max();
        let id = batch.id.clone();
        let saved = Saved {
            sequence: last.map_or(0, |last| last.saturating_add(1)),
            batch,
            signer,
        };
        self.effects.push(Effect::SaveBatch(saved.clone()));
        self.batches.push_back(saved);
        self.repeat(&id);
        self.advance();
    }

    /// Every batch that is kept, and who signed it.
    pub(crate) fn signers(&self) -> impl Iterator<Item = (&BatchId, Option<PublicKey>)> {
        self.batches.iter().map(|saved| (&saved.batch.id, saved.signer))
    }

    /// Nothing of it is kept: should its controller not hear this, it sends the batch again. What was taken goes on,
    /// whoever sends it again.
    fn refuse(&mut self, batch: &Batch, error: &str) {
        if self.settled.contains(&batch.id) {
            return;
        }
        if self.find(&batch.id).is_some() {
            self.repeat(&batch.id);
            return;
        }
        let unknown = |job: &&Job| self.batch_of(&job.id).is_none();
        let refused: Vec<Effect> = batch
            .jobs
            .iter()
            .filter(unknown)
            .map(|job| self.failure(batch, &job.id, Stage::Fetch, error))
            .map(|outcome| Effect::SayOutcome(batch.controller.clone(), outcome))
            .collect();
        self.effects.extend(refused);
    }

    fn call_off(&mut self, id: &BatchId, stage: Stage, reason: &str) {
        let Some(batch) = self.find(id) else { return };
        let jobs: Vec<JobId> = self.pending(batch).map(|job| job.id.clone()).collect();
        for job in jobs {
            self.fail(&job, stage, reason);
        }
        match &self.activity {
            Activity::Fetching { batch, .. } if batch == id => self.effects.push(Effect::StopFetch),
            Activity::Measuring { batch } if batch == id => self.effects.push(Effect::StopMeasuring),
            _ => return,
        }
        self.activity = Activity::Idle;
        self.advance();
    }

    fn on_ack(&mut self, job: &JobId) {
        if !self.outcomes.contains_key(job) {
            return;
        }
        let Some(position) = self.position_of(job) else {
            return;
        };
        let saved = &mut self.batches[position];
        saved.batch.jobs.retain(|other| other.id != *job);
        if saved.batch.jobs.is_empty() {
            let id = saved.batch.id.clone();
            self.batches.remove(position);
            self.settled.push_back(id.clone());
            let surplus = self.settled.len().saturating_sub(SETTLED);
            self.settled.drain(..surplus);
            self.effects
                .push(Effect::SaveSettled(self.settled.iter().cloned().collect()));
            self.effects.push(Effect::RemoveBatch(id));
        } else {
            self.effects.push(Effect::SaveBatch(saved.clone()));
        }
        self.outcomes.remove(job);
        self.states.remove(job);
        self.effects.push(Effect::RemoveOutcome(job.clone()));
    }

    fn on_blob_grew(&mut self, digest: Digest, bytes: u64) {
        if let Activity::Fetching { missing, have, .. } = &mut self.activity
            && missing.front().is_some_and(|blob| blob.digest == digest)
        {
            *have = bytes;
            self.say_fetching();
        }
    }

    fn on_blob(&mut self, digest: Digest) {
        let Activity::Fetching { missing, have, .. } = &mut self.activity else {
            return;
        };
        if missing.front().is_none_or(|blob| blob.digest != digest) {
            return;
        }
        missing.pop_front();
        *have = 0;
        self.say_fetching();
        self.fetch_or_measure();
    }

    fn on_blob_failed(&mut self, digest: Digest, error: &str) {
        let Activity::Fetching { batch, missing, .. } = &self.activity else {
            return;
        };
        if missing.front().is_none_or(|blob| blob.digest != digest) {
            return;
        }
        let batch = self.find(batch);
        let needs = |job: &&Job| blobs(job).any(|blob| blob.digest == digest);
        let jobs: Vec<JobId> = batch
            .into_iter()
            .flat_map(|batch| self.pending(batch))
            .filter(needs)
            .map(|job| job.id.clone())
            .collect();
        for job in jobs {
            self.fail(&job, Stage::Fetch, error);
        }
        // What only those jobs needed is not fetched.
        self.activity = Activity::Idle;
        self.advance();
    }

    /// Another batch may have all it needs, or a controller that is there.
    fn on_stall(&mut self, digest: Digest) {
        let Activity::Fetching { batch, missing, .. } = &self.activity else {
            return;
        };
        if missing.front().is_none_or(|blob| blob.digest != digest) {
            return;
        }
        let id = batch.clone();
        let waits = |saved: &Saved| saved.batch.id != id && self.pending(&saved.batch).next().is_some();
        if !self.batches.iter().any(waits) {
            return;
        }
        if let Some(position) = self.batches.iter().position(|saved| saved.batch.id == id)
            && let Some(saved) = self.batches.remove(position)
        {
            self.batches.push_back(saved);
        }
        self.effects.push(Effect::StopFetch);
        self.activity = Activity::Idle;
        self.advance();
    }

    fn on_state(&mut self, job: &JobId, state: JobState) {
        if self.is_measured(job) {
            self.say_state(job, state);
        }
    }

    fn on_ended(&mut self, outcome: Outcome) {
        if self.is_measured(&outcome.job) {
            self.end(outcome);
        }
    }

    fn on_measured(&mut self, id: &BatchId) {
        if !matches!(&self.activity, Activity::Measuring { batch } if batch == id) {
            return;
        }
        let batch = self.find(id);
        let left: Vec<JobId> = batch
            .into_iter()
            .flat_map(|batch| self.pending(batch))
            .map(|job| job.id.clone())
            .collect();
        for job in left {
            self.fail(
                &job,
                Stage::Run,
                "the agent lost track of the job; report this as a fault",
            );
        }
        self.activity = Activity::Idle;
        self.advance();
    }

    /// Begins with the first batch that has something to measure.
    fn advance(&mut self) {
        if self.activity != Activity::Idle {
            return;
        }
        let next = self
            .batches
            .iter()
            .find(|saved| self.pending(&saved.batch).next().is_some());
        let Some(saved) = next else { return };
        let mut seen = BTreeSet::new();
        let missing = self
            .pending(&saved.batch)
            .flat_map(blobs)
            .filter(|blob| seen.insert(*blob))
            .collect();
        self.activity = Activity::Fetching {
            batch: saved.batch.id.clone(),
            missing,
            have: 0,
        };
        self.fetch_or_measure();
    }

    fn fetch_or_measure(&mut self) {
        let Activity::Fetching {
            batch: id, missing, ..
        } = &self.activity
        else {
            return;
        };
        let Some(batch) = self.find(id) else { return };
        if let Some(blob) = missing.front() {
            let effect = Effect::Fetch(batch.controller.clone(), *blob);
            self.effects.push(effect);
            return;
        }
        let jobs = self.pending(batch).cloned().collect();
        let batch = Batch {
            jobs,
            id: batch.id.clone(),
            controller: batch.controller.clone(),
            seed: batch.seed,
        };
        self.activity = Activity::Measuring {
            batch: batch.id.clone(),
        };
        self.effects.push(Effect::Measure(batch));
    }

    /// Tells, for each job that waits for blobs, how much of them is here.
    fn say_fetching(&mut self) {
        let Activity::Fetching { batch, missing, have } = &self.activity else {
            return;
        };
        let lacks = |blob: &BlobRef| match missing.iter().position(|other| other.digest == blob.digest) {
            Some(0) => blob.bytes.0.saturating_sub(*have),
            Some(_) => blob.bytes.0,
            None => 0,
        };
        let states: Vec<(JobId, JobState)> = self
            .find(batch)
            .into_iter()
            .flat_map(|batch| self.pending(batch))
            .map(|job| {
                let sum = |sum: u64, bytes: u64| sum.saturating_add(bytes);
                let total = blobs(job).map(|blob| blob.bytes.0).fold(0, sum);
                let have = total.saturating_sub(blobs(job).map(|blob| lacks(&blob)).fold(0, sum));
                (job.id.clone(), JobState::Fetching { have, total })
            })
            .filter(|(job, state)| self.states.get(job) != Some(state))
            .collect();
        for (job, state) in states {
            self.say_state(&job, state);
        }
    }

    fn fail(&mut self, job: &JobId, stage: Stage, error: &str) {
        let Some(batch) = self.batch_of(job) else { return };
        self.end(self.failure(batch, job, stage, error));
    }

    fn failure(&self, batch: &Batch, job: &JobId, stage: Stage, error: &str) -> Outcome {
        Outcome {
            job: job.clone(),
            batch: batch.id.clone(),
            device: self.device.clone(),
            result: Err(Failure {
                stage,
                error: error.to_owned(),
            }),
        }
    }

    /// The one place where a job ends.
    fn end(&mut self, outcome: Outcome) {
        let Some(batch) = self.batch_of(&outcome.job) else {
            return;
        };
        let controller = batch.controller.clone();
        let job = outcome.job.clone();
        self.outcomes.insert(job.clone(), outcome.clone());
        self.effects.push(Effect::SaveOutcome(outcome.clone()));
        self.effects.push(Effect::SayOutcome(controller, outcome));
        self.say_state(&job, JobState::Ended);
    }

    fn repeat_everything(&mut self) {
        let ids: Vec<BatchId> = self.batches.iter().map(|saved| saved.batch.id.clone()).collect();
        for id in &ids {
            self.repeat(id);
        }
    }

    /// Says the state of every job of a batch, and the outcomes that are not acknowledged.
    fn repeat(&mut self, id: &BatchId) {
        let Some(batch) = self.find(id) else { return };
        let controller = batch.controller.clone();
        let jobs: Vec<JobId> = batch.jobs.iter().map(|job| job.id.clone()).collect();
        for job in jobs {
            if let Some(outcome) = self.outcomes.get(&job).cloned() {
                self.effects.push(Effect::SayOutcome(controller.clone(), outcome));
                self.say_state(&job, JobState::Ended);
            } else {
                let state = self.states.get(&job).copied().unwrap_or(JobState::Queued);
                self.say_state(&job, state);
            }
        }
    }

    fn say_state(&mut self, job: &JobId, state: JobState) {
        let Some(batch) = self.batch_of(job) else { return };
        let progress = Progress {
            batch: batch.id.clone(),
            job: job.clone(),
            state,
        };
        let effect = Effect::SayProgress(batch.controller.clone(), progress);
        self.states.insert(job.clone(), state);
        self.effects.push(effect);
    }

    fn pending<'a>(&'a self, batch: &'a Batch) -> impl Iterator<Item = &'a Job> {
        batch
            .jobs
            .iter()
            .filter(|job| !self.outcomes.contains_key(&job.id))
    }

    /// Whether the job is among those that are measured now and has not ended.
    fn is_measured(&self, job: &JobId) -> bool {
        let batch = self.batch_of(job).map(|batch| &batch.id);
        let measuring =
            matches!(&self.activity, Activity::Measuring { batch: active } if batch == Some(active));
        measuring && !self.outcomes.contains_key(job)
    }

    fn find(&self, id: &BatchId) -> Option<&Batch> {
        let mut batches = self.batches.iter().map(|saved| &saved.batch);
        batches.find(|batch| batch.id == *id)
    }

    fn position_of(&self, job: &JobId) -> Option<usize> {
        let has = |saved: &Saved| saved.batch.jobs.iter().any(|other| other.id == *job);
        self.batches.iter().position(has)
    }

    fn batch_of(&self, job: &JobId) -> Option<&Batch> {
        self.position_of(job)
            .map(|position| &self.batches[position].batch)
    }
}

fn blobs(job: &Job) -> impl Iterator<Item = BlobRef> {
    [Some(job.artifact.blob), job.validation, job.reference]
        .into_iter()
        .flatten()
}
