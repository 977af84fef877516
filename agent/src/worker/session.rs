//! One artifact in this process: loaded, warmed up, timed.

use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use edgefront_protocol::outcome::{Failure, Stage};
use edgefront_protocol::{Nanos, UnixMillis};
use edgefront_runtimes::{Model, Options, Runtime, Session};

use super::memory::peak_rss;
use super::message::{self, Answer, Load, Loaded, Span, WarmUp};
use super::steady::Steadiness;
use super::{emulation, inputs};

/// Runs before the timed ones of a round. The worker was blocked since its last round: its data is out of the
/// caches and its threads sleep.
const LEAD_IN_RUNS: u32 = 3;
/// No further lead-in run begins after this time.
const LEAD_IN_TIME: Duration = Duration::from_millis(50);
/// Latencies kept before they are sent; 512 KiB.
const BUFFER: usize = 1 << 16;
/// Time between two signs of life.
const ALIVE_EVERY: Duration = Duration::from_secs(5);

/// A loaded artifact.
pub(crate) struct Bench {
    pub(crate) model: Box<dyn Model>,
    pub(crate) session: Box<dyn Session>,
    pub(crate) batch: usize,
    samples: Vec<u64>,
}

/// Sends answers to the agent, and a sign of life where there was none for long.
pub(crate) struct Voice {
    writer: Box<dyn Write>,
    last: Instant,
}

impl Voice {
    pub(crate) fn new(writer: Box<dyn Write>) -> Self {
        let last = Instant::now();
        Self { writer, last }
    }

    pub(crate) fn say(&mut self, answer: &Answer) -> io::Result<()> {
        self.last = Instant::now();
        message::write(&mut self.writer, answer)
    }

    pub(crate) fn keep_alive(&mut self) -> io::Result<()> {
        if self.last.elapsed() < ALIVE_EVERY {
            return Ok(());
        }
        self.say(&Answer::Alive)
    }
}

/// An order that was not followed.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The job fails.
    Job(Failure),
    /// The agent is gone.
    Agent(io::Error),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Agent(error)
    }
}

pub(crate) fn failure(stage: Stage, error: &impl ToString) -> Trouble {
    let text = error.to_string();
    Trouble::Job(Failure {
        stage,
        error: text.split_whitespace().collect::<Vec<_>>().join(" "),
    })
}

impl Bench {
    /// Loads the artifact. Timed is what comes after the runtime's own library is open: from the artifact's path
    /// to a session that can run.
    pub(crate) fn load(order: &Load, runtime: &dyn Runtime) -> Result<(Self, Loaded), Trouble> {
        let failed = |error: edgefront_runtimes::Error| failure(Stage::Load, &error);
        let opened = runtime.open().map_err(failed)?;
        let extents = |shape: &Vec<u64>| shape.iter().map(|&extent| extent as usize).collect();
        let options = Options {
            provider: order.target.provider.clone(),
            threads: order.target.threads as usize,
            inputs: order.inputs.iter().map(extents).collect(),
            batch: order.target.batch as usize,
            spin: true,
        };
        let start = Instant::now();
        let model = runtime
            .load(Path::new(&order.artifact), &options)
            .map_err(failed)?;
        let mut session = model.session().map_err(failed)?;
        let time = Nanos::from(start.elapsed());
        let tensors =
            inputs::tensors(&order.feed, model.inputs()).map_err(|error| failure(Stage::Score, &error))?;
        session.bind(&tensors).map_err(failed)?;
        let loaded = Loaded {
            runtime_version: opened.version,
            provider: model.provider().to_owned(),
            remark: model.remark().map(str::to_owned),
            emulated: emulation::is_emulated(),
            time,
            peak_rss: peak_rss(),
        };
        let bench = Self {
            model,
            session,
            batch: options.batch,
            samples: Vec::with_capacity(BUFFER),
        };
        Ok((bench, loaded))
    }

    /// Runs until the least runs and time are reached and the runs are steady or the limit is; the longest time
    /// ends it before.
    pub(crate) fn warm_up(&mut self, order: WarmUp, voice: &mut Voice) -> Result<Answer, Trouble> {
        let start = Instant::now();
        let mut steadiness = Steadiness::default();
        let mut runs = 0;
        loop {
            steadiness.record(self.timed_run()?);
            runs += 1;
            let time = Nanos::from(start.elapsed());
            let steady = steadiness.is_reached();
            let is_enough = runs >= order.runs && time >= order.time;
            if is_enough && (steady || time >= order.limit) || time >= order.longest {
                return Ok(Answer::Warm { runs, steady });
            }
            voice.keep_alive()?;
        }
    }

    /// The timed runs of one round. Only `run` lies between the two readings of the clock.
    pub(crate) fn round(&mut self, span: Span, voice: &mut Voice) -> Result<Answer, Trouble> {
        self.lead_in()?;
        let started = now();
        let (mut runs, mut time) = (0, 0);
        loop {
            let nanos = self.timed_run()?;
            self.samples.push(nanos);
            runs += 1;
            time += nanos;
            if time >= span.limit.0 || (runs >= span.runs && time >= span.time.0) {
                break;
            }
            if self.samples.len() == BUFFER {
                self.send_samples(voice)?;
            }
            voice.keep_alive()?;
        }
        let peak_rss = peak_rss();
        self.send_samples(voice)?;
        Ok(Answer::Round { started, peak_rss })
    }

    fn lead_in(&mut self) -> Result<(), Trouble> {
        let start = Instant::now();
        for _ in 0..LEAD_IN_RUNS {
            self.timed_run()?;
            if start.elapsed() >= LEAD_IN_TIME {
                break;
            }
        }
        Ok(())
    }

    /// One run and its latency in nanoseconds.
    fn timed_run(&mut self) -> Result<u64, Trouble> {
        let start = Instant::now();
        let done = self.session.run();
        let nanos = Nanos::from(start.elapsed()).0;
        done.map_err(|error| failure(Stage::Run, &error))?;
        Ok(nanos.max(1))
    }

    fn send_samples(&mut self, voice: &mut Voice) -> Result<(), Trouble> {
        self.samples.sort_unstable();
        let counts = self.samples.chunk_by(|a, b| a == b);
        let counts = counts.map(|equal| (equal[0], equal.len() as u32)).collect();
        self.samples.clear();
        voice.say(&Answer::Samples(counts))?;
        Ok(())
    }
}

fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(since.as_millis() as u64)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use edgefront_protocol::{Precision, Target};
    use edgefront_runtimes::{Error, Probe, Registry};

    use super::super::message::Feed;
    use super::*;

    /// The `null` runtime behind a library that must be opened.
    struct Closed {
        registry: Registry,
        open: AtomicBool,
    }

    impl Runtime for Closed {
        fn name(&self) -> &'static str {
            "closed"
        }

        fn probe(&self) -> Result<Probe, Error> {
            self.registry.get("null")?.probe()
        }

        fn open(&self) -> Result<Probe, Error> {
            self.open.store(true, Ordering::Relaxed);
            self.probe()
        }

        fn load(&self, path: &Path, options: &Options) -> Result<Box<dyn Model>, Error> {
            assert!(
                self.open.load(Ordering::Relaxed),
                "the library was not open when the clock started"
            );
            self.registry.get("null")?.load(path, options)
        }
    }

    #[test]
    fn the_library_is_open_before_the_load_is_timed() {
        let order = Load {
            artifact: concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml").to_owned(),
            target: Target {
                runtime: "closed".to_owned(),
                provider: "cpu".to_owned(),
                precision: Precision::Fp32,
                threads: 1,
                batch: 1,
            },
            inputs: vec![vec![1, 3, 8, 8]],
            runtime_path: None,
            feed: Feed::Random { seed: 0 },
        };
        let runtime = Closed {
            registry: Registry::built_in(),
            open: AtomicBool::new(false),
        };
        let (_, loaded) = Bench::load(&order, &runtime).map_err(|_| ()).unwrap();
        assert_eq!(loaded.provider, "cpu");
    }
}
