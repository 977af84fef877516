//! Reads meters at their own rate while others measure.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::external::{Listening, Reading};
use super::series::{LEAST_READINGS, Series};
use super::{Channel, External, Fault, Found, Meter};
use crate::clock::{Stretch, monotonic};
use edgefront_protocol::RailEnergy;

/// Fewest readings by which a rail that never changes is taken for a sensor that is stuck.
const STUCK_READINGS: usize = 50;
/// So many readings that fail one after the other end a meter: an idle rail may show a negative current once.
const MOST_FAILURES: u32 = 5;
/// Lines of a meter that come faster are not taken.
const LEAST_GAP: u64 = 1_000_000;
/// How long a meter that is listened to may be silent before it is waited for no longer.
const SILENCE: Duration = Duration::from_secs(10);

/// Threads that read meters or listen to them, one each so that a slow one does not keep the others. Dropped, it ends them.
pub(crate) struct Sampler {
    watched: Vec<Watched>,
}

/// One meter.
struct Watched {
    channels: Vec<Channel>,
    log: Arc<Shared>,
    /// How long it is waited for.
    patience: Duration,
    _source: Source,
}

/// Who fills a log.
#[expect(dead_code, reason = "held for what their drop does")]
enum Source {
    Read(Reader),
    Heard(Listening),
}

/// A thread that reads a meter. Dropped, it ends.
struct Reader {
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
    /// When a line was taken last.
    last_heard: u64,
    /// Why it is read no further.
    fault: Option<Fault>,
}

impl Sampler {
    /// Begins to read.
    pub(crate) fn start(found: Found) -> Self {
        let read = found.meters.into_iter().map(Watched::read);
        let heard = found.external.iter().map(Watched::listen);
        Self {
            watched: read.chain(heard).collect(),
        }
    }

    /// Whether there is nothing to read.
    pub(crate) fn is_empty(&self) -> bool {
        self.watched.is_empty()
    }

    /// Blocks until every meter was read at `at` or later, but for those that give no more or are silent for too long.
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

    /// Why rails that were found have no energy over these rounds, a line each.
    pub(crate) fn faults(&self, rounds: &[Option<Stretch>]) -> Vec<String> {
        let faults = self.watched.iter().flat_map(|watched| watched.faults(rounds));
        faults.map(|fault| fault.to_string()).collect()
    }
}

impl Watched {
    fn read(meter: Box<dyn Meter>) -> Self {
        let channels = meter.rails().to_vec();
        let log = Arc::new(Shared::of(&channels));
        Self {
            channels,
            patience: meter.period() * 10 + Duration::from_secs(1),
            _source: Source::Read(Reader::start(meter, Arc::clone(&log))),
            log,
        }
    }

    fn listen(meter: &External) -> Self {
        let channels = vec![meter.channel()];
        let log = Arc::new(Shared::of(&channels));
        let (kept, delay) = (Arc::clone(&log), meter.delay().as_nanos() as u64);
        let source = meter.listen(move |line| kept.hear(line, monotonic(), delay));
        Self {
            channels,
            log,
            patience: SILENCE,
            _source: Source::Heard(source),
        }
    }

    fn wait_past(&self, at: u64) {
        let is_behind =
            |log: &mut Log| log.fault.is_none() && !log.series.iter().all(|series| series.reaches(at));
        let log = self.log.locked();
        // A thread that waits no longer only loses the window that this was for.
        drop(self.log.grown.wait_timeout_while(log, self.patience, is_behind));
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

    fn faults(&self, rounds: &[Option<Stretch>]) -> Vec<Fault> {
        let log = self.log.locked();
        let rails = self.channels.iter().zip(&log.series);
        let of_rails = rails.filter_map(|(channel, series)| fault_of(channel, series, rounds));
        match &log.fault {
            Some(fault) => vec![fault.clone()],
            None => of_rails.collect(),
        }
    }
}

/// Why a rail has no energy over these rounds; `None` where it has some.
fn fault_of(channel: &Channel, series: &Series, rounds: &[Option<Stretch>]) -> Option<Fault> {
    let rail = channel.to_string();
    if let Some(readings) = series.stuck_after(STUCK_READINGS) {
        return Some(Fault::Stuck { rail, readings });
    }
    let timed: Vec<Stretch> = rounds.iter().copied().flatten().collect();
    let longest = timed.iter().map(|(from, to)| to - from).max()?;
    if timed.iter().any(|&(from, to)| series.window(from, to).is_some()) {
        return None;
    }
    let (readings, every) = series.rate();
    if readings < 2 {
        return Some(Fault::Silent { rail });
    }
    let needed = every * u64::from(LEAST_READINGS + 1) * timed.len() as u64;
    Some(Fault::TooSeldom {
        rail,
        every: Duration::from_nanos(every),
        round: Duration::from_nanos(longest),
        needed: Duration::from_secs(needed.div_ceil(1_000_000_000)),
    })
}

impl Reader {
    fn start(mut meter: Box<dyn Meter>, log: Arc<Shared>) -> Self {
        let period = meter.period();
        let (alive, ended) = mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            let begun = Instant::now();
            let mut failures = 0;
            loop {
                failures = if sample(meter.as_mut(), &log, failures + 1 >= MOST_FAILURES) {
                    0
                } else {
                    failures + 1
                };
                if failures == MOST_FAILURES {
                    return;
                }
                // By the clock and not by the last reading, so that the rate does not drift; what was missed is left out.
                let passed = begun.elapsed().as_nanos() / period.as_nanos().max(1);
                let next = begun + period * u32::try_from(passed + 1).unwrap_or(u32::MAX);
                let wait = next.saturating_duration_since(Instant::now());
                if ended.recv_timeout(wait) == Err(RecvTimeoutError::Disconnected) {
                    return;
                }
            }
        });
        Self {
            alive: Some(alive),
            thread: Some(thread),
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.alive = None;
        if let Some(thread) = self.thread.take() {
            // A driver that panicked has lost its meter only.
            drop(thread.join());
        }
    }
}

impl Shared {
    fn of(channels: &[Channel]) -> Self {
        let series = channels.iter().map(|channel| Series::new(channel.quantity));
        Self {
            log: Mutex::new(Log {
                series: series.collect(),
                last_heard: 0,
                fault: None,
            }),
            grown: Condvar::new(),
        }
    }

    /// Takes what a meter said at `arrival`, or why it says nothing for now. A value without a time was `delay` nanoseconds
    /// on its way.
    fn hear(&self, line: Result<Reading, String>, arrival: u64, delay: u64) {
        let mut log = self.locked();
        match line {
            Ok(Reading { value, time }) => {
                log.fault = None;
                if arrival < log.last_heard + LEAST_GAP {
                    return;
                }
                log.last_heard = arrival;
                let series = log.series.iter_mut();
                series.for_each(|series| match time {
                    Some(time) => series.push_from_afar(time, arrival, value),
                    None => series.push(arrival.saturating_sub(delay), value),
                });
            }
            Err(why) => log.fault = Some(Fault::External(why)),
        }
        self.grown.notify_all();
    }

    fn locked(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One reading of all rails, at the middle of the time that it takes. Gives whether it was one; what failed is told where
/// it is the last.
fn sample(meter: &mut dyn Meter, shared: &Shared, is_last: bool) -> bool {
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
            log.fault = log.fault.take().or(is_last.then_some(fault));
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
            ..Found::default()
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
        // To a millionth of a joule.
        assert!((round.unwrap().mean_watts() - 4.0).abs() < 1e-3);
        assert!(round.unwrap().readings >= 49);
        assert_eq!((none, energies[0].idle_before), (None, None));
        assert_eq!(
            sampler.faults(&[Some((times[10], times[60]))]),
            Vec::<String>::new()
        );
    }

    #[test]
    fn a_value_that_never_changes_is_a_finding_and_no_energy() {
        let (sampler, times) = sampled(|_| Some(5_000_000), 60);
        assert_eq!(
            sampler.energies(&[Some((times[10], times[40]))], [None, None]),
            []
        );
        let said = sampler.faults(&[]).join("; ");
        assert!(
            said.starts_with("scripted gave the same value at all of"),
            "{said}"
        );
    }

    #[test]
    fn a_meter_that_goes_away_is_a_finding_and_what_it_gave_before_stays() {
        let (sampler, times) = sampled(|count| (count < 20).then_some(1_000_000 + count), 100);
        assert_eq!(times.len(), 25, "five that failed");
        let energies = sampler.energies(
            &[
                Some((times[2], times[15])),
                Some((times[15], times[15] + 9_000_000_000)),
            ],
            [None, None],
        );
        assert!(energies[0].rounds[0].is_some() && energies[0].rounds[1].is_none());
        assert_eq!(sampler.faults(&[]), ["/sys/gone: no such device"]);
    }
}
