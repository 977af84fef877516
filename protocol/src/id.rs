//! Names of devices, controllers, batches and jobs. They stand in topics and file names, so their
//! alphabet is small.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A name that cannot stand in a topic or a file name.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "`{0}` is not a valid name: use 1 to 64 letters, digits, `-`, `_` or `.`, beginning with a letter or digit"
)]
pub struct InvalidId(String);

fn validate(text: String) -> Result<String, InvalidId> {
    let starts_well = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    let alphabet = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if starts_well && text.len() <= 64 && text.bytes().all(alphabet) {
        Ok(text)
    } else {
        Err(InvalidId(text))
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                validate(text).map(Self)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                validate(text.to_owned()).map(Self)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id!(
    /// A device of the fleet, unique on its broker.
    DeviceId
);
id!(
    /// A controller's study directory: results are sent to the controller that asked for them.
    ControllerId
);
id!(
    /// The jobs that one device measures together.
    BatchId
);
id!(
    /// One artifact on one target of one device, in one run of a study. Unique for all time.
    JobId
);
