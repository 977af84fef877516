//! `QuantizeLinear` and `DequantizeLinear`.

use crate::proto::DataType;
use crate::shape::Value;
use crate::shape::call::{Call, Outcome, axis, data_type};
use crate::shape::dim::{Dim, display};

/// `QuantizeLinear`: the zero point has the output's type; without one `output_dtype` names it, and else it is
/// `uint8`.
pub(crate) fn quantize(call: &Call) -> Outcome {
    let input = call.input(0)?;
    parameters(call)?;
    let made = match call.optional(2) {
        Some(zero_point) => zero_point.data_type,
        None => match call.int("output_dtype", 0)? {
            0 => DataType::Uint8,
            number => data_type(number)?,
        },
    };
    Ok(vec![Value {
        data_type: made,
        ..input.of_unknown_elements()
    }])
}

/// `DequantizeLinear`: the scale has the output's type, the zero point the input's.
pub(crate) fn dequantize(call: &Call) -> Outcome {
    call.same_type([2])?;
    parameters(call)?;
    Ok(vec![Value {
        data_type: call.input(1)?.data_type,
        ..call.input(0)?.of_unknown_elements()
    }])
}

/// `DynamicQuantizeLinear`: bytes, their scale and their zero point.
pub(crate) fn dynamic_quantize(call: &Call) -> Outcome {
    let input = call.input(0)?;
    Ok(vec![
        Value {
            data_type: DataType::Uint8,
            ..input.of_unknown_elements()
        },
        Value::new(DataType::Float, Vec::new()),
        Value::new(DataType::Uint8, Vec::new()),
    ])
}

/// One scale for the tensor, one for each index along `axis`, or since version 21 one for each block of
/// `block_size` along it.
fn parameters(call: &Call) -> Result<(), String> {
    let (Some(shape), Some(scales)) = (call.shaped(0)?.1, call.shaped(1)?.1) else {
        return Ok(());
    };
    let block = call.int("block_size", 0)?;
    if block > 0 {
        return blocks(call, shape, scales, block);
    }
    let [scales] = scales else {
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

fn blocks(call: &Call, shape: &[Dim], scales: &[Dim], block: i64) -> Result<(), String> {
    let along = axis(call.int("axis", 1)?, shape.len())?;
    if scales.len() != shape.len() {
        return Err(format!(
            "{} axes of scales for {} of data",
            scales.len(),
            shape.len()
        ));
    }
    let fits = |(index, (extent, scales)): (usize, (&Dim, &Dim))| match (extent, scales) {
        (Dim::Known(extent), Dim::Known(scales)) if index == along => {
            extent / block + i64::from(extent % block != 0) == *scales
        }
        (Dim::Known(extent), Dim::Known(scales)) => extent == scales,
        _ => true,
    };
    if shape.iter().zip(scales).enumerate().all(fits) {
        return Ok(());
    }
    Err(format!(
        "scales {} for {} in blocks of {block} along axis {along}",
        display(scales),
        display(shape)
    ))
}
