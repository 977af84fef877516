//! Messages that keep what the schema does not know.

use std::ops::{Deref, DerefMut};

use prost::bytes::{Buf, BufMut};
use prost::encoding::{self, DecodeContext, WireType};
use prost::{DecodeError, Message};

/// A message with a list of the field numbers that it knows.
pub trait Known {
    /// All field numbers of the message.
    const TAGS: &'static [u32];
}

/// A message and, in encoded form, the fields of it that the schema does not know. Encoding writes them after
/// the known ones, so that a model of a newer ONNX loses nothing by being read and written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Kept<T> {
    known: T,
    unknown: Vec<u8>,
}

impl<T> From<T> for Kept<T> {
    fn from(known: T) -> Self {
        Self {
            known,
            unknown: Vec::new(),
        }
    }
}

impl<T> Deref for Kept<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.known
    }
}

impl<T> DerefMut for Kept<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.known
    }
}

impl<T: Message + Known> Message for Kept<T> {
    fn encode_raw(&self, buf: &mut impl BufMut) {
        self.known.encode_raw(buf);
        buf.put_slice(&self.unknown);
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buf: &mut impl Buf,
        context: DecodeContext,
    ) -> Result<(), DecodeError> {
        if T::TAGS.contains(&tag) {
            return self.known.merge_field(tag, wire_type, buf, context);
        }
        encoding::encode_key(tag, wire_type, &mut self.unknown);
        let mut copy = Copying {
            from: buf,
            into: &mut self.unknown,
        };
        encoding::skip_field(wire_type, tag, &mut copy, context)
    }

    fn encoded_len(&self) -> usize {
        self.known.encoded_len() + self.unknown.len()
    }

    fn clear(&mut self) {
        self.known.clear();
        self.unknown.clear();
    }
}

/// A buffer that keeps a copy of what is read from it.
struct Copying<'a, B> {
    from: &'a mut B,
    into: &'a mut Vec<u8>,
}

impl<B: Buf> Buf for Copying<'_, B> {
    fn remaining(&self) -> usize {
        self.from.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.from.chunk()
    }

    fn advance(&mut self, mut count: usize) {
        while count > 0 {
            let chunk = self.from.chunk();
            let step = count.min(chunk.len());
            self.into.extend_from_slice(&chunk[..step]);
            self.from.advance(step);
            count -= step;
        }
    }
}
