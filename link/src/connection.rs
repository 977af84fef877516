//! One MQTT connection that stays: it reconnects with backoff, keeps TCP_NODELAY set, and turns the
//! client library's traffic into [`Event`]s.

use edgefront_protocol::Topic;

/// Where a broker listens: `mqtt://[user:password@]host[:port]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerUrl {
    /// Host name or address.
    pub host: String,
    /// TCP port, 1883 by default.
    pub port: u16,
    /// User and password.
    pub credentials: Option<(String, String)>,
}

/// What the broker publishes, retained, when this client is gone.
#[derive(Debug, Clone)]
pub struct Will {
    /// Where.
    pub topic: Topic,
    /// What.
    pub payload: Vec<u8>,
}

/// How to connect.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The broker.
    pub url: BrokerUrl,
    /// The client identifier; a persistent session belongs to it.
    pub client_id: String,
    /// Filters to subscribe at every connect, QoS 1.
    pub subscriptions: Vec<String>,
    /// The last will.
    pub will: Option<Will>,
}

/// Quality of service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Qos {
    /// At most once: for chunks, which the receiver asks for again.
    AtMostOnce,
    /// At least once.
    AtLeastOnce,
}

/// What happened on the connection.
#[derive(Debug)]
pub enum Event {
    /// Connected and subscribed, at first and after every interruption: what must be said is to be said again.
    Connected,
    /// A message on a topic of ours.
    Message {
        /// Where.
        topic: Topic,
        /// The bytes, not yet decoded.
        payload: bytes::Bytes,
        /// Whether the broker had kept it.
        retained: bool,
    },
    /// The connection broke; a new one is being tried.
    Interrupted {
        /// Why.
        reason: String,
    },
}

/// The receiving half.
#[derive(Debug)]
pub struct Connection;

/// The sending half, cheap to clone.
#[derive(Debug, Clone)]
pub struct Publisher;

/// Why a link does not work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// The address is not one of a broker.
    #[error("`{url}` is not a broker address: {reason}; write mqtt://host:port")]
    Url {
        /// As given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No broker answered the first time.
    #[error("no broker at {address}: {reason}; is it running? `edgefront broker` starts one")]
    Unreachable {
        /// Host and port.
        address: String,
        /// The system's words.
        reason: String,
    },
    /// The connection was closed from this side.
    #[error("the connection to the broker is closed")]
    Closed,
}
