//! Topological order.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use super::{Graph, NodeId};
use crate::error::Error;

/// Every node after those whose outputs it reads; among the nodes that are free to go, the oldest first.
pub(super) fn topological(graph: &Graph) -> Result<Vec<NodeId>, Error> {
    let mut waits_for: HashMap<NodeId, usize> = HashMap::new();
    let mut free = BinaryHeap::new();
    for (id, node) in graph.nodes() {
        let count = node
            .input
            .iter()
            .filter(|input| graph.producer(input).is_some())
            .count();
        if count == 0 {
            free.push(Reverse(id));
        } else {
            waits_for.insert(id, count);
        }
    }
    let mut order = Vec::new();
    while let Some(Reverse(id)) = free.pop() {
        order.push(id);
        for output in graph.node(id).output.iter().filter(|output| !output.is_empty()) {
            for (reader, _) in graph.consumers(output) {
                let count = waits_for.get_mut(reader).expect("readers of outputs wait");
                *count -= 1;
                if *count == 0 {
                    waits_for.remove(reader);
                    free.push(Reverse(*reader));
                }
            }
        }
    }
    match waits_for.keys().min() {
        None => Ok(order),
        Some(&id) => Err(Error::node(graph.node(id), "it depends on its own output")),
    }
}
