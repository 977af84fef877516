//! Weights in signed bytes without a zero point, biases in 32 bits.

use super::options::Rounding;
use super::params::Params;
use super::rounding;
use crate::simd::vectorized;

/// The largest integer of a bias, which leaves the accumulator room for the products.
const LARGEST_BIAS: f32 = (1_u32 << 30) as f32;

/// What runs over the elements of a weight tensor in row-major order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Channels {
    /// Output channels.
    pub(super) count: usize,
    /// Elements from one channel to the next.
    pub(super) stride: usize,
    /// Consecutive elements that meet one input channel.
    pub(super) kernel: usize,
}

/// The grids that weights may be stored on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Grid {
    /// One scale an output channel instead of one a tensor.
    pub(super) per_channel: bool,
    /// Seven bits, so that no kernel's sum of two products of 8 bits exceeds its 16.
    pub(super) reduced: bool,
    pub(super) rounding: Rounding,
}

impl Grid {
    /// The largest integer. Its negative is the least one, so that the grid is symmetric.
    pub(super) fn largest(self) -> f32 {
        if self.reduced { 63.0 } else { 127.0 }
    }
}

/// A quantized weight tensor and its bias.
#[derive(Debug, PartialEq)]
pub(super) struct Quantized {
    pub(super) weights: Vec<i8>,
    /// One, or one a channel.
    pub(super) scales: Vec<f32>,
    pub(super) bias: Option<Bias>,
}

/// A bias, whose scales are the products of the input's and the weights'.
#[derive(Debug, PartialEq)]
pub(super) struct Bias {
    pub(super) values: Vec<i32>,
    pub(super) scales: Vec<f32>,
}

impl Quantized {
    /// What rounding took from each weight.
    pub(super) fn errors(&self, weights: &[f32], channels: Channels) -> impl Iterator<Item = f32> {
        let each = weights.iter().zip(&self.weights).enumerate();
        each.map(move |(element, (weight, integer))| {
            let scale = self.scales[channels.of(element) % self.scales.len()];
            weight - f32::from(*integer) * scale
        })
    }
}

impl Channels {
    pub(super) fn of(self, element: usize) -> usize {
        element / self.stride % self.count
    }

    /// Consecutive elements of one channel, with the channel.
    fn runs(self, elements: &[f32]) -> impl Iterator<Item = (usize, &[f32])> {
        let runs = elements.chunks(self.stride).enumerate();
        runs.map(move |(run, elements)| (run % self.count, elements))
    }

    /// Rounds each channel by itself, adaptively.
    fn round(self, steps: &[f32], largest: f32) -> Vec<i8> {
        let mut elements = vec![Vec::with_capacity(steps.len() / self.count); self.count];
        for element in 0..steps.len() {
            elements[self.of(element)].push(element);
        }
        let mut integers = vec![0; steps.len()];
        for elements in elements {
            let channel: Vec<f32> = elements.iter().map(|&element| steps[element]).collect();
            for (element, integer) in
                elements
                    .into_iter()
                    .zip(rounding::round(&channel, self.kernel, largest))
            {
                integers[element] = integer;
            }
        }
        integers
    }
}

/// Quantizes weights that meet an input stored as `input` says. `channels` is also the bias's length.
///
/// A scale is wide enough for the largest weight, and for the bias to fit its 32 bits.
pub(super) fn quantize(
    weights: &[f32],
    channels: Channels,
    bias: Option<&[f32]>,
    input: Params,
    grid: Grid,
) -> Quantized {
    let Grid { per_channel, .. } = grid;
    let mut largest = vec![0.0_f32; channels.count];
    for (channel, run) in channels.runs(weights) {
        largest[channel] = run
            .iter()
            .fold(largest[channel], |most, weight| most.max(weight.abs()));
    }
    let mut scales: Vec<f32> = largest.iter().map(|largest| largest / grid.largest()).collect();
    for (scale, value) in scales.iter_mut().zip(bias.unwrap_or_default()) {
        *scale = scale.max(value.abs() / LARGEST_BIAS / input.scale);
    }
    if !per_channel {
        scales = vec![scales.iter().copied().fold(0.0, f32::max)];
    }
    for scale in &mut scales {
        if *scale < f32::MIN_POSITIVE {
            *scale = 1.0;
        }
    }
    let scale_of = |channel: usize| scales[if per_channel { channel } else { 0 }];
    let mut steps = Vec::with_capacity(weights.len());
    for (channel, run) in channels.runs(weights) {
        let scale = scale_of(channel);
        steps.extend(run.iter().map(|weight| weight / scale));
    }
    let integers = match grid.rounding {
        Rounding::Nearest => nearest(&steps, grid.largest()),
        Rounding::Adaptive => channels.round(&steps, grid.largest()),
    };
    let bias = bias.map(|bias| {
        let steps = |(channel, value): (usize, &f32)| {
            let scale = f64::from(input.scale) * f64::from(scale_of(channel));
            (f64::from(*value) / scale).round_ties_even() as i32
        };
        Bias {
            values: bias.iter().enumerate().map(steps).collect(),
            scales: scales.iter().map(|scale| scale * input.scale).collect(),
        }
    });
    Quantized {
        weights: integers,
        bias,
        scales,
    }
}

/// The integers nearest to these steps, none beyond `largest` in magnitude.
fn nearest(steps: &[f32], largest: f32) -> Vec<i8> {
    let mut integers = vec![0; steps.len()];
    vectorized(
        #[inline(always)]
        || {
            for (integer, steps) in integers.iter_mut().zip(steps) {
                *integer = steps.round_ties_even().clamp(-largest, largest) as i8;
            }
        },
    );
    integers
}

#[cfg(test)]
#[allow(clippy::float_cmp)] // Zero and the scale of nothing are exact.
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::calibrate::Extremes;
    use crate::quantize::{ActivationType, params};

    const PER_CHANNEL: Grid = Grid {
        per_channel: true,
        reduced: false,
        rounding: Rounding::Nearest,
    };

    fn input() -> Params {
        let grid = params::Grid {
            kind: ActivationType::U8,
            symmetric: false,
        };
        grid.covering(Extremes { min: 0.0, max: 2.55 })
    }

    #[test]
    fn a_channel_of_zeros_has_a_valid_scale_and_keeps_its_bias() {
        let channels = Channels {
            count: 2,
            stride: 2,
            kernel: 1,
        };
        let made = quantize(
            &[0.0, 0.0, 1.0, -0.5],
            channels,
            Some(&[0.0, 3.0]),
            input(),
            PER_CHANNEL,
        );
        assert_eq!(made.scales[0], 1.0);
        assert_eq!(made.weights, [0, 0, 127, -64]);
        let alone = quantize(
            &[0.0, 0.0],
            Channels {
                count: 1,
                stride: 1,
                kernel: 1,
            },
            Some(&[3.0]),
            input(),
            PER_CHANNEL,
        );
        let bias = alone.bias.unwrap();
        assert!((bias.values[0] as f32 * bias.scales[0] - 3.0).abs() < 1e-6);
    }

    #[test]
    fn a_bias_far_larger_than_the_weights_fits() {
        let made = quantize(
            &[1e-9],
            Channels {
                count: 1,
                stride: 1,
                kernel: 1,
            },
            Some(&[1e6]),
            input(),
            PER_CHANNEL,
        );
        let bias = made.bias.unwrap();
        assert!((bias.values[0] as f32 * bias.scales[0] / 1e6 - 1.0).abs() < 1e-5);
    }

    proptest! {
        #[test]
        fn weights_and_biases_come_back_within_half_a_step(
            weights in prop::collection::vec(-10_f32..10.0, 12), bias in prop::collection::vec(-10_f32..10.0, 4),
            stride in prop::sample::select(vec![1_usize, 3]), per_channel: bool, reduced: bool,
        ) {
            let channels = Channels { count: 4, stride, kernel: 1 };
            let made = quantize(&weights, channels, Some(&bias), input(), Grid { per_channel, reduced, rounding: Rounding::Nearest });
            let largest = if reduced { 63 } else { 127 };
            prop_assert!(made.weights.iter().all(|weight| (-largest..=largest).contains(weight)));
            prop_assert_eq!(made.scales.len(), if per_channel { 4 } else { 1 });
            let of = |scales: &[f32], channel: usize| scales[if per_channel { channel } else { 0 }];
            for (element, (weight, integer)) in weights.iter().zip(&made.weights).enumerate() {
                let scale = of(&made.scales, channels.of(element));
                prop_assert!((f32::from(*integer) * scale - weight).abs() <= scale * 0.501);
            }
            let quantized = made.bias.unwrap();
            for (channel, (value, integer)) in bias.iter().zip(&quantized.values).enumerate() {
                let scale = of(&quantized.scales, channel);
                prop_assert!((*integer as f32 * scale - value).abs() <= scale * 0.501 + value.abs() * 1e-6);
            }
        }
    }
}
