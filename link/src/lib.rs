//! The MQTT connection and the blob transfer, as both sides use them.

mod attempt;
pub mod connection;
mod driver;
mod error;
mod listen;
pub mod transfer;
mod url;

pub use connection::{Connection, Event, MAX_PAYLOAD_BYTES, Publisher, Qos, Settings, Will};
pub use error::LinkError;
pub use listen::listen;
pub use url::BrokerUrl;
