//! Values that count in another unit: the integers stay, and the scales that read them take the unit back.

use std::collections::HashSet;

use super::quantization;
use crate::error::Error;
use crate::graph::{Graph, NodeId, Use};
use crate::proto::TensorProto;

/// A `QuantizeLinear` and the `DequantizeLinear` behind it.
pub(super) type Pair = (NodeId, NodeId);

/// What changes where a value counts in another unit.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Pairs of values that count in it too.
    pub(super) pairs: Vec<Pair>,
    /// Layers whose weights take it back, and the pairs of these.
    layers: Vec<(NodeId, NodeId)>,
}

/// Operators whose result is as many times as large as their first input.
const LINEAR: [&str; 11] = [
    "GlobalAveragePool",
    "AveragePool",
    "MaxPool",
    "ReduceMean",
    "Flatten",
    "Reshape",
    "Transpose",
    "Squeeze",
    "Unsqueeze",
    "Slice",
    "Relu",
];

/// What takes back the unit of what `source` makes and `pair` stores; `None` where something reads it that cannot.
pub(super) fn absorb(graph: &Graph, source: NodeId, pair: Pair) -> Option<Changes> {
    let mut changes = Changes::default();
    let mut seen = HashSet::from([source]);
    let mut open = vec![pair];
    while let Some((_, reads)) = open.pop() {
        let value = &graph.node(reads).output[0];
        if graph.is_output(value) {
            return None;
        }
        for &(reader, index) in graph.consumers(value) {
            let reading = graph.node(reader);
            // A product of two such values would count in the unit's square.
            if !seen.insert(reader) {
                return None;
            }
            match reading.op_type() {
                "Conv" | "Gemm" if index == 0 => {
                    changes.layers.push((reader, pair_before(graph, reader, 1)?));
                }
                "Mul" => open.push(pair_behind(graph, &reading.output[0])?),
                operator if LINEAR.contains(&operator) && index == 0 => {
                    open.push(pair_behind(graph, &reading.output[0])?);
                }
                _ => return None,
            }
            changes.pairs.extend(
                open.last()
                    .filter(|_| !matches!(reading.op_type(), "Conv" | "Gemm")),
            );
        }
    }
    Some(changes)
}

impl Changes {
    /// Lets the values count in a unit of so many.
    pub(super) fn apply(&self, graph: &mut Graph, unit: f32) -> Result<(), Error> {
        for &(stores, reads) in &self.pairs {
            let scale = quantization::of(graph, stores)?.scales[0] * unit;
            let name = graph.fresh_name(&format!("{}_scale", graph.node(stores).label()));
            graph.add_initializer(TensorProto::scalar(&name, scale));
            graph.set_input(stores, 1, &name);
            graph.set_input(reads, 1, &name);
        }
        for &(layer, weights) in &self.layers {
            scale(graph, (layer, 1), weights, 1.0 / unit, None)?;
        }
        Ok(())
    }
}

/// Lets an input of a layer read a constant with scales that are `factor` times as large, and perhaps with other
/// integers.
pub(super) fn scale(
    graph: &mut Graph,
    (layer, index): Use,
    pair: NodeId,
    factor: f32,
    integers: Option<&[i32]>,
) -> Result<(), Error> {
    let old = graph.node(pair).clone();
    let scales = graph.constant_input(pair, 1);
    let scales =
        scales.ok_or_else(|| Error::node(&old, "its scale is computed, and TFLite takes a constant"))?;
    let shape = scales.shape()?;
    let larger: Vec<f32> = scales.floats()?.into_iter().map(|scale| scale * factor).collect();
    let mut made = old.clone();
    made.name = Some(graph.fresh_name(&format!("{}_scaled", old.label())));
    made.output[0] = graph.fresh_name(&format!("{}_scaled", old.output[0]));
    made.input[1] = graph.fresh_name(&format!("{}_scaled", old.input[1]));
    graph.add_initializer(TensorProto::of(&made.input[1], &shape, &larger));
    if let Some(integers) = integers {
        made.input[0] = graph.fresh_name(&format!("{}_scaled", old.input[0]));
        graph.add_initializer(TensorProto::of(&made.input[0], &[integers.len()], integers));
    }
    graph.set_input(layer, index, &made.output[0]);
    graph.add_node(made);
    Ok(())
}

/// The pair that alone stores a value, and whose integers nothing else reads.
pub(super) fn pair_behind(graph: &Graph, value: &str) -> Option<Pair> {
    let stores = graph
        .sole_consumer(value)
        .filter(|&id| graph.node(id).is("QuantizeLinear"))?;
    let reads = graph.sole_consumer(&graph.node(stores).output[0])?;
    graph
        .node(reads)
        .is("DequantizeLinear")
        .then_some((stores, reads))
}

/// The `DequantizeLinear` of a constant that a node reads.
pub(super) fn pair_before(graph: &Graph, id: NodeId, index: usize) -> Option<NodeId> {
    let pair = graph.producer(graph.node(id).input_name(index)?)?;
    let is_pair = graph.node(pair).is("DequantizeLinear") && graph.constant_input(pair, 0).is_some();
    is_pair.then_some(pair)
}
