//! The controller's half: which chunk to send next, and to whom.

use std::collections::{BTreeMap, HashMap, VecDeque};

use edgefront_protocol::blob::Want;
use edgefront_protocol::{BlobRef, Bytes, DeviceId, Digest, Topic};

use super::{SERVED_CHUNK_BYTES, TransferError, chunk_count, extent};

/// Chunks that may wait for one device. An agent asks for at most a window of each blob it fetches; what a
/// broken one asks beyond is dropped.
const QUEUE: usize = 256;

/// What to send to the devices.
#[derive(Debug, Clone, Default)]
pub struct Serve {
    blobs: HashMap<Digest, Bytes>,
    /// The devices that wait for chunks; no queue is empty.
    queues: BTreeMap<DeviceId, VecDeque<Order>>,
    /// The order in which they are served.
    turns: VecDeque<DeviceId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Order {
    blob: BlobRef,
    chunk_bytes: u32,
    index: u32,
}

/// A chunk to send: read `bytes` at `offset` of the blob, wrap them by
/// [`Chunk::new`](edgefront_protocol::blob::Chunk::new), publish them once, QoS 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Where to.
    pub topic: Topic,
    /// The blob.
    pub digest: Digest,
    /// The chunk's index.
    pub index: u32,
    /// Bytes from the beginning of the blob.
    pub offset: u64,
    /// Size of the chunk in bytes.
    pub bytes: u32,
}

impl Serve {
    /// Nothing to serve yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on `blob` may be asked for.
    pub fn offer(&mut self, blob: BlobRef) {
        self.blobs.insert(blob.digest, blob.bytes);
    }

    /// Whether a chunk waits to be sent.
    pub fn is_waiting(&self) -> bool {
        !self.turns.is_empty()
    }

    /// Takes a device's request. A chunk that already waits for the device is not queued twice.
    pub fn on_want(&mut self, device: &DeviceId, want: &Want) -> Result<(), TransferError> {
        let digest = want.digest;
        let bytes = *self
            .blobs
            .get(&digest)
            .ok_or(TransferError::UnknownBlob { digest })?;
        let blob = BlobRef { digest, bytes };
        if !SERVED_CHUNK_BYTES.contains(&want.chunk_bytes) {
            return Err(TransferError::BadWant { digest });
        }
        let count = chunk_count(blob, want.chunk_bytes)?;
        if want
            .chunks
            .iter()
            .any(|&(start, end)| start >= end || end > count)
        {
            return Err(TransferError::BadWant { digest });
        }
        let indices = want
            .chunks
            .iter()
            .flat_map(|&(start, end)| start..end)
            .take(QUEUE);
        for index in indices {
            self.enqueue(
                device,
                Order {
                    blob,
                    chunk_bytes: want.chunk_bytes,
                    index,
                },
            );
        }
        Ok(())
    }

    /// The device left, or came back and will ask anew.
    pub fn on_gone(&mut self, device: &DeviceId) {
        if self.queues.remove(device).is_some() {
            self.turns.retain(|waiting| waiting != device);
        }
    }

    fn enqueue(&mut self, device: &DeviceId, order: Order) {
        if !self.queues.contains_key(device) {
            self.turns.push_back(device.clone());
        }
        let queue = self.queues.entry(device.clone()).or_default();
        if queue.len() < QUEUE && !queue.contains(&order) {
            queue.push_back(order);
        }
    }
}

/// The chunks to send: one of each waiting device in turn. `None` means nothing waits now.
impl Iterator for Serve {
    type Item = Delivery;

    fn next(&mut self) -> Option<Delivery> {
        let device = self.turns.pop_front()?;
        let queue = self
            .queues
            .get_mut(&device)
            .expect("a device in turn has a queue");
        let order = queue.pop_front().expect("a queue is dropped when it empties");
        if queue.is_empty() {
            self.queues.remove(&device);
        } else {
            self.turns.push_back(device.clone());
        }
        let (offset, bytes) = extent(order.blob, order.chunk_bytes, order.index);
        Some(Delivery {
            topic: Topic::Chunk(device),
            digest: order.blob.digest,
            index: order.index,
            offset,
            bytes,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const CHUNK: u32 = 1 << 10;

    fn blob() -> BlobRef {
        BlobRef {
            digest: Digest::of(b"a"),
            bytes: Bytes(10 * u64::from(CHUNK) + 1),
        }
    }

    fn want(chunks: &[(u32, u32)]) -> Want {
        Want {
            digest: blob().digest,
            chunk_bytes: CHUNK,
            chunks: chunks.to_vec(),
        }
    }

    fn serve() -> Serve {
        let mut serve = Serve::new();
        serve.offer(blob());
        serve
    }

    fn device(name: &str) -> DeviceId {
        name.parse().unwrap()
    }

    #[test]
    fn devices_take_turns() {
        let mut serve = serve();
        serve.on_want(&device("a"), &want(&[(0, 3)])).unwrap();
        serve.on_want(&device("b"), &want(&[(7, 9)])).unwrap();
        let sent: Vec<_> = serve.map(|d| (d.topic, d.index)).collect();
        let to = |name: &str| Topic::Chunk(device(name));
        assert_eq!(
            sent,
            [
                (to("a"), 0),
                (to("b"), 7),
                (to("a"), 1),
                (to("b"), 8),
                (to("a"), 2)
            ]
        );
    }

    #[test]
    fn the_last_chunk_is_as_long_as_the_rest() {
        let mut serve = serve();
        serve.on_want(&device("a"), &want(&[(9, 11)])).unwrap();
        let sent: Vec<_> = serve.map(|d| (d.offset, d.bytes)).collect();
        assert_eq!(sent, [(9 * 1024, 1024), (10 * 1024, 1)]);
    }

    #[test]
    fn a_chunk_that_waits_is_not_queued_twice() {
        let mut serve = serve();
        serve.on_want(&device("a"), &want(&[(0, 2)])).unwrap();
        serve.on_want(&device("a"), &want(&[(1, 3)])).unwrap();
        let sent: Vec<_> = serve.map(|d| d.index).collect();
        assert_eq!(sent, [0, 1, 2]);
    }

    #[test]
    fn a_chunk_that_was_sent_can_be_asked_for_again() {
        let mut serve = serve();
        for _ in 0..2 {
            serve.on_want(&device("a"), &want(&[(4, 5)])).unwrap();
            assert_eq!(serve.next().map(|d| d.index), Some(4));
            assert_eq!(serve.next(), None);
        }
    }

    #[test]
    fn nothing_is_sent_to_who_is_gone() {
        let mut serve = serve();
        serve.on_want(&device("a"), &want(&[(0, 3)])).unwrap();
        serve.on_want(&device("b"), &want(&[(0, 1)])).unwrap();
        serve.on_gone(&device("a"));
        let sent: Vec<_> = serve.map(|d| d.topic).collect();
        assert_eq!(sent, [Topic::Chunk(device("b"))]);
    }

    #[test]
    fn requests_that_cannot_be_served_are_refused() {
        let digest = blob().digest;
        let mut serve = serve();
        for chunks in [&[(0, 12)][..], &[(3, 3)], &[(5, 2)], &[(0, 1), (11, 12)]] {
            let refused = serve.on_want(&device("a"), &want(chunks));
            assert_eq!(refused, Err(TransferError::BadWant { digest }), "{chunks:?}");
        }
        for chunk_bytes in [0, 1, u32::MAX] {
            let refused = serve.on_want(
                &device("a"),
                &Want {
                    chunk_bytes,
                    ..want(&[(0, 1)])
                },
            );
            assert_eq!(refused, Err(TransferError::BadWant { digest }), "{chunk_bytes}");
        }
        let digest = Digest::of(b"other");
        let refused = serve.on_want(
            &device("a"),
            &Want {
                digest,
                ..want(&[(0, 1)])
            },
        );
        assert_eq!(refused, Err(TransferError::UnknownBlob { digest }));
        assert_eq!(serve.next(), None);
    }

    #[test]
    fn a_greedy_request_is_cut_short() {
        let mut serve = Serve::new();
        serve.offer(BlobRef {
            bytes: Bytes(1 << 30),
            ..blob()
        });
        for start in 0..10 {
            serve
                .on_want(&device("a"), &want(&[(start * 1000, 1 << 20)]))
                .unwrap();
        }
        assert_eq!(serve.count(), QUEUE);
    }
}
