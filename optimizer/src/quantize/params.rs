//! Scale and zero point of activations: `real = scale * (integer - zero point)`.

use super::ActivationType;
use super::forms::Gate;
use crate::calibrate::Extremes;

/// The least scale. Below it, the scale of a bias, a product of two scales, would underflow.
const LEAST_SCALE: f32 = 1e-15;

/// The grids that activations may be stored on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Grid {
    pub(super) kind: ActivationType,
    /// Zero lies in the middle, or for unsigned integers of values that are never negative at their least one.
    pub(super) symmetric: bool,
}

/// How an activation is stored in 8 bits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Params {
    pub(super) kind: ActivationType,
    pub(super) scale: f32,
    pub(super) zero_point: i32,
}

impl Grid {
    /// The finest grid that holds `range` and has zero on it, up to half a step at either end. A range without
    /// extent gets the scale 1.
    ///
    /// The least integer stands for the least value where zero may lie anywhere, so a `Relu` comes for free.
    pub(super) fn covering(self, range: Extremes) -> Params {
        let (lowest, highest) = self.kind.limits();
        let (min, max) = (f64::from(range.min.min(0.0)), f64::from(range.max.max(0.0)));
        let anywhere = !self.symmetric || (self.kind == ActivationType::U8 && min == 0.0);
        let middle = (lowest + highest + 1) / 2;
        let scale = if anywhere {
            (max - min) / f64::from(highest - lowest)
        } else {
            max.max(-min) / f64::from(highest - middle)
        };
        let params = |scale, zero_point| Params {
            kind: self.kind,
            scale,
            zero_point,
        };
        if scale == 0.0 {
            return params(1.0, if anywhere { lowest } else { middle });
        }
        let scale = (scale as f32).max(LEAST_SCALE);
        if !anywhere {
            return params(scale, middle);
        }
        let steps = (-min / f64::from(scale)).round_ties_even() as i32;
        params(scale, (lowest + steps).clamp(lowest, highest))
    }

    /// How the input of a gate is stored, and how the same integers are read as its result: the ends of the range
    /// are where the gate is 0 and 1. Zero must be allowed to lie anywhere.
    pub(super) fn gate(self, gate: Gate) -> (Params, Params) {
        let (lowest, highest) = self.kind.limits();
        let scale = 1.0 / (highest - lowest) as f32;
        let offset = ((highest - lowest) as f32 * gate.beta).round_ties_even() as i32;
        let params = |scale, zero_point| Params {
            kind: self.kind,
            scale,
            zero_point,
        };
        (params(scale / gate.alpha, lowest + offset), params(scale, lowest))
    }
}

impl Params {
    /// The nearest integer to a finite value.
    pub(super) fn integer(self, value: f32) -> i32 {
        let (lowest, highest) = self.kind.limits();
        let steps = (f64::from(value) / f64::from(self.scale)).round_ties_even();
        (steps as i32)
            .saturating_add(self.zero_point)
            .clamp(lowest, highest)
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

    const GRIDS: [Grid; 4] = [
        grid(ActivationType::U8, false),
        grid(ActivationType::U8, true),
        grid(ActivationType::S8, false),
        grid(ActivationType::S8, true),
    ];

    const fn grid(kind: ActivationType, symmetric: bool) -> Grid {
        Grid { kind, symmetric }
    }

    fn round_trip(params: Params, value: f32) -> f32 {
        params.scale * (params.integer(value) - params.zero_point) as f32
    }

    #[test]
    fn ranges_without_extent_have_a_valid_scale() {
        for grid in GRIDS {
            for range in [Extremes { min: 0.0, max: 0.0 }, Extremes::default()] {
                let params = grid.covering(range);
                assert_eq!(params.scale, 1.0);
                assert_eq!(round_trip(params, 0.0), 0.0);
            }
        }
    }

    #[test]
    fn what_is_never_negative_needs_no_relu() {
        for grid in GRIDS {
            let params = grid.covering(Extremes { min: 0.0, max: 5.9 });
            let free = grid != GRIDS[3];
            assert_eq!(params.zero_point == grid.kind.limits().0, free, "{grid:?}");
            assert_eq!(params.clamps(0.0, 6.0), free);
            assert_eq!(params.clamps(0.0, f32::INFINITY), free);
            assert!(!params.clamps(0.0, 5.0));
        }
    }

    #[test]
    fn symmetric_grids_have_zero_in_the_middle() {
        for (grid, middle) in [(GRIDS[1], 128), (GRIDS[3], 0)] {
            let params = grid.covering(Extremes { min: -1.0, max: 1.27 });
            assert_eq!((params.zero_point, params.scale), (middle, 0.01));
        }
    }

    proptest! {
        #[test]
        fn a_gate_is_right_within_a_step(
            x in -20_f32..20.0, alpha in 0.05_f32..1.0, beta in 0.0_f32..=1.0, s8: bool,
        ) {
            let kind = if s8 { ActivationType::S8 } else { ActivationType::U8 };
            let (written, read) = grid(kind, false).gate(Gate { alpha, beta });
            let result = read.scale * (written.integer(x) - read.zero_point) as f32;
            prop_assert!((result - (alpha * x + beta).clamp(0.0, 1.0)).abs() <= read.scale * 1.001);
        }

        #[test]
        fn values_in_range_come_back_within_half_a_step(
            a in -1e4_f32..1e4, b in -1e4_f32..1e4, at in 0.0_f32..=1.0, grid in prop::sample::select(&GRIDS[..]),
        ) {
            let range = Extremes { min: a.min(b), max: a.max(b) };
            let params = grid.covering(range);
            let value = range.min + at * (range.max - range.min);
            prop_assert!((round_trip(params, value) - value).abs() <= params.scale * 0.501);
            prop_assert_eq!(round_trip(params, 0.0), 0.0);
        }
    }
}
