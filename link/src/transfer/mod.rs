//! The blob transfer, free of I/O: both halves are state machines that are told the time.
//!
//! The device pulls. [`Fetch`] asks for chunks by name and never has more than a window of them on the way, so
//! neither a slow device nor a fast controller makes the broker queue more. [`Serve`] sends each chunk once
//! per request, fair among devices, and remembers nothing else: what is lost on the way, by a restart of
//! either side or of the broker, the device finds missing and asks for again.

mod chunk_set;
mod fetch;
#[cfg(test)]
mod property;
mod serve;

use edgefront_protocol::{BlobRef, Digest};

pub use chunk_set::ChunkSet;
pub use fetch::{Accepted, Fetch};
pub use serve::{Delivery, Serve};

/// Size of every chunk but a blob's last, in bytes. `docs/decisions/mqtt.md` has the measurement.
pub const CHUNK_BYTES: u32 = 64 << 10;
/// Chunks of one blob that may be on the way to one device at once.
pub const WINDOW: u32 = 16;
/// Chunk sizes that a controller serves.
const SERVED_CHUNK_BYTES: std::ops::RangeInclusive<u32> = 1 << 10..=1 << 20;
/// The largest blob, 64 GiB. It bounds what a chunk set of a made-up size may take.
const MAX_BLOB_BYTES: u64 = 64 << 30;

/// Why a blob cannot be transferred.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TransferError {
    /// A size that no real blob has.
    #[error("blob {} of {bytes} bytes is larger than the 64 GiB that can be transferred", digest.short())]
    TooLarge {
        /// The blob.
        digest: Digest,
        /// Its claimed size.
        bytes: u64,
    },
    /// The content was fetched several times and never had its digest.
    #[error(
        "blob {} arrived {attempts} times with other content; was its file changed on the controller while it \
         was sent, or is this device's storage faulty?",
        digest.short()
    )]
    WrongDigest {
        /// The blob.
        digest: Digest,
        /// How often it was fetched.
        attempts: u32,
    },
    /// A device asked for a blob that is not served.
    #[error("blob {} is not one of this study", digest.short())]
    UnknownBlob {
        /// The blob.
        digest: Digest,
    },
    /// A device asked for chunks that the blob does not have.
    #[error("a request for blob {} names chunks or a chunk size that it does not have", digest.short())]
    BadWant {
        /// The blob.
        digest: Digest,
    },
}

/// How many chunks of `chunk_bytes` a blob has.
fn chunk_count(blob: BlobRef, chunk_bytes: u32) -> Result<u32, TransferError> {
    let too_large = TransferError::TooLarge {
        digest: blob.digest,
        bytes: blob.bytes.0,
    };
    if blob.bytes.0 > MAX_BLOB_BYTES {
        return Err(too_large);
    }
    u32::try_from(blob.bytes.0.div_ceil(u64::from(chunk_bytes))).map_err(|_| too_large)
}

/// Where chunk `index` begins and how many bytes it has. `index` must be below the blob's chunk count.
fn extent(blob: BlobRef, chunk_bytes: u32, index: u32) -> (u64, u32) {
    let offset = u64::from(index) * u64::from(chunk_bytes);
    let rest = blob.bytes.0 - offset;
    (offset, u32::try_from(rest).unwrap_or(u32::MAX).min(chunk_bytes))
}
