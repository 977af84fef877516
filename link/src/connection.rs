//! One MQTT connection that stays: it reconnects with backoff, keeps `TCP_NODELAY` set, and turns the
//! client library's traffic into [`Event`]s.
//!
//! What is delivered and what is not: a message published while the connection is interrupted, or not yet
//! acknowledged when it breaks, is lost. So each side says again at every [`Event::Connected`] what the other
//! must know, and waits for answers end to end. In exchange nothing here grows without bound and no call
//! blocks for the length of an outage.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use edgefront_protocol::Topic;
use rumqttc::{AsyncClient, EventLoop, LastWill, MqttOptions, QoS};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::driver::Driver;
use crate::{BrokerUrl, LinkError};

/// A broker takes a client for dead after one and a half of this, so a dead device shows within 8 seconds.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// Longest time for a TCP connection with its MQTT handshake, or for one flush of the socket.
pub(crate) const NETWORK_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest time that [`Connection::close`] waits for the broker to take what was published.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// Largest packet either way.
const MAX_PACKET_BYTES: usize = 16 << 20;
/// Largest payload of a message; the topic and the header have the rest of the packet. The largest messages are
/// outcomes with the predictions of a large pack.
pub const MAX_PAYLOAD_BYTES: usize = MAX_PACKET_BYTES - (1 << 10);
/// Publications that may wait for the socket.
const REQUESTS: usize = 64;
/// Events that may wait for the owner of the connection; at 64 KiB a chunk at most 16 MiB.
const EVENTS: usize = 256;

/// What the broker publishes, retained, when this client is gone.
#[derive(Debug, Clone)]
pub struct Will {
    /// Where.
    pub topic: Topic,
    /// What: the value at the moment of connecting, so that each connection may have another.
    pub payload: watch::Receiver<Vec<u8>>,
}

impl Will {
    pub(crate) fn last_will(&self) -> LastWill {
        let payload = self.payload.borrow().clone();
        LastWill::new(self.topic.to_string(), payload, QoS::AtLeastOnce, true)
    }
}

/// How to connect.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The broker.
    pub url: BrokerUrl,
    /// The client identifier; a persistent session belongs to it. A second connection with the same
    /// identifier takes the first one's place. Empty: the broker forgets the client when it leaves.
    pub client_id: String,
    /// Filters to subscribe at every connect, QoS 1.
    pub subscriptions: Vec<String>,
    /// The last will.
    pub will: Option<Will>,
}

/// Quality of service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Qos {
    /// At most once: for chunks, which the receiver asks for again, and for progress.
    AtMostOnce,
    /// At least once, as long as the connection lasts.
    AtLeastOnce,
}

impl From<Qos> for QoS {
    fn from(qos: Qos) -> Self {
        match qos {
            Qos::AtMostOnce => Self::AtMostOnce,
            Qos::AtLeastOnce => Self::AtLeastOnce,
        }
    }
}

/// What happened on the connection.
#[derive(Debug)]
pub enum Event {
    /// Connected and subscribed, at first and after every interruption: what must be said is to be said again.
    /// Messages that the broker kept for the session may come before it.
    Connected,
    /// A message on a topic of ours.
    Message {
        /// Where.
        topic: Topic,
        /// The bytes, not yet decoded.
        payload: Bytes,
        /// Whether the broker had kept it.
        retained: bool,
    },
    /// The connection broke, or could not be made; a new one is being tried. Said once for each reason of an
    /// outage.
    Interrupted {
        /// Why.
        error: LinkError,
    },
}

/// The receiving half. Dropped without [`Connection::close`] it leaves like a crash: the broker publishes the
/// last will.
#[derive(Debug)]
pub struct Connection {
    /// What came before [`Connection::open`] returned.
    early: VecDeque<Event>,
    events: mpsc::Receiver<Event>,
    publisher: Publisher,
    task: JoinHandle<()>,
}

/// The sending half, cheap to clone.
#[derive(Debug, Clone)]
pub struct Publisher {
    client: AsyncClient,
    connected: watch::Receiver<bool>,
}

impl Connection {
    /// Connects and subscribes, and fails if the broker does not answer or refuses this first time.
    pub async fn open(settings: Settings) -> Result<(Publisher, Self), LinkError> {
        let (publisher, mut connection) = Self::open_patiently(settings);
        loop {
            match connection.events.recv().await.ok_or(LinkError::Closed)? {
                Event::Interrupted { error } => return Err(error),
                message @ Event::Message { .. } => connection.early.push_back(message),
                Event::Connected => {
                    connection.early.push_back(Event::Connected);
                    return Ok((publisher, connection));
                }
            }
        }
    }

    /// Keeps trying from the first connection on; [`Event::Interrupted`] tells of failures.
    pub fn open_patiently(settings: Settings) -> (Publisher, Self) {
        let (client, eventloop) = client(&settings);
        let (connected_tx, connected) = watch::channel(false);
        let (events_tx, events) = mpsc::channel(EVENTS);
        let driver = Driver::new(settings, eventloop, connected_tx, events_tx);
        let publisher = Publisher { client, connected };
        let task = tokio::spawn(driver.run());
        (
            publisher.clone(),
            Self {
                early: VecDeque::new(),
                events,
                publisher,
                task,
            },
        )
    }

    /// The next event; `None` when the connection is closed. Cancel safe.
    pub async fn next(&mut self) -> Option<Event> {
        match self.early.pop_front() {
            Some(event) => Some(event),
            None => self.events.recv().await,
        }
    }

    /// Leaves in order: the broker takes all that was published before, and does not publish the last will.
    /// While interrupted there is nobody to take leave of, so this returns at once.
    pub async fn close(mut self) {
        if !*self.publisher.connected.borrow() {
            return;
        }
        let leave = async {
            self.publisher.client.disconnect().await.ok();
            (&mut self.task).await.ok();
        };
        if tokio::time::timeout(CLOSE_TIMEOUT, leave).await.is_err() {
            tracing::warn!("the broker did not take the last messages within {CLOSE_TIMEOUT:?}");
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Publisher {
    /// Hands a message to the connection; waits while the socket is full. While interrupted the message is
    /// dropped, see the module's documentation.
    pub async fn publish(
        &self,
        topic: &Topic,
        payload: impl Into<Bytes>,
        qos: Qos,
        retain: bool,
    ) -> Result<(), LinkError> {
        let payload = payload.into();
        if payload.len() > MAX_PAYLOAD_BYTES {
            return Err(LinkError::TooLarge {
                topic: topic.to_string(),
                bytes: payload.len(),
            });
        }
        if !self.is_connected()? {
            return Ok(());
        }
        let sent = self
            .client
            .publish_bytes(topic.to_string(), qos.into(), retain, payload)
            .await;
        sent.map_err(|_| LinkError::Closed)
    }

    fn is_connected(&self) -> Result<bool, LinkError> {
        self.connected.has_changed().map_err(|_| LinkError::Closed)?;
        Ok(*self.connected.borrow())
    }
}

fn client(settings: &Settings) -> (AsyncClient, EventLoop) {
    let mut options = MqttOptions::new(&settings.client_id, &settings.url.host, settings.url.port);
    options
        .set_keep_alive(KEEP_ALIVE)
        .set_clean_session(settings.client_id.is_empty())
        .set_max_packet_size(MAX_PACKET_BYTES, MAX_PACKET_BYTES);
    if let Some((user, password)) = &settings.url.credentials {
        options.set_credentials(user, password);
    }
    if let Some(will) = &settings.will {
        options.set_last_will(will.last_will());
    }
    let (client, mut eventloop) = AsyncClient::new(options, REQUESTS);
    eventloop.network_options.set_tcp_nodelay(true);
    eventloop
        .network_options
        .set_connection_timeout(NETWORK_TIMEOUT.as_secs());
    (client, eventloop)
}
