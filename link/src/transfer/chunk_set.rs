//! Which chunks of a blob are there.

/// A set of chunk indices below a fixed length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkSet {
    words: Vec<u64>,
    len: u32,
    count: u32,
}

const BITS: u32 = u64::BITS;

impl ChunkSet {
    /// The empty set of indices below `len`.
    pub fn new(len: u32) -> Self {
        Self {
            words: vec![0; len.div_ceil(BITS) as usize],
            len,
            count: 0,
        }
    }

    /// The set of half-open `ranges`; what lies at or above `len` is left out.
    pub fn from_ranges(len: u32, ranges: &[(u32, u32)]) -> Self {
        let mut set = Self::new(len);
        for &(start, end) in ranges {
            for index in start..end.min(len) {
                set.insert(index);
            }
        }
        set
    }

    /// Half-open ranges of the members, ascending and not touching: the form to store.
    pub fn ranges(&self) -> Vec<(u32, u32)> {
        to_ranges((0..self.len).filter(|&index| self.contains(index)))
    }

    /// One above the largest index that the set may hold.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// How many indices the set holds.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Whether the set holds no index.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether the set holds every index below its length.
    pub fn is_full(&self) -> bool {
        self.count == self.len
    }

    /// Whether the set holds `index`.
    pub fn contains(&self, index: u32) -> bool {
        index < self.len && self.words[(index / BITS) as usize] >> (index % BITS) & 1 == 1
    }

    /// Adds `index`, which must be below the length, and says whether it is new.
    pub fn insert(&mut self, index: u32) -> bool {
        debug_assert!(index < self.len);
        let is_new = !self.contains(index);
        self.words[(index / BITS) as usize] |= 1 << (index % BITS);
        self.count += u32::from(is_new);
        is_new
    }
}

/// Half-open ranges of `indices` in their order; neighbours are joined.
pub(super) fn to_ranges(indices: impl IntoIterator<Item = u32>) -> Vec<(u32, u32)> {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for index in indices {
        match ranges.last_mut() {
            Some((_, end)) if *end == index => *end += 1,
            _ => ranges.push((index, index + 1)),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn behaves_like_a_set(len in 1..300u32, indices in prop::collection::vec(0..300u32, 0..100)) {
            let mut set = ChunkSet::new(len);
            let mut model = BTreeSet::new();
            for index in indices.into_iter().filter(|&index| index < len) {
                prop_assert_eq!(set.insert(index), model.insert(index));
            }
            prop_assert_eq!(set.count() as usize, model.len());
            prop_assert_eq!(set.is_full(), model.len() == len as usize);
            for index in 0..=len {
                prop_assert_eq!(set.contains(index), model.contains(&index));
            }
            prop_assert_eq!(ChunkSet::from_ranges(len, &set.ranges()), set);
        }
    }

    #[test]
    fn ranges_are_joined_and_ascend() {
        let set = ChunkSet::from_ranges(100, &[(63, 66), (0, 2), (2, 3), (99, 1_000)]);
        assert_eq!(set.ranges(), [(0, 3), (63, 66), (99, 100)]);
    }

    #[test]
    fn of_no_chunks_it_is_full_from_the_start() {
        assert!(ChunkSet::new(0).is_full());
    }
}
