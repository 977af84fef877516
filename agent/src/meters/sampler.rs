//! Reads meters at their own rate while others measure.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::series::Series;
use super::{Channel, Fault, Found, Meter};
use crate::clock::{Stretch, monotonic};
use edgefront_protocol::RailEnergy;

/// Fewest readings by which a rail that never changes is taken for a sensor that is stuck.
const STUCK_READINGS: usize = 50;

/// Threads that read meters, one each so that a slow one does not keep the others. Dropped, it ends them.
pub(crate) struct Sampler {
    watched: Vec<Watched>,
}

/// One meter that is read.
struct Watched {
    channels: Vec<Channel>,
    period: Duration,
    log: Arc<Shared>,
    /// Dropped, it ends the thread.
    alive: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread of one meter writes and others read.
struct Shared {
    log: Mutex<Log>,
    /// Told at each reading, and at the last.
    grown: Condvar,
}

/// What one meter gave.
struct Log {
    series: Vec<Series>,
    /// Why it is read no further.
    fault: Option<Fault>,
}

impl Sampler {
    /// Begins to read.
    pub(crate) fn start(found: Found) -> Self {
        Self {
            watched: found.meters.into_iter().map(Watched::start).collect(),
        }
    }

    /// Whether there is nothing to read.
    pub(crate) fn is_empty(&self) -> bool {
        self.watched.is_empty()
    }

    /// Blocks until every meter was read at `at` or later, but for those that give no more. Waits for none longer
    /// than ten of its readings and a second take.
    pub(crate) fn wait_past(&self, at: u64) {
        for watched in &self.watched {
            watched.wait_past(at);
        }
    }

    /// The energy of every rail over the rounds of one job, and at rest before and after.
    pub(crate) fn energies(&self, rounds: &[Option<Stretch>], idle: [Option<Stretch>; 2]) -> Vec<RailEnergy> {
        self.watched
            .iter()
            .flat_map(|watched| watched.energies(rounds, idle))
            .collect()
    }

    /// Why rails that were found have no energy, a line each.
    pub(crate) fn faults(&self) -> Vec<String> {
        let faults = self.watched.iter().flat_map(Watched::faults);
        faults.map(|fault| fault.to_string()).collect()
    }
}

impl Watched {
    fn start(mut meter: Box<dyn Meter>) -> Self {
        let (channels, period) = (meter.rails().to_vec(), meter.period());
        let series = channels.iter().map(|channel| Series::new(channel.quantity));
        let log = Arc::new(Shared {
            log: Mutex::new(Log {
                series: series.collect(),
                fault: None,
            }),
            grown: Condvar::new(),
        });
        let (alive, ended) = mpsc::channel::<()>();
        let kept = Arc::clone(&log);
        let thread = std::thread::spawn(move || {
            let begun = Instant::now();
            for number in 1.. {
                if !sample(meter.as_mut(), &kept) {
                    return;
                }
                // By the clock and not by the last reading, so that the rate does not drift.
                let next = begun + period * number;
                let wait = next.saturating_duration_since(Instant::now());
                if ended.recv_timeout(wait) == Err(RecvTimeoutError::Disconnected) {
                    return;
                }
            }
        });
        Self {
            channels,
            period,
            log,
            alive: Some(alive),
            thread: Some(thread),
        }
    }

    fn wait_past(&self, at: u64) {
        let limit = self.period * 10 + Duration::from_secs(1);
        let is_behind = |log: &mut Log| log.fault.is_none() && !log.series.iter().all(|series| series.reaches(at));
        let log = self.log.locked();
        // A thread that waits no longer only loses the window that this was for.
        drop(self.log.grown.wait_timeout_while(log, limit, is_behind));
    }

    fn energies(&self, rounds: &[Option<Stretch>], idle: [Option<Stretch>; 2]) -> Vec<RailEnergy> {
        let log = self.log.locked();
        let believed = self
            .channels
            .iter()
            .zip(&log.series)
            .filter(|(_, series)| series.stuck_after(STUCK_READINGS).is_none());
        believed
            .map(|(channel, series)| {
                let window =
                    |stretch: Option<Stretch>| stretch.and_then(|(from, to)| series.window(from, to));
                RailEnergy {
                    rail: channel.rail.clone(),
                    rounds: rounds.iter().copied().map(window).collect(),
                    idle_before: window(idle[0]),
                    idle_after: window(idle[1]),
                }
            })
            .collect()
    }

    fn faults(&self) -> Vec<Fault> {
        let log = self.log.locked();
        let stuck = self
            .channels
            .iter()
            .zip(&log.series)
            .filter_map(|(channel, series)| {
                Some(Fault::Stuck {
                    rail: channel.to_string(),
                    readings: series.stuck_after(STUCK_READINGS)?,
                })
            });
        log.fault.iter().cloned().chain(stuck).collect()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.alive = None;
        if let Some(thread) = self.thread.take() {
            // A driver that panicked has lost its meter only.
            drop(thread.join());
        }
    }
}

impl Shared {
    fn locked(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One reading of all rails, at the middle of the time that it takes. Gives whether the meter can be read further.
fn sample(meter: &mut dyn Meter, shared: &Shared) -> bool {
    let before = monotonic();
    let values = meter.read();
    let at = u64::midpoint(before, monotonic());
    let mut log = shared.locked();
    let is_read = match values {
        Ok(values) => {
            for (series, value) in log.series.iter_mut().zip(values) {
                series.push(at, value);
            }
            true
        }
        Err(fault) => {
            log.fault = Some(fault);
            false
        }
    };
    shared.grown.notify_all();
    is_read
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use edgefront_protocol::{Rail, Scope};

    use super::super::Quantity;
    use super::*;

    /// A meter whose values come from a function, for as long as it gives some.
    struct Scripted<F> {
        channels: Vec<Channel>,
        next: F,
        count: u64,
        read: mpsc::Sender<u64>,
    }

    impl<F: Fn(u64) -> Option<u64> + Send> Meter for Scripted<F> {
        fn rails(&self) -> &[Channel] {
            &self.channels
        }

        fn period(&self) -> Duration {
            Duration::from_millis(1)
        }

        fn read(&mut self) -> Result<Vec<u64>, Fault> {
            let value = (self.next)(self.count);
            self.count += 1;
            let _ = self.read.send(monotonic());
            value.map(|value| vec![value]).ok_or_else(|| Fault::Unreadable {
                path: "/sys/gone".into(),
                reason: "no such device".to_owned(),
            })
        }
    }

    /// Reads a scripted meter until it was read `least` times; gives the sampler and when that was.
    fn sampled(next: impl Fn(u64) -> Option<u64> + Send + 'static, least: usize) -> (Sampler, Vec<u64>) {
        let (read, times) = mpsc::channel();
        let rail = Rail {
            meter: "scripted".to_owned(),
            name: None,
            scope: Scope::Board,
            is_total: true,
            is_estimate: false,
            step: None,
        };
        let meter = Scripted {
            channels: vec![Channel {
                rail,
                quantity: Quantity::Power,
            }],
            next,
            count: 0,
            read,
        };
        let sampler = Sampler::start(Found {
            meters: vec![Box::new(meter)],
            faults: Vec::new(),
        });
        let times = times.iter().take(least).collect();
        (sampler, times)
    }

    #[test]
    fn the_energy_between_two_readings_is_told() {
        let (sampler, times) = sampled(|count| Some(4_000_000 + count % 2), 80);
        let energies = sampler.energies(&[Some((times[10], times[60])), None], [None, None]);
        let [round, none] = energies[0].rounds[..] else {
            panic!("two rounds");
        };
        assert!((round.unwrap().mean_watts() - 4.0).abs() < 1e-5);
        assert!(round.unwrap().readings >= 49);
        assert_eq!((none, energies[0].idle_before), (None, None));
        assert_eq!(sampler.faults(), Vec::<String>::new());
    }

    #[test]
    fn a_value_that_never_changes_is_a_finding_and_no_energy() {
        let (sampler, times) = sampled(|_| Some(5_000_000), 60);
        assert_eq!(
            sampler.energies(&[Some((times[10], times[40]))], [None, None]),
            []
        );
        let said = sampler.faults().join("; ");
        assert!(
            said.starts_with("scripted gave the same value at all of"),
            "{said}"
        );
    }

    #[test]
    fn a_meter_that_goes_away_is_a_finding_and_what_it_gave_before_stays() {
        let (sampler, times) = sampled(|count| (count < 20).then_some(1_000_000 + count), 100);
        assert_eq!(times.len(), 21);
        let energies = sampler.energies(
            &[
                Some((times[2], times[15])),
                Some((times[15], times[15] + 9_000_000_000)),
            ],
            [None, None],
        );
        assert!(energies[0].rounds[0].is_some() && energies[0].rounds[1].is_none());
        assert_eq!(sampler.faults(), ["/sys/gone: no such device"]);
    }
}
