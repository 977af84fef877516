//! The meters beside one batch: read from before its first job to after its last.

use std::path::Path;
use std::time::Duration;

use edgefront_protocol::RailEnergy;

use crate::clock::{Stretch, monotonic};
use crate::meters::{self, Sampler};

/// Meters that are read, and when the device was at rest.
pub(super) struct Power {
    sampler: Sampler,
    /// How long a rest is.
    idle: Duration,
    before: Option<Stretch>,
    after: Option<Stretch>,
}

impl Power {
    /// Begins to read the meters below `system` and measures the device at rest. Without a meter it takes no time.
    pub(super) async fn begin(system: &Path, idle: Duration) -> Self {
        let mut power = Self {
            sampler: Sampler::start(meters::find(system)),
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
        let slowest = self.sampler.slowest()?;
        let begun = monotonic();
        tokio::time::sleep(self.idle).await;
        let ended = monotonic();
        // The next reading tells how the rest ended.
        tokio::time::sleep(slowest * 2).await;
        Some((begun, ended))
    }

    /// What each rail took in these rounds.
    pub(super) fn energies(&self, rounds: &[Option<Stretch>]) -> Vec<RailEnergy> {
        self.sampler.energies(rounds, [self.before, self.after])
    }

    /// What went wrong with meters meanwhile.
    pub(super) fn faults(&self) -> Vec<String> {
        self.sampler.faults()
    }
}
