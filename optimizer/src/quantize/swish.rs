//! `HardSwish` in integers: the product of a value and its gate, `x * HardSigmoid(x)`.
//!
//! The gate costs no arithmetic: stored within `[-3, 3]`, the integers of `x` are those of the gate within
//! `[0, 1]`.

use super::forms::Gate;
use crate::error::Error;
use crate::graph::{Graph, NodeId};
use crate::proto::{AttributeProto, node};

/// Writes the nodes of `ids`, each a `HardSwish`, as product and gate. The product keeps the name.
pub(super) fn expand(graph: &Graph, ids: &[NodeId]) -> Result<Graph, Error> {
    let mut graph = graph.clone();
    for &id in ids {
        let swish = graph.remove_node(id);
        let (input, output) = (&swish.input[0], &swish.output[0]);
        let value = graph.fresh_name(&format!("{output}_gate"));
        let label = graph.fresh_name(&format!("{}_gate", swish.label()));
        let mut gate = node("HardSigmoid", &label, &[input], &[&value]);
        gate.set_attribute(AttributeProto::from_float("alpha", Gate::SWISH.alpha));
        gate.set_attribute(AttributeProto::from_float("beta", Gate::SWISH.beta));
        graph.add_node(gate);
        graph.add_node(node("Mul", swish.name(), &[input, &value], &[output]));
    }
    // Plans want the nodes in topological order.
    Graph::new(graph.finish()?)
}
