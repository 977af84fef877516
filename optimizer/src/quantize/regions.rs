//! What goes along with a layer when it stays in float.

use std::collections::HashMap;

use super::forms::Form;
use super::plan::Plan;
use crate::graph::Graph;

/// A layer, which is a node with weights, and the nodes that compute with its result before the next layer does.
///
/// A residual sum belongs to the last of the layers that it adds up: were it still in integers, it would have
/// that layer's result stored in integers too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Region {
    /// Name of the layer.
    pub layer: String,
    /// Names of the other nodes that can be quantized, in the order of the graph.
    pub followers: Vec<String>,
}

/// The regions of a graph in topological order, where `plan` quantizes all that can be.
pub(super) fn of(graph: &Graph, plan: &Plan) -> Vec<Region> {
    let mut regions: Vec<Region> = Vec::new();
    let mut latest: HashMap<&str, usize> = HashMap::new();
    for (id, decision) in &plan.nodes {
        let node = graph.node(*id);
        let inputs = node.input.iter();
        let before = inputs
            .filter_map(|input| latest.get(input.as_str()))
            .max()
            .copied();
        let region = match decision {
            Ok(Form::Convolution(_) | Form::Product(_)) => {
                regions.push(Region {
                    layer: node.label(),
                    followers: Vec::new(),
                });
                Some(regions.len() - 1)
            }
            Ok(_) => before.inspect(|&region| regions[region].followers.push(node.label())),
            Err(_) => before,
        };
        if let Some(region) = region {
            latest.extend(node.output.iter().map(|output| (output.as_str(), region)));
        }
    }
    regions
}
