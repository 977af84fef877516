//! Operators that place elements and do not compute on them.

use super::array::{Array, Walk, broadcast_steps, signed, strides, volume};
use crate::proto::{DataType, NodeProto};

/// `ConstantOfShape`: zeros of float32 without a `value`.
pub(super) fn fill(node: &NodeProto, kind: DataType, shape: Vec<usize>) -> Option<Array> {
    let count = volume(&shape)?;
    let Some(value) = node.tensor("value") else {
        return Array::from_bytes(kind, shape, vec![0; count.checked_mul(size_of::<f32>())?]);
    };
    let value = Array::of(value)?;
    if value.count() != 1 {
        return None;
    }
    count.checked_mul(value.size)?;
    Array::from_bytes(kind, shape, value.bytes.repeat(count))
}

/// `Expand`.
pub(super) fn expand(input: &Array, shape: Vec<usize>) -> Option<Array> {
    let steps = broadcast_steps(&input.shape, &shape)?;
    place(input, shape, 0, &steps)
}

/// `Transpose`; without `perm` the axes are reversed.
pub(super) fn transpose(node: &NodeProto, input: &Array, shape: Vec<usize>) -> Option<Array> {
    let own = signed(&strides(&input.shape)?)?;
    let order: Vec<usize> = match node.ints("perm") {
        Some(order) => order
            .iter()
            .map(|&axis| usize::try_from(axis).ok())
            .collect::<Option<_>>()?,
        None => (0..own.len()).rev().collect(),
    };
    let steps: Option<Vec<isize>> = order.iter().map(|&axis| own.get(axis).copied()).collect();
    place(input, shape, 0, &steps?)
}

/// `Slice`, with bounds from inputs as since version 10. `shape` says how many elements each axis gives.
pub(super) fn slice(
    node: &NodeProto,
    input: &Array,
    bounds: &[Option<Vec<i64>>],
    shape: Vec<usize>,
) -> Option<Array> {
    let given = |index: usize| bounds.get(index).cloned().flatten();
    let starts = given(1).or_else(|| node.ints("starts").map(<[i64]>::to_vec))?;
    let along = given(3)
        .or_else(|| node.ints("axes").map(<[i64]>::to_vec))
        .unwrap_or_else(|| (0..starts.len() as i64).collect());
    let by = given(4).unwrap_or_else(|| vec![1; starts.len()]);
    let mut steps = signed(&strides(&input.shape)?)?;
    let mut start = 0_usize;
    for (index, &axis) in along.iter().enumerate() {
        let axis = from_front(axis, input.shape.len())?;
        let extent = i64::try_from(*input.shape.get(axis)?).ok()?;
        let (from, by) = (*starts.get(index)?, *by.get(index)?);
        let from = if from < 0 {
            from.saturating_add(extent)
        } else {
            from
        };
        let from = from.clamp(0, if by < 0 { (extent - 1).max(0) } else { extent });
        start = start.checked_add(
            usize::try_from(from)
                .ok()?
                .checked_mul(usize::try_from(steps[axis]).ok()?)?,
        )?;
        // One element or none moves by nothing, so that a step beyond all bounds does no harm.
        let moves = *shape.get(axis)? > 1;
        steps[axis] = if moves {
            steps[axis].checked_mul(isize::try_from(by).ok()?)?
        } else {
            0
        };
    }
    place(input, shape, start, &steps)
}

/// `Gather` along one axis.
pub(super) fn gather(node: &NodeProto, input: &Array, indices: &[i64], shape: Vec<usize>) -> Option<Array> {
    let axis = from_front(node.int("axis").unwrap_or(0), input.shape.len())?;
    let extent = *input.shape.get(axis)?;
    let outer = volume(&input.shape[..axis])?;
    let block = volume(&input.shape[axis + 1..])?.checked_mul(input.size)?;
    let mut bytes = Vec::new();
    for row in 0..outer {
        for &index in indices {
            let index = if index < 0 {
                index.checked_add(extent as i64)?
            } else {
                index
            };
            let index = usize::try_from(index).ok().filter(|&index| index < extent)?;
            let at = (row * extent + index) * block;
            bytes.extend_from_slice(input.bytes.get(at..at + block)?);
        }
    }
    Array::from_bytes(input.kind, shape, bytes)
}

/// `Concat`.
pub(super) fn concat(node: &NodeProto, parts: &[Array], shape: Vec<usize>) -> Option<Array> {
    let axis = from_front(node.int("axis")?, shape.len())?;
    let outer = volume(shape.get(..axis)?)?;
    let kind = parts.first()?.kind;
    if parts
        .iter()
        .any(|part| part.kind != kind || part.shape.len() != shape.len())
    {
        return None;
    }
    let mut bytes = Vec::new();
    for row in 0..outer {
        for part in parts {
            let block = volume(&part.shape[axis..])?.checked_mul(part.size)?;
            bytes.extend_from_slice(part.bytes.get(row * block..(row + 1) * block)?);
        }
    }
    Array::from_bytes(kind, shape, bytes)
}

/// An axis counted from the front.
fn from_front(axis: i64, rank: usize) -> Option<usize> {
    let axis = if axis < 0 {
        axis.checked_add(rank as i64)?
    } else {
        axis
    };
    usize::try_from(axis).ok()
}

/// The elements of `input` at `start` plus the sum of the output's indices times `steps`.
fn place(input: &Array, shape: Vec<usize>, start: usize, steps: &[isize]) -> Option<Array> {
    if steps.len() != shape.len() {
        return None;
    }
    let mut bytes = Vec::new();
    for at in Walk::new(&shape, start, steps)? {
        let at = at.checked_mul(input.size)?;
        bytes.extend_from_slice(input.bytes.get(at..at + input.size)?);
    }
    Array::from_bytes(input.kind, shape, bytes)
}
