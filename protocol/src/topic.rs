//! Every MQTT topic of Edgefront, built and parsed in one place.

use std::fmt;
use std::str::FromStr;

use crate::{ControllerId, DeviceId};

/// Root of all topics; the digit is the generation of the topic tree.
const ROOT: &str = "edgefront/1";

/// A channel.
///
/// ```
/// # use edgefront_protocol::Topic;
/// let topic = Topic::Presence("pi4".parse()?);
/// assert_eq!(topic.to_string(), "edgefront/1/device/pi4/presence");
/// assert_eq!(topic.to_string().parse::<Topic>()?, topic);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Topic {
    /// Device to all, retained: `Presence`.
    Presence(DeviceId),
    /// Controller to device: `SignedBatch`.
    Batch(DeviceId),
    /// Controller to device: `Cancel`.
    Cancel(DeviceId),
    /// Controller to device: `Ack`.
    Ack(DeviceId),
    /// Controller to device: `Chunk`.
    Chunk(DeviceId),
    /// Device to controller: `Progress`.
    Progress(ControllerId, DeviceId),
    /// Device to controller: `Outcome`.
    Outcome(ControllerId, DeviceId),
    /// Device to controller: a request for chunks.
    Want(ControllerId, DeviceId),
}

/// A topic that is not one of Edgefront's.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not a topic of edgefront")]
pub struct UnknownTopic(String);

impl Topic {
    /// Filter for the presence of every device.
    pub fn all_presence() -> String {
        format!("{ROOT}/device/+/presence")
    }

    /// Filters for all that a device hears, its own presence among it: so it learns of another one of its name.
    pub fn to_device(device: &DeviceId) -> Vec<String> {
        [Self::Presence, Self::Batch, Self::Cancel, Self::Ack, Self::Chunk]
            .iter()
            .map(|t| t(device.clone()).to_string())
            .collect()
    }

    /// Filter for all that devices send to one controller.
    pub fn to_controller(controller: &ControllerId) -> String {
        format!("{ROOT}/controller/{controller}/#")
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Presence(d) => write!(f, "{ROOT}/device/{d}/presence"),
            Self::Batch(d) => write!(f, "{ROOT}/device/{d}/batch"),
            Self::Cancel(d) => write!(f, "{ROOT}/device/{d}/cancel"),
            Self::Ack(d) => write!(f, "{ROOT}/device/{d}/ack"),
            Self::Chunk(d) => write!(f, "{ROOT}/device/{d}/chunk"),
            Self::Progress(c, d) => write!(f, "{ROOT}/controller/{c}/progress/{d}"),
            Self::Outcome(c, d) => write!(f, "{ROOT}/controller/{c}/outcome/{d}"),
            Self::Want(c, d) => write!(f, "{ROOT}/controller/{c}/want/{d}"),
        }
    }
}

impl FromStr for Topic {
    type Err = UnknownTopic;

    fn from_str(text: &str) -> Result<Self, UnknownTopic> {
        let unknown = || UnknownTopic(text.to_owned());
        let path = text
            .strip_prefix(ROOT)
            .and_then(|rest| rest.strip_prefix('/'))
            .ok_or_else(unknown)?;
        let parts: Vec<&str> = path.split('/').collect();
        match parts[..] {
            ["device", device, channel] => {
                let device = device.parse().map_err(|_| unknown())?;
                match channel {
                    "presence" => Ok(Self::Presence(device)),
                    "batch" => Ok(Self::Batch(device)),
                    "cancel" => Ok(Self::Cancel(device)),
                    "ack" => Ok(Self::Ack(device)),
                    "chunk" => Ok(Self::Chunk(device)),
                    _ => Err(unknown()),
                }
            }
            ["controller", controller, channel, device] => {
                let controller = controller.parse().map_err(|_| unknown())?;
                let device = device.parse().map_err(|_| unknown())?;
                match channel {
                    "progress" => Ok(Self::Progress(controller, device)),
                    "outcome" => Ok(Self::Outcome(controller, device)),
                    "want" => Ok(Self::Want(controller, device)),
                    _ => Err(unknown()),
                }
            }
            _ => Err(unknown()),
        }
    }
}
