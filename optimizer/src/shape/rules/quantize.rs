//! `QuantizeLinear` and `DequantizeLinear`.

use crate::proto::DataType;
use crate::shape::Value;
use crate::shape::call::{Call, Outcome, axis};
use crate::shape::dim::Dim;

/// `QuantizeLinear`: the zero point has the output's type, which is `uint8` without one.
pub(crate) fn quantize(call: &Call) -> Outcome {
    let input = call.input(0)?;
    parameters(call)?;
    let data_type = call
        .optional(2)
        .map_or(DataType::Uint8, |zero_point| zero_point.data_type);
    Ok(vec![Value {
        data_type,
        shape: input.shape.clone(),
        elements: None,
    }])
}

/// `DequantizeLinear`: the scale has the output's type, the zero point the input's.
pub(crate) fn dequantize(call: &Call) -> Outcome {
    call.same_type([2])?;
    parameters(call)?;
    Ok(vec![Value {
        data_type: call.input(1)?.data_type,
        shape: call.input(0)?.shape.clone(),
        elements: None,
    }])
}

/// One scale for the tensor, or one for each index along `axis`.
fn parameters(call: &Call) -> Result<(), String> {
    let shape = call.shaped(0)?.1;
    let Some([scales]) = call.shaped(1)?.1 else {
        return Ok(());
    };
    let Some(shape) = shape else {
        return Ok(());
    };
    if *scales == Dim::Known(1) {
        return Ok(());
    }
    let along = axis(call.int("axis", 1)?, shape.len())?;
    match (scales, &shape[along]) {
        (Dim::Known(a), Dim::Known(b)) if a != b => Err(format!("{a} scales for axis {along} of extent {b}")),
        _ => Ok(()),
    }
}
