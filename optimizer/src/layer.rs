//! Nodes with weights, and what the axes of those weights stand for.

use crate::graph::{Graph, NodeId};
use crate::proto::{DataType, NodeProto, TensorProto};

/// The weights of a convolution or a matrix product.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Weights<'a> {
    /// A constant of at least two axes.
    pub(crate) tensor: &'a TensorProto,
    /// The axis of input channels; those of one group where a convolution has groups.
    pub(crate) input_axis: usize,
    /// The axis of output channels; those of one group where a transposed convolution has groups.
    pub(crate) output_axis: usize,
}

/// Whether the node is of a kind that has weights.
pub(crate) fn has_weights(node: &NodeProto) -> bool {
    node.is_standard() && matches!(node.op_type(), "Conv" | "ConvTranspose" | "Gemm" | "MatMul")
}

/// The weights of a node, if they are a float32 constant; of `MatMul` either side can be.
pub(crate) fn weights(graph: &Graph, id: NodeId) -> Option<Weights<'_>> {
    let float = |tensor: &&TensorProto| tensor.element_type().is_ok_and(|kind| kind == DataType::Float);
    weights_among(graph.node(id), |index| {
        graph.constant_input(id, index).filter(float)
    })
}

/// The weights of a node among its inputs as `constant` finds them.
pub(crate) fn weights_among<'a>(
    node: &NodeProto,
    constant: impl Fn(usize) -> Option<&'a TensorProto>,
) -> Option<Weights<'a>> {
    if !has_weights(node) {
        return None;
    }
    let constant = |index| constant(index).filter(|tensor: &&TensorProto| tensor.dims.len() >= 2);
    let of = |tensor, input_axis, output_axis| Weights {
        tensor,
        input_axis,
        output_axis,
    };
    match node.op_type() {
        "Conv" => constant(1).map(|tensor| of(tensor, 1, 0)),
        "Gemm" if node.int("transB").unwrap_or(0) != 0 => constant(1).map(|tensor| of(tensor, 1, 0)),
        "ConvTranspose" | "Gemm" => constant(1).map(|tensor| of(tensor, 0, 1)),
        _ => {
            let rank = |tensor: &TensorProto| tensor.dims.len();
            let right = constant(1).map(|tensor| of(tensor, rank(tensor) - 2, rank(tensor) - 1));
            right.or_else(|| constant(0).map(|tensor| of(tensor, rank(tensor) - 1, rank(tensor) - 2)))
        }
    }
}
