//! The least and the largest of a stream of finite values.

/// Values side by side in the scan, so that the compiler vectorizes it.
const LANES: usize = 16;

/// Values hold infinities or NaN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotFinite;

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
    /// The extremes of `values`.
    #[allow(clippy::inline_always)] // For the vectors of the caller.
    #[inline(always)]
    pub fn of(values: &[f32]) -> Result<Self, NotFinite> {
        let mut lanes = Lanes::default();
        let (blocks, rest) = values.as_chunks::<LANES>();
        for block in blocks {
            lanes.see(block);
        }
        let mut last = [0.0; LANES];
        if let Some(first) = rest.first() {
            last.fill(*first);
            last[..rest.len()].copy_from_slice(rest);
            lanes.see(&last);
        }
        lanes.finish()
    }

    /// The extremes of both.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self {
            min: self.min.min(other.min),
            max: self.max.max(other.max),
        }
    }

    /// Those of `1 / (1 + exp(-x))`.
    #[must_use]
    pub fn sigmoid(self) -> Self {
        if self.are_of_nothing() {
            return self;
        }
        Self {
            min: sigmoid(self.min),
            max: sigmoid(self.max),
        }
    }

    /// Those of `x / (1 + exp(-x))`; where its least value lies between them, that one.
    #[must_use]
    pub fn silu(self) -> Self {
        if self.are_of_nothing() {
            return self;
        }
        let (one, other) = (silu(self.min), silu(self.max));
        let least = if self.min < LOWEST_SILU && LOWEST_SILU < self.max {
            silu(LOWEST_SILU)
        } else {
            one.min(other)
        };
        Self {
            min: least,
            max: one.max(other),
        }
    }

    fn are_of_nothing(self) -> bool {
        self.min > self.max
    }

    /// The largest absolute value, 0 where none was seen.
    pub fn magnitude(self) -> f32 {
        self.max.max(-self.min).max(0.0)
    }
}

/// Where `x / (1 + exp(-x))` is least.
const LOWEST_SILU: f32 = -1.278_464_5;

pub(super) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

pub(super) fn silu(x: f32) -> f32 {
    // Far below zero the product would be that of infinity and zero.
    if x < -80.0 { 0.0 } else { x * sigmoid(x) }
}

/// Extremes side by side.
struct Lanes {
    min: [f32; LANES],
    max: [f32; LANES],
    /// Infinities and NaN times zero are NaN and stay so; a test of each value would end the vectors.
    zero: [f32; LANES],
}

impl Default for Lanes {
    fn default() -> Self {
        let Extremes { min, max } = Extremes::default();
        Self {
            min: [min; LANES],
            max: [max; LANES],
            zero: [0.0; LANES],
        }
    }
}

impl Lanes {
    #[allow(clippy::inline_always)] // For the vectors of the caller.
    #[inline(always)]
    fn see(&mut self, values: &[f32; LANES]) {
        for (lane, &value) in values.iter().enumerate() {
            self.min[lane] = if value < self.min[lane] {
                value
            } else {
                self.min[lane]
            };
            self.max[lane] = if value > self.max[lane] {
                value
            } else {
                self.max[lane]
            };
            self.zero[lane] += value * 0.0;
        }
    }

    fn finish(self) -> Result<Extremes, NotFinite> {
        if self.zero.iter().any(|zero| zero.is_nan()) {
            return Err(NotFinite);
        }
        let lanes = self.min.into_iter().zip(self.max);
        let lanes = lanes.map(|(min, max)| Extremes { min, max });
        Ok(lanes.fold(Extremes::default(), Extremes::union))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::float_cmp)] // Extremes are copies of values, not results of arithmetic.
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn of_nothing_there_is_no_magnitude() {
        let nothing = Extremes::of(&[]).unwrap();
        assert_eq!(nothing.magnitude(), 0.0);
        assert_eq!((nothing.sigmoid(), nothing.silu()), (nothing, nothing));
    }

    #[test]
    fn a_value_that_is_not_finite_is_found_wherever_it_is() {
        for odd in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for place in 0..40 {
                let mut values = [1.0; 40];
                values[place] = odd;
                assert_eq!(Extremes::of(&values), Err(NotFinite), "{odd} at {place}");
            }
        }
        assert!(Extremes::of(&[f32::MAX, f32::MIN]).is_ok());
    }

    proptest! {
        #[test]
        fn those_of_functions_hold_all_their_values(values in prop::collection::vec(-200_f32..200.0, 1..100)) {
            let extremes = Extremes::of(&values).unwrap();
            for (function, made) in [(sigmoid as fn(f32) -> f32, extremes.sigmoid()), (silu, extremes.silu())] {
                let all: Vec<f32> = values.iter().map(|&value| function(value)).collect();
                let exact = Extremes::of(&all).unwrap();
                prop_assert!(made.min <= exact.min + 1e-6 && made.max >= exact.max - 1e-6, "{:?} {:?}", made, exact);
                prop_assert!(made.max <= exact.max + 1e-6);
            }
        }

        #[test]
        fn equal_those_of_one_scan(values in prop::collection::vec(-1e9_f32..1e9, 1..100)) {
            let extremes = Extremes::of(&values).unwrap();
            prop_assert_eq!(extremes.min, values.iter().copied().fold(f32::INFINITY, f32::min));
            prop_assert_eq!(extremes.max, values.iter().copied().fold(f32::NEG_INFINITY, f32::max));
            prop_assert_eq!(extremes.magnitude(), values.iter().fold(0.0_f32, |m, v| m.max(v.abs())));
        }
    }
}
