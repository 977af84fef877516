//! The kernels of training, made of operations that every backend of burn has.
//!
//! Pictures lie sample by sample, `[N, C, H, W]`.

use burn_backend::ops::ConvOptions;
use burn_backend::tensor::{BoolTensor, FloatTensor, IntTensor};
use burn_backend::{
    Backend, FloatDType, IntDType, Shape, Slice, TensorMetadata as _, get_or_init_device_settings,
};

use super::kernels::{Adam, Descent, Grid, Statistics};
use super::parameter::Stored;
use super::window::Window;

fn options(window: Window, groups: usize) -> ConvOptions<2> {
    let [top, left, bottom, right] = window.pads;
    let pads = [(top, bottom), (left, right)];
    ConvOptions::new_with_padding(window.stride, pads, window.dilation, groups)
}

/// One axis a channel and one of all else.
fn by_channel<B: Backend>(pictures: FloatTensor<B>) -> FloatTensor<B> {
    let shape = pictures.shape();
    let flat = [shape[1], shape.num_elements() / shape[1].max(1)];
    B::float_reshape(B::float_swap_dims(pictures, 0, 1), Shape::from(flat))
}

fn vector<B: Backend>(tensor: FloatTensor<B>) -> FloatTensor<B> {
    let count = tensor.shape().num_elements();
    B::float_reshape(tensor, Shape::from([count]))
}

/// The tensor with 0 where the mask is.
pub(super) fn without<B: Backend>(tensor: FloatTensor<B>, mask: BoolTensor<B>) -> FloatTensor<B> {
    B::float_mask_fill(tensor, mask, 0.0.into())
}

/// Where the elements are at most the limit.
pub(super) fn at_most<B: Backend>(tensor: FloatTensor<B>, limit: f32) -> BoolTensor<B> {
    let kind = get_or_init_device_settings::<B>(&tensor.device()).bool_dtype;
    B::float_lower_equal_elem(tensor, limit.into(), kind)
}

/// Where the elements are at least the limit.
pub(super) fn at_least<B: Backend>(tensor: FloatTensor<B>, limit: f32) -> BoolTensor<B> {
    let kind = get_or_init_device_settings::<B>(&tensor.device()).bool_dtype;
    B::float_greater_equal_elem(tensor, limit.into(), kind)
}

pub(super) fn convolve<B: Backend>(
    (window, groups): (Window, usize),
    input: &FloatTensor<B>,
    weights: &FloatTensor<B>,
    bias: Option<&FloatTensor<B>>,
) -> FloatTensor<B> {
    B::conv2d(
        input.clone(),
        weights.clone(),
        bias.cloned(),
        options(window, groups),
    )
}

pub(super) fn convolve_backward<B: Backend>(
    (window, groups): (Window, usize),
    input: &FloatTensor<B>,
    weights: &FloatTensor<B>,
    gradient: &FloatTensor<B>,
    wanted: [bool; 3],
) -> [Option<FloatTensor<B>>; 3] {
    let (x, w, gradient) = (input.clone(), weights.clone(), gradient.clone());
    let of_bias = wanted[2].then(|| vector::<B>(B::float_sum_dim(by_channel::<B>(gradient.clone()), 1)));
    let of_input = wanted[0]
        .then(|| B::conv2d_x_backward(x.clone(), w.clone(), gradient.clone(), options(window, groups)));
    let of_weights = wanted[1].then(|| B::conv2d_weight_backward(x, w, gradient, options(window, groups)));
    [of_input, of_weights, of_bias]
}

pub(super) fn statistics<B: Backend>(input: &FloatTensor<B>) -> Statistics<B> {
    let channels = by_channel::<B>(input.clone());
    let mean = B::float_mean_dim(channels.clone(), 1);
    let centred = B::float_sub(channels, mean.clone());
    let variance = B::float_mean_dim(B::float_mul(centred.clone(), centred), 1);
    Statistics {
        mean: vector::<B>(mean),
        variance: vector::<B>(variance),
    }
}

pub(super) fn normalize<B: Backend>(
    input: &FloatTensor<B>,
    scale: &FloatTensor<B>,
    shift: &FloatTensor<B>,
    epsilon: f32,
) -> (FloatTensor<B>, Statistics<B>) {
    let made = B::batch_norm_train(input.clone(), scale.clone(), shift.clone(), epsilon.into());
    let statistics = Statistics {
        mean: made.mean,
        variance: made.variance,
    };
    (made.output, statistics)
}

pub(super) fn normalize_backward<B: Backend>(
    input: &FloatTensor<B>,
    scale: &FloatTensor<B>,
    statistics: &Statistics<B>,
    gradient: &FloatTensor<B>,
    epsilon: f32,
) -> [FloatTensor<B>; 3] {
    let made = B::batch_norm_train_backward(
        input.clone(),
        scale.clone(),
        statistics.mean.clone(),
        statistics.variance.clone(),
        epsilon.into(),
        gradient.clone(),
    );
    [made.x_grad, made.gamma_grad, made.beta_grad]
}

pub(super) fn standardize<B: Backend>(
    input: &FloatTensor<B>,
    epsilon: f32,
) -> (FloatTensor<B>, FloatTensor<B>) {
    let mean = B::float_mean_dim(input.clone(), 1);
    let centred = B::float_sub(input.clone(), mean);
    let variance = B::float_mean_dim(B::float_mul(centred.clone(), centred.clone()), 1);
    let deviation = B::float_sqrt(B::float_add_scalar(variance, epsilon.into()));
    let inverse = B::float_recip(deviation);
    (B::float_mul(centred, inverse.clone()), inverse)
}

pub(super) fn standardize_backward<B: Backend>(
    output: &FloatTensor<B>,
    deviations: &FloatTensor<B>,
    gradient: &FloatTensor<B>,
) -> FloatTensor<B> {
    // What moves the mean or stretches the deviation of a row is taken out of its gradient.
    let mean = B::float_mean_dim(gradient.clone(), 1);
    let along = B::float_mean_dim(B::float_mul(gradient.clone(), output.clone()), 1);
    let left = B::float_sub(gradient.clone(), mean);
    let left = B::float_sub(left, B::float_mul(output.clone(), along));
    B::float_mul(left, deviations.clone())
}

/// The pictures and the window as burn's pooling takes them: with the same padding before as after, so that what
/// differs is put around the pictures, where it is never the largest.
fn evened<B: Backend>(window: Window, input: &FloatTensor<B>) -> (FloatTensor<B>, [usize; 2]) {
    let [top, left, bottom, right] = window.pads;
    if (top, left) == (bottom, right) {
        return (input.clone(), [top, left]);
    }
    let [samples, channels, height, width] = input.shape().dims();
    let around = Shape::from([samples, channels, height + top + bottom, width + left + right]);
    let lowest = B::float_full(around, f32::MIN.into(), &input.device(), FloatDType::F32);
    let padded = B::float_slice_assign(lowest, &inside::<B>(window, input), input.clone());
    (padded, [0, 0])
}

/// Where the pictures lie within their padding.
fn inside<B: Backend>(window: Window, input: &FloatTensor<B>) -> [Slice; 4] {
    let [samples, channels, height, width] = input.shape().dims();
    let [top, left, ..] = window.pads;
    [
        Slice::from(0..samples),
        Slice::from(0..channels),
        Slice::from(top..top + height),
        Slice::from(left..left + width),
    ]
}

pub(super) fn largest<B: Backend>(window: Window, input: &FloatTensor<B>) -> (FloatTensor<B>, IntTensor<B>) {
    let (input, pads) = evened::<B>(window, input);
    let Window {
        kernel,
        stride,
        dilation,
        ..
    } = window;
    let made = B::max_pool2d_with_indices(input, kernel, stride, pads, dilation, false, IntDType::I32);
    (made.output, made.indices)
}

pub(super) fn largest_backward<B: Backend>(
    window: Window,
    input: &FloatTensor<B>,
    places: &IntTensor<B>,
    gradient: &FloatTensor<B>,
) -> FloatTensor<B> {
    let (padded, pads) = evened::<B>(window, input);
    let Window {
        kernel,
        stride,
        dilation,
        ..
    } = window;
    let is_padded = padded.shape() != input.shape();
    let (gradient, places) = (gradient.clone(), places.clone());
    let made =
        B::max_pool2d_with_indices_backward(padded, kernel, stride, pads, dilation, false, gradient, places);
    if is_padded {
        B::float_slice(made.x_grad, &inside::<B>(window, input))
    } else {
        made.x_grad
    }
}

/// Weights and options of a convolution that sums each channel's windows: burn's own average takes neither dilation
/// nor padding that differs by side.
fn summing<B: Backend>(window: Window, input: &FloatTensor<B>) -> (FloatTensor<B>, ConvOptions<2>) {
    let channels = input.shape()[1];
    let [rows, columns] = window.kernel;
    let ones = B::float_ones(
        Shape::from([channels, 1, rows, columns]),
        &input.device(),
        FloatDType::F32,
    );
    (ones, options(window, channels))
}

/// Divides sums of windows over pictures like the input by how many elements they are of.
fn divided<B: Backend>(
    window: Window,
    count_padding: bool,
    input: &FloatTensor<B>,
    sums: FloatTensor<B>,
) -> FloatTensor<B> {
    let area: usize = window.kernel.iter().product();
    if count_padding || window.pads == [0; 4] {
        return B::float_div_scalar(sums, (area as f32).into());
    }
    let [_, _, height, width] = input.shape().dims();
    let plane = Shape::from([1, 1, height, width]);
    let plane = B::float_ones(plane, &input.device(), FloatDType::F32);
    let (ones, options) = summing::<B>(window, &plane);
    B::float_div(sums, B::conv2d(plane, ones, None, options))
}

pub(super) fn average<B: Backend>(
    window: Window,
    count_padding: bool,
    input: &FloatTensor<B>,
) -> FloatTensor<B> {
    let (ones, options) = summing::<B>(window, input);
    let sums = B::conv2d(input.clone(), ones, None, options);
    divided::<B>(window, count_padding, input, sums)
}

pub(super) fn average_backward<B: Backend>(
    window: Window,
    count_padding: bool,
    input: &FloatTensor<B>,
    gradient: &FloatTensor<B>,
) -> FloatTensor<B> {
    let shares = divided::<B>(window, count_padding, input, gradient.clone());
    let (ones, options) = summing::<B>(window, input);
    B::conv2d_x_backward(input.clone(), ones, shares, options)
}

pub(super) fn clamp<B: Backend>((low, high): (f32, f32), input: &FloatTensor<B>) -> FloatTensor<B> {
    let input = input.clone();
    match (low.is_finite(), high.is_finite()) {
        (true, true) => B::float_clamp(input, low.into(), high.into()),
        (true, false) => B::float_clamp_min(input, low.into()),
        (false, true) => B::float_clamp_max(input, high.into()),
        (false, false) => input,
    }
}

pub(super) fn clamp_backward<B: Backend>(
    (low, high): (f32, f32),
    output: &FloatTensor<B>,
    gradient: &FloatTensor<B>,
) -> FloatTensor<B> {
    let mut passed = gradient.clone();
    if low.is_finite() {
        passed = without::<B>(passed, at_most::<B>(output.clone(), low));
    }
    if high.is_finite() {
        passed = without::<B>(passed, at_least::<B>(output.clone(), high));
    }
    passed
}

/// A scale that multiplies a tensor of so many axes.
fn scale<B: Backend>(log_scale: &FloatTensor<B>, rank: usize) -> FloatTensor<B> {
    B::float_reshape(B::float_exp(log_scale.clone()), Shape::from(vec![1; rank]))
}

/// The integers of an activation, before they are limited.
fn integers<B: Backend>(input: &FloatTensor<B>, scale: FloatTensor<B>, grid: Grid) -> FloatTensor<B> {
    let steps = B::float_round(B::float_mul(input.clone(), B::float_recip(scale)));
    B::float_add_scalar(steps, grid.zero_point.into())
}

/// Integers as they are stored, and the floats that they stand for.
fn stored<B: Backend>(
    integers: FloatTensor<B>,
    scale: FloatTensor<B>,
    grid: Grid,
) -> (FloatTensor<B>, FloatTensor<B>) {
    let (low, high) = grid.limits;
    let limited = B::float_clamp(integers, low.into(), high.into());
    let signed = B::float_sub_scalar(limited.clone(), grid.zero_point.into());
    (limited, B::float_mul(signed, scale))
}

pub(super) fn fake_quantize<B: Backend>(
    input: &FloatTensor<B>,
    log_scale: &FloatTensor<B>,
    grid: Grid,
) -> FloatTensor<B> {
    let scale = scale::<B>(log_scale, input.shape().rank());
    stored::<B>(integers::<B>(input, scale.clone(), grid), scale, grid).1
}

pub(super) fn fake_quantize_backward<B: Backend>(
    input: &FloatTensor<B>,
    log_scale: &FloatTensor<B>,
    grid: Grid,
    gradient: &FloatTensor<B>,
) -> [FloatTensor<B>; 2] {
    let kind = get_or_init_device_settings::<B>(&input.device()).bool_dtype;
    let scale = scale::<B>(log_scale, input.shape().rank());
    let integers = integers::<B>(input, scale.clone(), grid);
    let (limited, stored) = stored::<B>(integers.clone(), scale, grid);
    let beyond = B::float_not_equal(integers, limited, kind);
    let error = B::float_sub(stored, without::<B>(input.clone(), beyond.clone()));
    let sum = B::float_sum(B::float_mul(gradient.clone(), error));
    [
        without::<B>(gradient.clone(), beyond),
        B::float_reshape(sum, Shape::from([1])),
    ]
}

pub(super) fn rounded<B: Backend>(stored: &Stored, weights: &FloatTensor<B>) -> FloatTensor<B> {
    let ((count, stride), largest) = (stored.channels, stored.largest);
    let shape = weights.shape();
    let outer = shape.num_elements() / (count * stride).max(1);
    let weights = B::float_reshape(weights.clone(), Shape::from([outer, count, stride]));
    let most = B::float_max_abs_dim(B::float_max_abs_dim(weights.clone(), 2), 0);
    let scales = B::float_div_scalar(most, largest.into());
    let nothing = at_most::<B>(scales.clone(), f32::MIN_POSITIVE);
    let scales = B::float_mask_fill(scales, nothing, 1.0.into());
    let integers = B::float_round(B::float_div(weights, scales.clone()));
    let integers = B::float_clamp(integers, (-largest).into(), largest.into());
    B::float_reshape(B::float_mul(integers, scales), shape)
}

pub(super) fn descend<B: Backend>(
    values: &mut FloatTensor<B>,
    velocity: &mut FloatTensor<B>,
    gradient: &FloatTensor<B>,
    mask: Option<&FloatTensor<B>>,
    Descent {
        momentum,
        decay,
        rate,
    }: Descent,
) {
    let kept = B::float_mul_scalar(velocity.clone(), momentum.into());
    let mut moved = B::float_add(kept, gradient.clone());
    if decay > 0.0 {
        moved = B::float_add(moved, B::float_mul_scalar(values.clone(), decay.into()));
    }
    let mut left = B::float_sub(values.clone(), B::float_mul_scalar(moved.clone(), rate.into()));
    if let Some(mask) = mask {
        moved = B::float_mul(moved, mask.clone());
        left = B::float_mul(left, mask.clone());
    }
    (*values, *velocity) = (left, moved);
}

pub(super) fn adapt<B: Backend>(
    value: &mut FloatTensor<B>,
    moments: &mut FloatTensor<B>,
    gradient: &FloatTensor<B>,
    adam: Adam,
) {
    let square = B::float_mul(gradient.clone(), gradient.clone());
    let news = [gradient.clone(), square];
    let [first, second] = [0, 1].map(|index| {
        let kept = adam.decays[index];
        let moment = B::float_slice(moments.clone(), &[Slice::from(index..index + 1)]);
        let new = B::float_mul_scalar(news[index].clone(), (1.0 - kept).into());
        B::float_add(B::float_mul_scalar(moment, kept.into()), new)
    });
    let mean = B::float_div_scalar(first.clone(), adam.corrections[0].into());
    let deviation = B::float_sqrt(B::float_div_scalar(second.clone(), adam.corrections[1].into()));
    let way = B::float_div(mean, B::float_add_scalar(deviation, adam.epsilon.into()));
    *value = B::float_sub(value.clone(), B::float_mul_scalar(way, adam.rate.into()));
    *moments = B::float_cat(vec![first, second], 0);
}
