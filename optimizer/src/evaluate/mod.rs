//! The values of nodes whose inputs are constants.
//!
//! Shape inference follows small tensors with it, so that a `Resize` whose scales are computed has a shape, and
//! `prepare` computes with it what old exporters leave in the graph: weights from `ConstantOfShape`, transposed
//! or scaled weights. It knows the operators that such graphs use, and answers `None` for all others.

mod arithmetic;
mod array;
mod layout;
#[cfg(test)]
mod tests;

use crate::proto::{NodeProto, TensorProto};
use crate::shape::Value;
use array::Array;

/// The first output of a node, if its operator is one that can be computed here. `inputs` are the node's, `None`
/// where one is left out; `output` is what shape inference says of the result, whose extents must all be known.
/// Takes memory for the result once more than its size; the caller bounds that.
pub(crate) fn evaluate(
    node: &NodeProto,
    inputs: &[Option<&TensorProto>],
    output: &Value,
) -> Option<TensorProto> {
    if !node.is_standard() {
        return None;
    }
    let shape = output.extents()?;
    let kind = output.data_type;
    let input = |index: usize| Array::of(inputs.get(index).copied().flatten()?);
    let made = match node.op_type() {
        "Identity" | "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" => input(0)?.reshaped(shape),
        "ConstantOfShape" => layout::fill(node, kind, shape),
        "Expand" => layout::expand(&input(0)?, shape),
        "Transpose" => layout::transpose(node, &input(0)?, shape),
        "Slice" => layout::slice(node, &input(0)?, &integer_inputs(inputs), shape),
        "Gather" => layout::gather(node, &input(0)?, &input(1)?.integers()?, shape),
        "Concat" => {
            let parts: Option<Vec<Array>> = (0..inputs.len()).map(input).collect();
            layout::concat(node, &parts?, shape)
        }
        "Range" => arithmetic::range(&input(0)?, &input(2)?, shape),
        "Cast" => arithmetic::cast(&input(0)?, kind),
        "Where" => arithmetic::choose(&input(0)?, &input(1)?, &input(2)?, shape),
        // What is left then has the sign of the dividend.
        "Mod" if node.int("fmod").unwrap_or(0) != 0 => None,
        operator if inputs.len() == 1 => arithmetic::unary(operator, &input(0)?),
        operator if inputs.len() == 2 => arithmetic::binary(operator, &input(0)?, &input(1)?, shape),
        _ => None,
    }?;
    (made.kind == kind).then(|| made.into_tensor()).flatten()
}

/// Whether [`evaluate`] may know the operator: a cheap test before inputs are collected.
pub(crate) fn may_evaluate(node: &NodeProto) -> bool {
    const LAYOUT: [&str; 13] = [
        "Identity",
        "Reshape",
        "Flatten",
        "Squeeze",
        "Unsqueeze",
        "ConstantOfShape",
        "Expand",
        "Transpose",
        "Slice",
        "Gather",
        "Concat",
        "Range",
        "Cast",
    ];
    let operator = node.op_type();
    let known = LAYOUT.contains(&operator) || operator == "Where" || arithmetic::knows(operator);
    node.is_standard() && known && node.output.len() == 1
}

fn integer_inputs(inputs: &[Option<&TensorProto>]) -> Vec<Option<Vec<i64>>> {
    let integers = |tensor: Option<&TensorProto>| tensor.and_then(|tensor| tensor.integers().ok());
    inputs.iter().copied().map(integers).collect()
}
