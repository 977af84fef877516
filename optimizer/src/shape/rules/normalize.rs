//! Normalizations.

use crate::proto::DataType;
use crate::shape::Value;
use crate::shape::call::{Call, Outcome, axis};
use crate::shape::dim::{Dim, display};

/// `BatchNormalization`: scale, bias, mean and variance are one number per channel.
pub(crate) fn batch_norm(call: &Call) -> Outcome {
    per_channel(call, 1..5)?;
    let input = call.input(0)?;
    let statistics = Value::new(call.input(3)?.data_type, channels(input));
    let mut outputs = vec![input.of_unknown_elements()];
    outputs.resize(5, statistics);
    Ok(outputs)
}

/// `InstanceNormalization`: scale and bias are one number per channel.
pub(crate) fn instance_norm(call: &Call) -> Outcome {
    per_channel(call, 1..3)?;
    Ok(vec![call.input(0)?.of_unknown_elements()])
}

/// `LayerNormalization`: the mean and the inverse deviation keep the axes before `axis`.
pub(crate) fn layer_norm(call: &Call) -> Outcome {
    let (input, shape) = call.shaped(0)?;
    let Some(shape) = shape else {
        return Ok(vec![
            Value::unshaped(input.data_type),
            Value::unshaped(DataType::Float),
            Value::unshaped(DataType::Float),
        ]);
    };
    let first = axis(call.int("axis", -1)?, shape.len())?;
    let mut reduced = shape.to_vec();
    reduced[first..].fill(Dim::Known(1));
    let statistics = Value::new(DataType::Float, reduced);
    Ok(vec![input.of_unknown_elements(), statistics.clone(), statistics])
}

fn channels(input: &Value) -> Vec<Dim> {
    let channels = input.shape.as_ref().and_then(|shape| shape.get(1));
    vec![channels.cloned().unwrap_or(Dim::Unknown)]
}

fn per_channel(call: &Call, parameters: std::ops::Range<usize>) -> Result<(), String> {
    let channels = channels(call.input(0)?);
    for index in parameters {
        match (call.input(index)?.shape.as_deref(), channels.as_slice()) {
            (Some([Dim::Known(found)]), [Dim::Known(expected)]) if found != expected => {
                return Err(format!(
                    "input {index} has {found} numbers for {expected} channels"
                ));
            }
            (None | Some([_]), _) => {}
            (Some(other), _) => {
                return Err(format!(
                    "input {index} has shape {}, one axis expected",
                    display(other)
                ));
            }
        }
    }
    Ok(())
}
