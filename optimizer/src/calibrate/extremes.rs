//! The least and the largest of a stream of values.

/// Values side by side in the scan, so that the compiler vectorizes it.
const LANES: usize = 16;

/// The least and the largest value seen; `min > max` where none was.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Extremes {
    /// The least value.
    pub min: f32,
    /// The largest value.
    pub max: f32,
}

impl Default for Extremes {
    fn default() -> Self {
        Self {
            min: f32::INFINITY,
            max: f32::NEG_INFINITY,
        }
    }
}

impl Extremes {
    /// The extremes of `values`, NaN left out.
    pub fn of(values: &[f32]) -> Self {
        let mut lanes = [Self::default(); LANES];
        let (blocks, rest) = values.as_chunks::<LANES>();
        for block in blocks {
            for (lane, &value) in lanes.iter_mut().zip(block) {
                lane.see(value);
            }
        }
        let mut all = Self::default();
        for lane in lanes {
            all = all.union(lane);
        }
        for &value in rest {
            all.see(value);
        }
        all
    }

    /// The extremes of both.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self {
            min: self.min.min(other.min),
            max: self.max.max(other.max),
        }
    }

    /// The largest absolute value, 0 where none was seen.
    pub fn magnitude(self) -> f32 {
        self.max.max(-self.min).max(0.0)
    }

    fn see(&mut self, value: f32) {
        self.min = if value < self.min { value } else { self.min };
        self.max = if value > self.max { value } else { self.max };
    }
}

#[cfg(test)]
#[allow(clippy::float_cmp)] // Extremes are copies of values, not results of arithmetic.
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn of_nothing_there_is_no_magnitude() {
        assert_eq!(Extremes::of(&[]).magnitude(), 0.0);
    }

    proptest! {
        #[test]
        fn equal_those_of_one_scan(values in prop::collection::vec(-1e9_f32..1e9, 1..100)) {
            let extremes = Extremes::of(&values);
            prop_assert_eq!(extremes.min, values.iter().copied().fold(f32::INFINITY, f32::min));
            prop_assert_eq!(extremes.max, values.iter().copied().fold(f32::NEG_INFINITY, f32::max));
            prop_assert_eq!(extremes.magnitude(), values.iter().fold(0.0_f32, |m, v| m.max(v.abs())));
        }
    }
}
