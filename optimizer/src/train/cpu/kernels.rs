//! The kernels as training calls them, on burn's tensors for processors.

use burn_backend::tensor::IntTensor;
use burn_backend::{Shape, TensorData, TensorMetadata as _};
use burn_flex::{Flex, FlexDevice, FlexTensor};
use rayon::ThreadPool;
use rayon::prelude::*;

use super::convolution::{Convolution, Wanted};
use super::pool::Pooling;
use super::{Extents, map, normalize};
use crate::error::Error;
use crate::train::curves;
use crate::train::kernels::{Adam, Descent, Grid, Kernels, Statistics};
use crate::train::operator::Curve;
use crate::train::parameter::Stored;
use crate::train::window::Window;

/// Elements that one thread takes at a time.
const CHUNK: usize = 1 << 14;

/// What has been checked by the inference of shapes.
const FITS: &str = "shape inference saw the window fit";

/// A tensor of these elements in row-major order.
fn tensor<E: burn_backend::Element>(values: Vec<E>, shape: impl Into<Shape>) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape))
}

/// The elements of a packed tensor.
fn elements(tensor: &FlexTensor) -> &[f32] {
    tensor.as_slice().expect("the tensor is packed")
}

fn like(tensor: &FlexTensor, values: Vec<f32>) -> FlexTensor {
    self::tensor(values, tensor.shape())
}

/// Elements of one channel of all pictures.
fn plane(pictures: &FlexTensor) -> usize {
    let shape = pictures.shape();
    shape.num_elements() / shape[0].max(1)
}

fn convolution((window, groups): (Window, usize), input: &FlexTensor, weights: &FlexTensor) -> Convolution {
    let input = Extents::new(input.shape().dims());
    Convolution::new(window, groups, input, weights.shape()[0]).expect(FITS)
}

fn pooling(window: Window, input: &FlexTensor) -> Pooling {
    let [.., rows, columns]: [usize; 4] = input.shape().dims();
    Pooling::new(window, [rows, columns]).expect(FITS)
}

/// The extents of what a pooling makes.
fn pooled(pooling: &Pooling, input: &FlexTensor) -> [usize; 4] {
    let [first, second, ..]: [usize; 4] = input.shape().dims();
    let [rows, columns] = pooling.output();
    [first, second, rows, columns]
}

/// An activation's integer, before it is limited.
fn step(scale: f32, zero: f32) -> impl Fn(f32) -> f32 + Copy {
    let inverse = 1.0 / scale;
    move |value| (value * inverse).round_ties_even() + zero
}

impl Kernels for Flex {
    const BY_CHANNEL: bool = true;

    fn compute<R: Send>(pool: &ThreadPool, work: impl FnOnce() -> R + Send) -> R {
        pool.install(work)
    }

    fn upload(values: Vec<f32>, shape: impl Into<Shape>, _: &FlexDevice) -> FlexTensor {
        tensor(values, shape)
    }

    fn download(tensor: &FlexTensor) -> Result<Vec<f32>, Error> {
        Ok(elements(&Self::packed(tensor)).to_vec())
    }

    fn packed(tensor: &FlexTensor) -> FlexTensor {
        if tensor.as_slice::<f32>().is_some() {
            tensor.clone()
        } else {
            tensor.to_contiguous()
        }
    }

    fn convolve(
        kind: (Window, usize),
        input: &FlexTensor,
        weights: &FlexTensor,
        bias: Option<&FlexTensor>,
    ) -> FlexTensor {
        let conv = convolution(kind, input, weights);
        let output = conv.forward(elements(input), elements(weights), bias.map(elements));
        let out = conv.output;
        tensor(output, [out.channels, out.batch, out.height, out.width])
    }

    fn convolve_backward(
        kind: (Window, usize),
        input: &FlexTensor,
        weights: &FlexTensor,
        gradient: &FlexTensor,
        [of_input, of_weights, of_bias]: [bool; 3],
    ) -> [Option<FlexTensor>; 3] {
        let conv = convolution(kind, input, weights);
        let wanted = Wanted {
            input: of_input,
            weights: of_weights,
            bias: of_bias,
        };
        let made = conv.backward(elements(input), elements(weights), elements(gradient), wanted);
        [
            made.input.map(|values| like(input, values)),
            made.weights.map(|values| like(weights, values)),
            made.bias.map(|values| tensor(values, [conv.output.channels])),
        ]
    }

    fn statistics(input: &FlexTensor) -> Statistics<Self> {
        let (mean, variance) = normalize::statistics(elements(input), plane(input));
        of_channels(mean, variance)
    }

    fn normalize(
        input: &FlexTensor,
        scale: &FlexTensor,
        shift: &FlexTensor,
        epsilon: f32,
    ) -> (FlexTensor, Statistics<Self>) {
        let (scale, shift) = (elements(scale), elements(shift));
        let made = normalize::forward(elements(input), plane(input), scale, shift, epsilon);
        (like(input, made.output), of_channels(made.mean, made.variance))
    }

    fn normalize_backward(
        input: &FlexTensor,
        scale: &FlexTensor,
        Statistics { mean, variance }: &Statistics<Self>,
        gradient: &FlexTensor,
        epsilon: f32,
    ) -> [FlexTensor; 3] {
        let made = normalize::backward(
            elements(input),
            elements(gradient),
            plane(input),
            elements(scale),
            (elements(mean), elements(variance)),
            epsilon,
        );
        [
            like(input, made.input),
            like(mean, made.scale),
            like(mean, made.shift),
        ]
    }

    fn largest(window: Window, input: &FlexTensor) -> (FlexTensor, IntTensor<Self>) {
        let pooling = pooling(window, input);
        let (output, places) = pooling.largest(elements(input));
        let extents = pooled(&pooling, input);
        (tensor(output, extents), tensor(places, extents))
    }

    fn largest_backward(
        window: Window,
        input: &FlexTensor,
        places: &IntTensor<Self>,
        gradient: &FlexTensor,
    ) -> FlexTensor {
        let places = places.as_slice().expect("they were made packed");
        like(input, pooling(window, input).route(elements(gradient), places))
    }

    fn average(window: Window, count_padding: bool, input: &FlexTensor) -> FlexTensor {
        let pooling = pooling(window, input);
        tensor(
            pooling.mean(elements(input), count_padding),
            pooled(&pooling, input),
        )
    }

    fn average_backward(
        window: Window,
        count_padding: bool,
        input: &FlexTensor,
        gradient: &FlexTensor,
    ) -> FlexTensor {
        let pooling = pooling(window, input);
        like(input, pooling.share(elements(gradient), count_padding))
    }

    /// What is not a number stays so.
    fn clamp((low, high): (f32, f32), input: &FlexTensor) -> FlexTensor {
        let limited = map::unary(elements(input), |value| {
            if value < low {
                low
            } else if value > high {
                high
            } else {
                value
            }
        });
        like(input, limited)
    }

    fn clamp_backward((low, high): (f32, f32), output: &FlexTensor, gradient: &FlexTensor) -> FlexTensor {
        let passed = map::binary(elements(output), elements(gradient), |value, gradient| {
            if value > low && value < high {
                gradient
            } else {
                0.0
            }
        });
        like(output, passed)
    }

    fn fake_quantize(input: &FlexTensor, log_scale: &FlexTensor, grid: Grid) -> FlexTensor {
        let scale = elements(log_scale)[0].exp();
        let ((low, high), zero) = (grid.limits, grid.zero_point);
        let step = step(scale, zero);
        let stored = map::unary(elements(input), |value| {
            (step(value).clamp(low, high) - zero) * scale
        });
        like(input, stored)
    }

    fn fake_quantize_backward(
        input: &FlexTensor,
        log_scale: &FlexTensor,
        grid: Grid,
        gradient: &FlexTensor,
    ) -> [FlexTensor; 2] {
        let scale = elements(log_scale)[0].exp();
        let ((low, high), zero) = (grid.limits, grid.zero_point);
        let step = step(scale, zero);
        let (passed, sum) = map::binary_with_sum(elements(input), elements(gradient), |value, gradient| {
            let step = step(value);
            let stored = (step.clamp(low, high) - zero) * scale;
            if step >= low && step <= high {
                (gradient, gradient * (stored - value))
            } else {
                (0.0, gradient * stored)
            }
        });
        [like(input, passed), tensor(vec![sum], [1])]
    }

    fn curve(curve: Curve, input: &FlexTensor) -> FlexTensor {
        let x = elements(input);
        let made = match curve {
            Curve::Leaky(slope) => map::unary(x, |x| if x < 0.0 { slope * x } else { x }),
            Curve::Sigmoid => map::unary(x, sigmoid),
            Curve::HardSigmoid { alpha, beta } => map::unary(x, |x| (alpha * x + beta).clamp(0.0, 1.0)),
            Curve::HardSwish => map::unary(x, |x| x * (x / 6.0 + 0.5).clamp(0.0, 1.0)),
            Curve::Gelu | Curve::TanhGelu | Curve::Softplus | Curve::Mish => {
                return curves::curve::<Self>(curve, input);
            }
        };
        like(input, made)
    }

    fn curve_backward(curve: Curve, input: &FlexTensor, gradient: &FlexTensor) -> FlexTensor {
        let (x, slopes) = (elements(input), elements(gradient));
        let made = match curve {
            Curve::Leaky(slope) => chained(x, slopes, |x| if x < 0.0 { slope } else { 1.0 }),
            Curve::Sigmoid => chained(x, slopes, |x| sigmoid(x) * (1.0 - sigmoid(x))),
            Curve::HardSigmoid { alpha, beta } => chained(x, slopes, |x| {
                let inside = alpha * x + beta;
                if inside > 0.0 && inside < 1.0 { alpha } else { 0.0 }
            }),
            Curve::HardSwish => chained(x, slopes, |x| {
                if x > 3.0 {
                    1.0
                } else if x > -3.0 {
                    x / 3.0 + 0.5
                } else {
                    0.0
                }
            }),
            Curve::Gelu | Curve::TanhGelu | Curve::Softplus | Curve::Mish => {
                return curves::curve_backward::<Self>(curve, input, gradient);
            }
        };
        like(input, made)
    }

    fn rounded(stored: &Stored, weights: &FlexTensor) -> FlexTensor {
        like(weights, stored.rounded(elements(weights)))
    }

    fn descend(
        values: &mut FlexTensor,
        velocity: &mut FlexTensor,
        gradient: &FlexTensor,
        mask: Option<&FlexTensor>,
        Descent {
            momentum,
            decay,
            rate,
        }: Descent,
    ) {
        let gradient = Self::packed(gradient);
        let (values, velocity): (&mut [f32], &mut [f32]) = (values.storage_mut(), velocity.storage_mut());
        values
            .par_chunks_mut(CHUNK)
            .zip(
                velocity
                    .par_chunks_mut(CHUNK)
                    .zip(elements(&gradient).par_chunks(CHUNK)),
            )
            .for_each(|(values, (velocities, gradients))| {
                for ((value, velocity), gradient) in values.iter_mut().zip(velocities).zip(gradients) {
                    *velocity = momentum * *velocity + gradient + decay * *value;
                    *value -= rate * *velocity;
                }
            });
        if let Some(mask) = mask {
            let masked = values.iter_mut().zip(velocity).zip(elements(mask));
            for ((value, velocity), _) in masked.filter(|(_, mask)| **mask == 0.0) {
                *value = 0.0;
                *velocity = 0.0;
            }
        }
    }

    fn adapt(value: &mut FlexTensor, moments: &mut FlexTensor, gradient: &FlexTensor, adam: Adam) {
        let ([first_decay, second_decay], corrections) = (adam.decays, adam.corrections);
        let [first, second]: &mut [f32] = moments.storage_mut() else {
            unreachable!("a scale has two moments")
        };
        let gradient: f32 = elements(&Self::packed(gradient))[0];
        *first = first_decay * *first + (1.0 - first_decay) * gradient;
        *second = second_decay * *second + (1.0 - second_decay) * gradient * gradient;
        let mean = *first / corrections[0];
        let square: f32 = *second / corrections[1];
        let [value]: &mut [f32] = value.storage_mut() else {
            unreachable!("a scale is one number")
        };
        *value -= adam.rate * mean / (square.sqrt() + adam.epsilon);
    }
}

fn of_channels(mean: Vec<f32>, variance: Vec<f32>) -> Statistics<Flex> {
    let channels = [mean.len()];
    Statistics {
        mean: tensor(mean, channels),
        variance: tensor(variance, channels),
    }
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

/// Each gradient times the derivative at its element.
fn chained(input: &[f32], gradient: &[f32], derivative: impl Fn(f32) -> f32 + Sync) -> Vec<f32> {
    map::binary(input, gradient, |value, gradient| gradient * derivative(value))
}
