//! Which device has which open jobs and what is to be said to it, without any I/O. Time is passed in, as the
//! duration since the loop began.

use std::collections::BTreeMap;
use std::time::Duration;

use edgefront_protocol::{Batch, BatchId, DeviceId, JobId, Outcome, Plan, Presence, Progress};

/// What happened.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "one is held at a time")]
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
    Store(Box<Outcome>),
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
    /// Show that the open jobs of a device are given up for now, and why.
    GaveUp(DeviceId, Lost),
}

/// Why the open jobs of a device are given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// It was out of reach for too long.
    OutOfReach,
    /// So was the broker, without which no device can be reached.
    NoBroker,
    /// It was within reach, was asked how its jobs are, and did not answer.
    Silent,
}

/// How long a device may be silent beyond the rounds of its jobs before it is asked.
const QUIET: Duration = Duration::from_mins(1);

/// The state of all devices of a study.
#[derive(Debug)]
pub(super) struct Fleet {
    members: BTreeMap<DeviceId, Member>,
    /// Earlier batches to call off.
    cancelled: Vec<(DeviceId, BatchId)>,
    patience: Duration,
    /// Since when the broker is away, if it is.
    cut_off: Option<Duration>,
}

#[derive(Debug)]
struct Member {
    /// What of each batch is open.
    batches: Vec<Batch>,
    reach: Reach,
    lost: Option<Lost>,
}

/// What is known of a device, each since when.
#[derive(Debug, Clone, Copy)]
enum Reach {
    /// Out of reach, without a sign of life.
    Away(Duration),
    /// It said something.
    Heard(Duration),
    /// It was sent its jobs, which it answers with the state of each.
    Asked(Duration),
}

impl Fleet {
    /// A fleet that is out of reach so far. `open` are the batches without the jobs that have ended,
    /// `cancelled` batches of an earlier study; a device is given up after `patience` out of reach, or without
    /// an answer.
    pub(super) fn new(
        open: Vec<(DeviceId, Batch)>,
        cancelled: Vec<(DeviceId, BatchId)>,
        patience: Duration,
    ) -> Self {
        let mut members: BTreeMap<DeviceId, Member> = BTreeMap::new();
        let new_member = || Member {
            batches: Vec::new(),
            reach: Reach::Away(Duration::ZERO),
            lost: None,
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
            cut_off: None,
        }
    }

    /// Whether nothing more is to be waited for.
    pub(super) fn is_done(&self) -> bool {
        self.members
            .values()
            .all(|member| member.batches.is_empty() || member.lost.is_some())
    }

    /// The devices whose open jobs are given up.
    pub(super) fn lost(&self) -> BTreeMap<DeviceId, Lost> {
        let lost = |(device, member): (&DeviceId, &Member)| Some((device.clone(), member.lost?));
        self.members.iter().filter_map(lost).collect()
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
                self.cut_off = None;
                let cancel =
                    |(device, batch): &(DeviceId, BatchId)| Effect::Cancel(device.clone(), batch.clone());
                self.cancelled.iter().map(cancel).collect()
            }
            Event::Interrupted => {
                self.cut_off.get_or_insert(now);
                for member in self.members.values_mut() {
                    member.leave(now);
                }
                Vec::new()
            }
            Event::Presence(Presence::Online(device, ..)) => self.online(now, &device.id),
            Event::Presence(Presence::Offline(device, ..)) => self.offline(now, device),
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
    fn online(&mut self, now: Duration, device: &DeviceId) -> Vec<Effect> {
        let Some(member) = self.members.get_mut(device) else {
            return Vec::new();
        };
        let was_away = matches!(member.reach, Reach::Away(_));
        member.lost = None;
        let sends = member.ask(now, device);
        let back = was_away.then(|| Effect::Back(device.clone()));
        back.into_iter().chain(sends).collect()
    }

    fn offline(&mut self, now: Duration, device: DeviceId) -> Vec<Effect> {
        let member = self.members.get_mut(&device);
        if member.is_some_and(|member| member.leave(now)) {
            vec![Effect::Away(device)]
        } else {
            Vec::new()
        }
    }

    /// Any message of a device restarts its clock, even of one that is out of reach: the broker may have kept
    /// it.
    fn alive(&mut self, now: Duration, device: &DeviceId) -> bool {
        let Some(member) = self.members.get_mut(device) else {
            return false;
        };
        member.reach = match member.reach {
            Reach::Away(_) => Reach::Away(now),
            Reach::Heard(_) | Reach::Asked(_) => Reach::Heard(now),
        };
        if member.lost == Some(Lost::Silent) {
            member.lost = None;
        }
        true
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
        vec![Effect::Store(Box::new(outcome)), ack, ended]
    }

    fn tick(&mut self, now: Duration) -> Vec<Effect> {
        let patience = self.patience;
        let cut_off = self.cut_off;
        // A device that went before the broker did has a reason of its own.
        let away = |since: Duration| match cut_off {
            Some(cut_off) if cut_off <= since => Lost::NoBroker,
            _ => Lost::OutOfReach,
        };
        let waited = |since: Duration, longest: Duration| now.saturating_sub(since) >= longest;
        let mut effects = Vec::new();
        for (device, member) in &mut self.members {
            if member.lost.is_some() || member.batches.is_empty() {
                continue;
            }
            member.lost = match member.reach {
                Reach::Heard(since) if waited(since, member.quiet()) => {
                    effects.extend(member.ask(now, device));
                    None
                }
                Reach::Away(since) if waited(since, patience) => Some(away(since)),
                Reach::Asked(since) if waited(since, patience) => Some(Lost::Silent),
                _ => None,
            };
            effects.extend(member.lost.map(|lost| Effect::GaveUp(device.clone(), lost)));
        }
        effects
    }
}

impl Member {
    /// Sends the device its jobs, for the first time or so that it tells how they are.
    fn ask(&mut self, now: Duration, device: &DeviceId) -> Vec<Effect> {
        self.reach = Reach::Asked(now);
        let send = |batch: &Batch| Effect::Send(device.clone(), batch.clone());
        self.batches.iter().map(send).collect()
    }

    /// Whether it was within reach until now.
    fn leave(&mut self, now: Duration) -> bool {
        if matches!(self.reach, Reach::Away(_)) {
            return false;
        }
        self.reach = Reach::Away(now);
        true
    }

    /// How long the device may be silent: it tells of its jobs between rounds, of which each job has one at a
    /// time, and each lasts for at most what the plan says, and what it may wait for the device to cool.
    fn quiet(&self) -> Duration {
        let jobs = self.batches.iter().flat_map(|batch| &batch.jobs);
        let cooling = |plan: &Plan| plan.cool_down.map_or(Duration::ZERO, |wait| wait.limit.into());
        let round = |plan: &Plan| Duration::from(plan.longest_turn()).saturating_add(cooling(plan));
        jobs.fold(QUIET, |sum, job| sum.saturating_add(round(&job.plan)))
    }

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
