//! Random numbers that are the same on every machine and with every version of the libraries: the words of
//! the cipher `ChaCha8`, turned into numbers here.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore as _, SeedableRng as _};

/// One picture's random numbers.
pub(super) struct Draw(ChaCha8Rng);

impl Draw {
    /// The numbers of picture `index` of the set `seed`. No two share any.
    pub(super) fn new(seed: u64, index: u64) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        let mut words = ChaCha8Rng::from_seed(key);
        words.set_stream(index);
        Self(words)
    }

    /// A number from `low` to below `high`.
    pub(super) fn between(&mut self, low: f32, high: f32) -> f32 {
        // 24 bits are an `f32`'s precision, so each step is exact.
        let unit = (self.0.next_u32() >> 8) as f32 / (1 << 24) as f32;
        low + unit * (high - low)
    }

    /// An integer below `count`.
    pub(super) fn below(&mut self, count: usize) -> usize {
        ((u64::from(self.0.next_u32()) * count as u64) >> 32) as usize
    }

    /// True once in `count` times.
    pub(super) fn once_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    /// A direction as cosine and sine, by the rational points of the circle: no trigonometric function, whose
    /// last bit differs between machines.
    pub(super) fn direction(&mut self) -> [f32; 2] {
        // The points with |t| <= tan(pi / 8) fill an eighth of the circle about evenly.
        let t = self.between(-0.414, 0.414);
        let [cos, sin] = [(1.0 - t * t) / (1.0 + t * t), 2.0 * t / (1.0 + t * t)];
        match self.below(4) {
            0 => [cos, sin],
            1 => [-sin, cos],
            2 => [-cos, -sin],
            _ => [sin, -cos],
        }
    }
}
