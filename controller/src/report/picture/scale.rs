//! Axes: from figures to places, and the ticks between.

/// The least positive float.
const SMALLEST: f64 = f64::from_bits(1);

/// One axis over a range of figures, linear or logarithmic.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Scale {
    low: f64,
    high: f64,
    logarithmic: bool,
}

impl Scale {
    /// A scale that holds all `values` with a margin; where their `ratios` matter it is logarithmic if they
    /// span more than a factor of 5. None of the values may be NaN or infinite.
    pub(super) fn over(values: impl Iterator<Item = f64>, ratios: bool) -> Self {
        let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| {
            (l.min(v), h.max(v))
        });
        if low > high {
            return Self {
                low: 0.0,
                high: 1.0,
                logarithmic: false,
            };
        }
        if ratios && low > 0.0 && high / low > 5.0 {
            // By logarithms, for the ratio itself may be beyond what a float holds.
            let margin = ((high.ln() - low.ln()) * 0.08).exp();
            return Self {
                low: (low / margin).max(SMALLEST),
                high: (high * margin).min(f64::MAX),
                logarithmic: true,
            };
        }
        let span = if high > low {
            high - low
        } else {
            high.abs().max(1.0) * 0.2
        };
        let high = (high + span * 0.12).min(f64::MAX);
        Self {
            // The range itself must be a float too, or nothing has a place in it.
            low: (low - span * 0.12).max(high - f64::MAX),
            high,
            logarithmic: false,
        }
    }

    /// Where the figure stands between 0 (low end) and 1 (high end).
    pub(super) fn place(&self, value: f64) -> f64 {
        if self.logarithmic {
            (value.ln() - self.low.ln()) / (self.high.ln() - self.low.ln())
        } else {
            (value - self.low) / (self.high - self.low)
        }
    }

    /// Round figures inside the range, about six of them.
    pub(super) fn ticks(&self) -> Vec<f64> {
        let mut ticks = if self.logarithmic {
            self.decades()
        } else {
            self.steps(6.0)
        };
        // Neither end may show figures that the scale cannot place.
        ticks.retain(|tick| (0.0..=1.0).contains(&self.place(*tick)));
        ticks
    }

    fn steps(&self, about: f64) -> Vec<f64> {
        let rough = (self.high - self.low) / about;
        let power = 10.0_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0]
            .map(|m| m * power)
            .into_iter()
            .find(|s| *s >= rough)
            .unwrap_or(rough);
        let first = (self.low / step).ceil();
        (0..20).map(|i| (first + f64::from(i)) * step).collect()
    }

    fn decades(&self) -> Vec<f64> {
        const MOST: usize = 12;
        let (first, last) = (self.low.log10().floor() as i32, self.high.log10().ceil() as i32);
        let few = last - first <= 4;
        let marks: &[f64] = if few { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let apart = 1 + (last - first) as usize / MOST;
        (first..=last)
            .step_by(apart)
            .flat_map(|power| marks.iter().map(move |m| m * 10.0_f64.powi(power)))
            .collect()
    }
}

/// A tick's figure without needless digits; a power of ten stands for many zeros.
pub(super) fn tick_label(value: f64) -> String {
    let size = value.abs();
    if size >= 1e7 || (0.0 < size && size < 1e-3) {
        // Rounded first, for a tick is a sum of steps.
        let rounded: f64 = format!("{value:.6e}").parse().unwrap_or(value);
        return format!("{rounded:e}");
    }
    let text = format!("{value:.4}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" {
        "0".to_owned()
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ticks_are_round() {
        assert_eq!(
            Scale::over([0.8, 2.9].into_iter(), true).ticks(),
            [1.0, 1.5, 2.0, 2.5, 3.0]
        );
        let log: Vec<String> = Scale::over([1.0, 30.0].into_iter(), true)
            .ticks()
            .into_iter()
            .map(tick_label)
            .collect();
        assert_eq!(log, ["1", "2", "5", "10", "20"]);
        assert_eq!(tick_label(92.50), "92.5");
        assert_eq!(
            [0.0002, 0.0, -0.5, 3e7].map(tick_label),
            ["2e-4", "0", "-0.5", "3e7"]
        );
    }

    #[test]
    fn shares_are_linear_over_any_range() {
        assert_eq!(
            Scale::over([10.0, 90.0].into_iter(), false).ticks(),
            [20.0, 40.0, 60.0, 80.0]
        );
    }

    #[test]
    fn the_range_of_the_largest_floats_is_a_float() {
        let values = [1.605_083_156_127_067_9e308, 5e-324];
        let scale = Scale::over(values.into_iter(), false);
        assert!(
            values
                .iter()
                .all(|value| (0.0..=1.0).contains(&scale.place(*value)))
        );
    }

    proptest! {
        #[test]
        fn whatever_is_finite_and_positive_has_a_scale_that_ends(
            values in prop::collection::vec(
                (1_u64..f64::MAX.to_bits()).prop_map(f64::from_bits), 1..8
            ),
            ratios in any::<bool>()
        ) {
            let scale = Scale::over(values.iter().copied(), ratios);
            for value in values {
                let place = scale.place(value);
                prop_assert!((0.0..=1.0).contains(&place), "{value:e} at {place}");
            }
            let ticks = scale.ticks();
            prop_assert!(ticks.len() <= 20);
            prop_assert!(ticks.iter().all(|tick| tick_label(*tick).len() <= 16));
        }

        #[test]
        fn every_value_has_its_place_inside(
            values in prop::collection::vec(1e-3_f64..1e6, 0..20), ratios in any::<bool>()
        ) {
            let scale = Scale::over(values.iter().copied(), ratios);
            for value in values {
                prop_assert!((0.0..=1.0).contains(&scale.place(value)));
            }
            prop_assert!(scale.ticks().len() <= 20);
        }
    }
}
