//! Functions of single elements and of elements that lie at the same place.

use burn_backend::tensor::FloatTensor;
use burn_backend::{TensorMetadata as _, get_or_init_device_settings};

use super::differentiable;
use super::operator::{Combine, Map};
use super::tape::Tape;
use super::value::{Value, repeated};

/// A function of pairs of elements.
pub(super) fn combine<B: Tape>(function: Combine, a: Value<B>, b: Value<B>) -> Value<B> {
    let rank = a.tensor.shape().rank().max(b.tensor.shape().rank());
    let by_channel = a.by_channel || b.by_channel;
    let [a, b] = [a, b].map(|value| value.widened(rank).in_layout(by_channel));
    let made = match function {
        Combine::Add => B::float_add(a, b),
        Combine::Subtract => B::float_sub(a, b),
        Combine::Multiply => B::float_mul(a, b),
        Combine::Divide => B::float_div(a, b),
        Combine::Largest | Combine::Smallest => {
            let [a, b] = repeated::<B, 2>([a, b]);
            let kind = get_or_init_device_settings::<B>(&a.device()).bool_dtype;
            let is_b = match function {
                Combine::Largest => B::float_greater(b.clone(), a.clone(), kind),
                _ => B::float_lower(b.clone(), a.clone(), kind),
            };
            B::float_mask_where(a, is_b, b)
        }
    };
    Value::new(made, by_channel)
}

/// A function of each element.
pub(super) fn map<B: Tape>(function: Map, input: FloatTensor<B>) -> FloatTensor<B> {
    match function {
        Map::Clamp { low, high } => differentiable::clamp::<B>(input, low, high),
        Map::Line { factor, offset } => {
            let scaled = B::float_mul_scalar(input, factor.into());
            B::float_add_scalar(scaled, offset.into())
        }
        Map::Curve(curve) => differentiable::curve::<B>(curve, input),
        Map::Tanh => B::float_tanh(input),
        Map::Erf => B::float_erf(input),
        Map::Sqrt => B::float_sqrt(input),
        Map::Exp => B::float_exp(input),
        Map::Log => B::float_log(input),
        Map::Negative => B::float_neg(input),
        Map::Reciprocal => B::float_recip(input),
        Map::Power(exponent) => B::float_powf_scalar(input, exponent.into()),
    }
}

/// `a` where the condition is 1, `b` where it is 0.
pub(super) fn choose<B: Tape>(condition: Value<B>, a: Value<B>, b: Value<B>) -> Value<B> {
    let values = [condition, a, b];
    let ranks = values.each_ref().map(|value| value.tensor.shape().rank());
    let rank = ranks.into_iter().max().unwrap_or(0);
    let by_channel = values.iter().any(|value| value.by_channel);
    let tensors = values.map(|value| value.widened(rank).in_layout(by_channel));
    let [condition, a, b] = repeated::<B, 3>(tensors);
    let kind = get_or_init_device_settings::<B>(&a.device()).bool_dtype;
    let is_a = B::float_greater_elem(condition, 0.5.into(), kind);
    Value::new(B::float_mask_where(b, is_a, a), by_channel)
}
