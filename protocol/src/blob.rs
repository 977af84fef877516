//! The transfer of one SHA-256-addressed blob: the device asks for chunks, the controller sends those.

use serde::{Deserialize, Serialize};

use crate::Digest;

/// A device's request: each chunk named is to be sent once. So a device that never has more than a window of
/// chunks asked for and not yet received bounds what is on the way to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Want {
    /// The blob.
    pub digest: Digest,
    /// Size of every chunk but the last; the offset of a chunk is its index times this.
    pub chunk_bytes: u32,
    /// Half-open ranges of chunk indices, in the order in which they are to be sent.
    pub chunks: Vec<(u32, u32)>,
}

/// A piece of a blob.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// The blob.
    pub digest: Digest,
    /// Position in units of the chunk size.
    pub index: u32,
    /// CRC-32 of `index` (little-endian) and `data`; a chunk that does not match is dropped and asked for
    /// again.
    pub crc32: u32,
    /// The bytes.
    #[serde(with = "serde_bytes")]
    pub data: Vec<u8>,
}

impl Chunk {
    /// A chunk with the checksum of its data.
    pub fn new(digest: Digest, index: u32, data: Vec<u8>) -> Self {
        Self {
            digest,
            index,
            crc32: checksum(index, &data),
            data,
        }
    }

    /// Whether the data are those that were sent, and belong where they claim.
    pub fn is_intact(&self) -> bool {
        checksum(self.index, &self.data) == self.crc32
    }
}

fn checksum(index: u32, data: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&index.to_le_bytes());
    hasher.update(data);
    hasher.finalize()
}
