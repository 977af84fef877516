//! The devices of a study, over MQTT: who is there, their jobs, the blobs that they fetch, their outcomes.
//!
//! The loop has no logic: each arm of its one `select!` makes an event, which the module `machine` answers with
//! effects.

mod blobs;
mod local;
mod machine;
mod steps;
mod survey;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::Context as _;
use edgefront_link::transfer::Serve;
use edgefront_link::{BrokerUrl, Connection, Event as LinkEvent, Publisher, Qos, Settings};
use edgefront_protocol::blob::{Chunk, Want};
use edgefront_protocol::{
    Ack, Batch, BatchId, Cancel, ControllerId, DeviceId, JobId, Outcome, Presence, Progress, SigningKey,
    Topic, wire,
};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, MissedTickBehavior};

pub use blobs::Blobs;
pub use local::Local;
pub use machine::Lost;
use machine::{Effect, Event, Fleet};
pub use survey::Survey;
use view::View;

use crate::store::Store;
use crate::ui::Ui;

/// How often the clocks of devices that are out of reach are looked at.
const TICK: Duration = Duration::from_secs(1);

/// How long devices have to answer a controller that leaves.
const LEAVE_PATIENCE: Duration = Duration::from_secs(3);

/// What a study asks of its devices.
#[derive(Debug)]
pub struct Work<'a> {
    /// The broker.
    pub url: &'a BrokerUrl,
    /// The devices that are there; open jobs of others wait for another time.
    pub devices: BTreeSet<&'a DeviceId>,
    /// The blobs that devices will ask for.
    pub blobs: &'a mut Blobs,
    /// By which the devices know who asks.
    pub key: &'a SigningKey,
    /// Batches of an earlier study of this directory, to be called off.
    pub cancelled: Vec<(DeviceId, BatchId)>,
    /// How long a device may be out of reach, or owe an answer, before its open jobs are given up.
    pub device_timeout: Duration,
}

/// Has the open jobs of `store` measured and stores each outcome as it comes. Returns when every job has
/// ended or its device is given up, with the devices that are. May be dropped at any moment: what is stored
/// stays, and the devices go on.
pub async fn run(work: Work<'_>, store: &Store, ui: &Ui) -> anyhow::Result<BTreeMap<DeviceId, Lost>> {
    let mut open = store.open_batches()?;
    open.retain(|(device, _)| work.devices.contains(device));
    let view = View::new(ui, &store.jobs()?);
    let fleet = Fleet::new(open, work.cancelled, work.device_timeout);
    if fleet.is_done() {
        return Ok(BTreeMap::new());
    }
    let (publisher, connection) = Connection::open(settings(work.url, store.controller())).await?;
    let mut serve = Serve::new();
    for blob in work.blobs.iter() {
        serve.offer(blob);
    }
    let mut session = Session {
        store,
        blobs: work.blobs,
        key: work.key,
        publisher,
        serve,
        fleet,
        view,
        ui,
        began: Instant::now(),
    };
    session.listen(connection).await?;
    Ok(session.fleet.lost())
}

/// Calls off the open jobs of `store`, and waits a moment for the devices to say so: what is acknowledged they
/// forget.
pub async fn call_off(url: &BrokerUrl, store: &Store) -> anyhow::Result<()> {
    let batches = store.open_batches()?;
    let jobs = batches.iter().flat_map(|(_, batch)| &batch.jobs);
    let mut open: BTreeSet<JobId> = jobs.map(|job| job.id.clone()).collect();
    if open.is_empty() {
        return Ok(());
    }
    let (publisher, mut connection) = Connection::open(settings(url, store.controller())).await?;
    let say = async |topic: Topic, message: Vec<u8>| {
        let said = publisher.publish(&topic, message, Qos::AtLeastOnce, false).await;
        said.map_err(anyhow::Error::new)
    };
    let answered = async {
        while !open.is_empty() {
            let event = connection.next().await;
            match event.context("the connection to the broker was closed")? {
                LinkEvent::Connected => {
                    for (device, Batch { id, .. }) in &batches {
                        let cancel = Cancel { batch: id.clone() };
                        say(Topic::Cancel(device.clone()), wire::encode(&cancel)).await?;
                    }
                }
                LinkEvent::Message { topic, payload, .. } => {
                    if let Topic::Outcome(_, device) = &topic
                        && let Some(Outcome { job, .. }) = decoded(&topic, &payload)
                    {
                        open.remove(&job);
                        say(Topic::Ack(device.clone()), wire::encode(&Ack { job })).await?;
                    }
                }
                LinkEvent::Interrupted { .. } => {}
            }
        }
        Ok(())
    };
    let answered = tokio::time::timeout(LEAVE_PATIENCE, answered).await;
    connection.close().await;
    // A device that is out of reach finds the cancellation at the broker.
    answered.unwrap_or(Ok(()))
}

/// How this directory's controller connects. The broker keeps nothing for it while it is away, and nothing when it is
/// done: devices keep their outcomes until they are acknowledged, and say them again when they are asked.
fn settings(url: &BrokerUrl, controller: &ControllerId) -> Settings {
    Settings {
        url: url.clone(),
        client_id: String::new(),
        subscriptions: vec![Topic::all_presence(), Topic::to_controller(controller)],
        will: None,
    }
}

struct Session<'a> {
    store: &'a Store,
    blobs: &'a mut Blobs,
    key: &'a SigningKey,
    publisher: Publisher,
    serve: Serve,
    fleet: Fleet,
    view: View,
    ui: &'a Ui,
    began: Instant,
}

impl Session<'_> {
    async fn listen(&mut self, mut connection: Connection) -> anyhow::Result<()> {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut delivery = None;
        while !self.fleet.is_done() {
            delivery = delivery.or_else(|| self.serve.next());
            let event = tokio::select! {
                biased;
                event = connection.next() => event.context("the connection to the broker was closed")?,
                _ = ticks.tick() => {
                    self.handle(Event::Tick).await?;
                    continue;
                }
                // What devices say goes first; chunks are sent while there is nothing to hear.
                () = std::future::ready(()), if delivery.is_some() => {
                    if let Some(delivery) = delivery.take() {
                        let data = self.blobs.read(&delivery.digest, delivery.offset, delivery.bytes)?;
                        let chunk = Chunk::new(delivery.digest, delivery.index, data);
                        self.publish(&delivery.topic, &chunk, Qos::AtMostOnce).await?;
                    }
                    continue;
                }
            };
            self.on_link(event).await?;
        }
        // The last acknowledgements are on their way.
        connection.close().await;
        Ok(())
    }

    async fn on_link(&mut self, event: LinkEvent) -> anyhow::Result<()> {
        match event {
            LinkEvent::Connected => self.handle(Event::Connected).await,
            LinkEvent::Interrupted { error } => {
                self.ui.warn(format_args!("{error}; trying again"));
                self.handle(Event::Interrupted).await
            }
            LinkEvent::Message { topic, payload, .. } => match self.read(&topic, &payload) {
                Some(event) => self.handle(event).await,
                None => Ok(()),
            },
        }
    }

    /// The event in a message; `None` for one that is not for us, is malformed, or speaks for another device.
    fn read(&mut self, topic: &Topic, payload: &[u8]) -> Option<Event> {
        match topic {
            Topic::Presence(device) => {
                let presence: Presence = decoded(topic, payload)?;
                let of_whom = match &presence {
                    Presence::Online(description, ..) => &description.id,
                    Presence::Offline(id, ..) => id,
                };
                if of_whom != device {
                    tracing::warn!("`{topic}` holds the presence of {of_whom}");
                    return None;
                }
                self.serve.on_gone(device);
                Some(Event::Presence(presence))
            }
            Topic::Progress(_, device) => {
                let progress: Progress = decoded(topic, payload)?;
                Some(Event::Progress(device.clone(), progress))
            }
            Topic::Outcome(_, device) => {
                let outcome: Outcome = decoded(topic, payload)?;
                if outcome.device != *device {
                    tracing::warn!("`{topic}` holds an outcome of {}", outcome.device);
                    return None;
                }
                Some(Event::Outcome(device.clone(), outcome))
            }
            Topic::Want(_, device) => {
                let want: Want = decoded(topic, payload)?;
                if let Err(error) = self.serve.on_want(device, &want) {
                    tracing::warn!("{device} asked in vain: {error}");
                }
                Some(Event::Want(device.clone()))
            }
            _ => None,
        }
    }

    async fn handle(&mut self, event: Event) -> anyhow::Result<()> {
        for effect in self.fleet.handle(self.began.elapsed(), event) {
            self.carry_out(effect).await?;
        }
        Ok(())
    }

    async fn carry_out(&mut self, effect: Effect) -> anyhow::Result<()> {
        match effect {
            Effect::Cancel(device, batch) => {
                let topic = Topic::Cancel(device);
                self.publish(&topic, &Cancel { batch }, Qos::AtLeastOnce).await?;
            }
            Effect::Send(device, batch) => self.send(device, &batch).await?,
            Effect::Store(outcome) => {
                self.store.put_outcome(&outcome)?;
            }
            Effect::Ack(device, job) => {
                let topic = Topic::Ack(device);
                self.publish(&topic, &Ack { job }, Qos::AtLeastOnce).await?;
            }
            Effect::Step(device, progress) => self.view.step(&device, &progress),
            Effect::Ended(device, job, measured) => self.view.ended(self.ui, &device, &job, measured),
            Effect::Away(device) => self.view.away(self.ui, &device),
            Effect::Back(device) => self.view.back(self.ui, &device),
            Effect::GaveUp(device, lost) => self.view.gave_up(self.ui, &device, lost),
        }
        Ok(())
    }

    async fn send(&self, device: DeviceId, batch: &Batch) -> anyhow::Result<()> {
        tracing::debug!("{} jobs of batch {} go to {device}", batch.jobs.len(), batch.id);
        let message = self.key.seal(batch, &device);
        let topic = Topic::Batch(device);
        self.publisher
            .publish(&topic, message, Qos::AtLeastOnce, false)
            .await?;
        Ok(())
    }

    async fn publish(&self, topic: &Topic, message: &impl serde::Serialize, qos: Qos) -> anyhow::Result<()> {
        self.publisher
            .publish(topic, wire::encode(message), qos, false)
            .await?;
        Ok(())
    }
}

fn decoded<T: DeserializeOwned>(topic: &Topic, payload: &[u8]) -> Option<T> {
    wire::decode(payload)
        .inspect_err(|error| tracing::warn!("skipped a message on `{topic}`: {error}"))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fixture::id;

    /// A session of a name of its own would stay at the broker for ever, and gather every presence.
    #[test]
    fn the_broker_forgets_a_controller_that_is_gone() {
        let settings = settings(&BrokerUrl::new("localhost", 1883), &id("c1"));
        assert_eq!(settings.client_id, "");
    }
}
