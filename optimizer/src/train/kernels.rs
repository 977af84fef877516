//! What training asks of a backend beside burn's own operations, forward and backward, without a tape.
//!
//! By default each is made of operations that every backend of burn has ([`super::composed`]), which suits those
//! whose kernels run on a GPU. Processors have kernels of their own ([`super::cpu`]).

use burn_backend::tensor::{FloatTensor, IntTensor};
use burn_backend::{Backend, Shape, TensorData};
use rayon::ThreadPool;

use super::composed;
use super::curves;
use super::operator::Curve;
use super::parameter::Stored;
use super::program::refused;
use super::window::Window;
use crate::error::Error;

/// Mean and variance of each channel of a batch.
#[derive(Debug, Clone)]
pub(super) struct Statistics<B: Backend> {
    pub(super) mean: FloatTensor<B>,
    pub(super) variance: FloatTensor<B>,
}

/// The grid of an activation in 8 bits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Grid {
    /// The integer that stands for zero.
    pub(super) zero_point: f32,
    /// The least and the largest integer.
    pub(super) limits: (f32, f32),
}

/// A step down a gradient with momentum.
#[derive(Debug, Clone, Copy)]
pub(super) struct Descent {
    pub(super) momentum: f32,
    pub(super) decay: f32,
    pub(super) rate: f32,
}

/// A step of Adam: how the two moments decay, by what they are divided, and how far it goes.
///
/// Source: Kingma and Ba, "Adam", 2015, algorithm 1.
#[derive(Debug, Clone, Copy)]
pub(super) struct Adam {
    pub(super) decays: [f32; 2],
    pub(super) corrections: [f32; 2],
    pub(super) rate: f32,
    pub(super) epsilon: f32,
}

/// A backend that trains. Its device holds tensors of `f32` alone.
pub(super) trait Kernels: Backend {
    /// Whether convolutions take and give pictures channel by channel, `[C, N, H, W]`, and not sample by sample.
    const BY_CHANNEL: bool = false;

    /// Does work with this backend. A device takes it best from one thread, the caller's; a processor shares it
    /// among those of the pool.
    fn compute<R: Send>(pool: &ThreadPool, work: impl FnOnce() -> R + Send) -> R {
        let _ = pool;
        work()
    }

    /// A tensor of these elements in row-major order.
    fn upload(values: Vec<f32>, shape: impl Into<Shape>, device: &Self::Device) -> FloatTensor<Self> {
        Self::float_from_data(TensorData::new(values, shape), device)
    }

    /// The elements in row-major order; an error where the device has failed.
    fn download(tensor: &FloatTensor<Self>) -> Result<Vec<f32>, Error> {
        let failed = |reason: String| refused(format!("the device failed: {reason}; try a smaller batch"));
        let data = burn_backend::read_sync(Self::float_into_data(tensor.clone()));
        let data = data.map_err(|error| failed(error.to_string()))?;
        data.try_into_vec().map_err(|error| failed(error.to_string()))
    }

    /// The tensor as the operations below read it.
    fn packed(tensor: &FloatTensor<Self>) -> FloatTensor<Self> {
        tensor.clone()
    }

    /// A convolution of pictures; weights are `[output, channels / groups, rows, columns]`. The window must fit.
    fn convolve(
        (window, groups): (Window, usize),
        input: &FloatTensor<Self>,
        weights: &FloatTensor<Self>,
        bias: Option<&FloatTensor<Self>>,
    ) -> FloatTensor<Self> {
        composed::convolve::<Self>((window, groups), input, weights, bias)
    }

    /// The gradients of input, weights and bias, as far as they are wanted.
    fn convolve_backward(
        (window, groups): (Window, usize),
        input: &FloatTensor<Self>,
        weights: &FloatTensor<Self>,
        gradient: &FloatTensor<Self>,
        wanted: [bool; 3],
    ) -> [Option<FloatTensor<Self>>; 3] {
        composed::convolve_backward::<Self>((window, groups), input, weights, gradient, wanted)
    }

    /// Mean and variance of each channel of pictures.
    fn statistics(input: &FloatTensor<Self>) -> Statistics<Self> {
        composed::statistics::<Self>(input)
    }

    /// Batch normalization of pictures with the statistics of the batch, which it returns.
    fn normalize(
        input: &FloatTensor<Self>,
        scale: &FloatTensor<Self>,
        shift: &FloatTensor<Self>,
        epsilon: f32,
    ) -> (FloatTensor<Self>, Statistics<Self>) {
        composed::normalize::<Self>(input, scale, shift, epsilon)
    }

    /// The gradients of input, scale and shift.
    fn normalize_backward(
        input: &FloatTensor<Self>,
        scale: &FloatTensor<Self>,
        statistics: &Statistics<Self>,
        gradient: &FloatTensor<Self>,
        epsilon: f32,
    ) -> [FloatTensor<Self>; 3] {
        composed::normalize_backward::<Self>(input, scale, statistics, gradient, epsilon)
    }

    /// Rows of a matrix, each with a mean of 0 and a variance of 1, and the reciprocal of each row's deviation.
    fn standardize(input: &FloatTensor<Self>, epsilon: f32) -> (FloatTensor<Self>, FloatTensor<Self>) {
        composed::standardize::<Self>(input, epsilon)
    }

    /// The gradient of the input, from what was made.
    fn standardize_backward(
        output: &FloatTensor<Self>,
        deviations: &FloatTensor<Self>,
        gradient: &FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        composed::standardize_backward::<Self>(output, deviations, gradient)
    }

    /// The largest element that each window over the last two axes sees, and where it is.
    fn largest(window: Window, input: &FloatTensor<Self>) -> (FloatTensor<Self>, IntTensor<Self>) {
        composed::largest::<Self>(window, input)
    }

    /// The gradient of the input.
    fn largest_backward(
        window: Window,
        input: &FloatTensor<Self>,
        places: &IntTensor<Self>,
        gradient: &FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        composed::largest_backward::<Self>(window, input, places, gradient)
    }

    /// The mean of what each window over the last two axes sees; its count includes padding if that is wanted.
    fn average(window: Window, count_padding: bool, input: &FloatTensor<Self>) -> FloatTensor<Self> {
        composed::average::<Self>(window, count_padding, input)
    }

    /// The gradient of the input.
    fn average_backward(
        window: Window,
        count_padding: bool,
        input: &FloatTensor<Self>,
        gradient: &FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        composed::average_backward::<Self>(window, count_padding, input, gradient)
    }

    /// Limits every element.
    fn clamp(limits: (f32, f32), input: &FloatTensor<Self>) -> FloatTensor<Self> {
        composed::clamp::<Self>(limits, input)
    }

    /// The gradient of the input, which passes where the output is within the limits.
    fn clamp_backward(
        limits: (f32, f32),
        output: &FloatTensor<Self>,
        gradient: &FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        composed::clamp_backward::<Self>(limits, output, gradient)
    }

    /// What an activation becomes once it is stored in 8 bits. `log_scale` holds the natural logarithm of the scale.
    fn fake_quantize(
        input: &FloatTensor<Self>,
        log_scale: &FloatTensor<Self>,
        grid: Grid,
    ) -> FloatTensor<Self> {
        composed::fake_quantize::<Self>(input, log_scale, grid)
    }

    /// The gradients of input and logarithm: that of the input passes where the activation is in range; that of the
    /// logarithm is `gradient * (stored - activation)` in range and `gradient * stored` beyond.
    ///
    /// Source: Jain et al., "Trained Quantization Thresholds", 2020, equations 4 to 8.
    fn fake_quantize_backward(
        input: &FloatTensor<Self>,
        log_scale: &FloatTensor<Self>,
        grid: Grid,
        gradient: &FloatTensor<Self>,
    ) -> [FloatTensor<Self>; 2] {
        composed::fake_quantize_backward::<Self>(input, log_scale, grid, gradient)
    }

    /// A function of each element.
    fn curve(curve: Curve, input: &FloatTensor<Self>) -> FloatTensor<Self> {
        curves::curve::<Self>(curve, input)
    }

    /// The gradient of the input.
    fn curve_backward(
        curve: Curve,
        input: &FloatTensor<Self>,
        gradient: &FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        curves::curve_backward::<Self>(curve, input, gradient)
    }

    /// What weights are once they are stored in 8 bits.
    fn rounded(stored: &Stored, weights: &FloatTensor<Self>) -> FloatTensor<Self> {
        composed::rounded::<Self>(stored, weights)
    }

    /// Moves values down their gradient: `velocity = momentum * velocity + gradient + decay * value`, then
    /// `value -= rate * velocity`. Both stay zero where the mask is.
    fn descend(
        values: &mut FloatTensor<Self>,
        velocity: &mut FloatTensor<Self>,
        gradient: &FloatTensor<Self>,
        mask: Option<&FloatTensor<Self>>,
        descent: Descent,
    ) {
        composed::descend::<Self>(values, velocity, gradient, mask, descent);
    }

    /// Moves one value down its gradient by Adam, whose two moments are `moments`.
    fn adapt(
        value: &mut FloatTensor<Self>,
        moments: &mut FloatTensor<Self>,
        gradient: &FloatTensor<Self>,
        adam: Adam,
    ) {
        composed::adapt::<Self>(value, moments, gradient, adam);
    }
}

/// Any GPU: which one, and through which of its drivers, a tensor's device says.
#[cfg(any(feature = "cuda", feature = "wgpu"))]
impl Kernels for burn_cubecl::Cube {}
