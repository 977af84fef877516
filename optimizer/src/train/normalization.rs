//! Batch normalizations that are there while a model trains, and folded back into its convolutions afterwards.
//!
//! Exporters fold them, and without them a network learns slowly, or not at all once pruning has upset it.

use crate::error::Error;
use crate::graph::{Graph, NodeId};
use crate::model::Model;
use crate::passes::finish;
use crate::proto::{DataType, TensorProto, node};

use super::NAME;

/// Puts a batch normalization that changes nothing yet behind each convolution with constant weights; `None` where
/// there is none, or where the model has normalizations already.
pub(super) fn insert(model: &Model) -> Result<Option<Model>, Error> {
    let mut graph = Graph::new(model.clone())?;
    if graph.nodes().any(|(_, node)| node.is("BatchNormalization")) {
        return Ok(None);
    }
    let layers: Vec<(NodeId, usize)> = graph
        .ids()
        .into_iter()
        .filter_map(|id| channels(&graph, id))
        .collect();
    for &(id, channels) in &layers {
        let output = graph.node(id).output[0].clone();
        let raw = graph.fresh_name(&format!("{output}_raw"));
        graph.set_output(id, 0, &raw);
        let label = graph.fresh_name(&format!("{output}_BatchNormalization"));
        let mut constant = |suffix: &str, value: f32| {
            let name = graph.fresh_name(&format!("{label}_{suffix}"));
            graph.add_initializer(TensorProto::of(&name, &[channels], &vec![value; channels]));
            name
        };
        let [scale, shift] = [constant("scale", 1.0), constant("shift", 0.0)];
        let [mean, variance] = [constant("mean", 0.0), constant("variance", 1.0)];
        graph.add_node(node(
            "BatchNormalization",
            &label,
            &[&raw, &scale, &shift, &mean, &variance],
            &[&output],
        ));
    }
    if layers.is_empty() {
        return Ok(None);
    }
    finish(NAME, graph).map(Some)
}

/// A convolution with float weights, and its output channels.
fn channels(graph: &Graph, id: NodeId) -> Option<(NodeId, usize)> {
    let weights = graph
        .constant_input(id, 1)
        .filter(|_| graph.node(id).is("Conv"))?;
    let is_float = weights.element_type().ok()? == DataType::Float;
    let channels = *weights.shape().ok()?.first()?;
    (is_float && channels > 0).then_some((id, channels))
}
