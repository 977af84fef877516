//! What sums, means and maxima along axes and in windows give, and what normalizes by them.

use burn_backend::tensor::FloatTensor;
use burn_backend::{Shape, TensorMetadata as _};

use super::differentiable;
use super::movement;
use super::operator::{Pool, Reduction};
use super::tape::Tape;
use super::value::{Value, position, reversed};
use super::window::Window;

fn reduce<B: Tape>(function: Reduction, tensor: FloatTensor<B>, axis: usize) -> FloatTensor<B> {
    match function {
        Reduction::Mean => B::float_mean_dim(tensor, axis),
        Reduction::Sum => B::float_sum_dim(tensor, axis),
        Reduction::Max => B::float_max_dim(tensor, axis),
    }
}

/// Over all axes after the second, which stay with an extent of 1.
pub(super) fn global<B: Tape>(function: Reduction, value: Value<B>) -> Value<B> {
    let Value { tensor, by_channel } = value;
    let shape = tensor.shape();
    let flat = Shape::from(vec![shape[0], shape[1], shape.iter().skip(2).product()]);
    let reduced = reduce::<B>(function, B::float_reshape(tensor, flat), 2);
    let mut extents = vec![1; shape.rank()];
    extents[..2].copy_from_slice(&shape[..2]);
    Value::new(B::float_reshape(reduced, Shape::from(extents)), by_channel)
}

/// Over these axes, or all if there are none, in the given extents.
pub(super) fn along<B: Tape>(function: Reduction, value: Value<B>, axes: &[i64], extents: Shape) -> Value<B> {
    let Value { tensor, by_channel } = value;
    let rank = tensor.shape().rank();
    let all = (0..rank).map(|axis| axis as i64).collect();
    let axes = if axes.is_empty() { all } else { axes.to_vec() };
    let mut reduced = tensor;
    for axis in axes {
        reduced = reduce::<B>(function, reduced, reversed(position(axis, rank), by_channel));
    }
    let reduced = Value::<B>::new(reduced, by_channel).plain();
    Value::new(B::float_reshape(reduced, extents), false)
}

/// Normalizes over the axes from `axis` on.
pub(super) fn normalize_layer<B: Tape>(
    value: Value<B>,
    (axis, epsilon): (i64, f32),
    scale: Value<B>,
    shift: Option<FloatTensor<B>>,
) -> Value<B> {
    let tensor = value.plain();
    let shape = tensor.shape();
    let rank = shape.rank();
    let inner: usize = shape.iter().skip(position(axis, rank)).product();
    let rows = Shape::from([shape.num_elements() / inner.max(1), inner]);
    let standardized = differentiable::standardize::<B>(B::float_reshape(tensor, rows), epsilon);
    let mut made = B::float_reshape(standardized, shape);
    made = B::float_mul(made, scale.widened(rank).plain());
    if let Some(shift) = shift {
        made = B::float_add(made, Value::<B>::new(shift, false).widened(rank).plain());
    }
    Value::new(made, false)
}

/// A window that slides over the last two of four axes, which it must fit.
pub(super) fn pool<B: Tape>(kind: Pool, window: Window, value: Value<B>) -> Value<B> {
    let Value { tensor, by_channel } = value;
    Value::new(differentiable::pool::<B>(kind, window, tensor), by_channel)
}

/// As [`pool`], with a last window that reaches over the end. What lies beyond the padding counts for no mean.
pub(super) fn pool_rounded_up<B: Tape>(kind: Pool, window: Window, value: Value<B>) -> Value<B> {
    let [.., height, width]: [usize; 4] = value.tensor.shape().dims();
    let rounded = window.rounded_up([height, width]);
    if kind != (Pool::Average { count_padding: true }) || rounded == window {
        return pool(kind, rounded, value);
    }
    // The padding that counts becomes part of the pictures.
    let [top, left, bottom, right] = window.pads;
    let padded = movement::pad(value, &[(0, 0), (0, 0), (top, bottom), (left, right)], 0.0);
    let over = Window {
        pads: [0, 0, rounded.pads[2] - bottom, rounded.pads[3] - right],
        ..window
    };
    pool(Pool::Average { count_padding: false }, over, padded)
}
