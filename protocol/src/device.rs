//! What a device says of itself.

use serde::{Deserialize, Serialize};

use crate::{Bytes, DeviceId, PublicKey, Rail, Throttle, UnixMillis};

/// The retained message on a device's presence topic; the broker publishes `Offline` as its last will.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::large_enum_variant, reason = "one is held at a time")]
pub enum Presence {
    /// The agent is connected.
    Online(Device, Announcement, Board, Trust, Meters, Health),
    /// The agent left, or its connection broke.
    Offline(DeviceId, Incarnation, Announcement),
}

/// How often a run of an agent had announced itself, this time included; 0 from an agent that does not count. A
/// broker that was restored to an earlier state repeats a presence, and only a run that lives raises its number.
pub type Announcement = u32;

impl Presence {
    /// The run of the agent that says it, and how often that had announced itself.
    pub fn run(&self) -> (Incarnation, Announcement) {
        match self {
            Self::Online(device, count, ..) => (device.incarnation, *count),
            Self::Offline(_, incarnation, count) => (*incarnation, *count),
        }
    }
}

/// Whose jobs a device takes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Trust {
    /// It does not tell; it is an agent of before there were signatures, and takes everybody's.
    #[default]
    NotTold,
    /// Everybody's who may publish to it.
    Everybody,
    /// Those that one of these keys signed.
    Controllers(Vec<PublicKey>),
}

/// One run of an agent, told apart from every other one that goes by the same name; the earlier run is the lesser.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Incarnation {
    /// When it started, on its device's clock.
    pub since: UnixMillis,
    /// A random number, for two that started at once.
    pub nonce: u64,
}

/// A device as its agent found it at start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Its name.
    pub id: DeviceId,
    /// Version of the agent.
    pub agent_version: String,
    /// `x86_64`, `aarch64`, `arm`.
    pub arch: String,
    /// Operating system and kernel.
    pub os: String,
    /// Processor model.
    pub cpu: String,
    /// Logical processors.
    pub cores: u32,
    /// Installed memory.
    pub memory: Bytes,
    /// Instruction set extensions that decide the speed of INT8 (`avx2`, `avx512_vnni`, `asimddp`, ...).
    pub cpu_features: Vec<String>,
    /// Every runtime that the agent knows.
    pub runtimes: Vec<RuntimeStatus>,
    /// The agent's run.
    pub incarnation: Incarnation,
}

/// What a device is built on, as far as its system tells.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Board {
    /// Name of the board or machine, from the device tree or DMI.
    pub model: Option<String>,
    /// Governors of the processors' clocks; several where clusters differ.
    pub governor: Option<String>,
    /// The highest clock of any processor in MHz.
    pub max_mhz: Option<u32>,
    /// Version of `JetPack` and of its L4T.
    pub jetpack: Option<String>,
    /// Graphics processors, with their drivers.
    pub gpus: Vec<String>,
}

/// What a device tells of its power.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meters {
    /// What its meters measure.
    pub rails: Vec<Rail>,
    /// Why other meters or rails are not read, a line each.
    pub faults: Vec<String>,
}

/// How a device fares at the moment at which it announces itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Temperature of the hottest zone, in whole degrees Celsius.
    pub temp_c: Option<i16>,
    /// What it is throttled by, each cause once; `None` where it does not tell.
    pub throttling: Option<Vec<Throttle>>,
}

/// One runtime on one device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuntimeStatus {
    /// Its name.
    pub name: String,
    /// Whether it can run here.
    pub state: RuntimeState,
}

/// Whether a runtime can run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RuntimeState {
    /// It can.
    Ready {
        /// Its version.
        version: String,
        /// Providers that its library holds.
        providers: Vec<String>,
    },
    /// It cannot.
    Absent(Absence),
}

/// Why a runtime cannot run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Absence {
    /// What is missing and what would mend it, in one line.
    pub reason: String,
}
