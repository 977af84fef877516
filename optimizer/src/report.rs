//! What a pass did, node by node.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::cost::Cost;
use crate::quantize::Choice;
use crate::sensitivity::Sensitivity;

/// What one pass did to a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PassReport {
    /// The pass: `fold-batch-norm`.
    pub pass: String,
    /// Each node that the pass considered, in the graph's order.
    pub nodes: Vec<NodeReport>,
    /// What the model costs before and after, for passes that make it cheaper.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<Change>,
    /// What each layer's quantization costs, where it was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sensitivity: Option<Sensitivity>,
    /// How the ranges of activations were chosen, where by trial.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub choice: Option<Choice>,
}

/// What a model costs before and after a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Of the model that the pass took.
    pub before: Cost,
    /// Of the model that it returned.
    pub after: Cost,
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
            cost: None,
            sensitivity: None,
            choice: None,
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

    /// Each reason for which nodes were left as they were, with the number of those nodes.
    pub fn reasons(&self) -> BTreeMap<&str, usize> {
        let mut counts = BTreeMap::new();
        for node in self.nodes.iter().filter(|node| !node.applied) {
            *counts.entry(node.why.as_str()).or_default() += 1;
        }
        counts
    }

    fn note(&mut self, node: String, applied: bool, why: String) {
        self.nodes.push(NodeReport { node, applied, why });
    }
}
