//! Reads `FlatBuffers` in tests, by the format's description and with nothing of the writer.

#![allow(clippy::unwrap_used)]

/// A table within a file.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn root(bytes: &'a [u8]) -> Self {
        let at = u32_at(bytes, 0) as usize;
        Self { bytes, at }.checked()
    }

    /// Where a field is; `None` where it is not set.
    fn field(&self, slot: usize) -> Option<usize> {
        let table = self.vtable();
        if 4 + 2 * slot >= usize::from(u16_at(self.bytes, table)) {
            return None;
        }
        match u16_at(self.bytes, table + 4 + 2 * slot) {
            0 => None,
            offset => Some(self.at + usize::from(offset)),
        }
    }

    fn vtable(&self) -> usize {
        let back = u32_at(self.bytes, self.at).cast_signed();
        usize::try_from(i64::try_from(self.at).unwrap() - i64::from(back)).unwrap()
    }

    fn checked(self) -> Self {
        assert!(self.at.is_multiple_of(4) && self.vtable().is_multiple_of(2));
        let size = usize::from(u16_at(self.bytes, self.vtable() + 2));
        assert!(self.at + size <= self.bytes.len());
        self
    }

    pub(super) fn byte(&self, slot: usize) -> u8 {
        self.field(slot).map_or(0, |at| self.bytes[at])
    }

    pub(super) fn int(&self, slot: usize) -> i32 {
        let word = |at: usize| {
            assert!(at.is_multiple_of(4));
            u32_at(self.bytes, at).cast_signed()
        };
        self.field(slot).map_or(0, word)
    }

    pub(super) fn float(&self, slot: usize) -> f32 {
        f32::from_bits(self.int(slot).cast_unsigned())
    }

    pub(super) fn child(&self, slot: usize) -> Option<Self> {
        let at = self.field(slot)?;
        let at = at + u32_at(self.bytes, at) as usize;
        let bytes = self.bytes;
        Some(Self { bytes, at }.checked())
    }

    /// Where the elements of a vector begin, and how many there are.
    fn vector(&self, slot: usize) -> (usize, usize) {
        let Some(at) = self.field(slot) else { return (0, 0) };
        let at = at + u32_at(self.bytes, at) as usize;
        assert!(at.is_multiple_of(4));
        (at + 4, u32_at(self.bytes, at) as usize)
    }

    pub(super) fn place(&self, slot: usize) -> usize {
        self.vector(slot).0
    }

    pub(super) fn bytes(&self, slot: usize) -> &'a [u8] {
        let (at, count) = self.vector(slot);
        &self.bytes[at..at + count]
    }

    pub(super) fn text(&self, slot: usize) -> &'a str {
        std::str::from_utf8(self.bytes(slot)).unwrap()
    }

    pub(super) fn ints(&self, slot: usize) -> Vec<i32> {
        let (at, count) = self.vector(slot);
        let words = (0..count).map(|index| u32_at(self.bytes, at + 4 * index));
        words.map(u32::cast_signed).collect()
    }

    pub(super) fn floats(&self, slot: usize) -> Vec<f32> {
        let words = self.ints(slot).into_iter();
        words.map(|word| f32::from_bits(word.cast_unsigned())).collect()
    }

    pub(super) fn longs(&self, slot: usize) -> Vec<i64> {
        let (at, count) = self.vector(slot);
        assert!(count == 0 || at.is_multiple_of(8));
        let long = |index| i64::from_le_bytes(self.bytes[at + 8 * index..][..8].try_into().unwrap());
        (0..count).map(long).collect()
    }

    pub(super) fn tables(&self, slot: usize) -> Vec<Self> {
        let (start, count) = self.vector(slot);
        let table = |index: usize| {
            let at = start + 4 * index;
            let at = at + u32_at(self.bytes, at) as usize;
            let bytes = self.bytes;
            Self { bytes, at }.checked()
        };
        (0..count).map(table).collect()
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap())
}
