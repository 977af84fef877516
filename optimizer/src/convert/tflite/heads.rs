//! Layers behind a flattened picture: their weights are reordered, so that the picture need not be.

use crate::error::Error;
use crate::graph::{Graph, NodeId};
use crate::proto::{AttributeProto, TensorProto, node};
use crate::shape::{Value, Values};

/// Puts a transposition to `[N, H, W, C]` before each flattening whose result only matrix products with constant
/// weights read, and reorders their weights by it. The transposition costs nothing where pictures lie so.
pub(super) fn reorder(graph: &mut Graph, values: &Values) -> Result<(), Error> {
    for id in graph.ids() {
        if let Some((picture, layers)) = flattened(graph, id, values) {
            for (layer, constant) in layers {
                reorder_weights(graph, layer, &constant, picture)?;
            }
            let input = graph.node(id).input[0].clone();
            let output = graph.fresh_name(&format!("{input}_channels_last"));
            let mut made = node("Transpose", &output, &[&input], &[&output]);
            made.set_attribute(AttributeProto::from_ints("perm", &[0, 2, 3, 1]));
            graph.add_node(made);
            graph.set_input(id, 0, &output);
        }
    }
    Ok(())
}

/// Channels, height and width of a flattened picture.
type Picture = [usize; 3];

/// The picture that a node flattens, and the layers that read it with the names of their weights; `None` where it
/// flattens none, or something else reads it.
fn flattened(graph: &Graph, id: NodeId, values: &Values) -> Option<(Picture, Vec<(NodeId, String)>)> {
    let node = graph.node(id);
    if !node.is("Flatten") && !node.is("Reshape") {
        return None;
    }
    let extents = |name: &str| values.get(name).and_then(Value::extents);
    let (from, to) = (extents(&node.input[0])?, extents(&node.output[0])?);
    let (&[batch, channels, height, width], &[rows, columns]) = (from.as_slice(), to.as_slice()) else {
        return None;
    };
    let picture = [channels, height, width];
    if batch != rows || columns != channels * height * width || channels == 1 || height * width == 1 {
        return None;
    }
    let mut layers = Vec::new();
    let mut open = vec![node.output[0].clone()];
    while let Some(value) = open.pop() {
        if graph.is_output(&value) || graph.consumers(&value).is_empty() {
            return None;
        }
        for &(reader, index) in graph.consumers(&value) {
            let reading = graph.node(reader);
            match reading.op_type() {
                "QuantizeLinear" | "DequantizeLinear" | "Relu" | "Clip" | "Sigmoid" | "HardSwish"
                | "LeakyRelu" | "Cast"
                    if index == 0 =>
                {
                    open.push(reading.output[0].clone());
                }
                "Gemm" | "MatMul" if index == 0 && reading.int("transA").unwrap_or(0) == 0 => {
                    layers.push((reader, weight_constant(graph, reader)?));
                }
                _ => return None,
            }
        }
    }
    Some((picture, layers))
}

/// The constant that holds a layer's weights, as floats or as integers, if the layer alone reads it.
fn weight_constant(graph: &Graph, layer: NodeId) -> Option<String> {
    let weights = graph.node(layer).input_name(1)?;
    let is_own = |name: &str| graph.consumers(name).len() == 1 && !graph.is_output(name);
    if graph.initializer(weights).is_some() {
        return is_own(weights).then(|| weights.to_owned());
    }
    let pair = graph
        .producer(weights)
        .filter(|&pair| graph.node(pair).is("DequantizeLinear"))?;
    graph.constant_input(pair, 0)?;
    let integers = &graph.node(pair).input[0];
    (is_own(weights) && is_own(integers) && scales_outputs(graph, layer, pair)).then(|| integers.clone())
}

/// Whether the weights have one scale, or one for each output: those of inputs would have to move too.
fn scales_outputs(graph: &Graph, layer: NodeId, pair: NodeId) -> bool {
    let is_single = graph
        .constant_input(pair, 1)
        .is_some_and(|scales| scales.count().is_ok_and(|count| count == 1));
    let outputs = i64::from(graph.node(layer).int("transB").unwrap_or(0) == 0);
    is_single || graph.node(pair).int("axis").unwrap_or(1) == outputs
}

fn reorder_weights(graph: &mut Graph, layer: NodeId, name: &str, picture: Picture) -> Result<(), Error> {
    let constant = graph.initializer(name).expect("the layer's weights were found");
    let by_rows = graph.node(layer).int("transB").unwrap_or(0) != 0;
    let made = match constant.element_type()?.bits() {
        Some(8) if constant.element_type()? == crate::proto::DataType::Int8 => {
            reordered::<i8>(constant, by_rows, picture)?
        }
        Some(8) => reordered::<u8>(constant, by_rows, picture)?,
        Some(16) => reordered::<half::f16>(constant, by_rows, picture)?,
        _ => reordered::<f32>(constant, by_rows, picture)?,
    };
    graph.add_initializer(made);
    Ok(())
}

/// A matrix whose inputs, along its rows or its columns, are in the order of `[H, W, C]` in place of `[C, H, W]`.
fn reordered<T: crate::Element>(
    constant: &TensorProto,
    by_rows: bool,
    [channels, height, width]: Picture,
) -> Result<TensorProto, Error> {
    let shape = constant.shape()?;
    let values: Vec<T> = constant.values()?;
    let area = height * width;
    let outputs = values.len() / (channels * area).max(1);
    let source = |input: usize| (input % channels) * area + input / channels;
    let inputs = channels * area;
    let at = |index: usize| {
        if by_rows {
            index / inputs * inputs + source(index % inputs)
        } else {
            source(index / outputs) * outputs + index % outputs
        }
    };
    let values: Vec<T> = (0..values.len()).map(|index| values[at(index)]).collect();
    Ok(TensorProto::of(constant.name(), &shape, &values))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_of_both_kinds_of_matrices_are_reordered() {
        // Two channels of 1x2, one output for each input in the column form.
        let column = TensorProto::of("w", &[4, 1], &[1.0_f32, 2.0, 3.0, 4.0]);
        let row = TensorProto::of("w", &[1, 4], &[1.0_f32, 2.0, 3.0, 4.0]);
        for (matrix, by_rows) in [(column, false), (row, true)] {
            let made = reordered::<f32>(&matrix, by_rows, [2, 1, 2]).unwrap();
            assert_eq!(made.values::<f32>().unwrap(), [1.0, 3.0, 2.0, 4.0]);
        }
    }
}
