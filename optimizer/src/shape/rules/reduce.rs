//! Reductions over axes.

use crate::proto::DataType;
use crate::shape::Value;
use crate::shape::call::{Axes, Call, Outcome, axis};
use crate::shape::dim::Dim;

/// `ReduceMean` and its kin, whose axes are an attribute in older versions and an input in newer ones.
pub(crate) fn reduce(call: &Call) -> Outcome {
    let (input, shape) = call.shaped(0)?;
    let Some(shape) = shape else {
        return Call::unshaped(input.data_type);
    };
    let keep = call.int("keepdims", 1)? != 0;
    let axes = match call.axes(1)? {
        Axes::Given(axes) if !axes.is_empty() => axes,
        Axes::Unknown => return unknown_axes(input.data_type, shape, keep),
        _ if call.int("noop_with_empty_axes", 0)? != 0 => return Ok(vec![input.clone()]),
        _ => (0..shape.len() as i64).collect(),
    };
    let axes: Vec<usize> = axes
        .into_iter()
        .map(|index| axis(index, shape.len()))
        .collect::<Result<_, _>>()?;
    Ok(vec![Value::new(input.data_type, without(shape, &axes, keep))])
}

/// `ArgMax`, `ArgMin`.
pub(crate) fn arg(call: &Call) -> Outcome {
    let Some(shape) = call.shaped(0)?.1 else {
        return Call::unshaped(DataType::Int64);
    };
    let axis = call.axis("axis", 0, shape.len())?;
    let keep = call.int("keepdims", 1)? != 0;
    Ok(vec![Value::new(DataType::Int64, without(shape, &[axis], keep))])
}

fn unknown_axes(data_type: DataType, shape: &[Dim], keep: bool) -> Outcome {
    if keep {
        Ok(vec![Value::new(data_type, vec![Dim::Unknown; shape.len()])])
    } else {
        Call::unshaped(data_type)
    }
}

fn without(shape: &[Dim], axes: &[usize], keep: bool) -> Vec<Dim> {
    let axes_left = shape
        .iter()
        .enumerate()
        .filter_map(|(index, dim)| match axes.contains(&index) {
            true if keep => Some(Dim::Known(1)),
            true => None,
            false => Some(dim.clone()),
        });
    axes_left.collect()
}
