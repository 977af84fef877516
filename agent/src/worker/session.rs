//! One artifact in this process: loaded, warmed up, timed.

use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use edgefront_protocol::outcome::{Failure, LayerTime, Stage};
use edgefront_protocol::{Bytes, Nanos, Scenario, UnixMillis};
use edgefront_runtimes::{Model, Options, Runtime, Scoring, Session};

use super::memory::{forget, peak_rss, pss, rss};
use super::message::{self, Answer, Feed, Load, Loaded, Serve, Span, WarmUp};
use super::server::{self, Ends, Monotonic};
use super::steady::Steadiness;
use super::{emulation, inputs};
use crate::clock;

/// Runs before the timed ones of a round. The worker was blocked since its last round: its data is out of the
/// caches and its threads sleep.
const LEAD_IN_RUNS: u32 = 3;
/// No further lead-in run begins after this time.
const LEAD_IN_TIME: Duration = Duration::from_millis(50);
/// Latencies kept before they are sent; 512 KiB.
const BUFFER: usize = 1 << 16;
/// Time between two signs of life.
const ALIVE_EVERY: Duration = Duration::from_secs(5);
/// Longest time for which a runtime that times itself is given to itself, so that signs of life come between.
const OWN_PART: Nanos = Nanos(10_000_000_000);

/// A loaded artifact.
pub(crate) struct Bench {
    pub(crate) model: Box<dyn Model>,
    pub(crate) session: Box<dyn Session>,
    pub(crate) batch: usize,
    /// What the pack is scored with, where that is not the session.
    pub(crate) scoring: Option<Scoring>,
    scenario: Scenario,
    /// Inferences of which one latency is.
    per_query: u32,
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
    /// The artifact would have come from memory.
    NotCold,
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
        let per_query = order.scenario.inferences_per_query(&order.target);
        let per_query = per_query.map_err(|error| failure(Stage::Load, &error))?;
        let rss_at_first = rss();
        let opened = runtime.open().map_err(failed)?;
        let extents = |shape: &Vec<u64>| shape.iter().map(|&extent| extent as usize).collect();
        let options = Options {
            provider: order.target.provider.clone(),
            threads: order.target.threads as usize,
            inputs: order.inputs.iter().map(extents).collect(),
            batch: order.target.batch as usize,
            spin: true,
            profile: order.profile,
        };
        let artifact = Path::new(&order.artifact);
        runtime.prepare(artifact, &options).map_err(failed)?;
        if order.cold && !(runtime.reads_artifact(&options) && forget(artifact)) {
            return Err(Trouble::NotCold);
        }
        let (start, before) = (Instant::now(), rss());
        let model = runtime.load(artifact, &options).map_err(failed)?;
        let mut session = model.session().map_err(failed)?;
        let time = Nanos::from(start.elapsed());
        let grown = rss()
            .zip(before)
            .map(|(after, before)| Bytes(after.0.saturating_sub(before.0)));
        let tensors =
            inputs::tensors(&order.feed, model.inputs()).map_err(|error| failure(Stage::Score, &error))?;
        session.bind(&tensors).map_err(failed)?;
        // Now, for making it may take as long as loading.
        let (scoring, unmade) = match order.feed {
            Feed::Pictures { .. } => scoring(&*model, options.batch),
            Feed::Random { .. } => (None, None),
        };
        let remarks = model.remark().map(str::to_owned).into_iter().chain(unmade);
        let remarks: Vec<String> = remarks.collect();
        let loaded = Loaded {
            runtime_version: opened.version,
            provider: model.provider().to_owned(),
            remark: (!remarks.is_empty()).then(|| remarks.join("; ")),
            processors: Vec::new(),
            emulated: emulation::is_emulated(),
            time,
            rss_at_first,
            grown,
            peak_rss: peak_rss(),
        };
        let bench = Self {
            model,
            session,
            batch: options.batch,
            scoring,
            scenario: order.scenario,
            per_query,
            samples: Vec::with_capacity(BUFFER),
        };
        Ok((bench, loaded))
    }

    /// Runs until the least runs and time are reached and the runs are steady or the limit is; the longest time
    /// ends it before.
    pub(crate) fn warm_up(&mut self, order: WarmUp, voice: &mut Voice) -> Result<Answer, Trouble> {
        let start = Instant::now();
        let mut steadiness = Steadiness::default();
        let (mut runs, mut first) = (0, None);
        loop {
            let elapsed = Nanos::from(start.elapsed());
            let part = Span {
                runs: u64::from(order.runs.saturating_sub(runs)).max(Steadiness::RUNS),
                time: Nanos(order.time.0.saturating_sub(elapsed.0)),
                limit: Nanos(order.limit.0.saturating_sub(elapsed.0)),
            };
            let times = if let Some(times) = self.own_times(part)? {
                times
            } else {
                let time = self.timed_run()?;
                first.get_or_insert(Nanos(time));
                vec![time]
            };
            runs = runs.saturating_add(times.len() as u32);
            for nanos in times {
                steadiness.record(nanos);
            }
            let time = Nanos::from(start.elapsed());
            let steady = steadiness.is_reached();
            let is_enough = runs >= order.runs && time >= order.time;
            if is_enough && (steady || time >= order.limit) || time >= order.longest {
                let median = Nanos(steadiness.median().unwrap_or_default());
                return Ok(Answer::Warm {
                    runs,
                    steady,
                    first,
                    median,
                });
            }
            voice.keep_alive()?;
        }
    }

    /// The timed runs of one round.
    pub(crate) fn round(&mut self, span: Span, voice: &mut Voice) -> Result<Answer, Trouble> {
        let started = now();
        let (mut runs, mut time) = (0, 0);
        loop {
            let part = Span {
                runs: span.runs.saturating_sub(runs),
                time: Nanos(span.time.0.saturating_sub(time)),
                limit: Nanos(span.limit.0.saturating_sub(time)),
            };
            let Some(times) = self.own_times(part)? else {
                return self.timed_round(span, voice);
            };
            runs += times.len() as u64;
            time += times.iter().sum::<u64>();
            for part in times.chunks(BUFFER) {
                self.samples.extend_from_slice(part);
                self.send_samples(voice)?;
            }
            if time >= span.limit.0 || (runs >= span.runs && time >= span.time.0) {
                return Ok(Answer::Round {
                    started,
                    stretch: None,
                    // The model was in another process, of whose memory nothing is known.
                    peak_rss: None,
                    pss: None,
                });
            }
        }
    }

    /// The latencies that the runtime's own tool measured, where that takes the time.
    fn own_times(&mut self, span: Span) -> Result<Option<Vec<u64>>, Trouble> {
        let times = self.session.time(edgefront_runtimes::Span {
            runs: span.runs,
            time: span.time.min(OWN_PART).into(),
            limit: span.limit.min(OWN_PART).into(),
        });
        let times = times.transpose().map_err(|error| failure(Stage::Run, &error))?;
        match self.scenario {
            Scenario::Multi { .. } | Scenario::Server { .. } if times.is_some() => {
                let why = format!(
                    "the runtime's own tool takes the times, of single inferences one after the other; it has no \
                     scenario `{}`",
                    self.scenario.as_str()
                );
                Err(failure(Stage::Run, &why))
            }
            _ => Ok(times),
        }
    }

    /// A trial of a rate.
    pub(crate) fn serve(&mut self, order: Serve, voice: &mut Voice) -> Result<Answer, Trouble> {
        let arrivals = server::arrivals(order.seed, order.rate_qps, order.queries);
        let ends = Ends {
            bound: order.bound.0,
            late: order.late,
            limit: order.limit.0,
        };
        self.lead_in()?;
        self.samples.reserve(arrivals.len());
        let (started, begun) = (now(), clock::monotonic());
        let session = &mut self.session;
        let answer = |_: &mut Monotonic| {
            session.run().map_err(|error| failure(Stage::Run, &error))?;
            Ok::<(), Trouble>(voice.keep_alive()?)
        };
        server::serve(&mut Monotonic, &arrivals, ends, answer, &mut self.samples)?;
        self.ended(started, begun, voice)
    }

    /// Tells a round whose timed runs are over now, its last latencies first.
    fn ended(&mut self, started: UnixMillis, begun: u64, voice: &mut Voice) -> Result<Answer, Trouble> {
        let stretch = Some((begun, clock::monotonic()));
        let (peak_rss, pss) = (peak_rss(), pss());
        self.send_samples(voice)?;
        Ok(Answer::Round {
            started,
            stretch,
            peak_rss,
            pss,
        })
    }

    /// The time of each layer, by the runtime's own profiler.
    pub(crate) fn profile(&mut self, inferences: u32) -> Result<Answer, Trouble> {
        let layers = self.session.profile(inferences).transpose();
        let layers = layers.map_err(|error| failure(Stage::Run, &error))?;
        let time = |layer: edgefront_runtimes::Layer| LayerTime {
            name: layer.name,
            operator: layer.operator,
            time: layer.time.into(),
        };
        Ok(Answer::Layers(
            layers.map(|layers| layers.into_iter().map(time).collect()),
        ))
    }

    /// A round that is timed here. Only `run` lies between the two readings of the clock.
    fn timed_round(&mut self, span: Span, voice: &mut Voice) -> Result<Answer, Trouble> {
        self.lead_in()?;
        let (started, begun) = (now(), clock::monotonic());
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
        self.ended(started, begun, voice)
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

    /// One run, of all inferences of a query, and its latency in nanoseconds.
    fn timed_run(&mut self) -> Result<u64, Trouble> {
        let start = Instant::now();
        let mut done = self.session.run();
        for _ in 1..self.per_query {
            done = done.and_then(|()| self.session.run());
        }
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

/// What scores faster than the model's session, and where that could not be made, what a reader must know: latency can
/// be measured all the same, and the session scores as well.
fn scoring(model: &dyn Model, batch: usize) -> (Option<Scoring>, Option<String>) {
    let reason = match model.scoring() {
        Ok(scoring) => return (scoring, None),
        Err(edgefront_runtimes::Error::Load { reason, .. }) => reason,
        Err(other) => other.to_string(),
    };
    let unmade = format!("scored {batch} at a time, as it is timed, since larger batches failed: {reason}");
    (None, Some(unmade))
}

fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(since.as_millis() as u64)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Arc, Mutex};

    use edgefront_protocol::{Precision, Target};
    use edgefront_runtimes::{Error, Floats, Probe, Registry, Tensor};

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

    fn order() -> Load {
        Load {
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
            kept_max: edgefront_protocol::Bytes(0),
            feed: Feed::Random { seed: 0 },
            cold: false,
            profile: false,
            scenario: Scenario::Single,
            processors: Vec::new(),
        }
    }

    #[test]
    fn the_library_is_open_before_the_load_is_timed() {
        let order = order();
        let runtime = Closed {
            registry: Registry::built_in(),
            open: AtomicBool::new(false),
        };
        let (_, loaded) = Bench::load(&order, &runtime).map_err(|_| ()).unwrap();
        assert_eq!(loaded.provider, "cpu");
    }

    /// A tool that takes the time itself: runs of a millisecond each.
    struct OwnClock(Arc<Mutex<Vec<edgefront_runtimes::Span>>>);

    impl Session for OwnClock {
        fn bind(&mut self, _: &[Tensor]) -> Result<(), Error> {
            Ok(())
        }

        fn run(&mut self) -> Result<(), Error> {
            panic!("the caller does not time it")
        }

        fn fetch(&mut self) -> Result<Vec<Tensor>, Error> {
            Ok(Vec::new())
        }

        fn floats(&self, _: usize) -> Option<Floats<'_>> {
            None
        }

        fn time(&mut self, span: edgefront_runtimes::Span) -> Option<Result<Vec<u64>, Error>> {
            self.0.lock().unwrap().push(span);
            let runs = span.runs.max(span.time.as_millis() as u64).max(1);
            Some(Ok(vec![1_000_000; runs as usize]))
        }
    }

    /// What a worker says, kept.
    #[derive(Clone, Default)]
    struct Heard(Arc<Mutex<Vec<u8>>>);

    impl Write for Heard {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_tool_of_its_own_has_no_queries_of_several_inferences() {
        let mut order = order();
        order.target.runtime = "null".to_owned();
        order.scenario = Scenario::Multi { samples: 8 };
        let registry = Registry::built_in();
        let (mut bench, _) = Bench::load(&order, registry.get("null").unwrap())
            .map_err(|_| ())
            .unwrap();
        bench.session = Box::new(OwnClock(Arc::default()));
        let span = Span {
            runs: 1,
            time: Nanos(0),
            limit: Nanos(1),
        };
        let refused = bench.round(span, &mut Voice::new(Box::new(Heard::default())));
        let Err(Trouble::Job(failure)) = refused else {
            panic!("{refused:?}");
        };
        assert!(
            failure.error.ends_with("it has no scenario `multi`"),
            "{}",
            failure.error
        );
    }

    #[test]
    fn the_times_of_a_tool_of_its_own_are_taken_in_parts_and_as_they_are() {
        let mut order = order();
        order.target.runtime = "null".to_owned();
        let registry = Registry::built_in();
        let (mut bench, _) = Bench::load(&order, registry.get("null").unwrap())
            .map_err(|_| ())
            .unwrap();
        let spans = Arc::default();
        bench.session = Box::new(OwnClock(Arc::clone(&spans)));
        let heard = Heard::default();
        let mut voice = Voice::new(Box::new(heard.clone()));
        let warm = bench.warm_up(
            WarmUp {
                runs: 3,
                time: Nanos(0),
                limit: Nanos(2_000_000_000),
                longest: Nanos(60_000_000_000),
            },
            &mut voice,
        );
        let expected = Answer::Warm {
            runs: 10,
            steady: true,
            first: None,
            median: Nanos(1_000_000),
        };
        assert_eq!(warm.unwrap(), expected);
        let span = Span {
            runs: 20,
            time: Nanos(25_000_000_000),
            limit: Nanos(30_000_000_000),
        };
        let answer = bench.round(span, &mut voice).unwrap();
        assert!(matches!(answer, Answer::Round { peak_rss: None, .. }));
        let asked: Vec<_> = spans
            .lock()
            .unwrap()
            .iter()
            .map(|span| span.time.as_secs())
            .collect();
        assert_eq!(asked, [0, 10, 10, 5]);
        let bytes = heard.0.lock().unwrap().clone();
        let mut reader = bytes.as_slice();
        let mut runs = 0;
        while let Some(Answer::Samples(counts)) = message::read(&mut reader).unwrap() {
            runs += counts
                .iter()
                .map(|&(nanos, count)| u64::from(count) * nanos / 1_000_000)
                .sum::<u64>();
        }
        assert_eq!(runs, 25_000);
    }
}
