//! How a batch fares, for people; nothing depends on receiving it.

use serde::{Deserialize, Serialize};

use crate::{BatchId, JobId};

/// One step of one job. The first one received for a batch also says that the device has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The batch of the job.
    pub batch: BatchId,
    /// The job.
    pub job: JobId,
    /// Where it is.
    pub state: JobState,
}

/// The life of a job on its device, in order but for [`Scoring`](Self::Scoring), which may come between rounds, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum JobState {
    /// Stored on the device.
    Queued,
    /// Its blobs are on their way.
    Fetching {
        /// Bytes on the device so far, over all blobs of the job.
        have: u64,
        /// Bytes in all.
        total: u64,
    },
    /// The runtime loads the artifact and warms up.
    Loading,
    /// Timed rounds.
    Measuring {
        /// Rounds done.
        done: u32,
        /// Rounds in all.
        rounds: u32,
    },
    /// Pictures of the validation pack are being run.
    Scoring,
    /// Its outcome is on its way.
    Ended,
}
