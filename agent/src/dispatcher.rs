//! The agent's loop: whatever happens becomes an [`Input`], which one function handles.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::time::Instant;

use edgefront_link::{Connection, LinkError, MAX_PAYLOAD_BYTES, Publisher, Qos, Settings, Will};
use edgefront_protocol::blob::Chunk;
use edgefront_protocol::outcome::{Failure, Outcome, Stage};
use edgefront_protocol::wire::WireError;
use edgefront_protocol::{Announcement, Batch, BatchId, Board, Bytes, Device, Meters, Presence, Topic, wire};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::conditions::Observer;
use crate::fetch::{Fetcher, Step};
use crate::machine::{Effect, Event, Machine};
use crate::measure::{self, Assignment, Limits, Report};
use crate::presence::{Verdict, Watch};
use crate::service::{self, Watchdog};
use crate::store::{Store, Unverified};
use crate::{Config, Error, admission};

/// Reports of a measurement that may wait for the loop.
const REPORTS: usize = 64;

/// What happened.
enum Input {
    Link(edgefront_link::Event),
    /// The next report of the measurement, or its end.
    Measurement(Option<Report>),
    Verified(Unverified, io::Result<bool>),
    /// The transfer is overdue, an announcement that nobody heard, or a word to the service manager.
    Deadline,
}

/// The agent's parts, and the sources of its inputs.
pub(crate) struct Dispatcher {
    config: Config,
    device: Device,
    board: Board,
    meters: Meters,
    observer: Observer,
    store: Store,
    machine: Machine,
    presence: Watch,
    watchdog: Watchdog,
    /// How often this run announced itself.
    announcements: Announcement,
    will: watch::Sender<Vec<u8>>,
    fetcher: Fetcher,
    publisher: Publisher,
    connection: Connection,
    measuring: Option<Measuring>,
    verifying: Option<JoinHandle<(Unverified, io::Result<bool>)>>,
}

/// The measurement under way. Dropped, it ends with all its workers.
struct Measuring {
    batch: BatchId,
    reports: mpsc::Receiver<Report>,
    task: JoinHandle<()>,
}

impl Drop for Measuring {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Dispatcher {
    /// Loads the state and begins to connect.
    pub(crate) fn start(
        config: Config,
        (device, board, meters, observer): (Device, Board, Meters, Observer),
        store: Store,
    ) -> Result<(Self, Vec<Effect>), Error> {
        let (machine, effects) = Machine::restore(config.id.clone(), store.load()?);
        let (will, payload) = watch::channel(offline(&device, 1));
        let (publisher, connection) = Connection::open_patiently(Settings {
            url: config.broker.clone(),
            client_id: format!("edgefront-agent-{}", config.id),
            subscriptions: Topic::to_device(&config.id),
            will: Some(Will {
                topic: Topic::Presence(config.id.clone()),
                payload,
            }),
        });
        let dispatcher = Self {
            presence: Watch::new(device.incarnation),
            watchdog: Watchdog::of_environment(Instant::now()),
            announcements: 0,
            will,
            fetcher: Fetcher::new(store.blobs(), config.fetch_patience),
            config,
            device,
            board,
            meters,
            observer,
            store,
            machine,
            publisher,
            connection,
            measuring: None,
            verifying: None,
        };
        Ok((dispatcher, effects))
    }

    /// Runs until `shutdown` ends.
    pub(crate) async fn run(
        mut self,
        mended: Vec<Effect>,
        mut shutdown: Pin<&mut impl Future<Output = ()>>,
    ) -> Result<(), Error> {
        self.carry_out(mended, &mut VecDeque::new()).await?;
        self.evict(Bytes(0));
        for event in admission::reconsider(&self.machine, &self.config) {
            self.handle(event).await?;
        }
        self.handle(Event::Started).await?;
        service::ready();
        let ended = loop {
            let input = tokio::select! {
                () = &mut shutdown => break Ok(()),
                input = self.next() => input?,
            };
            match self.on_input(input).await {
                Err(error @ Error::Rival { .. }) => break Err(error),
                done => done?,
            }
        };
        service::stopping();
        self.leave().await?;
        ended
    }

    async fn next(&mut self) -> Result<Input, Error> {
        let deadlines = [
            self.fetcher.deadline(),
            self.presence.deadline(),
            self.watchdog.deadline(),
        ];
        let deadline = deadlines.into_iter().flatten().min();
        Ok(tokio::select! {
            event = self.connection.next() => Input::Link(event.ok_or(LinkError::Closed)?),
            report = next_report(self.measuring.as_mut()) => Input::Measurement(report),
            (content, right) = verified(&mut self.verifying) => Input::Verified(content, right),
            () = reached(deadline) => Input::Deadline,
        })
    }

    async fn on_input(&mut self, input: Input) -> Result<(), Error> {
        let now = Instant::now();
        match input {
            Input::Link(edgefront_link::Event::Connected) => {
                tracing::info!(
                    "connected to the broker at {} as `{}`",
                    self.config.broker,
                    self.config.id
                );
                self.announce(now).await?;
                self.handle(Event::Connected).await?;
                let steps = self.fetcher.ask_again(now);
                self.take(steps).await
            }
            Input::Link(edgefront_link::Event::Interrupted { error }) => {
                tracing::warn!("{error}; trying on");
                self.presence.on_interrupted();
                Ok(())
            }
            Input::Link(edgefront_link::Event::Message { topic, payload, .. }) => {
                self.on_message(&topic, &payload, now).await
            }
            Input::Measurement(report) => self.on_report(report).await,
            Input::Verified(content, right) => {
                let steps = self.fetcher.on_verified(content, right, now);
                self.take(steps).await
            }
            Input::Deadline => {
                self.watchdog.on_deadline(now);
                if self.presence.on_deadline(now) {
                    self.warn_unheard();
                }
                let steps = self.fetcher.on_deadline(now);
                self.take(steps).await
            }
        }
    }

    async fn on_message(&mut self, topic: &Topic, payload: &[u8], now: Instant) -> Result<(), Error> {
        let event = match topic {
            Topic::Chunk(_) => {
                let Some(chunk) = decode::<Chunk>(topic, payload) else {
                    return Ok(());
                };
                let steps = self.fetcher.on_chunk(&chunk, now);
                return self.take(steps).await;
            }
            Topic::Presence(_) => {
                let presence = decode::<Presence>(topic, payload);
                return presence.map_or(Ok(()), |presence| self.on_presence(&presence));
            }
            Topic::Batch(_) => read(topic, admission::admit(payload, &self.config)),
            Topic::Cancel(_) => decode(topic, payload).map(Event::Cancel),
            Topic::Ack(_) => decode(topic, payload).map(Event::Ack),
            _ => None,
        };
        match event {
            Some(event) => self.handle(event).await,
            None => Ok(()),
        }
    }

    fn on_presence(&mut self, presence: &Presence) -> Result<(), Error> {
        let rival = || Error::Rival {
            id: self.config.id.clone(),
            broker: self.config.broker.clone(),
        };
        let (run, count) = presence.run();
        match self.presence.on_presence(run, count) {
            Verdict::None => {}
            Verdict::Stay => tracing::warn!("{}", rival()),
            Verdict::Leave => return Err(rival()),
        }
        Ok(())
    }

    async fn on_report(&mut self, report: Option<Report>) -> Result<(), Error> {
        let Some(measuring) = &self.measuring else {
            return Ok(());
        };
        let batch = measuring.batch.clone();
        let event = match report {
            Some(Report::State(job, state)) => Event::State(job, state),
            Some(Report::Ended(job, result)) => {
                let outcome = Outcome {
                    job,
                    batch,
                    device: self.config.id.clone(),
                    result: result.map(|measurement| *measurement),
                };
                Event::Ended(Box::new(sendable(outcome)))
            }
            None => {
                self.measuring = None;
                Event::Measured(batch)
            }
        };
        self.handle(event).await
    }

    /// Handles an event and all that follow from it at once.
    async fn handle(&mut self, event: Event) -> Result<(), Error> {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            tracing::trace!("{event:?}");
            let effects = self.machine.handle(event);
            self.carry_out(effects, &mut events).await?;
        }
        Ok(())
    }

    async fn take(&mut self, steps: Vec<Step>) -> Result<(), Error> {
        let mut events = VecDeque::new();
        self.take_steps(steps, &mut events).await?;
        for event in events {
            self.handle(event).await?;
        }
        Ok(())
    }

    async fn carry_out(&mut self, effects: Vec<Effect>, events: &mut VecDeque<Event>) -> Result<(), Error> {
        for effect in effects {
            match effect {
                Effect::SaveBatch(saved) => {
                    let done = self.store.save_batch(&saved);
                    let id = saved.batch.id;
                    // One of which an earlier state is stored is known after a restart, with jobs that have ended.
                    if let Err(error) = &done
                        && !self.store.has_batch(&id)
                    {
                        let error = format!("the device cannot store the batch: {error}; is its disk full?");
                        events.push_back(Event::Barred(id, error));
                    }
                    go_on(done);
                }
                Effect::RemoveBatch(id) => {
                    go_on(self.store.remove_batch(&id));
                    self.evict(Bytes(0));
                }
                Effect::SaveSettled(settled) => go_on(self.store.save_settled(&settled)),
                Effect::SaveOutcome(outcome) => {
                    if let Err(failure) = &outcome.result {
                        tracing::info!("{} failed at {}: {}", outcome.job, failure.stage, failure.error);
                    }
                    go_on(self.store.save_outcome(&outcome));
                }
                Effect::RemoveOutcome(job) => go_on(self.store.remove_outcome(&job)),
                Effect::SayProgress(controller, progress) => {
                    let topic = Topic::Progress(controller, self.config.id.clone());
                    self.say(&topic, &progress, Qos::AtMostOnce, false).await?;
                }
                Effect::SayOutcome(controller, outcome) => {
                    let topic = Topic::Outcome(controller, self.config.id.clone());
                    self.say(&topic, &outcome, Qos::AtLeastOnce, false).await?;
                }
                Effect::Fetch(controller, blob) => {
                    self.evict(self.store.blobs().room_for(blob));
                    let steps = self.fetcher.start(controller, blob, Instant::now());
                    self.take_steps(steps, events).await?;
                }
                Effect::AskAgain => {
                    let steps = self.fetcher.ask_again(Instant::now());
                    self.take_steps(steps, events).await?;
                }
                Effect::StopFetch => self.fetcher.stop(),
                Effect::Measure(batch) => self.measuring = Some(self.measure(batch)),
                Effect::StopMeasuring => self.measuring = None,
            }
        }
        Ok(())
    }

    async fn take_steps(&mut self, steps: Vec<Step>, events: &mut VecDeque<Event>) -> Result<(), Error> {
        for step in steps {
            match step {
                Step::Ask(controller, want) => {
                    let topic = Topic::Want(controller, self.config.id.clone());
                    self.say(&topic, &want, Qos::AtLeastOnce, false).await?;
                }
                Step::Verify(content) => {
                    let verify = move || {
                        let right = content.verify();
                        (content, right)
                    };
                    self.verifying = Some(tokio::task::spawn_blocking(verify));
                }
                Step::Tell(event) => events.push_back(event),
            }
        }
        Ok(())
    }

    fn measure(&self, batch: Batch) -> Measuring {
        let blobs = self.store.blobs();
        let assign = |job: edgefront_protocol::Job| Assignment {
            artifact: blobs.path(&job.artifact.blob.digest),
            pack: job.validation.map(|blob| blobs.path(&blob.digest)),
            reference: job.reference.map(|blob| blobs.path(&blob.digest)),
            job,
        };
        let jobs = batch.jobs.into_iter().map(assign).collect();
        let (sender, reports) = mpsc::channel(REPORTS);
        let limits = Limits::of(&self.config);
        Measuring {
            batch: batch.id,
            reports,
            task: tokio::spawn(measure::measure(jobs, batch.seed, limits, sender)),
        }
    }

    /// Removes blobs that no batch needs, where they are too many or `room` is wanted. A folder that is too large is
    /// a nuisance and no reason to end.
    fn evict(&self, room: Bytes) {
        let needed = self.machine.needed_blobs();
        let evicted = self.store.blobs().evict(&needed, self.config.store_max, room);
        if let Err(error) = evicted {
            tracing::warn!("cannot remove old blobs: {error}");
        }
    }

    async fn announce(&mut self, now: Instant) -> Result<(), Error> {
        self.announcements += 1;
        // Of the next connection; this one's has the number that is announced now.
        self.will
            .send_replace(offline(&self.device, self.announcements + 1));
        self.presence.on_announced(now);
        let online = Presence::Online(
            self.device.clone(),
            self.announcements,
            self.board.clone(),
            admission::trust(&self.config.controllers),
            self.meters.clone(),
            self.observer.health().await,
        );
        let topic = Topic::Presence(self.config.id.clone());
        self.say(&topic, &online, Qos::AtLeastOnce, true).await
    }

    fn warn_unheard(&self) {
        let (id, broker) = (&self.config.id, &self.config.broker);
        tracing::warn!(
            "the broker at {broker} does not give back what `{id}` says of itself, so no controller sees this device; \
             does its ACL want the MQTT user to have the device's id? connect as user `{id}`, or set the id to the \
             user's name"
        );
    }

    /// Leaves in order. Measurements under way are begun anew by the next run.
    async fn leave(mut self) -> Result<(), Error> {
        self.measuring = None;
        let offline = Presence::Offline(
            self.config.id.clone(),
            self.device.incarnation,
            self.announcements,
        );
        let topic = Topic::Presence(self.config.id.clone());
        self.say(&topic, &offline, Qos::AtLeastOnce, true).await?;
        self.connection.close().await;
        Ok(())
    }

    async fn say<T: Serialize>(
        &self,
        topic: &Topic,
        message: &T,
        qos: Qos,
        retain: bool,
    ) -> Result<(), Error> {
        let sent = self
            .publisher
            .publish(topic, wire::encode(message), qos, retain)
            .await;
        match sent {
            Err(error @ LinkError::TooLarge { .. }) => {
                tracing::error!("{error}");
                Ok(())
            }
            done => Ok(done?),
        }
    }
}

/// A disk that fails is no reason to end: without the agent nobody is told of it.
fn go_on(stored: Result<(), Error>) {
    if let Err(error) = stored {
        tracing::error!("{error}; going on without");
    }
}

/// What the broker says of a run that ends without a word.
fn offline(device: &Device, announcements: Announcement) -> Vec<u8> {
    wire::encode(&Presence::Offline(
        device.id.clone(),
        device.incarnation,
        announcements,
    ))
}

/// An outcome that no message can carry becomes a failure, so that the job ends for its controller too.
fn sendable(outcome: Outcome) -> Outcome {
    let bytes = wire::encode(&outcome).len();
    if bytes <= MAX_PAYLOAD_BYTES {
        return outcome;
    }
    let error = format!(
        "the result has {} and a message to the controller holds {}; score on fewer pictures",
        Bytes(bytes as u64),
        Bytes(MAX_PAYLOAD_BYTES as u64)
    );
    Outcome {
        result: Err(Failure {
            stage: Stage::Score,
            error,
        }),
        ..outcome
    }
}

/// A message that cannot be read is one of a newer controller, or of something else; its sender gets no answer.
fn decode<T: DeserializeOwned>(topic: &Topic, payload: &[u8]) -> Option<T> {
    read(topic, wire::decode(payload))
}

fn read<T>(topic: &Topic, message: Result<T, WireError>) -> Option<T> {
    message
        .inspect_err(|error| tracing::warn!("skipped a message on `{topic}`: {error}"))
        .ok()
}

async fn next_report(measuring: Option<&mut Measuring>) -> Option<Report> {
    match measuring {
        Some(measuring) => measuring.reports.recv().await,
        None => std::future::pending().await,
    }
}

async fn verified(
    task: &mut Option<JoinHandle<(Unverified, io::Result<bool>)>>,
) -> (Unverified, io::Result<bool>) {
    let done = match task {
        Some(handle) => handle.await,
        None => std::future::pending().await,
    };
    *task = None;
    done.expect("invariant: reading a file does not panic")
}

async fn reached(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
#[path = "dispatcher_tests.rs"]
mod tests;
