//! Raising a model of opset 13 or newer to a later one, by ONNX's `docs/Changelog.md`.

use crate::error::Error;
use crate::graph::{Graph, NodeId};
use crate::model::Model;
use crate::proto::{AttributeProto, TensorProto};

/// Since version 18 these take their axes as an input.
const REDUCTIONS: [&str; 9] = [
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceProd",
    "ReduceSumSquare",
];

/// The model at `opset`, at most 21. A model of that opset or a newer one stays as it is.
pub(in crate::passes) fn raise(mut model: Model, opset: i64) -> Result<Model, Error> {
    let found = model.opset().unwrap_or(1);
    if found >= opset {
        return Ok(model);
    }
    model.set_opset(opset);
    let mut graph = Graph::new(model)?;
    for id in graph.ids() {
        let node = graph.node(id);
        let operator = node.op_type();
        if found < 14 && node.is("BatchNormalization") && node.output.len() > 1 {
            return Err(Error::node(
                node,
                "it is in training mode; export the model for inference",
            ));
        }
        if found < 21 && opset >= 21 && node.is("GroupNormalization") {
            return Err(Error::node(
                node,
                "its meaning changed with opset 21; export the model with opset 21",
            ));
        }
        if found < 18 && opset >= 18 && node.is_standard() {
            if REDUCTIONS.contains(&operator) {
                axes_to_input(&mut graph, id);
            } else if node.is("Split") && node.input_name(1).is_none() {
                let parts = node.output.len() as i64;
                graph.set_attribute(id, AttributeProto::from_int("num_outputs", parts));
            }
        }
    }
    graph.finish()
}

fn axes_to_input(graph: &mut Graph, id: NodeId) {
    if let Some(attribute) = graph.remove_attribute(id, "axes") {
        let axes = attribute.ints.clone();
        let name = graph.fresh_name(&format!("{}_axes", graph.node(id).output[0]));
        graph.add_initializer(TensorProto::of(&name, &[axes.len()], &axes));
        graph.set_input(id, 1, &name);
    }
}
