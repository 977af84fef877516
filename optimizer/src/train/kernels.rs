//! Differentiable operations on processors, for which burn's own are slow or missing.
//!
//! Pictures lie channel by channel, `[C, N, H, W]`, as [`super::cpu`] wants them.

use std::sync::Arc;

use burn_backend::TensorMetadata as _;
use burn_backend::tensor::FloatTensor;
use burn_flex::FlexTensor;

use super::cpu::convolution::{Convolution, Wanted};
use super::cpu::pool::Pooling;
use super::cpu::{Extents, Window, map, normalize};
use super::operator::Pool;
use super::tape::{Tape, elements, packed, tensor};

/// A convolution of pictures; weights are `[output, channels / groups, rows, columns]`. `None` where the window
/// does not fit the pictures.
pub(super) fn convolve<B: Tape>(
    window: Window,
    groups: usize,
    input: FloatTensor<B>,
    weights: FloatTensor<B>,
    bias: Option<FloatTensor<B>>,
) -> Option<FloatTensor<B>> {
    let (x, w) = (packed(B::plain(&input)), packed(B::plain(&weights)));
    let addend = bias.as_ref().map(|bias| packed(B::plain(bias)));
    let conv = Convolution::new(window, groups, Extents::new(x.shape().dims()), w.shape()[0])?;
    let output = conv.forward(elements(&x), elements(&w), addend.as_ref().map(elements));
    let out = conv.output;
    let output = tensor(output, [out.channels, out.batch, out.height, out.width]);
    let gradients = move |gradient: &FlexTensor, wanted: Wanted| {
        let gradient = packed(gradient);
        let made = conv.backward(elements(&x), elements(&w), elements(&gradient), wanted);
        let outputs = conv.output.channels;
        [
            made.input.map(|values| tensor(values, x.shape())),
            made.weights.map(|values| tensor(values, w.shape())),
            made.bias.map(|values| tensor(values, [outputs])),
        ]
    };
    Some(if let Some(bias) = bias {
        let gradient = move |gradient: FlexTensor, [input, weights, bias]: [bool; 3]| {
            gradients(&gradient, Wanted { input, weights, bias })
        };
        B::record([input, weights, bias], output, Arc::new(gradient))
    } else {
        let gradient = move |gradient: FlexTensor, [input, weights]: [bool; 2]| {
            let bias = false;
            let [input, weights, _] = gradients(&gradient, Wanted { input, weights, bias });
            [input, weights]
        };
        B::record([input, weights], output, Arc::new(gradient))
    })
}

/// Mean and variance of each channel of a batch.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Statistics {
    pub(super) mean: Vec<f32>,
    pub(super) variance: Vec<f32>,
}

/// Mean and variance of each channel of what lies channel by channel.
pub(super) fn statistics<B: Tape>(input: &FloatTensor<B>) -> Statistics {
    let x = packed(B::plain(input));
    let (mean, variance) =
        normalize::statistics(elements(&x), x.shape().num_elements() / x.shape()[0].max(1));
    Statistics { mean, variance }
}

/// Batch normalization of what lies channel by channel, with the statistics of the batch, which it returns.
pub(super) fn normalize<B: Tape>(
    input: FloatTensor<B>,
    scale: FloatTensor<B>,
    shift: FloatTensor<B>,
    epsilon: f32,
) -> (FloatTensor<B>, Statistics) {
    let (x, factor) = (packed(B::plain(&input)), packed(B::plain(&scale)));
    let addend = packed(B::plain(&shift));
    let shape = x.shape();
    let plane = shape.num_elements() / shape[0].max(1);
    let made = normalize::forward(elements(&x), plane, elements(&factor), elements(&addend), epsilon);
    let statistics = Statistics {
        mean: made.mean,
        variance: made.variance,
    };
    let output = tensor(made.output, shape);
    let known = statistics.clone();
    let gradient = move |gradient: FlexTensor, wanted: [bool; 3]| {
        let gradient = packed(&gradient);
        let made = normalize::backward(
            elements(&x),
            elements(&gradient),
            plane,
            elements(&factor),
            (&known.mean, &known.variance),
            epsilon,
        );
        let channels = [known.mean.len()];
        let made = [
            (made.input, x.shape()),
            (made.scale, channels.into()),
            (made.shift, channels.into()),
        ];
        let mut made = made.map(|(values, shape)| Some(tensor(values, shape)));
        for (made, wanted) in made.iter_mut().zip(wanted) {
            *made = made.take().filter(|_| wanted);
        }
        made
    };
    (
        B::record([input, scale, shift], output, Arc::new(gradient)),
        statistics,
    )
}

/// A window that slides over the last two of four axes. `None` where it does not fit them.
pub(super) fn pool<B: Tape>(pool: Pool, window: Window, input: FloatTensor<B>) -> Option<FloatTensor<B>> {
    let x = packed(B::plain(&input));
    let shape: [usize; 4] = x.shape().dims();
    let pooling = Pooling::new(window, [shape[2], shape[3]])?;
    let [rows, columns] = pooling.output();
    let extents = [shape[0], shape[1], rows, columns];
    Some(match pool {
        Pool::Max => {
            let (output, places) = pooling.largest(elements(&x));
            let gradient = move |gradient: FlexTensor, _: [bool; 1]| {
                let gradient = packed(&gradient);
                [Some(tensor(pooling.route(elements(&gradient), &places), shape))]
            };
            B::record([input], tensor(output, extents), Arc::new(gradient))
        }
        Pool::Average { count_padding } => {
            let output = pooling.mean(elements(&x), count_padding);
            let gradient = move |gradient: FlexTensor, _: [bool; 1]| {
                let gradient = packed(&gradient);
                [Some(tensor(
                    pooling.share(elements(&gradient), count_padding),
                    shape,
                ))]
            };
            B::record([input], tensor(output, extents), Arc::new(gradient))
        }
    })
}

/// Limits every element to `[low, high]`. What is not a number stays so.
pub(super) fn clamp<B: Tape>(input: FloatTensor<B>, low: f32, high: f32) -> FloatTensor<B> {
    let x = packed(B::plain(&input));
    let limited = map::unary(elements(&x), |value| {
        if value < low {
            low
        } else if value > high {
            high
        } else {
            value
        }
    });
    let output = tensor(limited, x.shape());
    let kept = output.clone();
    let gradient = move |gradient: FlexTensor, _: [bool; 1]| {
        let gradient = packed(&gradient);
        let passed = map::binary(elements(&kept), elements(&gradient), |value, gradient| {
            if value > low && value < high {
                gradient
            } else {
                0.0
            }
        });
        [Some(tensor(passed, kept.shape()))]
    };
    B::record([input], output, Arc::new(gradient))
}

/// The grid of an activation in 8 bits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Grid {
    /// The integer that stands for zero.
    pub(super) zero_point: f32,
    /// The least and the largest integer.
    pub(super) limits: (f32, f32),
}

/// What an activation becomes once it is stored in 8 bits. `log_scale` holds the natural logarithm of the scale.
///
/// The gradient passes where the activation is in range; that of the scale's logarithm is
/// `gradient * (stored - activation)` in range and `gradient * stored` beyond.
///
/// Source: Jain et al., "Trained Quantization Thresholds", 2020, equations 4 to 8.
pub(super) fn fake_quantize<B: Tape>(
    input: FloatTensor<B>,
    log_scale: FloatTensor<B>,
    grid: Grid,
) -> FloatTensor<B> {
    let x = packed(B::plain(&input));
    let scale = elements(&packed(B::plain(&log_scale)))[0].exp();
    let (inverse, (low, high), zero) = (1.0 / scale, grid.limits, grid.zero_point);
    let step = move |value: f32| (value * inverse).round_ties_even() + zero;
    let stored = map::unary(elements(&x), |value| {
        (step(value).clamp(low, high) - zero) * scale
    });
    let output = tensor(stored, x.shape());
    let gradient = move |gradient: FlexTensor, wanted: [bool; 2]| {
        let gradient = packed(&gradient);
        let (passed, sum) = map::binary_with_sum(elements(&x), elements(&gradient), |value, gradient| {
            let step = step(value);
            let stored = (step.clamp(low, high) - zero) * scale;
            if step >= low && step <= high {
                (gradient, gradient * (stored - value))
            } else {
                (0.0, gradient * stored)
            }
        });
        [
            wanted[0].then(|| tensor(passed, x.shape())),
            wanted[1].then(|| tensor(vec![sum], [1])),
        ]
    };
    B::record([input, log_scale], output, Arc::new(gradient))
}

/// The tensor with other elements, as whose gradient passes for its own: the straight-through estimator.
///
/// Source: Bengio et al., "Estimating or Propagating Gradients Through Stochastic Neurons", 2013.
pub(super) fn straight_through<B: Tape>(
    input: FloatTensor<B>,
    f: impl FnOnce(&[f32]) -> Vec<f32>,
) -> FloatTensor<B> {
    let x = packed(B::plain(&input));
    let output = tensor(f(elements(&x)), x.shape());
    B::record(
        [input],
        output,
        Arc::new(|gradient, _: [bool; 1]| [Some(gradient)]),
    )
}

/// A function of each element, with its derivative.
pub(super) fn map<B: Tape>(
    input: FloatTensor<B>,
    f: impl Fn(f32) -> f32 + Sync,
    derivative: impl Fn(f32) -> f32 + Send + Sync + 'static,
) -> FloatTensor<B> {
    let x = packed(B::plain(&input));
    let output = tensor(map::unary(elements(&x), f), x.shape());
    let gradient = move |gradient: FlexTensor, _: [bool; 1]| {
        let gradient = packed(&gradient);
        let chained = map::binary(elements(&x), elements(&gradient), |value, gradient| {
            gradient * derivative(value)
        });
        [Some(tensor(chained, x.shape()))]
    };
    B::record([input], output, Arc::new(gradient))
}
