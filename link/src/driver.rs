//! The task behind a connection: polls the client library, reconnects, and hands events on.

use std::time::{Duration, Instant};

use edgefront_protocol::Topic;
use rumqttc::{
    ConnectionError, EventLoop, Outgoing, Packet, Publish, QoS, Request, StateError, SubAck, Subscribe,
    SubscribeFilter, SubscribeReasonCode,
};
use tokio::sync::mpsc::error::{SendTimeoutError, TrySendError};
use tokio::sync::{mpsc, watch};

use crate::{BrokerUrl, Event, LinkError, Settings, Will, attempt};

/// Wait before the second attempt to connect; each further one waits twice as long.
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
/// Longest wait between two attempts.
const BACKOFF_LAST: Duration = Duration::from_secs(5);
/// A connection that held this long was a good one: the next outage starts with the shortest wait. Two
/// clients of one identifier that throw each other out stay below it.
const GOOD_CONNECTION: Duration = Duration::from_secs(5);
/// How long a full event queue may hold up the connection.
const OWNER_PATIENCE: Duration = Duration::from_secs(1);

pub(crate) struct Driver {
    url: BrokerUrl,
    subscriptions: Vec<String>,
    will: Option<Will>,
    eventloop: EventLoop,
    connected: watch::Sender<bool>,
    events: mpsc::Sender<Event>,
    phase: Phase,
    /// What the owner was last told of the outage under way.
    told: Option<String>,
    backoff: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing was tried yet.
    Fresh,
    /// No connection.
    Interrupted,
    /// Connected, subscriptions not yet confirmed.
    Subscribing { since: Instant },
    /// Connected, and the owner knows.
    Connected { since: Instant },
    /// DISCONNECT is sent; the broker closes the connection once it has read all before it.
    Leaving,
}

/// The owner of the connection is gone.
struct OwnerGone;

impl Driver {
    pub(crate) fn new(
        settings: Settings,
        eventloop: EventLoop,
        connected: watch::Sender<bool>,
        events: mpsc::Sender<Event>,
    ) -> Self {
        Self {
            url: settings.url,
            subscriptions: settings.subscriptions,
            will: settings.will,
            eventloop,
            connected,
            events,
            phase: Phase::Fresh,
            told: None,
            backoff: BACKOFF_FIRST,
        }
    }

    /// Runs until the connection is closed or its owner dropped it.
    pub(crate) async fn run(mut self) {
        loop {
            let done = match self.eventloop.poll().await {
                Ok(event) => self.on_event(event).await,
                Err(_) if self.phase == Phase::Leaving => return,
                Err(error) => self.on_error(error).await,
            };
            if done.is_err() {
                return;
            }
        }
    }

    async fn on_event(&mut self, event: rumqttc::Event) -> Result<(), OwnerGone> {
        match event {
            rumqttc::Event::Incoming(Packet::ConnAck(_)) => self.on_connack().await,
            rumqttc::Event::Incoming(Packet::SubAck(ack)) => match self.denied(&ack) {
                Some(error) => self.on_break(error).await,
                None => self.on_subscribed().await,
            },
            rumqttc::Event::Incoming(Packet::Publish(publish)) => self.on_publish(&publish).await,
            rumqttc::Event::Outgoing(Outgoing::Disconnect) => {
                self.phase = Phase::Leaving;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    async fn on_error(&mut self, error: ConnectionError) -> Result<(), OwnerGone> {
        let error = match self.phase {
            Phase::Fresh | Phase::Interrupted => attempt::failure(&self.url, error).await,
            _ => self.lost(&reason(&error)),
        };
        self.on_break(error).await
    }

    fn lost(&self, reason: &str) -> LinkError {
        LinkError::Lost {
            address: self.url.address(),
            reason: reason.to_owned(),
        }
    }

    /// The answers of a SUBACK are in the order of the filters. Without one of them this client would wait in vain.
    fn denied(&self, ack: &SubAck) -> Option<LinkError> {
        let mut answers = self.subscriptions.iter().zip(&ack.return_codes);
        let (filter, _) = answers.find(|(_, code)| **code == SubscribeReasonCode::Failure)?;
        Some(LinkError::Denied {
            address: self.url.address(),
            filter: filter.clone(),
        })
    }

    async fn on_connack(&mut self) -> Result<(), OwnerGone> {
        self.phase = Phase::Subscribing {
            since: Instant::now(),
        };
        self.connected.send_replace(true);
        let filters: Vec<_> = self
            .subscriptions
            .iter()
            .map(|filter| SubscribeFilter::new(filter.clone(), QoS::AtLeastOnce))
            .collect();
        if filters.is_empty() {
            return self.on_subscribed().await;
        }
        self.eventloop
            .pending
            .push_front(Request::Subscribe(Subscribe::new_many(filters)));
        Ok(())
    }

    async fn on_subscribed(&mut self) -> Result<(), OwnerGone> {
        let Phase::Subscribing { since } = self.phase else {
            return Ok(());
        };
        self.phase = Phase::Connected { since };
        self.told = None;
        self.tell_or_break(Event::Connected).await
    }

    /// An owner that is slow to take its events must not be flooded: a message of QoS 0 is dropped then, as
    /// it may be anywhere on the way.
    async fn on_publish(&mut self, publish: &Publish) -> Result<(), OwnerGone> {
        let topic: Topic = match publish.topic.parse() {
            Ok(topic) => topic,
            Err(error) => {
                tracing::warn!("skipped a message: {error}");
                return Ok(());
            }
        };
        let event = Event::Message {
            topic,
            payload: publish.payload.clone(),
            retained: publish.retain,
        };
        match self.events.try_send(event) {
            Ok(()) => Ok(()),
            Err(TrySendError::Closed(_)) => Err(OwnerGone),
            Err(TrySendError::Full(_)) if publish.qos == QoS::AtMostOnce => Ok(()),
            Err(TrySendError::Full(event)) => self.tell_or_break(event).await,
        }
    }

    /// Hands on what must not be dropped. The owner may itself be waiting to publish, which this task must
    /// serve, so the wait is short: then the connection is broken, and both sides repeat themselves once the
    /// owner has caught up.
    async fn tell_or_break(&mut self, event: Event) -> Result<(), OwnerGone> {
        match self.events.send_timeout(event, OWNER_PATIENCE).await {
            Ok(()) => Ok(()),
            Err(SendTimeoutError::Closed(_)) => Err(OwnerGone),
            Err(SendTimeoutError::Timeout(_)) => {
                let error = self.lost("messages came faster than they were handled");
                self.on_break(error).await
            }
        }
    }

    async fn on_break(&mut self, error: LinkError) -> Result<(), OwnerGone> {
        self.connected.send_replace(false);
        self.forget_traffic();
        if let Phase::Subscribing { since } | Phase::Connected { since } = self.phase
            && since.elapsed() >= GOOD_CONNECTION
        {
            self.backoff = BACKOFF_FIRST;
        }
        self.phase = Phase::Interrupted;
        tracing::debug!("{error}; next attempt in {:?}", self.backoff);
        let text = error.to_string();
        if self.told.as_ref() != Some(&text) {
            self.told = Some(text);
            // Nobody waits to publish on a broken connection, so the owner always gets to take this.
            let event = Event::Interrupted { error };
            self.events.send(event).await.map_err(|_| OwnerGone)?;
        }
        tokio::time::sleep(self.backoff).await;
        self.backoff = (self.backoff * 2).min(BACKOFF_LAST);
        if let Some(will) = &self.will {
            self.eventloop.mqtt_options.set_last_will(will.last_will());
        }
        Ok(())
    }

    /// Requests that wait for an acknowledgement would be repeated under stale packet identifiers, and a
    /// collision of such would stop the client for good; the sides repeat themselves anyway.
    fn forget_traffic(&mut self) {
        self.eventloop.clean();
        self.eventloop.pending.clear();
        self.eventloop.state.collision = None;
        self.eventloop.state.events.clear();
    }
}

fn reason(error: &ConnectionError) -> String {
    match error {
        ConnectionError::Io(error) | ConnectionError::MqttState(StateError::Io(error)) => error.to_string(),
        // A connection reset while a packet was read; its text says so.
        ConnectionError::MqttState(StateError::Deserialization(error)) => error.to_string(),
        ConnectionError::MqttState(StateError::ConnectionAborted) => "the broker closed it".to_owned(),
        ConnectionError::MqttState(StateError::AwaitPingResp) => "the broker is silent".to_owned(),
        error => error.to_string(),
    }
}
