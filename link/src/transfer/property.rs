//! Whatever the network and restarts do to a transfer, it ends with the right blob, and as long as the network
//! keeps the order no more than a window is on the way.

use std::collections::{BTreeSet, VecDeque};
use std::time::Instant;

use edgefront_protocol::blob::{Chunk, Want};
use edgefront_protocol::{BlobRef, Bytes, DeviceId, Digest};
use proptest::prelude::*;

use super::{Accepted, Delivery, Fetch, Serve};

const CHUNK: u32 = 1 << 10;

#[derive(Debug, Clone)]
enum Step {
    CarryWant,
    LoseWant,
    SendChunk,
    DeliverChunk,
    LoseChunk,
    DuplicateChunk,
    DamageChunk(prop::sample::Index),
    Overtake,
    PassDeadline,
    Reconnect,
    RestartDevice { forgets: prop::sample::Index },
    RestartController,
}

/// The usual steps are likelier, so that transfers get somewhere between the faults.
fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => Just(Step::CarryWant),
        1 => Just(Step::LoseWant),
        24 => Just(Step::SendChunk),
        24 => Just(Step::DeliverChunk),
        2 => Just(Step::LoseChunk),
        1 => Just(Step::DuplicateChunk),
        2 => any::<prop::sample::Index>().prop_map(Step::DamageChunk),
        1 => Just(Step::Overtake),
        1 => Just(Step::PassDeadline),
        1 => Just(Step::Reconnect),
        1 => any::<prop::sample::Index>().prop_map(|forgets| Step::RestartDevice { forgets }),
        1 => Just(Step::RestartController),
    ]
}

/// One device, one controller, and the network between them.
struct World {
    content: Vec<u8>,
    window: u32,
    device: DeviceId,
    fetch: Fetch,
    disk: Vec<u8>,
    serve: Serve,
    wants: VecDeque<Want>,
    chunks: VecDeque<Chunk>,
    now: Instant,
    /// Nothing came twice, late, or in another order yet, so what the device counts is what is on the way.
    orderly: bool,
}

impl World {
    fn new(content: Vec<u8>, window: u32) -> Self {
        let fetch = Fetch::with_sizes(blob(&content), &[], CHUNK, window).unwrap();
        let mut world = Self {
            disk: vec![0; content.len()],
            serve: serving(&content),
            content,
            window,
            device: "pi4".parse().unwrap(),
            fetch,
            wants: VecDeque::new(),
            chunks: VecDeque::new(),
            now: Instant::now(),
            orderly: true,
        };
        world.ask();
        world
    }

    fn ask(&mut self) {
        while let Some(want) = self.fetch.want(self.now) {
            self.wants.push_back(want);
        }
    }

    fn carry_want(&mut self) {
        if let Some(want) = self.wants.pop_front() {
            self.serve.on_want(&self.device, &want).unwrap();
        }
    }

    fn send_chunk(&mut self) {
        if let Some(Delivery {
            index, offset, bytes, ..
        }) = self.serve.next()
        {
            let data = &self.content[offset as usize..][..bytes as usize];
            self.chunks
                .push_back(Chunk::new(Digest::of(&self.content), index, data.to_vec()));
        }
    }

    fn deliver_chunk(&mut self) {
        let Some(chunk) = self.chunks.pop_front() else {
            return;
        };
        if let Accepted::New { offset } = self.fetch.accept(&chunk, self.now) {
            self.disk[offset as usize..][..chunk.data.len()].copy_from_slice(&chunk.data);
        }
    }

    fn pass_deadline(&mut self) {
        if let Some(deadline) = self.fetch.deadline() {
            self.orderly &= self.on_the_way().is_empty();
            self.now = deadline;
        }
    }

    fn lose_connection(&mut self) {
        self.wants.clear();
        self.chunks.clear();
        self.serve.on_gone(&self.device);
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::CarryWant => self.carry_want(),
            Step::LoseWant => drop(self.wants.pop_front()),
            Step::SendChunk => self.send_chunk(),
            Step::DeliverChunk => self.deliver_chunk(),
            Step::LoseChunk => drop(self.chunks.pop_front()),
            Step::DuplicateChunk => {
                if let Some(chunk) = self.chunks.front().cloned() {
                    self.orderly = false;
                    self.chunks.push_front(chunk);
                }
            }
            Step::DamageChunk(at) => {
                if let Some(chunk) = self.chunks.front_mut() {
                    let at = at.index(chunk.data.len());
                    chunk.data[at] ^= 0x10;
                }
            }
            Step::Overtake => {
                if let Some(chunk) = self.chunks.pop_front() {
                    self.orderly &= self.chunks.is_empty();
                    self.chunks.push_back(chunk);
                }
            }
            Step::PassDeadline => self.pass_deadline(),
            Step::Reconnect => {
                self.lose_connection();
                self.fetch.reconnected();
            }
            Step::RestartDevice { forgets } => self.restart_device(*forgets),
            Step::RestartController => self.serve = serving(&self.content),
        }
        self.ask();
    }

    /// The device stores which chunks it has now and then, so it may forget one at a restart.
    fn restart_device(&mut self, forgets: prop::sample::Index) {
        self.lose_connection();
        let mut held: BTreeSet<u32> = self
            .fetch
            .held()
            .ranges()
            .into_iter()
            .flat_map(|(start, end)| start..end)
            .collect();
        if !held.is_empty() {
            held.remove(&forgets.get(&held.iter().copied().collect::<Vec<_>>()).to_owned());
        }
        let ranges: Vec<_> = held.into_iter().map(|index| (index, index + 1)).collect();
        self.fetch = Fetch::with_sizes(blob(&self.content), &ranges, CHUNK, self.window).unwrap();
    }

    /// Distinct chunks that were asked for and neither arrived nor got lost.
    fn on_the_way(&self) -> BTreeSet<u32> {
        let asked = self.wants.iter().flat_map(|want| &want.chunks);
        asked
            .flat_map(|&(start, end)| start..end)
            .chain(self.serve.clone().map(|delivery| delivery.index))
            .chain(self.chunks.iter().map(|chunk| chunk.index))
            .collect()
    }

    /// Lets everything work. Each turn of the loop brings something or passes a deadline.
    fn finish(&mut self) {
        let turns = 4 * self.fetch.held().len() + 16;
        for _ in 0..turns {
            while !self.on_the_way().is_empty() {
                self.carry_want();
                self.send_chunk();
                self.deliver_chunk();
                self.ask();
            }
            if self.fetch.is_complete() {
                return;
            }
            self.pass_deadline();
            self.ask();
        }
        panic!("no progress: {:?}", self.fetch);
    }
}

fn blob(content: &[u8]) -> BlobRef {
    BlobRef {
        digest: Digest::of(content),
        bytes: Bytes(content.len() as u64),
    }
}

fn serving(content: &[u8]) -> Serve {
    let mut serve = Serve::new();
    serve.offer(blob(content));
    serve
}

/// No two chunks are alike.
fn content(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|i| (i / 7 + i % 251) as u8).collect()
}

proptest! {
    #[test]
    fn every_transfer_ends_with_the_right_blob(
        bytes in 0..40 * CHUNK as usize,
        window in 1..9u32,
        steps in prop::collection::vec(step(), 0..400),
    ) {
        let mut world = World::new(content(bytes), window);
        for step in &steps {
            world.take(step);
            if world.orderly {
                let on_the_way = world.on_the_way();
                prop_assert!(on_the_way.len() <= window as usize, "{:?} after {:?}", on_the_way, step);
            }
        }
        world.finish();
        prop_assert!(world.disk == world.content);
    }

    #[test]
    fn storage_that_spoils_a_chunk_is_found_out_and_mended(
        bytes in 1..20 * CHUNK as usize,
        at in any::<prop::sample::Index>(),
    ) {
        let mut world = World::new(content(bytes), 4);
        world.finish();
        let at = at.index(bytes);
        world.disk[at] ^= 1;
        prop_assert_ne!(Digest::of(&world.disk), world.fetch.blob().digest);
        world.fetch.start_over().unwrap();
        world.ask();
        world.finish();
        prop_assert_eq!(Digest::of(&world.disk), world.fetch.blob().digest);
    }
}
