//! Which device has which open jobs and what is to be said to it, without any I/O. Time is passed in, as the
//! duration since the loop began.

use std::collections::BTreeMap;
use std::time::Duration;

use edgefront_protocol::{Batch, BatchId, DeviceId, JobId, Outcome, Presence, Progress};

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Event {
    /// The controller is connected; presences follow.
    Connected,
    /// The controller has no broker.
    Interrupted,
    /// A device came or left.
    Presence(Presence),
    /// A job took a step.
    Progress(DeviceId, Progress),
    /// A job ended.
    Outcome(DeviceId, Outcome),
    /// A device asked for a piece of a blob.
    Want(DeviceId),
    /// Time passed.
    Tick,
}

/// What is to be done, in this order.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Effect {
    /// Call off an earlier batch.
    Cancel(DeviceId, BatchId),
    /// Send a batch.
    Send(DeviceId, Batch),
    /// Store an outcome. Comes before its `Ack`.
    Store(Outcome),
    /// Tell the device that it may forget the job.
    Ack(DeviceId, JobId),
    /// Show a step of a job.
    Step(DeviceId, Progress),
    /// Show that a job ended, and whether with a measurement.
    Ended(DeviceId, JobId, bool),
    /// Show that a device is out of reach.
    Away(DeviceId),
    /// Show that a device is within reach again.
    Back(DeviceId),
    /// Show that the open jobs of a device are given up for now.
    GaveUp(DeviceId),
}

/// The state of all devices of a study.
#[derive(Debug)]
pub(super) struct Fleet {
    members: BTreeMap<DeviceId, Member>,
    /// Earlier batches to call off.
    cancelled: Vec<(DeviceId, BatchId)>,
    patience: Duration,
}

#[derive(Debug)]
struct Member {
    /// What of each batch is open.
    batches: Vec<Batch>,
    /// Since when the device is out of reach without a sign of life; `None` while it is within reach.
    away_since: Option<Duration>,
    gave_up: bool,
}

impl Fleet {
    /// A fleet that is out of reach so far. `open` are the batches without the jobs that have ended,
    /// `cancelled` batches of an earlier study; a device is given up after `patience` out of reach.
    pub(super) fn new(
        open: Vec<(DeviceId, Batch)>,
        cancelled: Vec<(DeviceId, BatchId)>,
        patience: Duration,
    ) -> Self {
        let mut members: BTreeMap<DeviceId, Member> = BTreeMap::new();
        let new_member = || Member {
            batches: Vec::new(),
            away_since: Some(Duration::ZERO),
            gave_up: false,
        };
        for (device, batch) in open {
            members
                .entry(device)
                .or_insert_with(new_member)
                .batches
                .push(batch);
        }
        Self {
            members,
            cancelled,
            patience,
        }
    }

    /// Whether nothing more is to be waited for.
    pub(super) fn is_done(&self) -> bool {
        self.members
            .values()
            .all(|member| member.batches.is_empty() || member.gave_up)
    }

    /// The jobs that have no outcome.
    #[cfg(test)]
    fn open_jobs(&self) -> std::collections::BTreeSet<&JobId> {
        self.members.values().flat_map(Member::open_jobs).collect()
    }

    /// Takes an event and says what is to be done.
    pub(super) fn handle(&mut self, now: Duration, event: Event) -> Vec<Effect> {
        match event {
            // Presences follow as retained messages; who has jobs is told them then.
            Event::Connected => {
                let cancel =
                    |(device, batch): &(DeviceId, BatchId)| Effect::Cancel(device.clone(), batch.clone());
                self.cancelled.iter().map(cancel).collect()
            }
            Event::Interrupted => {
                for member in self.members.values_mut() {
                    member.away_since.get_or_insert(now);
                }
                Vec::new()
            }
            Event::Presence(Presence::Online(device)) => self.online(&device.id),
            Event::Presence(Presence::Offline(device, _)) => self.offline(now, device),
            Event::Progress(device, progress) => {
                let known = self.alive(now, &device);
                Vec::from_iter(known.then_some(Effect::Step(device, progress)))
            }
            Event::Want(device) => {
                self.alive(now, &device);
                Vec::new()
            }
            Event::Outcome(device, outcome) => self.outcome(now, device, outcome),
            Event::Tick => self.tick(now),
        }
    }

    /// A device that comes, or comes back, is told everything: it may have missed any of it. It knows by the
    /// batch's name what it has already.
    fn online(&mut self, device: &DeviceId) -> Vec<Effect> {
        let Some(member) = self.members.get_mut(device) else {
            return Vec::new();
        };
        let was_away = member.away_since.take().is_some();
        member.gave_up = false;
        let sends = member
            .batches
            .iter()
            .map(|batch| Effect::Send(device.clone(), batch.clone()));
        let back = was_away.then(|| Effect::Back(device.clone()));
        back.into_iter().chain(sends).collect()
    }

    fn offline(&mut self, now: Duration, device: DeviceId) -> Vec<Effect> {
        match self.members.get_mut(&device) {
            Some(member) if member.away_since.is_none() => {
                member.away_since = Some(now);
                vec![Effect::Away(device)]
            }
            _ => Vec::new(),
        }
    }

    /// A message of a device that is out of reach, which the broker may have kept, restarts its clock.
    fn alive(&mut self, now: Duration, device: &DeviceId) -> bool {
        let member = self.members.get_mut(device);
        if let Some(since) = member.and_then(|member| member.away_since.as_mut()) {
            *since = now;
        }
        self.members.contains_key(device)
    }

    /// Every outcome is acknowledged, or its device would repeat it for ever: those that are stored already,
    /// and those of an earlier study in this directory.
    fn outcome(&mut self, now: Duration, device: DeviceId, outcome: Outcome) -> Vec<Effect> {
        self.alive(now, &device);
        let ack = Effect::Ack(device.clone(), outcome.job.clone());
        let member = self.members.get_mut(&device);
        if !member.is_some_and(|member| member.close(&outcome.job)) {
            return vec![ack];
        }
        let ended = Effect::Ended(device, outcome.job.clone(), outcome.result.is_ok());
        vec![Effect::Store(outcome), ack, ended]
    }

    fn tick(&mut self, now: Duration) -> Vec<Effect> {
        let mut effects = Vec::new();
        for (device, member) in &mut self.members {
            let is_late = member
                .away_since
                .is_some_and(|since| now.saturating_sub(since) >= self.patience);
            if is_late && !member.gave_up && !member.batches.is_empty() {
                member.gave_up = true;
                effects.push(Effect::GaveUp(device.clone()));
            }
        }
        effects
    }
}

impl Member {
    fn open_jobs(&self) -> impl Iterator<Item = &JobId> {
        self.batches
            .iter()
            .flat_map(|batch| batch.jobs.iter().map(|job| &job.id))
    }

    /// Takes an open job out; false if there is none of this name.
    fn close(&mut self, job: &JobId) -> bool {
        let open = self.open_jobs().count();
        for batch in &mut self.batches {
            batch.jobs.retain(|open| open.id != *job);
        }
        self.batches.retain(|batch| !batch.jobs.is_empty());
        self.open_jobs().count() < open
    }
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
