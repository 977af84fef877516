//! Differentiable operations: a backend's kernels, recorded on a tape where there is one.

use std::sync::Arc;

use burn_backend::tensor::FloatTensor;

use super::kernels::{Grid, Kernels as _, Statistics};
use super::operator::{Curve, Pool};
use super::parameter::Stored;
use super::tape::Tape;
use super::window::Window;

/// The tensor itself, as the kernels read it.
fn packed<B: Tape>(tensor: &FloatTensor<B>) -> FloatTensor<B::Plain> {
    B::Plain::packed(B::plain(tensor))
}

/// A convolution of pictures; weights are `[output, channels / groups, rows, columns]`. The window must fit.
pub(super) fn convolve<B: Tape>(
    window: Window,
    groups: usize,
    input: FloatTensor<B>,
    weights: FloatTensor<B>,
    bias: Option<FloatTensor<B>>,
) -> FloatTensor<B> {
    let (x, w) = (packed::<B>(&input), packed::<B>(&weights));
    let addend = bias.as_ref().map(packed::<B>);
    let output = B::Plain::convolve((window, groups), &x, &w, addend.as_ref());
    let gradients = move |gradient: FloatTensor<B::Plain>, wanted| {
        let gradient = B::Plain::packed(&gradient);
        B::Plain::convolve_backward((window, groups), &x, &w, &gradient, wanted)
    };
    if let Some(bias) = bias {
        B::record([input, weights, bias], output, Arc::new(gradients))
    } else {
        let gradients = move |gradient, [input, weights]: [bool; 2]| {
            let [input, weights, _] = gradients(gradient, [input, weights, false]);
            [input, weights]
        };
        B::record([input, weights], output, Arc::new(gradients))
    }
}

/// Mean and variance of each channel of pictures.
pub(super) fn statistics<B: Tape>(input: &FloatTensor<B>) -> Statistics<B::Plain> {
    B::Plain::statistics(&packed::<B>(input))
}

/// Batch normalization of pictures with the statistics of the batch, which it returns.
pub(super) fn normalize<B: Tape>(
    input: FloatTensor<B>,
    scale: FloatTensor<B>,
    shift: FloatTensor<B>,
    epsilon: f32,
) -> (FloatTensor<B>, Statistics<B::Plain>) {
    let (x, factor) = (packed::<B>(&input), packed::<B>(&scale));
    let (output, statistics) = B::Plain::normalize(&x, &factor, &packed::<B>(&shift), epsilon);
    let known = statistics.clone();
    let gradient = move |gradient: FloatTensor<B::Plain>, wanted: [bool; 3]| {
        let gradient = B::Plain::packed(&gradient);
        let made = B::Plain::normalize_backward(&x, &factor, &known, &gradient, epsilon);
        only(made, wanted)
    };
    (
        B::record([input, scale, shift], output, Arc::new(gradient)),
        statistics,
    )
}

/// The gradients that are wanted.
fn only<T, const N: usize>(made: [T; N], wanted: [bool; N]) -> [Option<T>; N] {
    let mut wanted = wanted.into_iter();
    made.map(|made| wanted.next().is_some_and(|wanted| wanted).then_some(made))
}

/// A window that slides over the last two of four axes, which it must fit.
pub(super) fn pool<B: Tape>(pool: Pool, window: Window, input: FloatTensor<B>) -> FloatTensor<B> {
    let x = packed::<B>(&input);
    match pool {
        Pool::Max => {
            let (output, places) = B::Plain::largest(window, &x);
            let gradient = move |gradient: FloatTensor<B::Plain>, _: [bool; 1]| {
                let gradient = B::Plain::packed(&gradient);
                [Some(B::Plain::largest_backward(window, &x, &places, &gradient))]
            };
            B::record([input], output, Arc::new(gradient))
        }
        Pool::Average { count_padding } => {
            let output = B::Plain::average(window, count_padding, &x);
            let gradient = move |gradient: FloatTensor<B::Plain>, _: [bool; 1]| {
                let gradient = B::Plain::packed(&gradient);
                [Some(B::Plain::average_backward(
                    window,
                    count_padding,
                    &x,
                    &gradient,
                ))]
            };
            B::record([input], output, Arc::new(gradient))
        }
    }
}

/// Rows of a matrix, each with a mean of 0 and a variance of 1.
pub(super) fn standardize<B: Tape>(input: FloatTensor<B>, epsilon: f32) -> FloatTensor<B> {
    let (output, deviations) = B::Plain::standardize(&packed::<B>(&input), epsilon);
    let kept = output.clone();
    let gradient = move |gradient: FloatTensor<B::Plain>, _: [bool; 1]| {
        let gradient = B::Plain::packed(&gradient);
        [Some(B::Plain::standardize_backward(
            &kept,
            &deviations,
            &gradient,
        ))]
    };
    B::record([input], output, Arc::new(gradient))
}

/// Limits every element to `[low, high]`.
pub(super) fn clamp<B: Tape>(input: FloatTensor<B>, low: f32, high: f32) -> FloatTensor<B> {
    let output = B::Plain::clamp((low, high), &packed::<B>(&input));
    let kept = output.clone();
    let gradient = move |gradient: FloatTensor<B::Plain>, _: [bool; 1]| {
        let gradient = B::Plain::packed(&gradient);
        [Some(B::Plain::clamp_backward((low, high), &kept, &gradient))]
    };
    B::record([input], output, Arc::new(gradient))
}

/// What an activation becomes once it is stored in 8 bits. `log_scale` holds the natural logarithm of the scale.
pub(super) fn fake_quantize<B: Tape>(
    input: FloatTensor<B>,
    log_scale: FloatTensor<B>,
    grid: Grid,
) -> FloatTensor<B> {
    let (x, log) = (packed::<B>(&input), packed::<B>(&log_scale));
    let output = B::Plain::fake_quantize(&x, &log, grid);
    let gradient = move |gradient: FloatTensor<B::Plain>, wanted: [bool; 2]| {
        let gradient = B::Plain::packed(&gradient);
        only(
            B::Plain::fake_quantize_backward(&x, &log, grid, &gradient),
            wanted,
        )
    };
    B::record([input, log_scale], output, Arc::new(gradient))
}

/// Weights as they are stored in 8 bits, whose gradient passes for that of the weights: the straight-through
/// estimator.
///
/// Source: Bengio et al., "Estimating or Propagating Gradients Through Stochastic Neurons", 2013.
pub(super) fn rounded<B: Tape>(stored: &Stored, weights: FloatTensor<B>) -> FloatTensor<B> {
    let output = B::Plain::rounded(stored, &packed::<B>(&weights));
    B::record(
        [weights],
        output,
        Arc::new(|gradient, _: [bool; 1]| [Some(gradient)]),
    )
}

/// A function of each element.
pub(super) fn curve<B: Tape>(curve: Curve, input: FloatTensor<B>) -> FloatTensor<B> {
    let x = packed::<B>(&input);
    let output = B::Plain::curve(curve, &x);
    let gradient = move |gradient: FloatTensor<B::Plain>, _: [bool; 1]| {
        let gradient = B::Plain::packed(&gradient);
        [Some(B::Plain::curve_backward(curve, &x, &gradient))]
    };
    B::record([input], output, Arc::new(gradient))
}
