//! The MQTT connection and the blob transfer, as both sides use them.

pub mod connection;
pub mod transfer;

pub use connection::{BrokerUrl, Connection, Event, LinkError, Publisher, Qos, Settings, Will};
