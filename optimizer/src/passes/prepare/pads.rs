//! Pads in the one form that all readers know.

use crate::graph::{Graph, NodeId};
use crate::proto::{AttributeProto, NodeProto, TensorProto};
use crate::shape::{Dim, Values};

/// Writes out the pads of a `Conv` or of a pool that leaves them to `auto_pad`, where its input's extents are known.
/// Returns whether it did.
pub(super) fn write_out(graph: &mut Graph, id: NodeId, values: &Values) -> bool {
    let Some(pads) = pads(graph, id, values) else {
        return false;
    };
    graph.remove_attribute(id, "auto_pad");
    graph.set_attribute(id, AttributeProto::from_ints("pads", &pads));
    true
}

/// Counts no pads in the averages of a pool that has none. It says the same, but the integer kernels of ONNX Runtime
/// 1.32 then count what a last window reaches beyond the end. Returns whether it did.
pub(super) fn count_none(graph: &mut Graph, id: NodeId) -> bool {
    let node = graph.node(id);
    let has_pads = node
        .ints("pads")
        .is_some_and(|pads| pads.iter().any(|&pad| pad != 0));
    let is_open = node.text("auto_pad").is_some_and(|mode| mode.starts_with("SAME"));
    let counts = node.int("count_include_pad").is_some_and(|counted| counted != 0);
    if !node.is("AveragePool") || !counts || has_pads || is_open {
        return false;
    }
    graph.remove_attribute(id, "count_include_pad");
    true
}

/// Gives a `Pad` of some axes the amounts of all, where they are known: ONNX Runtime 1.32 cannot move a `Transpose`
/// past the other form, and then does not run the model. Returns whether it did.
pub(super) fn spread(graph: &mut Graph, id: NodeId, values: &Values) -> bool {
    let Some(amounts) = spread_amounts(graph, id, values) else {
        return false;
    };
    let name = graph.fresh_name(&format!("{}_pads", graph.node(id).output[0]));
    graph.add_initializer(TensorProto::of(&name, &[amounts.len()], &amounts));
    graph.set_input(id, 1, &name);
    graph.set_input(id, 3, "");
    true
}

fn spread_amounts(graph: &Graph, id: NodeId, values: &Values) -> Option<Vec<i64>> {
    let node = graph.node(id);
    if !node.is("Pad") {
        return None;
    }
    let integers = |index| graph.constant_input(id, index)?.integers().ok();
    let (given, axes): (Vec<i64>, Vec<i64>) = (integers(1)?, integers(3)?);
    let rank = values.get(node.input_name(0)?)?.shape.as_ref()?.len();
    if given.len() != 2 * axes.len() {
        return None;
    }
    let mut amounts = vec![0; 2 * rank];
    for (index, &named) in axes.iter().enumerate() {
        let place = if named < 0 { named + rank as i64 } else { named };
        let place = usize::try_from(place).ok().filter(|&place| place < rank)?;
        amounts[place] = given[index];
        amounts[rank + place] = given[axes.len() + index];
    }
    Some(amounts)
}

/// By ONNX's `Conv`: so many that the output has `ceil(input / stride)` elements, the odd one at the end for
/// `SAME_UPPER` and at the beginning for `SAME_LOWER`.
fn pads(graph: &Graph, id: NodeId, values: &Values) -> Option<Vec<i64>> {
    let node = graph.node(id);
    if !["Conv", "MaxPool", "AveragePool"].contains(&node.op_type()) {
        return None;
    }
    let mode = node.text("auto_pad")?;
    if !["SAME_UPPER", "SAME_LOWER", "VALID"].contains(&mode) {
        return None;
    }
    let shape = values.get(node.input_name(0)?)?.shape.as_ref()?;
    let kernel = kernel(graph, id)?;
    let spatial = shape.get(2..).filter(|spatial| spatial.len() == kernel.len())?;
    let (strides, dilations) = (
        steps(node, "strides", &kernel)?,
        steps(node, "dilations", &kernel)?,
    );
    // ONNX Runtime leaves the dilations of pools out of account here, and ONNX does not.
    if !node.is("Conv") && dilations.iter().any(|&dilation| dilation != 1) {
        return None;
    }
    let mut pads = vec![0; 2 * kernel.len()];
    if mode == "VALID" {
        return Some(pads);
    }
    for (axis, extent) in spatial.iter().enumerate() {
        let Dim::Known(extent) = extent else {
            return None;
        };
        let stride = strides[axis];
        let last = extent.checked_add(stride - 1)? / stride - 1;
        let covered = last
            .checked_mul(stride)?
            .checked_add((kernel[axis] - 1).checked_mul(dilations[axis])?)?;
        let total = (covered + 1 - extent).max(0);
        let (half, rest) = (total / 2, total - total / 2);
        (pads[axis], pads[kernel.len() + axis]) = if mode == "SAME_UPPER" {
            (half, rest)
        } else {
            (rest, half)
        };
    }
    Some(pads)
}

/// The extents of the window.
fn kernel(graph: &Graph, id: NodeId) -> Option<Vec<i64>> {
    let given = graph.node(id).ints("kernel_shape").map(<[i64]>::to_vec);
    let of_weights = || {
        let weights = graph.constant_input(id, 1)?.shape().ok()?;
        weights
            .get(2..)?
            .iter()
            .map(|&extent| i64::try_from(extent).ok())
            .collect()
    };
    let kernel: Vec<i64> = given.or_else(of_weights)?;
    kernel.iter().all(|&extent| extent > 0).then_some(kernel)
}

/// Strides or dilations, 1 where there are none.
fn steps(node: &NodeProto, name: &str, kernel: &[i64]) -> Option<Vec<i64>> {
    let steps = node
        .ints(name)
        .map_or_else(|| vec![1; kernel.len()], <[i64]>::to_vec);
    (steps.len() == kernel.len() && steps.iter().all(|&step| step > 0)).then_some(steps)
}
