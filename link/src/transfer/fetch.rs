//! The device's half: which chunks of one blob to ask for, and when.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use edgefront_protocol::BlobRef;
use edgefront_protocol::blob::{Chunk, Want};

use super::chunk_set::to_ranges;
use super::{CHUNK_BYTES, ChunkSet, TransferError, WINDOW, chunk_count, extent};

/// What was asked for and did not come within this time counts as lost.
const PATIENCE_FIRST: Duration = Duration::from_secs(2);
/// Longest such time; it doubles with each loss of all that was asked for.
const PATIENCE_LAST: Duration = Duration::from_secs(30);
/// How often a blob is fetched whole before its content is taken to be wrong for good.
const ATTEMPTS: u32 = 3;

/// The fetch of one blob.
///
/// The owner publishes what [`want`](Self::want) returns, writes what [`accept`](Self::accept) accepts, and
/// calls `want` again after each chunk and at the [`deadline`](Self::deadline).
#[derive(Debug)]
pub struct Fetch {
    blob: BlobRef,
    chunk_bytes: u32,
    window: u32,
    held: ChunkSet,
    /// Chunks that came damaged or got lost, to be asked for before new ones.
    lost: VecDeque<u32>,
    /// Every chunk below was asked for at least once or was held from the start.
    next: u32,
    /// Asked for and not yet here, in the order of asking, which is the order of sending.
    asked: VecDeque<u32>,
    /// When what is asked for counts as lost; `None` until the first request.
    deadline: Option<Instant>,
    patience: Duration,
    /// New chunks since the last deadline passed.
    since_loss: u32,
    attempts: u32,
}

/// What became of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    /// Write its data here, then ask [`Fetch::is_complete`].
    New {
        /// Bytes from the beginning of the blob.
        offset: u64,
    },
    /// It is already there.
    Duplicate,
    /// It is damaged, and will be asked for again.
    Corrupt,
    /// It belongs to another blob.
    Foreign,
}

impl Fetch {
    /// Fetches what is missing from `held`, the ranges of chunks that an earlier fetch stored.
    pub fn new(blob: BlobRef, held: &[(u32, u32)]) -> Result<Self, TransferError> {
        Self::with_sizes(blob, held, CHUNK_BYTES, WINDOW)
    }

    /// As [`new`](Self::new), with another chunk size in bytes and window in chunks, both at least 1.
    pub fn with_sizes(
        blob: BlobRef,
        held: &[(u32, u32)],
        chunk_bytes: u32,
        window: u32,
    ) -> Result<Self, TransferError> {
        let count = chunk_count(blob, chunk_bytes)?;
        Ok(Self {
            blob,
            chunk_bytes,
            window,
            held: ChunkSet::from_ranges(count, held),
            lost: VecDeque::new(),
            next: 0,
            asked: VecDeque::new(),
            deadline: None,
            patience: PATIENCE_FIRST,
            since_loss: 0,
            attempts: 1,
        })
    }

    /// The blob.
    pub fn blob(&self) -> BlobRef {
        self.blob
    }

    /// Which chunks are there; [`ChunkSet::ranges`] is the form to store.
    pub fn held(&self) -> &ChunkSet {
        &self.held
    }

    /// Whether every chunk is there. The digest of the whole is still to be checked.
    pub fn is_complete(&self) -> bool {
        self.held.is_full()
    }

    /// When to call [`want`](Self::want) if no chunk comes before. `None`: at once, or nothing is missing.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline.filter(|_| !self.is_complete())
    }

    /// The request to publish now, if one is due: at the start, when half the window has arrived, and when
    /// what was asked for is overdue.
    pub fn want(&mut self, now: Instant) -> Option<Want> {
        if self.is_complete() {
            return None;
        }
        if self.deadline.is_some_and(|deadline| now >= deadline) {
            self.give_up_waiting();
        }
        let free = self.window - self.asked.len() as u32;
        if !self.asked.is_empty() && free < self.window.div_ceil(2) {
            return None;
        }
        let chunks: Vec<u32> = std::iter::from_fn(|| self.next_to_ask())
            .take(free as usize)
            .collect();
        if chunks.is_empty() {
            return None;
        }
        self.asked.extend(&chunks);
        self.deadline = Some(now + self.patience);
        Some(Want {
            digest: self.blob.digest,
            chunk_bytes: self.chunk_bytes,
            chunks: to_ranges(chunks),
        })
    }

    /// Takes a chunk that arrived. What was asked for before it and is not here is lost, since chunks come in
    /// the order in which they were asked for.
    pub fn accept(&mut self, chunk: &Chunk, now: Instant) -> Accepted {
        if chunk.digest != self.blob.digest {
            return Accepted::Foreign;
        }
        if self.held.contains(chunk.index) {
            return Accepted::Duplicate;
        }
        if chunk.index >= self.held.len() {
            return Accepted::Corrupt;
        }
        let (offset, bytes) = extent(self.blob, self.chunk_bytes, chunk.index);
        let is_intact = chunk.data.len() == bytes as usize && chunk.is_intact();
        if let Some(position) = self.asked.iter().position(|&index| index == chunk.index) {
            let overtaken = position + usize::from(!is_intact);
            self.lost.extend(self.asked.drain(..overtaken));
            if is_intact {
                self.asked.pop_front();
            }
        }
        if !is_intact {
            return Accepted::Corrupt;
        }
        self.deadline = Some(now + self.patience);
        self.held.insert(chunk.index);
        self.grow_hopeful();
        Accepted::New { offset }
    }

    /// The connection was interrupted, or the controller is there again: nothing is on the way any more, and
    /// the next [`want`](Self::want) asks at once.
    pub fn reconnected(&mut self) {
        self.lost.extend(self.asked.drain(..));
        self.deadline = None;
        self.patience = PATIENCE_FIRST;
        self.since_loss = 0;
    }

    /// The whole blob has another digest than it should: fetches it again from the beginning, unless that was
    /// done too often already.
    pub fn start_over(&mut self) -> Result<(), TransferError> {
        if self.attempts >= ATTEMPTS {
            return Err(TransferError::WrongDigest {
                digest: self.blob.digest,
                attempts: self.attempts,
            });
        }
        self.attempts += 1;
        self.held = ChunkSet::new(self.held.len());
        self.lost.clear();
        self.asked.clear();
        self.next = 0;
        self.deadline = None;
        Ok(())
    }

    fn next_to_ask(&mut self) -> Option<u32> {
        while let Some(index) = self.lost.pop_front() {
            if !self.held.contains(index) {
                return Some(index);
            }
        }
        while self.next < self.held.len() {
            let index = self.next;
            self.next += 1;
            if !self.held.contains(index) {
                return Some(index);
            }
        }
        None
    }

    fn give_up_waiting(&mut self) {
        self.lost.extend(self.asked.drain(..));
        self.patience = (self.patience * 2).min(PATIENCE_LAST);
        self.since_loss = 0;
    }

    /// A slow network must not be asked twice for what is still on its way, so patience that was gained is
    /// lost slowly: by half for each window that arrives.
    fn grow_hopeful(&mut self) {
        self.since_loss += 1;
        if self.since_loss >= self.window {
            self.since_loss = 0;
            self.patience = (self.patience / 2).max(PATIENCE_FIRST);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use edgefront_protocol::{Bytes, Digest};

    use super::*;

    const CHUNK: u32 = 4;

    fn content() -> Vec<u8> {
        (0..39).collect()
    }

    /// Ten chunks of four bytes, the last of three; a window of four.
    fn fetch(held: &[(u32, u32)]) -> Fetch {
        let blob = BlobRef {
            digest: Digest::of(&content()),
            bytes: Bytes(39),
        };
        Fetch::with_sizes(blob, held, CHUNK, 4).unwrap()
    }

    fn chunk(index: u32) -> Chunk {
        let content = content();
        let data = content.chunks(CHUNK as usize).nth(index as usize).unwrap();
        Chunk::new(Digest::of(&content), index, data.to_vec())
    }

    fn asked(want: Option<Want>) -> Vec<(u32, u32)> {
        want.map(|want| want.chunks).unwrap_or_default()
    }

    #[test]
    fn asks_for_a_window_and_again_when_half_of_it_is_here() {
        let now = Instant::now();
        let mut fetch = fetch(&[]);
        assert_eq!(asked(fetch.want(now)), [(0, 4)]);
        assert_eq!(fetch.accept(&chunk(0), now), Accepted::New { offset: 0 });
        assert_eq!(fetch.want(now), None);
        assert_eq!(fetch.accept(&chunk(1), now), Accepted::New { offset: 4 });
        assert_eq!(asked(fetch.want(now)), [(4, 6)]);
    }

    #[test]
    fn asks_only_for_what_is_not_stored() {
        let mut fetch = fetch(&[(0, 3), (4, 9)]);
        assert_eq!(asked(fetch.want(Instant::now())), [(3, 4), (9, 10)]);
    }

    #[test]
    fn a_gap_is_asked_for_again_before_new_chunks() {
        let now = Instant::now();
        let mut fetch = fetch(&[]);
        fetch.want(now);
        fetch.accept(&chunk(1), now);
        assert_eq!(asked(fetch.want(now)), [(0, 1), (4, 5)]);
    }

    #[test]
    fn a_damaged_chunk_is_asked_for_again() {
        let now = Instant::now();
        let mut fetch = fetch(&[]);
        fetch.want(now);
        let mut damaged = chunk(0);
        damaged.data[2] ^= 1;
        let mut misplaced = chunk(1);
        misplaced.index = 2;
        let mut short = chunk(1);
        short = Chunk::new(short.digest, 1, short.data.split_off(1));
        for bad in [damaged, short, misplaced] {
            assert_eq!(fetch.accept(&bad, now), Accepted::Corrupt);
        }
        assert_eq!(asked(fetch.want(now)), [(0, 3)]);
    }

    #[test]
    fn chunks_beyond_the_end_and_of_other_blobs_are_refused() {
        let now = Instant::now();
        let mut fetch = fetch(&[]);
        let digest = fetch.blob().digest;
        assert_eq!(
            fetch.accept(&Chunk::new(digest, 10, vec![]), now),
            Accepted::Corrupt
        );
        let other = Chunk::new(Digest::of(b"other"), 0, vec![0; 4]);
        assert_eq!(fetch.accept(&other, now), Accepted::Foreign);
        assert!(fetch.held().is_empty());
    }

    #[test]
    fn what_does_not_come_in_time_is_asked_for_again_ever_less_often() {
        let mut now = Instant::now();
        let mut fetch = fetch(&[]);
        let mut waits = Vec::new();
        for _ in 0..6 {
            assert_eq!(asked(fetch.want(now)), [(0, 4)]);
            let deadline = fetch.deadline().unwrap();
            waits.push((deadline - now).as_secs());
            now = deadline;
        }
        assert_eq!(waits, [2, 4, 8, 16, 30, 30]);
    }

    #[test]
    fn after_a_reconnection_it_asks_at_once() {
        let now = Instant::now();
        let mut fetch = fetch(&[]);
        fetch.want(now);
        fetch.accept(&chunk(0), now);
        fetch.reconnected();
        assert_eq!(asked(fetch.want(now)), [(1, 5)]);
    }

    #[test]
    fn a_blob_without_bytes_is_complete_at_once() {
        let blob = BlobRef {
            digest: Digest::of(b""),
            bytes: Bytes(0),
        };
        let mut fetch = Fetch::new(blob, &[]).unwrap();
        assert!(fetch.is_complete());
        assert_eq!(fetch.want(Instant::now()), None);
    }

    #[test]
    fn a_made_up_size_is_refused() {
        let digest = Digest::of(b"");
        let blob = BlobRef {
            digest,
            bytes: Bytes(u64::MAX),
        };
        let refused = Fetch::new(blob, &[]).unwrap_err();
        assert_eq!(
            refused,
            TransferError::TooLarge {
                digest,
                bytes: u64::MAX
            }
        );
    }

    #[test]
    fn wrong_content_is_fetched_again_a_bounded_number_of_times() {
        let now = Instant::now();
        let mut fetch = fetch(&[(0, 10)]);
        for _ in 1..ATTEMPTS {
            assert!(fetch.is_complete());
            fetch.start_over().unwrap();
            while let Some(want) = fetch.want(now) {
                for index in want.chunks.into_iter().flat_map(|(start, end)| start..end) {
                    fetch.accept(&chunk(index), now);
                }
            }
        }
        let error = fetch.start_over().unwrap_err();
        assert!(
            error.to_string().contains("arrived 3 times with other content"),
            "{error}"
        );
    }
}
