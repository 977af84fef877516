//! `HardSwish` in integers: the product of a value and its gate, `x * HardSigmoid(x)`.
//!
//! The gate costs no arithmetic: stored within `[-3, 3]`, the integers of `x` are those of the gate within
//! `[0, 1]`.

use std::collections::HashMap;

use super::forms::Gate;
use crate::calibrate::Extremes;
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

/// Gives what a `HardSwish` alone reads the range that it takes to make the range of its result: all below -3
/// gives 0, and what is cut off the result need not be kept before it.
pub(super) fn narrow(graph: &Graph, ranges: &mut HashMap<String, Extremes>) {
    for (id, node) in graph.nodes().filter(|(_, node)| node.is("HardSwish")) {
        let input = &node.input[0];
        if graph.sole_consumer(input) != Some(id) {
            continue;
        }
        if let (Some(&before), Some(&after)) = (ranges.get(input), ranges.get(&node.output[0])) {
            ranges.insert(
                input.clone(),
                Extremes {
                    min: before.min.max(-3.0),
                    max: before.max.min(inverse(after.max)),
                },
            );
        }
    }
}

/// The value of at least 0 whose `HardSwish` is `result`.
fn inverse(result: f32) -> f32 {
    match result {
        ..=0.0 => 0.0,
        ..3.0 => ((9.0 + 24.0 * result).sqrt() - 3.0) / 2.0,
        _ => result,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_inverse_gives_the_result_again(result in 0.0_f32..10.0) {
            let x = inverse(result);
            let swish = x * (x / 6.0 + 0.5).clamp(0.0, 1.0);
            prop_assert!((swish - result).abs() < 1e-5 * result.max(1.0));
        }
    }
}
