//! What the machine takes, what it answers, and what is stored of it.

use edgefront_protocol::outcome::Outcome;
use edgefront_protocol::{
    Ack, Batch, BatchId, BlobRef, Cancel, ControllerId, Digest, JobId, JobState, Progress, PublicKey,
};

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Event {
    /// The agent started; nothing of what it did before it ended is under way.
    Started,
    /// The broker is there, for the first time or again.
    Connected,
    /// A controller sent a batch, and the key that signed it, if one did.
    Batch(Batch, Option<PublicKey>),
    /// A batch came that this device does not take, and why.
    Refused(Batch, String),
    /// A batch cannot be stored, or is one that this device takes no more, and why.
    Barred(BatchId, String),
    /// A controller wants no more of a batch.
    Cancel(Cancel),
    /// A controller has an outcome.
    Ack(Ack),
    /// So many bytes of the blob that is fetched are here.
    BlobGrew(Digest, u64),
    /// The blob is here, with the right digest.
    BlobReady(Digest),
    /// The blob cannot be had.
    BlobFailed(Digest, String),
    /// The blob that is fetched does not come on.
    FetchStalled(Digest),
    /// A job that is measured came to another state.
    State(JobId, JobState),
    /// A job that was measured ended.
    Ended(Box<Outcome>),
    /// All jobs that were measured ended.
    Measured(BatchId),
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Effect {
    /// Store the batch, in place of an older state of it.
    SaveBatch(Saved),
    /// Forget the batch.
    RemoveBatch(BatchId),
    /// Store the list of settled batches.
    SaveSettled(Vec<BatchId>),
    /// Store the outcome.
    SaveOutcome(Outcome),
    /// Forget the outcome.
    RemoveOutcome(JobId),
    /// Say a job's state.
    SayProgress(ControllerId, Progress),
    /// Say a job's outcome.
    SayOutcome(ControllerId, Outcome),
    /// Get this blob; one at a time.
    Fetch(ControllerId, BlobRef),
    /// The controller is there again: ask it at once for what is missing.
    AskAgain,
    /// Stop getting the blob.
    StopFetch,
    /// Measure these jobs of a batch.
    Measure(Batch),
    /// Stop measuring.
    StopMeasuring,
}

/// A batch as it is stored: of its jobs only those whose outcome is not acknowledged.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Saved {
    /// Place in the order of arrival.
    pub(crate) sequence: u64,
    pub(crate) batch: Batch,
    /// Who signed it; `None` where nobody did.
    pub(crate) signer: Option<PublicKey>,
}

/// All that is stored.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Memory {
    pub(crate) batches: Vec<Saved>,
    pub(crate) outcomes: Vec<Outcome>,
    pub(crate) settled: Vec<BatchId>,
}
