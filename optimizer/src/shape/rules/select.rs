//! Operators that take a part of their input.

use crate::proto::DataType;
use crate::shape::Value;
use crate::shape::call::{Call, Outcome, axis, numbers};
use crate::shape::dim::Dim;

/// `Gather`.
pub(crate) fn gather(call: &Call) -> Outcome {
    let (input, shape) = call.shaped(0)?;
    let (indices, index_shape) = call.shaped(1)?;
    let (Some(shape), Some(index_shape)) = (shape, index_shape) else {
        return Call::unshaped(input.data_type);
    };
    let along = call.axis("axis", 0, shape.len())?;
    let mut made = shape[..along].to_vec();
    made.extend_from_slice(index_shape);
    made.extend_from_slice(&shape[along + 1..]);
    let mut output = Value::new(input.data_type, made);
    if let (Some(elements), Some(indices)) = (&input.elements, indices.elements.as_deref().and_then(numbers))
    {
        let pick = |index| Ok::<_, String>(elements[axis(index, elements.len())?].clone());
        output.elements = Some(indices.into_iter().map(pick).collect::<Result<_, _>>()?);
    }
    Ok(vec![output])
}

/// `GatherElements`: one element for each index.
pub(crate) fn gather_elements(call: &Call) -> Outcome {
    let (input, indices) = (call.input(0)?, call.input(1)?);
    Ok(vec![Value {
        shape: indices.shape.clone(),
        ..Value::unshaped(input.data_type)
    }])
}

/// `TopK`: the greatest or least elements along an axis, and where they were.
pub(crate) fn top_k(call: &Call) -> Outcome {
    let (input, shape) = call.shaped(0)?;
    let Some(shape) = shape else {
        return Ok(vec![
            Value::unshaped(input.data_type),
            Value::unshaped(DataType::Int64),
        ]);
    };
    let along = call.axis("axis", -1, shape.len())?;
    let count = match call.optional(1) {
        Some(count) => count.elements.as_deref().and_then(<[Dim]>::first).cloned(),
        None => call.node.int("k").map(Dim::Known),
    };
    let mut made = shape.to_vec();
    made[along] = count.unwrap_or(Dim::Unknown);
    Ok(vec![
        Value::new(input.data_type, made.clone()),
        Value::new(DataType::Int64, made),
    ])
}

/// `Slice`; bounds are attributes before version 10 and inputs since.
pub(crate) fn slice(call: &Call) -> Outcome {
    let (input, shape) = call.shaped(0)?;
    let Some(shape) = shape else {
        return Call::unshaped(input.data_type);
    };
    let Some((starts, ends, axes, steps)) = bounds(call, shape.len())? else {
        return Ok(vec![Value::new(input.data_type, vec![Dim::Unknown; shape.len()])]);
    };
    let mut made = shape.to_vec();
    let mut elements = input.elements.clone();
    for (index, &along) in axes.iter().enumerate() {
        let along = axis(along, shape.len())?;
        let Dim::Known(extent) = made[along] else {
            made[along] = Dim::Unknown;
            elements = None;
            continue;
        };
        let picked = picked(extent, starts[index], ends[index], steps[index])?;
        made[along] = Dim::Known(picked.count);
        elements = elements.map(|all| picked.of(&all));
    }
    Ok(vec![Value {
        elements,
        ..Value::new(input.data_type, made)
    }])
}

type Bounds = (Vec<i64>, Vec<i64>, Vec<i64>, Vec<i64>);

/// Starts, ends, axes and steps, of one length; `None` where they are not known.
fn bounds(call: &Call, rank: usize) -> Result<Option<Bounds>, String> {
    let read = |index: usize| {
        call.optional(index)
            .map(|value| value.elements.as_deref().and_then(numbers))
    };
    let (starts, ends, axes, steps) = if call.opset < 10 {
        let attribute = |name| call.node.ints(name).map(|ints| Some(ints.to_vec()));
        (attribute("starts"), attribute("ends"), attribute("axes"), None)
    } else {
        (read(1), read(2), read(3), read(4))
    };
    let starts = starts.ok_or("`starts` is missing")?;
    let ends = ends.ok_or("`ends` is missing")?;
    let (Some(starts), Some(ends)) = (starts, ends) else {
        return Ok(None);
    };
    let count = starts.len();
    let axes = axes.unwrap_or_else(|| Some((0..count as i64).collect()));
    let steps = steps.unwrap_or_else(|| Some(vec![1; count]));
    let (Some(axes), Some(steps)) = (axes, steps) else {
        return Ok(None);
    };
    if count > rank || [ends.len(), axes.len(), steps.len()] != [count; 3] {
        return Err("starts, ends, axes and steps have different lengths".to_owned());
    }
    Ok(Some((starts, ends, axes, steps)))
}

struct Picked {
    start: i64,
    step: i64,
    count: i64,
}

impl Picked {
    fn of(&self, elements: &[Dim]) -> Vec<Dim> {
        let index = |number: i64| usize::try_from(self.start + number.saturating_mul(self.step)).ok();
        let element = |number| index(number).and_then(|index| elements.get(index).cloned());
        (0..self.count).filter_map(element).collect()
    }
}

/// The indices from `start` to before `end`, both clamped to the axis as NumPy does.
fn picked(extent: i64, start: i64, end: i64, step: i64) -> Result<Picked, String> {
    let from_front = |bound: i64| {
        if bound < 0 {
            bound.saturating_add(extent)
        } else {
            bound
        }
    };
    let (low, high) = if step < 0 { (-1, extent - 1) } else { (0, extent) };
    let start = from_front(start).clamp(low, high);
    let end = from_front(end).clamp(low, high);
    let count = match step {
        0 => return Err("a step is 0".to_owned()),
        1.. => ceil_div((end - start).max(0), step),
        _ => ceil_div((start - end).max(0), step.saturating_neg()),
    };
    Ok(Picked { start, step, count })
}

fn ceil_div(a: i64, b: i64) -> i64 {
    a / b + i64::from(a % b != 0)
}
