//! Constants and what is computed from shapes alone.

use crate::proto::DataType;
use crate::shape::call::{Call, Outcome};
use crate::shape::dim::Dim;
use crate::shape::{MOST_FOLLOWED, Value, constant as of_tensor};

/// `Constant`, of whichever attribute it has.
pub(crate) fn constant(call: &Call) -> Outcome {
    let node = call.node;
    if let Some(tensor) = node.tensor("value") {
        tensor.validate().map_err(|error| error.to_string())?;
        return Ok(vec![of_tensor(tensor).map_err(|error| error.to_string())?]);
    }
    let list = |data_type, length: usize| Value::new(data_type, vec![length.into()]);
    if let Some(number) = node.int("value_int") {
        return Ok(vec![Value {
            elements: Some(vec![Dim::Known(number)]),
            ..Value::new(DataType::Int64, Vec::new())
        }]);
    }
    if let Some(numbers) = node.ints("value_ints") {
        return Ok(vec![Value {
            elements: Some(numbers.iter().copied().map(Dim::Known).collect()),
            ..list(DataType::Int64, numbers.len())
        }]);
    }
    if node.float("value_float").is_some() {
        return Ok(vec![Value::new(DataType::Float, Vec::new())]);
    }
    if let Some(attribute) = node.attribute("value_floats") {
        return Ok(vec![list(DataType::Float, attribute.floats.len())]);
    }
    Err("it has no value that is a tensor or a number".to_owned())
}

/// `ConstantOfShape`.
pub(crate) fn constant_of_shape(call: &Call) -> Outcome {
    let fill = call.node.tensor("value");
    let data_type = match fill {
        Some(tensor) => tensor.element_type().map_err(|error| error.to_string())?,
        None => DataType::Float,
    };
    let Some(shape) = &call.input(0)?.elements else {
        return Call::unshaped(data_type);
    };
    let mut output = Value::new(data_type, shape.clone());
    if let ([Dim::Known(count @ 0..)], DataType::Int64, Some(fill)) = (shape.as_slice(), data_type, fill) {
        let element = fill
            .integers()
            .ok()
            .and_then(|elements| elements.first().copied());
        let followed = usize::try_from(*count)
            .ok()
            .filter(|&count| count <= MOST_FOLLOWED);
        output.elements = element
            .zip(followed)
            .map(|(element, count)| vec![Dim::Known(element); count]);
    }
    Ok(vec![output])
}

/// `Range`: `ceil((limit - start) / delta)` numbers.
pub(crate) fn range(call: &Call) -> Outcome {
    let data_type = call.same_type([1, 2])?;
    let bound = |index: usize| {
        let tensor = call.input(index)?.known();
        let numbers = tensor.map(|tensor| {
            let integers = || {
                tensor
                    .integers()
                    .map(|all| all.into_iter().map(|value| value as f64).collect())
            };
            let floats = || {
                tensor
                    .floats()
                    .map(|all| all.into_iter().map(f64::from).collect::<Vec<f64>>())
            };
            if data_type.is_float() {
                floats()
            } else {
                integers()
            }
        });
        let numbers = numbers.transpose().map_err(|error| error.to_string())?;
        Ok::<_, String>(numbers.and_then(|numbers| numbers.first().copied()))
    };
    let (Some(start), Some(limit), Some(delta)) = (bound(0)?, bound(1)?, bound(2)?) else {
        return Ok(vec![Value::new(data_type, vec![Dim::Unknown])]);
    };
    let count = ((limit - start) / delta).ceil().max(0.0);
    if !count.is_finite() {
        return Err(format!("from {start} to {limit} by {delta} has no end"));
    }
    Ok(vec![Value::new(data_type, vec![Dim::Known(count as i64)])])
}

/// `Shape`, since version 15 of a range of axes.
pub(crate) fn shape(call: &Call) -> Outcome {
    let Some(shape) = call.shaped(0)?.1 else {
        return Ok(vec![Value::new(DataType::Int64, vec![Dim::Unknown])]);
    };
    let rank = shape.len() as i64;
    let bound = |index: i64| if index < 0 { (index + rank).max(0) } else { index.min(rank) } as usize;
    let start = bound(call.int("start", 0)?);
    let end = bound(call.int("end", rank)?).max(start);
    let axes = &shape[start..end];
    Ok(vec![Value {
        elements: Some(axes.to_vec()),
        ..Value::new(DataType::Int64, vec![axes.len().into()])
    }])
}

/// `Size`.
pub(crate) fn size(call: &Call) -> Outcome {
    let volume = |dims: &[Dim]| dims.iter().fold(Dim::Known(1), |volume, dim| volume.times(dim));
    Ok(vec![Value {
        elements: call.shaped(0)?.1.map(|shape| vec![volume(shape)]),
        ..Value::new(DataType::Int64, Vec::new())
    }])
}
