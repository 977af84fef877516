//! Values whose statistics follow from those of other values, so that a runtime need not return them.
//!
//! Each value that is returned keeps a runtime from fusing what makes it, and is written and read once more. What is
//! joined has the values of its parts, and a `Sigmoid` and the product of a value with its own `Sigmoid` (`SiLU`)
//! are functions of the value.

use std::collections::{HashMap, HashSet};

use crate::calibrate::{Derived, Origin};
use crate::graph::Graph;

/// What is to be observed, and what follows from it, in the order of the graph.
pub(super) struct Derivation {
    pub(super) observed: Vec<String>,
    pub(super) derived: Vec<Derived>,
}

/// Of `wanted`, those in `kept` are observed in any case.
pub(super) fn derive(graph: &Graph, wanted: Vec<String>, kept: &HashSet<String>) -> Derivation {
    let asked: HashSet<String> = wanted.iter().cloned().collect();
    let mut open = wanted;
    let mut seen: HashSet<String> = open.iter().cloned().collect();
    let (mut observed, mut origins) = (HashSet::new(), HashMap::new());
    while let Some(value) = open.pop() {
        let origin = origin(graph, &value, &asked).filter(|_| !kept.contains(&value));
        let Some(origin) = origin else {
            observed.insert(value);
            continue;
        };
        let unseen = origin.values().filter(|other| seen.insert((*other).clone()));
        open.extend(unseen.cloned());
        origins.insert(value, origin);
    }
    let inputs = graph.inputs().iter().map(|input| input.name().to_owned());
    let made = graph.nodes().flat_map(|(_, node)| node.output.iter().cloned());
    let order: Vec<String> = inputs.chain(made).collect();
    let derived = order.iter().filter_map(|value| {
        let origin = origins.remove(value)?;
        Some(Derived {
            value: value.clone(),
            origin,
        })
    });
    Derivation {
        derived: derived.collect(),
        observed: order
            .into_iter()
            .filter(|value| observed.contains(value))
            .collect(),
    }
}

/// From what a value follows, if from anything.
fn origin(graph: &Graph, value: &str, asked: &HashSet<String>) -> Option<Origin> {
    let node = graph.node(graph.producer(value)?);
    if !node.is_standard() || node.input.iter().any(|input| graph.initializer(input).is_some()) {
        return None;
    }
    let gate = |value: &String| {
        let node = graph.node(graph.producer(value)?);
        node.is("Sigmoid").then(|| node.input[0].clone())
    };
    let origin = match (node.op_type(), &node.input[..]) {
        // Along the first axis rows are no samples any more.
        ("Concat", parts) if node.int("axis").is_some_and(|axis| axis > 0) => Origin::Parts(parts.to_vec()),
        ("Sigmoid", [input]) => Origin::Sigmoid(input.clone()),
        ("Mul", [a, b]) if gate(b).as_ref() == Some(a) => Origin::Silu(a.clone()),
        ("Mul", [a, b]) if gate(a).as_ref() == Some(b) => Origin::Silu(b.clone()),
        _ => return None,
    };
    let is_function = !matches!(origin, Origin::Parts(_));
    // A function is taken of bins, which is worth it only where they are there anyway.
    let is_known = origin.values().all(|other| asked.contains(other));
    (!is_function || is_known).then_some(origin)
}
