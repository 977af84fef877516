//! Operators that move elements without computing on them.

use crate::shape::Value;
use crate::shape::call::{Axes, Call, Outcome, axis, numbers};
use crate::shape::dim::{Dim, broadcast, display, remainder};

/// `Concat`.
pub(crate) fn concat(call: &Call) -> Outcome {
    let data_type = call.same_type(1..call.inputs.len())?;
    let mut shapes = Vec::new();
    let mut elements = Some(Vec::new());
    for index in 0..call.inputs.len() {
        let (value, shape) = call.shaped(index)?;
        let Some(shape) = shape else {
            return Call::unshaped(data_type);
        };
        shapes.push(shape);
        elements = elements.zip(value.elements.as_ref()).map(|(mut all, more)| {
            all.extend(more.iter().cloned());
            all
        });
    }
    let first = shapes[0];
    let along = call.axis("axis", 1, first.len())?;
    let mut joined = first.to_vec();
    for other in &shapes[1..] {
        if other.len() != first.len() {
            return Err(format!(
                "{} and {} have different numbers of axes",
                display(first),
                display(other)
            ));
        }
        for (index, dim) in other.iter().enumerate() {
            joined[index] = match (&joined[index], dim) {
                (a, b) if index == along => a.combine(b, i64::checked_add),
                (Dim::Known(a), Dim::Known(b)) if a != b => {
                    return Err(format!(
                        "{} and {} differ besides axis {along}",
                        display(first),
                        display(other)
                    ));
                }
                (Dim::Known(_), _) => continue,
                (_, other) => other.clone(),
            };
        }
    }
    Ok(vec![Value {
        elements,
        ..Value::new(data_type, joined)
    }])
}

/// `Split`; parts from an attribute, an input, or equal ones.
pub(crate) fn split(call: &Call) -> Outcome {
    let (input, shape) = call.shaped(0)?;
    let parts = call.node.output.len();
    let Some(shape) = shape else {
        return Ok(vec![Value::unshaped(input.data_type); parts]);
    };
    let along = call.axis("axis", 0, shape.len())?;
    let given = match call.optional(1) {
        Some(value) => value.elements.as_deref().and_then(numbers),
        None => call.ints("split")?,
    };
    let extents: Vec<Dim> = match (given, &shape[along]) {
        (Some(given), _) if given.len() != parts => {
            return Err(format!("{} parts for {parts} outputs", given.len()));
        }
        (Some(given), whole) => {
            let sum = given.iter().try_fold(0_i64, |sum, &part| sum.checked_add(part));
            if whole.number().is_some_and(|whole| sum != Some(whole)) {
                return Err(format!("the parts {given:?} do not make up {whole}"));
            }
            given.into_iter().map(Dim::Known).collect()
        }
        (None, Dim::Known(whole)) if call.optional(1).is_none() => {
            let part = whole.div_euclid(parts.max(1) as i64) + i64::from(whole % parts.max(1) as i64 != 0);
            let last = whole - part * (parts as i64 - 1);
            (0..parts)
                .map(|index| Dim::Known(if index + 1 == parts { last } else { part }))
                .collect()
        }
        _ => vec![Dim::Unknown; parts],
    };
    let output = |extent| {
        let mut shape = shape.to_vec();
        shape[along] = extent;
        Value::new(input.data_type, shape)
    };
    Ok(extents.into_iter().map(output).collect())
}

/// `Flatten` to two axes.
pub(crate) fn flatten(call: &Call) -> Outcome {
    let (input, shape) = call.shaped(0)?;
    let Some(shape) = shape else {
        return Call::unshaped(input.data_type);
    };
    let at = match call.int("axis", 1)? {
        all if all == shape.len() as i64 => shape.len(),
        index => axis(index, shape.len())?,
    };
    let volume = |dims: &[Dim]| dims.iter().fold(Dim::Known(1), |volume, dim| volume.times(dim));
    Ok(vec![Value::new(
        input.data_type,
        vec![volume(&shape[..at]), volume(&shape[at..])],
    )])
}

/// `Reshape`: 0 keeps an axis, -1 takes what is left.
pub(crate) fn reshape(call: &Call) -> Outcome {
    let (input, shape) = call.shaped(0)?;
    let target = call.input(1)?;
    let Some(wanted) = &target.elements else {
        let rank = target
            .extents()
            .and_then(|extents| extents.first().copied())
            .filter(|&rank| rank <= 16);
        let shape = rank.map(|rank| vec![Dim::Unknown; rank]);
        return Ok(vec![Value {
            shape,
            ..Value::unshaped(input.data_type)
        }]);
    };
    let copies = call.int("allowzero", 0)? == 0;
    let mut made = Vec::new();
    let mut open = None;
    for (index, dim) in wanted.iter().enumerate() {
        made.push(match dim {
            Dim::Known(0) if copies => match shape.map(|shape| shape.get(index)) {
                Some(Some(dim)) => dim.clone(),
                Some(None) => return Err(format!("there is no axis {index} to keep")),
                None => Dim::Unknown,
            },
            Dim::Known(-1) if open.is_none() => {
                open = Some(index);
                Dim::Known(1)
            }
            Dim::Known(-1) => return Err("two axes of the target are -1".to_owned()),
            Dim::Known(extent) if *extent < 0 => return Err(format!("an axis of the target is {extent}")),
            dim => dim.clone(),
        });
    }
    match (shape, open) {
        (Some(shape), Some(open)) => made[open] = fit(shape, &made)?,
        (None, Some(open)) => made[open] = Dim::Unknown,
        (Some(shape), None) => match fit(shape, &made)? {
            Dim::Known(1) | Dim::Symbol(_) | Dim::Unknown => {}
            Dim::Known(_) => return Err(mismatch(shape, &made)),
        },
        (None, None) => {}
    }
    let mut output = Value::new(input.data_type, made);
    if wanted.len() <= 1 {
        output.elements.clone_from(&input.elements);
    }
    Ok(vec![output])
}

fn fit(shape: &[Dim], made: &[Dim]) -> Result<Dim, String> {
    remainder(shape, made).map_err(|_| mismatch(shape, made))
}

fn mismatch(shape: &[Dim], made: &[Dim]) -> String {
    format!("{} cannot be reshaped to {}", display(shape), display(made))
}

/// `Transpose`; without `perm` the axes are reversed.
pub(crate) fn transpose(call: &Call) -> Outcome {
    let (input, shape) = call.shaped(0)?;
    let Some(shape) = shape else {
        return Call::unshaped(input.data_type);
    };
    let Some(order) = call.ints("perm")? else {
        return Ok(vec![Value::new(
            input.data_type,
            shape.iter().rev().cloned().collect(),
        )]);
    };
    let order: Vec<usize> = order
        .into_iter()
        .map(|index| axis(index, shape.len()))
        .collect::<Result<_, _>>()?;
    let mut sorted = order.clone();
    sorted.sort_unstable();
    if sorted != (0..shape.len()).collect::<Vec<_>>() {
        return Err(format!("`perm` {order:?} does not permute {} axes", shape.len()));
    }
    Ok(vec![Value::new(
        input.data_type,
        order.iter().map(|&index| shape[index].clone()).collect(),
    )])
}

/// `Squeeze`: removes axes of extent 1.
pub(crate) fn squeeze(call: &Call) -> Outcome {
    let (input, shape) = call.shaped(0)?;
    let Some(shape) = shape else {
        return Call::unshaped(input.data_type);
    };
    let axes: Vec<usize> = match call.axes(1)? {
        Axes::Unknown => return Call::unshaped(input.data_type),
        Axes::Given(axes) => axes
            .into_iter()
            .map(|index| axis(index, shape.len()))
            .collect::<Result<_, _>>()?,
        Axes::NotGiven if shape.iter().any(|dim| dim.number().is_none()) => {
            return Call::unshaped(input.data_type);
        }
        Axes::NotGiven => (0..shape.len())
            .filter(|&index| shape[index] == Dim::Known(1))
            .collect(),
    };
    if let Some(&long) = axes
        .iter()
        .find(|&&index| shape[index].number().is_some_and(|extent| extent != 1))
    {
        return Err(format!("axis {long} has extent {}, not 1", shape[long]));
    }
    let kept = shape
        .iter()
        .enumerate()
        .filter(|(index, _)| !axes.contains(index));
    Ok(vec![Value {
        elements: input.elements.clone(),
        ..Value::new(input.data_type, kept.map(|(_, dim)| dim.clone()).collect())
    }])
}

/// `Unsqueeze`: inserts axes of extent 1.
pub(crate) fn unsqueeze(call: &Call) -> Outcome {
    let (input, shape) = call.shaped(0)?;
    let axes = match call.axes(1)? {
        Axes::Given(axes) => axes,
        Axes::Unknown => return Call::unshaped(input.data_type),
        Axes::NotGiven => return Err("`axes` is missing".to_owned()),
    };
    let Some(shape) = shape else {
        return Call::unshaped(input.data_type);
    };
    let rank = shape.len() + axes.len();
    let axes: Vec<usize> = axes
        .into_iter()
        .map(|index| axis(index, rank))
        .collect::<Result<_, _>>()?;
    let mut rest = shape.iter().cloned();
    let insert = |index| {
        if axes.contains(&index) {
            return Ok(Dim::Known(1));
        }
        rest.next()
            .ok_or_else(|| format!("`axes` {axes:?} name an axis twice"))
    };
    let made: Vec<Dim> = (0..rank).map(insert).collect::<Result<_, String>>()?;
    Ok(vec![Value {
        elements: input.elements.clone().filter(|_| rank <= 1),
        ..Value::new(input.data_type, made)
    }])
}

/// `Expand`: broadcasts to a shape.
pub(crate) fn expand(call: &Call) -> Outcome {
    let (input, shape) = call.shaped(0)?;
    match (shape, &call.input(1)?.elements) {
        (Some(shape), Some(target)) => Ok(vec![Value::new(input.data_type, broadcast(shape, target)?)]),
        _ => Call::unshaped(input.data_type),
    }
}

/// `Tile`.
pub(crate) fn tile(call: &Call) -> Outcome {
    let (input, shape) = call.shaped(0)?;
    match (shape, &call.input(1)?.elements) {
        (Some(shape), Some(repeats)) if shape.len() == repeats.len() => {
            let tiled = shape.iter().zip(repeats).map(|(dim, repeat)| dim.times(repeat));
            Ok(vec![Value::new(input.data_type, tiled.collect())])
        }
        _ => Call::unshaped(input.data_type),
    }
}

/// `Pad`; amounts from an attribute before version 11, from an input since.
pub(crate) fn pad(call: &Call) -> Outcome {
    let (input, shape) = call.shaped(0)?;
    let Some(shape) = shape else {
        return Call::unshaped(input.data_type);
    };
    let amounts = match call.optional(1) {
        Some(value) => value.elements.as_deref().and_then(numbers),
        None => call.ints("pads")?,
    };
    let axes = call
        .optional(3)
        .map(|value| value.elements.as_deref().and_then(numbers));
    let axes: Vec<usize> = match axes {
        Some(Some(axes)) => axes
            .into_iter()
            .map(|index| axis(index, shape.len()))
            .collect::<Result<_, _>>()?,
        Some(None) => return Ok(vec![Value::new(input.data_type, vec![Dim::Unknown; shape.len()])]),
        None => (0..shape.len()).collect(),
    };
    let Some(amounts) = amounts else {
        return Ok(vec![Value::new(input.data_type, vec![Dim::Unknown; shape.len()])]);
    };
    if amounts.len() != 2 * axes.len() {
        return Err(format!(
            "`pads` has {} entries, {} expected",
            amounts.len(),
            2 * axes.len()
        ));
    }
    let mut padded = shape.to_vec();
    for (index, &axis) in axes.iter().enumerate() {
        let both = amounts[index].saturating_add(amounts[axes.len() + index]);
        if both != 0 {
            padded[axis] = padded[axis].combine(&Dim::Known(both), i64::checked_add);
        }
    }
    Ok(vec![Value::new(input.data_type, padded)])
}

/// `DepthToSpace` (`grow`) and `SpaceToDepth`.
fn block(call: &Call, grow: bool) -> Outcome {
    let (input, shape) = call.shaped(0)?;
    let Some(shape) = shape else {
        return Call::unshaped(input.data_type);
    };
    let [batch, channels, height, width] = shape else {
        return Err(format!("the input {} does not have four axes", display(shape)));
    };
    let size = call.int("blocksize", 0)?;
    if size < 1 {
        return Err(format!("`blocksize` is {size}"));
    }
    let more = |dim: &Dim, by: i64| dim.combine(&Dim::Known(by), i64::checked_mul);
    let less = |dim: &Dim, by: i64| match dim {
        Dim::Known(extent) if extent % by != 0 => Err(format!("{extent} cannot be divided by {by}")),
        dim => Ok(dim.combine(&Dim::Known(by), i64::checked_div)),
    };
    let made = if grow {
        vec![
            batch.clone(),
            less(channels, size * size)?,
            more(height, size),
            more(width, size),
        ]
    } else {
        vec![
            batch.clone(),
            more(channels, size * size),
            less(height, size)?,
            less(width, size)?,
        ]
    };
    Ok(vec![Value::new(input.data_type, made)])
}

/// `DepthToSpace`.
pub(crate) fn depth_to_space(call: &Call) -> Outcome {
    block(call, true)
}

/// `SpaceToDepth`.
pub(crate) fn space_to_depth(call: &Call) -> Outcome {
    block(call, false)
}
