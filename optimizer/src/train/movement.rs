//! Elements that move: joined, picked, repeated.

use burn_backend::{FloatDType, Shape, Slice, TensorData, TensorMetadata as _};

use super::pick::Pick;
use super::tape::Tape;
use super::value::{Value, position, reversed};

/// Joins values along an axis.
pub(super) fn concat<B: Tape>(parts: Vec<Value<B>>, axis: i64) -> Value<B> {
    let by_channel = parts.iter().all(|part| part.by_channel);
    let axis = position(axis, parts[0].tensor.shape().rank());
    let tensors = parts.into_iter().map(|part| part.in_layout(by_channel));
    let joined = B::float_cat(tensors.collect(), reversed(axis, by_channel));
    Value::new(joined, by_channel)
}

/// What lies at places along axes, in the given extents.
pub(super) fn pick<B: Tape>(value: Value<B>, picks: &[Pick], extents: Shape) -> Value<B> {
    let Value {
        mut tensor,
        by_channel,
    } = value;
    for pick in picks {
        let axis = reversed(pick.axis, by_channel);
        tensor = if pick.is_run() {
            let shape = tensor.shape();
            let mut slices: Vec<Slice> = shape.iter().map(|&extent| Slice::from(0..extent)).collect();
            slices[axis] = Slice::from(pick.places[0]..pick.places[0] + pick.places.len());
            B::float_slice(tensor, &slices)
        } else {
            let places: Vec<i32> = pick.places.iter().map(|&place| place as i32).collect();
            let places = TensorData::new(places, [pick.places.len()]);
            let places = B::int_from_data(places, &tensor.device());
            B::float_select(tensor, axis, places)
        };
    }
    let picked = Value::<B>::new(tensor, by_channel);
    if picked.tensor.shape().rank() == extents.rank() {
        return picked;
    }
    // Indices of no axis or of several give another number of axes.
    Value::new(B::float_reshape(picked.plain(), extents), false)
}

/// Puts elements of a value around, so many before and after each axis.
pub(super) fn pad<B: Tape>(value: Value<B>, pads: &[(usize, usize)], filling: f32) -> Value<B> {
    let Value { tensor, by_channel } = value;
    let (mut whole, mut inside) = (Vec::new(), Vec::new());
    for (axis, &extent) in tensor.shape().iter().enumerate() {
        let (before, after) = pads[reversed(axis, by_channel)];
        whole.push(before + extent + after);
        inside.push(Slice::from(before..before + extent));
    }
    let around = B::float_full(
        Shape::from(whole),
        filling.into(),
        &tensor.device(),
        FloatDType::F32,
    );
    Value::new(B::float_slice_assign(around, &inside, tensor), by_channel)
}

/// Repeats along axes of one element.
pub(super) fn expand<B: Tape>(value: Value<B>, extents: Shape) -> Value<B> {
    let widened = value.widened(extents.rank()).plain();
    Value::new(B::float_expand(widened, extents), false)
}
