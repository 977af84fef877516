//! What travels between the controller and the agents, and what either of them stores.
//!
//! This crate does no I/O and knows no other crate of Edgefront. A *batch* is the set of *jobs* that one
//! device measures in interleaved rounds; each job ends in exactly one *outcome*, a measurement or a failure.

pub mod batch;
pub mod blob;
pub mod device;
pub mod digest;
pub mod energy;
pub mod id;
pub mod outcome;
pub mod pack;
pub mod processors;
pub mod progress;
pub mod reference;
pub mod results;
pub mod scenario;
pub mod score;
pub mod seal;
pub mod state;
pub mod topic;
pub mod unit;
pub mod wire;

pub use batch::{
    Ack, Artifact, Batch, BlobRef, Cancel, CoolDown, Format, Governor, Job, Plan, Precision, Shape, Target,
};
pub use device::{
    Absence, Announcement, Board, Device, Health, Incarnation, Meters, Presence, RuntimeState, RuntimeStatus,
    Trust,
};
pub use digest::Digest;
pub use energy::{Rail, RailEnergy, Scope, Step, Window};
pub use id::{BatchId, ControllerId, DeviceId, JobId};
pub use outcome::{
    Conditions, Failure, Harness, Latency, LayerTime, Lead, Measurement, Memory, Outcome, Round, Stage,
    Startup, Stopped, Sustained,
};
pub use pack::{Normalization, Pack, PackError, PictureShape};
pub use processors::Processors;
pub use progress::{JobState, Progress};
pub use reference::{Reference, ReferenceError};
pub use scenario::{Probe, Scenario};
pub use score::{Beside, ClassCount, PackBounds, PackCounts, Score, Worst};
pub use seal::{PublicKey, SignedBatch, SigningKey};
pub use state::{Cooling, ForeignLoad, RoundState, SetAside, Throttle};
pub use topic::Topic;
pub use unit::{Bytes, Microjoules, Microwatts, Nanos, Ppm, UnixMillis};
