//! What the device tells of heat, clocks, throttling and other load.
//!
//! Each driver has one file below this folder and one line in [`DRIVERS`]. It looks at files below the root of a
//! system and adds what they tell to a [`Moment`]; two moments make the [`RoundState`] of what ran between them. What is
//! not there is absent, what may not be read or makes no sense is a [`Fault`] that names the file; nothing is made up.

mod between;
mod cooling;
mod cpufreq;
mod devfreq;
mod files;
mod intel;
mod load;
mod nvpmodel;
mod overcurrent;
mod raspberry;
mod thermal;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use edgefront_protocol::{Health, RoundState, Throttle};

pub(crate) use files::Fault;
use load::Usage;

use crate::stat::Counters;

/// Every driver.
const DRIVERS: [Driver; 7] = [
    thermal::look,
    cpufreq::look,
    devfreq::look,
    cooling::look,
    raspberry::look,
    overcurrent::look,
    intel::look,
];

/// Adds what the system below a root tells: of `/`, or of a copy of the parts that are read.
type Driver = fn(&Path, &mut Moment);

/// The device at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Moment {
    /// Of the hottest zone, in degrees Celsius.
    pub(crate) temp_c: Option<f32>,
    /// Governors of the processors, each once.
    pub(crate) governors: Vec<String>,
    pub(crate) cpu: Vec<Clock>,
    pub(crate) gpu: Vec<Clock>,
    /// What tells of throttling, always in the same order.
    pub(crate) signs: Vec<Sign>,
    pub(crate) usage: Option<Usage>,
    pub(crate) faults: Vec<Fault>,
}

/// The clock of some processors that share one, in MHz.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Clock {
    pub(crate) now: Option<u32>,
    /// The highest that it may have now.
    pub(crate) allowed: Option<u32>,
    /// The highest that the hardware has.
    pub(crate) possible: Option<u32>,
}

/// One indicator of throttling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sign {
    pub(crate) cause: Throttle,
    /// Where it was read; two readings of one place can be compared.
    pub(crate) place: PathBuf,
    pub(crate) value: Value,
}

/// What an indicator tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value {
    /// Whether it is so at this moment.
    Now(bool),
    /// How often it was so since some earlier time.
    Count(u64),
}

/// Looks at one system. Clones share what they know.
#[derive(Debug, Clone)]
pub(crate) struct Observer {
    root: Arc<Path>,
    /// The device before its first job.
    first: Arc<Moment>,
}

impl Observer {
    /// Looks for the first time.
    pub(crate) async fn new(root: &Path) -> Self {
        let root: Arc<Path> = root.into();
        let first = look(&root, None).await;
        Self {
            root,
            first: Arc::new(first),
        }
    }

    /// The device now, while a worker of this process id waits for its turn, or has just had it.
    pub(crate) async fn look(&self, worker: Option<u32>) -> Moment {
        look(&self.root, worker).await
    }

    /// How the device fares now, as it tells its fleet.
    pub(crate) async fn health(&self) -> Health {
        let mut now = self.look(None).await;
        // Counts tell of what happened between two looks, and there is one.
        now.signs.retain(|sign| matches!(sign.value, Value::Now(_)));
        Health {
            temp_c: now.temp_c.map(|celsius| celsius.round() as i16),
            throttling: between::throttling(&self.first, &now, &now),
        }
    }

    /// Where the processors' clock was capped before the first job: how far it may go and how far it can, in MHz, where
    /// the cap is the tightest.
    pub(crate) fn cpu_limit_mhz(&self) -> Option<[u32; 2]> {
        let limits = self
            .first
            .cpu
            .iter()
            .filter_map(|clock| Some([clock.allowed?, clock.possible?]));
        let capped = limits.filter(|[allowed, possible]| allowed < possible);
        capped.min_by_key(|&[allowed, possible]| u64::from(allowed) * 1_000 / u64::from(possible))
    }

    /// How the device was between two moments. `most_load` is how many cores others may take.
    pub(crate) fn between(&self, begin: &Moment, end: &Moment, most_load: f32) -> RoundState {
        between::state(&self.first, begin, end, most_load)
    }

    /// Temperature of the hottest zone now, in degrees Celsius.
    pub(crate) fn temperature(&self) -> Option<f32> {
        let mut moment = Moment::default();
        thermal::look(&self.root, &mut moment);
        moment.temp_c
    }

    /// The mode of power that the device was set to.
    pub(crate) fn power_mode(&self) -> Option<String> {
        nvpmodel::mode(&self.root)
    }
}

/// On a thread of its own, for one of the drivers asks a program.
async fn look(root: &Arc<Path>, worker: Option<u32>) -> Moment {
    let root = Arc::clone(root);
    let looked = tokio::task::spawn_blocking(move || {
        let mut moment = see(&root);
        moment.usage = Usage::now(&root, worker);
        moment
    });
    looked.await.expect("invariant: reading files does not panic")
}

/// Every text that is more than a word or a number, for fuzzing.
pub(crate) fn parse_all(text: &str) {
    let _ = Counters::parse(text);
    let _ = load::ticks(text);
    let _ = load::times(text);
    let _ = nvpmodel::parse(text, text);
    let _ = raspberry::parse(text);
}

fn see(root: &Path) -> Moment {
    let mut moment = Moment::default();
    for driver in DRIVERS {
        driver(root, &mut moment);
    }
    moment
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
