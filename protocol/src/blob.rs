//! The transfer of one SHA-256-addressed blob: the device asks, the controller sends what was asked for.

use serde::{Deserialize, Serialize};

use crate::Digest;

/// A device's request. It stands until the next one for the same blob replaces it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Want {
    /// The blob.
    pub digest: Digest,
    /// Size of every chunk but the last; the offset of a chunk is its index times this.
    pub chunk_bytes: u32,
    /// Half-open ranges of chunk indices that the device lacks, ascending. Empty: it needs nothing more.
    pub missing: Vec<(u32, u32)>,
    /// How many chunks may be on the way to this device at once.
    pub credit: u32,
}

/// A piece of a blob.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// The blob.
    pub digest: Digest,
    /// Position in units of the chunk size.
    pub index: u32,
    /// CRC-32 of `data`; a chunk that does not match is dropped and asked for again.
    pub crc32: u32,
    /// The bytes.
    pub data: Vec<u8>,
}
