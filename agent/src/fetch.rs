//! The blob that is being fetched: the transfer's state machine with its files.

use std::io;
use std::time::{Duration, Instant};

use edgefront_link::transfer::{Accepted, Fetch};
use edgefront_protocol::blob::{Chunk, Want};
use edgefront_protocol::{BlobRef, ControllerId};

use crate::machine::Event;
use crate::store::{Blobs, Partial, Unverified};

/// Time between two reports of how much is here.
const REPORT_EVERY: Duration = Duration::from_millis(500);

/// Fetches one blob at a time.
#[derive(Debug)]
pub(crate) struct Fetcher {
    blobs: Blobs,
    patience: Duration,
    /// A blob that is here, while its digest is computed.
    checked: Option<(ControllerId, BlobRef)>,
    current: Option<Current>,
}

#[derive(Debug)]
struct Current {
    controller: ControllerId,
    fetch: Fetch,
    /// `None` while its digest is computed.
    partial: Option<Partial>,
    /// When the last chunk came, or the fetch began, or a stall was reported.
    heard: Instant,
    reported: Instant,
}

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Step {
    /// Ask the controller for chunks.
    Ask(ControllerId, Want),
    /// Compute the digest of what is here, which takes its time, and tell [`Fetcher::on_verified`].
    Verify(Unverified),
    /// Tell the machine.
    Tell(Event),
}

impl Fetcher {
    /// A transfer that brings nothing for `patience` is reported as stalled.
    pub(crate) fn new(blobs: Blobs, patience: Duration) -> Self {
        Self {
            blobs,
            patience,
            checked: None,
            current: None,
        }
    }

    /// Gets `blob`, in place of the one before: makes sure of what is here, and fetches what is missing.
    pub(crate) fn start(&mut self, controller: ControllerId, blob: BlobRef, now: Instant) -> Vec<Step> {
        self.stop();
        match self.blobs.whole(blob) {
            Some(whole) => {
                self.checked = Some((controller, blob));
                vec![Step::Verify(whole)]
            }
            None => self.fetch(controller, blob, now),
        }
    }

    fn fetch(&mut self, controller: ControllerId, blob: BlobRef, now: Instant) -> Vec<Step> {
        // Before a file of that size is made.
        if let Err(error) = Fetch::new(blob, &[]) {
            return vec![Step::Tell(Event::BlobFailed(blob.digest, error.to_string()))];
        }
        let (partial, held) = match self.blobs.open_partial(blob) {
            Ok(opened) => opened,
            Err(error) => return self.cannot_store(blob, &error),
        };
        match Fetch::new(blob, &held) {
            Ok(fetch) => {
                self.current = Some(Current {
                    controller,
                    fetch,
                    partial: Some(partial),
                    heard: now,
                    reported: now,
                });
                self.go_on(now)
            }
            Err(error) => vec![Step::Tell(Event::BlobFailed(blob.digest, error.to_string()))],
        }
    }

    /// Nothing is wanted any more.
    pub(crate) fn stop(&mut self) {
        (self.checked, self.current) = (None, None);
    }

    /// Takes a chunk that arrived.
    pub(crate) fn on_chunk(&mut self, chunk: &Chunk, now: Instant) -> Vec<Step> {
        let Some(current) = &mut self.current else {
            return Vec::new();
        };
        let Some(partial) = &mut current.partial else {
            return Vec::new();
        };
        if let Accepted::New { offset } = current.fetch.accept(chunk, now) {
            current.heard = now;
            if let Err(error) = partial.write(chunk.index, offset, &chunk.data) {
                let blob = partial.blob();
                return self.cannot_store(blob, &error);
            }
        }
        self.go_on(now)
    }

    /// Takes the result of [`Step::Verify`].
    pub(crate) fn on_verified(
        &mut self,
        content: Unverified,
        right: io::Result<bool>,
        now: Instant,
    ) -> Vec<Step> {
        match content {
            Unverified::Whole(blob, _) => self.on_checked(blob, right, now),
            Unverified::Partial(partial) => self.on_arrived(partial, right, now),
        }
    }

    fn on_checked(&mut self, blob: BlobRef, right: io::Result<bool>, now: Instant) -> Vec<Step> {
        let Some((controller, _)) = self.checked.take_if(|(_, checked)| *checked == blob) else {
            return Vec::new();
        };
        let damage = match right {
            Ok(true) => return vec![Step::Tell(Event::BlobReady(blob.digest))],
            Ok(false) => "it has another digest".to_owned(),
            Err(error) => error.to_string(),
        };
        let name = blob.digest.short();
        tracing::warn!("blob {name} is damaged on this device's disk ({damage}); fetching it again");
        if let Err(error) = self.blobs.discard(&blob.digest) {
            tracing::warn!("cannot remove the damaged blob {name}: {error}");
        }
        self.fetch(controller, blob, now)
    }

    fn on_arrived(&mut self, mut partial: Partial, right: io::Result<bool>, now: Instant) -> Vec<Step> {
        let Some(current) = &mut self.current else {
            return Vec::new();
        };
        let (blob, digest) = (partial.blob(), partial.blob().digest);
        if current.fetch.blob() != blob || current.partial.is_some() {
            return Vec::new();
        }
        let done = match right {
            Ok(true) => partial.complete(&self.blobs.path(&digest)).map(|()| None),
            Ok(false) => partial.clear().map(|()| Some(partial)),
            Err(error) => Err(error),
        };
        match done {
            Ok(None) => {
                self.current = None;
                vec![Step::Tell(Event::BlobReady(digest))]
            }
            Ok(Some(partial)) => {
                tracing::warn!("blob {} has another digest; fetching it again", digest.short());
                current.partial = Some(partial);
                match current.fetch.start_over() {
                    Ok(()) => self.go_on(now),
                    Err(error) => self.fail(error.to_string()),
                }
            }
            Err(error) => self.cannot_store(blob, &error),
        }
    }

    /// Nothing is on the way any more: the connection or the controller is there anew.
    pub(crate) fn ask_again(&mut self, now: Instant) -> Vec<Step> {
        if let Some(current) = &mut self.current {
            current.fetch.reconnected();
        }
        self.go_on(now)
    }

    /// When to call [`on_deadline`](Self::on_deadline).
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let current = self
            .current
            .as_ref()
            .filter(|current| current.partial.is_some())?;
        let stall = current.heard + self.patience;
        Some(
            current
                .fetch
                .deadline()
                .map_or(stall, |deadline| deadline.min(stall)),
        )
    }

    /// Asks for what is overdue, and reports a stall.
    pub(crate) fn on_deadline(&mut self, now: Instant) -> Vec<Step> {
        let mut steps = self.go_on(now);
        if let Some(current) = &mut self.current
            && now >= current.heard + self.patience
        {
            current.heard = now;
            let digest = current.fetch.blob().digest;
            steps.push(Step::Tell(Event::FetchStalled(digest)));
        }
        steps
    }

    fn go_on(&mut self, now: Instant) -> Vec<Step> {
        let Some(current) = &mut self.current else {
            return Vec::new();
        };
        if current.fetch.is_complete() {
            let arrived = current.partial.take().map(Unverified::Partial);
            return arrived.map(Step::Verify).into_iter().collect();
        }
        let mut steps = Vec::new();
        if let Some(want) = current.fetch.want(now) {
            steps.push(Step::Ask(current.controller.clone(), want));
        }
        if now >= current.reported + REPORT_EVERY {
            current.reported = now;
            let (blob, held) = (current.fetch.blob(), current.fetch.held());
            let part = u128::from(held.count()) * u128::from(blob.bytes.0) / u128::from(held.len().max(1));
            steps.push(Step::Tell(Event::BlobGrew(blob.digest, part as u64)));
        }
        steps
    }

    fn fail(&mut self, error: String) -> Vec<Step> {
        let current = self.current.take();
        let failed = |current: Current| Step::Tell(Event::BlobFailed(current.fetch.blob().digest, error));
        current.map(failed).into_iter().collect()
    }

    /// The room of what is here is given back, so that the failure and other jobs may be stored.
    fn cannot_store(&mut self, blob: BlobRef, error: &io::Error) -> Vec<Step> {
        self.stop();
        if let Err(error) = self.blobs.discard_partial(blob) {
            tracing::warn!(
                "cannot remove what is here of blob {}: {error}",
                blob.digest.short()
            );
        }
        let error = format!("the device cannot store the blob: {error}; is its disk full?");
        vec![Step::Tell(Event::BlobFailed(blob.digest, error))]
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use edgefront_link::transfer::CHUNK_BYTES;
    use edgefront_protocol::{Bytes, Digest};

    use super::*;
    use crate::store::Store;

    const PATIENCE: Duration = Duration::from_secs(30);

    struct World {
        _dir: tempfile::TempDir,
        blobs: Blobs,
        fetcher: Fetcher,
        now: Instant,
        content: Vec<u8>,
        told: Vec<Event>,
    }

    impl World {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let blobs = Store::open(dir.path()).unwrap().blobs();
            Self {
                fetcher: Fetcher::new(blobs.clone(), PATIENCE),
                blobs,
                _dir: dir,
                now: Instant::now(),
                content: (0..CHUNK_BYTES as usize * 40 + 7)
                    .map(|i| (i / 5) as u8)
                    .collect(),
                told: Vec::new(),
            }
        }

        fn blob(&self) -> BlobRef {
            BlobRef {
                digest: Digest::of(&self.content),
                bytes: Bytes(self.content.len() as u64),
            }
        }

        fn start(&mut self) -> Vec<Step> {
            self.fetcher
                .start("study".parse().unwrap(), self.blob(), self.now)
        }

        /// Serves what is asked for from `content`, at most `chunks` of it, and says how much it served.
        fn serve(&mut self, steps: Vec<Step>, content: &[u8], chunks: usize) -> usize {
            let (mut steps, mut served) = (std::collections::VecDeque::from(steps), 0);
            while let Some(step) = steps.pop_front() {
                match step {
                    Step::Tell(event) => self.told.push(event),
                    Step::Verify(content) => {
                        let right = content.verify();
                        steps.extend(self.fetcher.on_verified(content, right, self.now));
                    }
                    Step::Ask(_, want) => {
                        for index in want.chunks.iter().flat_map(|&(start, end)| start..end) {
                            if served == chunks {
                                return served;
                            }
                            served += 1;
                            let offset = (index * CHUNK_BYTES) as usize;
                            let end = content.len().min(offset + CHUNK_BYTES as usize);
                            let chunk = Chunk::new(want.digest, index, content[offset..end].to_vec());
                            steps.extend(self.fetcher.on_chunk(&chunk, self.now));
                        }
                    }
                }
            }
            served
        }
    }

    #[test]
    fn a_blob_arrives_whole() {
        let mut world = World::new();
        let (steps, content) = (world.start(), world.content.clone());
        assert_eq!(world.serve(steps, &content, 1000), 41);
        assert_eq!(world.told, [Event::BlobReady(world.blob().digest)]);
        let file = std::fs::read(world.blobs.path(&world.blob().digest)).unwrap();
        assert!(file == content);
    }

    #[test]
    fn a_blob_that_is_here_is_fetched_again_only_if_it_is_damaged() {
        let mut world = World::new();
        let (steps, content) = (world.start(), world.content.clone());
        world.serve(steps, &content, 1000);
        let place = world.blobs.path(&world.blob().digest);
        let mut altered = content.clone();
        altered[content.len() / 2] ^= 0x80;
        for (here, fetched) in [(&content[..], 0), (&altered, 41), (&content[..9], 41), (&[], 41)] {
            std::fs::write(&place, here).unwrap();
            world.told.clear();
            let steps = world.start();
            assert_eq!(world.serve(steps, &content, 1000), fetched);
            assert_eq!(world.told, [Event::BlobReady(world.blob().digest)]);
            assert!(std::fs::read(&place).unwrap() == content);
        }
    }

    #[test]
    fn a_restart_fetches_only_the_rest() {
        let mut world = World::new();
        let (steps, content) = (world.start(), world.content.clone());
        assert_eq!(world.serve(steps, &content, 30), 30);
        world.fetcher = Fetcher::new(world.blobs.clone(), PATIENCE);
        let steps = world.start();
        assert_eq!(world.serve(steps, &content, 1000), 11);
        assert_eq!(world.told, [Event::BlobReady(world.blob().digest)]);
    }

    #[test]
    fn content_that_is_wrong_each_time_fails_and_is_never_whole() {
        let mut world = World::new();
        let (steps, mut content) = (world.start(), world.content.clone());
        content[100] ^= 1;
        assert_eq!(world.serve(steps, &content, 1000), 3 * 41);
        assert!(matches!(&world.told[..], [Event::BlobFailed(_, error)] if error.contains("3 times")));
        assert!(world.blobs.whole(world.blob()).is_none());
    }

    #[test]
    fn silence_is_reported_as_a_stall_again_and_again() {
        let mut world = World::new();
        drop(world.start());
        for stalls in 1..3 {
            while world.told.len() < stalls {
                world.now = world.fetcher.deadline().unwrap();
                let steps = world.fetcher.on_deadline(world.now);
                let stall = |step| match step {
                    Step::Tell(event @ Event::FetchStalled(_)) => Some(event),
                    _ => None,
                };
                world.told.extend(steps.into_iter().filter_map(stall));
            }
        }
    }

    #[test]
    fn a_blob_of_no_bytes_is_ready_at_once() {
        let mut world = World::new();
        world.content.clear();
        let steps = world.start();
        world.serve(steps, &[], 0);
        assert_eq!(world.told, [Event::BlobReady(world.blob().digest)]);
    }
}
