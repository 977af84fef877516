//! How far the jobs of one device are. A step is a round of a job, or the job's end.

use std::collections::BTreeMap;

use edgefront_protocol::{JobId, JobState};

/// The jobs of one device.
#[derive(Debug, Default)]
pub(super) struct Steps {
    jobs: BTreeMap<JobId, Job>,
}

#[derive(Debug)]
struct Job {
    rounds: u32,
    /// Rounds done.
    done: u32,
    measuring: bool,
    ended: bool,
}

impl Steps {
    /// Adds a job of so many rounds.
    pub(super) fn add(&mut self, id: JobId, rounds: u32, ended: bool) {
        let job = Job {
            rounds,
            done: if ended { rounds } else { 0 },
            measuring: false,
            ended,
        };
        self.jobs.insert(id, job);
    }

    /// Takes the state that the device told of a job.
    pub(super) fn on_state(&mut self, id: &JobId, state: JobState) {
        let Some(job) = self.jobs.get_mut(id).filter(|job| !job.ended) else {
            return;
        };
        job.measuring = matches!(state, JobState::Measuring { .. });
        job.done = match state {
            JobState::Measuring { done, .. } => done.min(job.rounds),
            JobState::Scoring => job.rounds,
            _ => job.done,
        };
    }

    /// A job ended.
    pub(super) fn end(&mut self, id: &JobId) {
        if let Some(job) = self.jobs.get_mut(id) {
            (job.done, job.measuring, job.ended) = (job.rounds, false, true);
        }
    }

    /// Steps done.
    pub(super) fn done(&self) -> u64 {
        let steps = |job: &Job| u64::from(job.done) + u64::from(job.ended);
        self.jobs.values().map(steps).sum()
    }

    /// Steps in all.
    pub(super) fn all(&self) -> u64 {
        self.jobs.values().map(|job| u64::from(job.rounds) + 1).sum()
    }

    /// Jobs that have ended, and jobs in all.
    pub(super) fn ended(&self) -> (usize, usize) {
        let ended = self.jobs.values().filter(|job| job.ended).count();
        (ended, self.jobs.len())
    }

    /// The jobs that take turns and how many of their rounds are done, in words.
    pub(super) fn rounds(&self) -> String {
        let measuring = || self.jobs.values().filter(|job| job.measuring);
        let (count, slowest) = (measuring().count(), measuring().min_by_key(|job| job.done));
        let jobs = if count == 1 { "job" } else { "jobs" };
        let (done, rounds) = slowest.map_or((0, 0), |job| (job.done, job.rounds));
        format!("{count} {jobs} in turns, {done} of {rounds} rounds")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fixture::id;

    #[test]
    fn every_round_is_a_step() {
        let mut steps = Steps::default();
        steps.add(id("j0"), 10, true);
        steps.add(id("j1"), 10, false);
        steps.add(id("j2"), 10, false);
        assert_eq!((steps.done(), steps.all(), steps.ended()), (11, 33, (1, 3)));
        let rounds = |done| JobState::Measuring { done, rounds: 10 };
        steps.on_state(&id("j1"), JobState::Loading);
        steps.on_state(&id("j1"), rounds(4));
        steps.on_state(&id("j2"), rounds(3));
        assert_eq!(steps.done(), 18);
        assert_eq!(steps.rounds(), "2 jobs in turns, 3 of 10 rounds");
        steps.on_state(&id("j1"), JobState::Scoring);
        assert_eq!(steps.rounds(), "1 job in turns, 3 of 10 rounds");
        steps.end(&id("j1"));
        assert_eq!((steps.done(), steps.ended()), (25, (2, 3)));
        // A device that began anew, and news of a job that has ended.
        steps.on_state(&id("j2"), rounds(0));
        steps.on_state(&id("j1"), rounds(1));
        assert_eq!(steps.done(), 22);
        steps.end(&id("j2"));
        assert_eq!(steps.done(), steps.all());
    }
}
