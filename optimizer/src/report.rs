//! What a pass did, node by node.

use serde::{Deserialize, Serialize};

/// What one pass did to a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassReport {
    /// The pass: `fold-batch-norm`.
    pub pass: String,
    /// Each node that the pass considered, in the graph's order.
    pub nodes: Vec<NodeReport>,
}

/// What a pass did to one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeReport {
    /// The node's name, or its operator and first output.
    pub node: String,
    /// Whether the pass changed it.
    pub applied: bool,
    /// What was done, or why nothing was.
    pub why: String,
}

impl PassReport {
    /// A report of nothing yet.
    pub fn new(pass: &str) -> Self {
        Self {
            pass: pass.to_owned(),
            nodes: Vec::new(),
        }
    }

    /// Notes that the pass changed `node`.
    pub fn applied(&mut self, node: impl Into<String>, why: impl Into<String>) {
        self.note(node.into(), true, why.into());
    }

    /// Notes that the pass left `node` as it was.
    pub fn skipped(&mut self, node: impl Into<String>, why: impl Into<String>) {
        self.note(node.into(), false, why.into());
    }

    /// How many nodes the pass changed.
    pub fn count_applied(&self) -> usize {
        self.nodes.iter().filter(|node| node.applied).count()
    }

    fn note(&mut self, node: String, applied: bool, why: String) {
        self.nodes.push(NodeReport { node, applied, why });
    }
}
