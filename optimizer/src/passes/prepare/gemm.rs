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
    let gemm = graph.add_node(node("Gemm", product.name(), &inputs, &[&added.output[0]]));
    write_plainly(graph, gemm);
    Some(added.label())
}

/// Takes `alpha` and `beta` of a `Gemm` into its constants, and makes its bias one value a column, as integer kernels
/// want it. Returns whether there was something to do, and it could be done.
pub(super) fn write_plainly(graph: &mut Graph, id: NodeId) -> bool {
    let Some((weights, bias)) = plain_constants(graph, id) else {
        return false;
    };
    for (index, mut tensor) in [(1, Some(weights)), (2, bias)]
        .into_iter()
        .filter_map(|(index, tensor)| Some((index, tensor?)))
    {
        let name = graph.node(id).input_name(index).unwrap_or_default().to_owned();
        let name = graph.fresh_name(&format!("{name}_plain"));
        tensor.name = Some(name.clone());
        graph.add_initializer(tensor);
        graph.set_input(id, index, &name);
    }
    graph.remove_attribute(id, "alpha");
    graph.remove_attribute(id, "beta");
    true
}

/// The weights and the bias that a `Gemm` has without factors; `None` where it has them already.
fn plain_constants(graph: &Graph, id: NodeId) -> Option<(TensorProto, Option<TensorProto>)> {
    let gemm = graph.node(id);
    if !gemm.is("Gemm") {
        return None;
    }
    let [alpha, beta] = ["alpha", "beta"].map(|name| gemm.float(name).unwrap_or(1.0));
    let weights = graph.constant_input(id, 1)?;
    let extents = weights.shape().ok()?;
    let [rows, columns] = extents[..] else {
        return None;
    };
    let outputs = if gemm.int("transB").unwrap_or(0) == 0 {
        columns
    } else {
        rows
    };
    let bias = match gemm.input_name(2) {
        Some(_) => Some(graph.constant_input(id, 2)?),
        None => None,
    };
    let is_plain = |factor: f32| (factor - 1.0).abs() == 0.0;
    let is_row = |bias: &TensorProto| bias.shape().is_ok_and(|shape| shape == [outputs]);
    if is_plain(alpha) && bias.is_none_or(|bias| is_plain(beta) && is_row(bias)) {
        return None;
    }
    let row = match bias {
        Some(bias) => {
            let values = scaled(bias, beta)?;
            let row = match bias.shape().ok()?[..] {
                [extent] | [1, extent] if extent == outputs => values,
                [] | [1] | [1, 1] => vec![values[0]; outputs],
                _ => return None,
            };
            Some(TensorProto::of("", &[outputs], &row))
        }
        None => None,
    };
    Some((TensorProto::of("", &extents, &scaled(weights, alpha)?), row))
}

fn scaled(tensor: &TensorProto, factor: f32) -> Option<Vec<f32>> {
    let values = tensor.values::<f32>().ok()?;
    Some(values.iter().map(|value| value * factor).collect())
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
