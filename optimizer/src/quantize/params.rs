//! Scale and zero point of activations: `real = scale * (integer - zero point)`.

use super::ActivationType;
use crate::calibrate::Extremes;

/// The least scale. Below it, the scale of a bias, a product of two scales, would underflow.
const LEAST_SCALE: f32 = 1e-15;

/// How an activation is stored in 8 bits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Params {
    pub(super) kind: ActivationType,
    pub(super) scale: f32,
    pub(super) zero_point: i32,
}

impl Params {
    /// The finest grid that holds `range` and has zero on it. A range without extent gets the scale 1.
    ///
    /// Unsigned integers and signed ones of values that are never negative have any zero point, so that their
    /// least integer stands for the least value and a `Relu` comes for free; other signed ones are symmetric.
    pub(super) fn covering(range: Extremes, kind: ActivationType) -> Self {
        let (lowest, highest) = kind.limits();
        let (min, max) = (f64::from(range.min.min(0.0)), f64::from(range.max.max(0.0)));
        let symmetric = kind == ActivationType::S8 && min < 0.0;
        let scale = if symmetric {
            max.max(-min) / f64::from(highest)
        } else {
            (max - min) / f64::from(highest - lowest)
        };
        if scale == 0.0 {
            let zero_point = if symmetric { 0 } else { lowest };
            return Self {
                kind,
                scale: 1.0,
                zero_point,
            };
        }
        let scale = (scale as f32).max(LEAST_SCALE);
        let zero_point = if symmetric {
            0
        } else {
            let steps = (-min / f64::from(scale)).round_ties_even() as i32;
            (lowest + steps).clamp(lowest, highest)
        };
        Self {
            kind,
            scale,
            zero_point,
        }
    }

    /// Whether limiting values to `[low, high]` changes nothing once they are stored, up to half a step.
    pub(super) fn clamps(self, low: f32, high: f32) -> bool {
        let (lowest, highest) = self.kind.limits();
        let real = |integer: i32| self.scale * (integer - self.zero_point) as f32;
        let slack = self.scale / 2.0;
        real(lowest) >= low - slack && real(highest) <= high + slack
    }
}

#[cfg(test)]
#[allow(clippy::float_cmp)] // Zero and the scale of nothing are exact.
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KINDS: [ActivationType; 2] = [ActivationType::U8, ActivationType::S8];

    fn round_trip(params: Params, value: f32) -> f32 {
        let (lowest, highest) = params.kind.limits();
        let integer = (value / params.scale).round_ties_even() as i32 + params.zero_point;
        params.scale * (integer.clamp(lowest, highest) - params.zero_point) as f32
    }

    #[test]
    fn ranges_without_extent_have_a_valid_scale() {
        for kind in KINDS {
            for range in [Extremes { min: 0.0, max: 0.0 }, Extremes::default()] {
                let params = Params::covering(range, kind);
                assert_eq!(params.scale, 1.0);
                assert_eq!(round_trip(params, 0.0), 0.0);
            }
        }
    }

    #[test]
    fn what_is_never_negative_needs_no_relu() {
        for kind in KINDS {
            let params = Params::covering(Extremes { min: 0.0, max: 5.9 }, kind);
            assert_eq!(params.zero_point, kind.limits().0);
            assert!(params.clamps(0.0, f32::INFINITY) && params.clamps(0.0, 6.0));
            assert!(!params.clamps(0.0, 5.0));
        }
        let signed = Params::covering(Extremes { min: -1.0, max: 1.0 }, ActivationType::S8);
        assert_eq!(signed.zero_point, 0);
        assert!(!signed.clamps(0.0, f32::INFINITY));
    }

    proptest! {
        #[test]
        fn values_in_range_come_back_within_half_a_step(
            a in -1e4_f32..1e4, b in -1e4_f32..1e4, at in 0.0_f32..=1.0, kind in prop::sample::select(&KINDS[..]),
        ) {
            let range = Extremes { min: a.min(b), max: a.max(b) };
            let params = Params::covering(range, kind);
            let value = range.min + at * (range.max - range.min);
            // The zero point is rounded to a whole step, which may move an end of the range by half a step.
            let step = if value == range.min || value == range.max { 1.0 } else { 0.5 };
            let near_end = (value - range.min).min(range.max - value) < params.scale / 2.0;
            let bound = if near_end { 1.0_f32.max(step) } else { 0.5 };
            prop_assert!((round_trip(params, value) - value).abs() <= params.scale * (bound + 1e-3));
            prop_assert_eq!(round_trip(params, 0.0), 0.0);
        }
    }
}
