//! Batch normalization with the statistics of the batch.

use rayon::prelude::*;

use super::map::{dot, sum, sum_of, vectorized};

/// What a batch normalization made, and what its gradients need.
#[derive(Debug)]
pub(in crate::train) struct Normalized {
    /// `(x - mean) / sqrt(variance + epsilon) * scale + shift`.
    pub(in crate::train) output: Vec<f32>,
    /// Mean of each channel.
    pub(in crate::train) mean: Vec<f32>,
    /// Variance of each channel, of the batch alone: divided by the count.
    pub(in crate::train) variance: Vec<f32>,
}

/// The gradients of a batch normalization.
#[derive(Debug)]
pub(in crate::train) struct Gradients {
    /// That of the input.
    pub(in crate::train) input: Vec<f32>,
    /// That of the scale.
    pub(in crate::train) scale: Vec<f32>,
    /// That of the shift.
    pub(in crate::train) shift: Vec<f32>,
}

/// Mean and variance of channels of `plane` elements each.
pub(in crate::train) fn statistics(input: &[f32], plane: usize) -> (Vec<f32>, Vec<f32>) {
    input.par_chunks(plane).map(of_channel).unzip()
}

fn of_channel(channel: &[f32]) -> (f32, f32) {
    let count = channel.len() as f32;
    let mean = sum(channel) / count;
    let variance = sum_of(channel, |value| (value - mean) * (value - mean)) / count;
    (mean, variance)
}

/// Normalizes channels of `plane` elements each.
pub(in crate::train) fn forward(
    input: &[f32],
    plane: usize,
    scale: &[f32],
    shift: &[f32],
    epsilon: f32,
) -> Normalized {
    let mut output = vec![0.0; input.len()];
    let channels = output.par_chunks_mut(plane).zip(input.par_chunks(plane));
    let statistics = channels.zip(scale.par_iter().zip(shift));
    let statistics: Vec<(f32, f32)> = statistics
        .map(|((output, input), (&scale, &shift))| {
            let (mean, variance) = of_channel(input);
            let factor = scale / (variance + epsilon).sqrt();
            affine(input, factor, shift - mean * factor, output);
            (mean, variance)
        })
        .collect();
    let (mean, variance) = statistics.into_iter().unzip();
    Normalized {
        output,
        mean,
        variance,
    }
}

/// The gradients, from that of the output.
///
/// Source: Ioffe and Szegedy, "Batch Normalization", 2015, section 3.
pub(in crate::train) fn backward(
    input: &[f32],
    gradient: &[f32],
    plane: usize,
    scale: &[f32],
    (mean, variance): (&[f32], &[f32]),
    epsilon: f32,
) -> Gradients {
    let mut of_input = vec![0.0; input.len()];
    let channels = of_input.par_chunks_mut(plane);
    let channels = channels.zip(input.par_chunks(plane).zip(gradient.par_chunks(plane)));
    let statistics = scale.par_iter().zip(mean.par_iter().zip(variance));
    let sums: Vec<(f32, f32)> = channels
        .zip(statistics)
        .map(|((of_input, (input, gradient)), (&scale, (&mean, &variance)))| {
            let deviation = (variance + epsilon).sqrt();
            let of_shift = sum(gradient);
            let of_scale = (dot(gradient, input) - mean * of_shift) / deviation;
            let (a, b) = (scale / deviation, of_scale / deviation / plane as f32);
            let c = of_shift / plane as f32 - b * mean;
            vectorized(
                #[inline(always)]
                || {
                    for ((to, x), gradient) in of_input.iter_mut().zip(input).zip(gradient) {
                        *to = a * (gradient - b * x - c);
                    }
                },
            );
            (of_scale, of_shift)
        })
        .collect();
    let (scale, shift) = sums.into_iter().unzip();
    Gradients {
        input: of_input,
        scale,
        shift,
    }
}

fn affine(input: &[f32], factor: f32, shift: f32, output: &mut [f32]) {
    vectorized(
        #[inline(always)]
        || {
            for (to, x) in output.iter_mut().zip(input) {
                *to = x * factor + shift;
            }
        },
    );
}
