//! A file as a buffer that Protocol Buffers are decoded from, without the whole of it in memory: each tensor then
//! has memory of its own, which is free once the tensor is.

use std::fs::File;
use std::io::{self, Read};

use prost::bytes::{Buf, Bytes};

/// Bytes that are read ahead.
const AHEAD: usize = 64 << 10;

/// The bytes of a file, or of another reader, from its start.
pub(crate) struct Streamed<R> {
    reader: R,
    /// What was read ahead, of which the first `used` bytes are consumed.
    ahead: Vec<u8>,
    used: usize,
    /// Bytes that the reader still has.
    left: usize,
    /// Why it has fewer. A buffer cannot fail, so zeros stand in for them until [`Self::finish`].
    error: Option<io::Error>,
}

impl Streamed<File> {
    /// The whole file.
    pub(crate) fn open(file: File) -> io::Result<Self> {
        let size = file.metadata()?.len();
        let size = usize::try_from(size).map_err(io::Error::other)?;
        Ok(Self::new(file, size))
    }
}

impl<R: Read> Streamed<R> {
    /// `size` bytes of the reader.
    fn new(reader: R, size: usize) -> Self {
        let mut streamed = Self {
            reader,
            ahead: Vec::new(),
            used: 0,
            left: size,
            error: None,
        };
        streamed.refill();
        streamed
    }

    /// The error that cut the bytes short, if one did.
    pub(crate) fn finish(self) -> io::Result<()> {
        self.error.map_or(Ok(()), Err)
    }

    /// Reads ahead once all that was is consumed.
    fn refill(&mut self) {
        if self.used == self.ahead.len() {
            let mut ahead = std::mem::take(&mut self.ahead);
            ahead.resize(AHEAD.min(self.left), 0);
            self.fill(&mut ahead);
            (self.ahead, self.used) = (ahead, 0);
        }
    }

    /// Fills `target`, which is no longer than what is left, from the reader.
    fn fill(&mut self, target: &mut [u8]) {
        self.left -= target.len();
        if self.error.is_none() {
            self.error = self.reader.read_exact(target).err();
        }
    }
}

impl<R: Read> Buf for Streamed<R> {
    fn remaining(&self) -> usize {
        self.chunk().len() + self.left
    }

    fn chunk(&self) -> &[u8] {
        &self.ahead[self.used..]
    }

    fn advance(&mut self, mut count: usize) {
        assert!(count <= self.remaining(), "a decoder stays within what remains");
        while count > self.chunk().len() {
            count -= self.chunk().len();
            self.used = self.ahead.len();
            self.refill();
        }
        self.used += count;
        self.refill();
    }

    /// Large tensors are read to where they stay.
    fn copy_to_bytes(&mut self, count: usize) -> Bytes {
        assert!(count <= self.remaining(), "a decoder stays within what remains");
        let mut bytes = vec![0; count];
        let at_hand = count.min(self.chunk().len());
        bytes[..at_hand].copy_from_slice(&self.chunk()[..at_hand]);
        self.used += at_hand;
        self.fill(&mut bytes[at_hand..]);
        self.refill();
        bytes.into()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever is asked of it, it gives what a buffer in memory gives.
        #[test]
        fn it_is_the_same_as_memory(
            size in 0..4 * AHEAD,
            steps in prop::collection::vec((any::<bool>(), 0..2 * AHEAD), 0..12),
        ) {
            let whole: Vec<u8> = (0..size).map(|index| (index % 251) as u8).collect();
            let mut memory = Bytes::from(whole.clone());
            let mut streamed = Streamed::new(whole.as_slice(), size);
            for (copies, count) in steps {
                let count = count.min(memory.remaining());
                if copies {
                    prop_assert_eq!(streamed.copy_to_bytes(count), memory.copy_to_bytes(count));
                } else {
                    streamed.advance(count);
                    memory.advance(count);
                }
                prop_assert_eq!(streamed.remaining(), memory.remaining());
                prop_assert_eq!(streamed.has_remaining(), !streamed.chunk().is_empty());
                prop_assert!(memory.starts_with(streamed.chunk()));
            }
            prop_assert!(streamed.finish().is_ok());
        }

        /// A file that shrinks while it is read is an error, and no panic.
        #[test]
        fn fewer_bytes_than_were_promised_are_an_error(size in 0..3 * AHEAD, lost in 1..AHEAD) {
            let whole = vec![1; size];
            let mut streamed = Streamed::new(whole.as_slice(), size + lost);
            prop_assert_eq!(streamed.copy_to_bytes(size + lost).len(), size + lost);
            let error = streamed.finish().map_err(|error| error.kind());
            prop_assert_eq!(error, Err(io::ErrorKind::UnexpectedEof));
        }
    }
}
