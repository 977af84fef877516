//! The meters beside one batch: read from before its first job to after its last.

use std::sync::Arc;
use std::time::Duration;

use edgefront_protocol::RailEnergy;

use crate::clock::{Stretch, monotonic};
use crate::meters::{self, Sampler, Sources};

/// Meters that are read, and when the device was at rest.
pub(super) struct Power {
    sampler: Arc<Sampler>,
    /// How long a rest is.
    idle: Duration,
    before: Option<Stretch>,
    after: Option<Stretch>,
}

impl Power {
    /// Begins to read the meters of `sources` and measures the device at rest. Without a meter it takes no time.
    pub(super) async fn begin(sources: Sources, idle: Duration) -> Self {
        // Some drivers start a program, and all read files.
        let start = tokio::task::spawn_blocking(move || Sampler::start(meters::find(&sources)));
        let sampler = start
            .await
            .expect("invariant: no driver panics, whatever a system holds");
        let mut power = Self {
            sampler: Arc::new(sampler),
            idle,
            before: None,
            after: None,
        };
        power.before = power.rest().await;
        power
    }

    /// Measures the device at rest once more.
    pub(super) async fn end(&mut self) {
        self.after = self.rest().await;
    }

    async fn rest(&self) -> Option<Stretch> {
        if self.sampler.is_empty() {
            return None;
        }
        // The readings around it tell how the rest began and ended.
        self.wait_past(0).await;
        let begun = monotonic();
        tokio::time::sleep(self.idle).await;
        let ended = monotonic();
        self.wait_past(ended).await;
        Some((begun, ended))
    }

    async fn wait_past(&self, at: u64) {
        let sampler = Arc::clone(&self.sampler);
        // It does not fail, and where it did the rest would have no energy.
        drop(tokio::task::spawn_blocking(move || sampler.wait_past(at)).await);
    }

    /// Whether there is no meter.
    pub(super) fn is_off(&self) -> bool {
        self.sampler.is_empty()
    }

    /// What each rail took in these rounds.
    pub(super) fn energies(&self, rounds: &[Option<Stretch>]) -> Vec<RailEnergy> {
        self.sampler.energies(rounds, [self.before, self.after])
    }

    /// Why rails have no energy over these rounds, a line each.
    pub(super) fn faults(&self, rounds: &[Option<Stretch>]) -> Vec<String> {
        self.sampler.faults(rounds)
    }
}

impl Drop for Power {
    /// Threads that read meters are waited for elsewhere: one may be in the middle of a slow reading.
    fn drop(&mut self) {
        let sampler = Arc::clone(&self.sampler);
        std::thread::spawn(move || drop(sampler));
    }
}
