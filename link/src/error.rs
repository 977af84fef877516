//! Why a link does not work.

/// Why a link does not work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// The address is not one of a broker.
    #[error("`{url}` is not a broker address: {reason}; write mqtt://host:port")]
    Url {
        /// As given, without the password.
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
    /// Something answered, and it is no broker.
    #[error("what answers at {address} does not speak MQTT: {reason}; give the address of a broker")]
    NotMqtt {
        /// Host and port.
        address: String,
        /// What it did instead.
        reason: String,
    },
    /// The broker answered and refused this client.
    #[error("the broker at {address} refused the connection ({reason}); check user and password")]
    Refused {
        /// Host and port.
        address: String,
        /// The broker's return code.
        reason: String,
    },
    /// The broker took this client and does not let it hear what it must.
    #[error(
        "the broker at {address} refuses the subscription to `{filter}`; let this user read it in the broker's \
         access rules"
    )]
    Denied {
        /// Host and port.
        address: String,
        /// The first filter that was refused.
        filter: String,
    },
    /// A connection that stood broke.
    #[error("the connection to the broker at {address} broke: {reason}")]
    Lost {
        /// Host and port.
        address: String,
        /// The system's words.
        reason: String,
    },
    /// A message does not fit into a packet.
    #[error("a message of {bytes} bytes on `{topic}` is larger than the broker link allows")]
    TooLarge {
        /// Where it was to go.
        topic: String,
        /// Its size.
        bytes: usize,
    },
    /// The connection was closed from this side.
    #[error("the connection to the broker is closed")]
    Closed,
}
