//! Global means that are flattened: TFLite's kernel gives the mean without the axes of the picture.

use super::quantization;
use super::unit::pair_behind;
use crate::error::Error;
use crate::graph::{Graph, NodeId};
use crate::proto::{AttributeProto, node};
use crate::shape::{Value, Values};

/// Makes each `GlobalAveragePool` whose result is flattened a `ReduceMean` that gives it flat. A pair in between
/// stays; one behind the flattening that says the same goes.
pub(super) fn flatten(graph: &mut Graph, values: &Values) -> Result<(), Error> {
    for id in graph.ids() {
        if !graph.node(id).is("GlobalAveragePool") {
            continue;
        }
        let output = graph.node(id).output[0].clone();
        let pair = pair_behind(graph, &output);
        let pooled = pair.map_or(output, |(_, reads)| graph.node(reads).output[0].clone());
        let Some(flattening) = graph
            .sole_consumer(&pooled)
            .filter(|&next| is_flattening(graph, next, values))
        else {
            continue;
        };
        let flat = graph.node(flattening).output[0].clone();
        let result = match (pair, pair_behind(graph, &flat)) {
            (None, None) if !graph.is_output(&flat) => flat,
            (Some((first, _)), Some((second, reads)))
                if quantization::of(graph, first)? == quantization::of(graph, second)? =>
            {
                let result = graph.node(reads).output[0].clone();
                if graph.is_output(&result) {
                    continue;
                }
                result
            }
            _ => continue,
        };
        let old = graph.remove_node(id);
        let mut mean = node("ReduceMean", old.name(), &[&old.input[0]], &[&old.output[0]]);
        mean.set_attribute(AttributeProto::from_int("keepdims", 0));
        reduce_pictures(graph, &mut mean, old.name());
        graph.add_node(mean);
        let changed = [
            Some(old.output[0].clone()),
            pair.map(|(stores, _)| graph.node(stores).output[0].clone()),
            Some(pooled.clone()),
        ];
        graph
            .value_infos_mut()
            .retain(|info| !changed.iter().flatten().any(|name| name == info.name()));
        graph.replace_uses(&result, &pooled);
    }
    graph.remove_dead_nodes();
    Ok(())
}

/// Names height and width as the axes, in the way of the model's operator set.
fn reduce_pictures(graph: &mut Graph, mean: &mut crate::proto::NodeProto, label: &str) {
    /// The first operator set in which the axes are an input.
    const AXES_AS_INPUT: i64 = 18;
    let axes = [2_i64, 3];
    if graph.opset() < AXES_AS_INPUT {
        mean.set_attribute(AttributeProto::from_ints("axes", &axes));
        return;
    }
    let name = graph.fresh_name(&format!("{label}_axes"));
    graph.add_initializer(crate::proto::TensorProto::of(&name, &[axes.len()], &axes));
    mean.input.push(name);
}

/// Whether a node takes a picture of one pixel to its channels.
fn is_flattening(graph: &Graph, id: NodeId, values: &Values) -> bool {
    let node = graph.node(id);
    let extents = |name: &str| values.get(name).and_then(Value::extents);
    let flattens = ["Flatten", "Reshape", "Squeeze"].contains(&node.op_type());
    match (extents(&node.input[0]), extents(&node.output[0])) {
        (Some(from), Some(to)) => flattens && from.len() == 4 && from[..2] == to[..],
        _ => false,
    }
}
