//! Products with a bias as one node.

use crate::graph::{Graph, NodeId};
use crate::proto::{DataType, TensorProto, node};
use crate::shape::Values;

/// Makes one `Gemm` of a `MatMul` of a matrix with constant weights and the `Add` of a constant a column behind it, as
/// Keras and tf2onnx write a dense layer. ONNX Runtime does so as well, but then finds no integer kernel for a bias
/// that was not quantized as one. Returns the name of the `Add`, if there was one.
pub(super) fn join(graph: &mut Graph, id: NodeId, values: &Values) -> Option<String> {
    let (add, bias) = bias_after(graph, id, values)?;
    let product = graph.remove_node(id);
    let added = graph.remove_node(add);
    let inputs = [
        product.input[0].as_str(),
        product.input[1].as_str(),
        bias.as_str(),
    ];
    graph.add_node(node("Gemm", product.name(), &inputs, &[&added.output[0]]));
    Some(added.label())
}

/// The `Add` behind a product, and its constant.
fn bias_after(graph: &Graph, id: NodeId, values: &Values) -> Option<(NodeId, String)> {
    let product = graph.node(id);
    if !product.is("MatMul") || values.get(product.input_name(0)?)?.shape.as_ref()?.len() != 2 {
        return None;
    }
    let is_float = |tensor: &TensorProto| matches!(tensor.element_type(), Ok(DataType::Float));
    let weights = graph.constant_input(id, 1).filter(|tensor| is_float(tensor))?;
    let [_, columns] = weights.shape().ok()?[..] else {
        return None;
    };
    let output = product.output.first()?;
    let add = graph
        .sole_consumer(output)
        .filter(|&add| graph.node(add).is("Add"))?;
    let index = usize::from(graph.node(add).input_name(0)? == output);
    let bias = graph
        .constant_input(add, index)
        .filter(|tensor| is_float(tensor))?;
    let fits = matches!(bias.shape().ok()?[..], [extent] | [1, extent] if extent == columns);
    fits.then(|| (add, bias.name().to_owned()))
}
