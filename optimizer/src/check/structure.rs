//! Rules that need no shapes: versions, names, order, operators, lengths of data.

use std::collections::HashSet;

use super::OPSETS;
use crate::model::Model;
use crate::proto::{GraphProto, NodeProto, TensorProto};
use crate::shape;

/// The newest version of the file format that the schema describes.
const NEWEST_IR: i64 = 14;

/// Everything that is wrong.
pub(super) fn findings(model: &Model) -> Vec<String> {
    let mut findings = Findings(Vec::new());
    findings.versions(model);
    let graph = model.graph();
    findings.tensors(graph);
    let mut defined = findings.interface(graph);
    let produced = graph
        .node
        .iter()
        .flat_map(|node| &node.output)
        .map(String::as_str)
        .collect();
    for node in &graph.node {
        findings.node(node, &produced, &mut defined);
    }
    for output in graph.output.iter().map(|output| output.name()) {
        if !defined.contains(output) {
            findings.add(format!("output `{output}` is produced by no node"));
        }
    }
    findings.0
}

struct Findings(Vec<String>);

impl Findings {
    fn add(&mut self, finding: impl Into<String>) {
        self.0.push(finding.into());
    }

    fn versions(&mut self, model: &Model) {
        let proto = model.proto();
        match proto.ir_version() {
            1..=NEWEST_IR => {}
            0 => self.add("the file names no IR version"),
            newer => self.add(format!(
                "IR version {newer} is newer than {NEWEST_IR}, the newest that Edgefront knows; export for an older one"
            )),
        }
        let (oldest, newest) = (OPSETS.start(), OPSETS.end());
        match model.opset() {
            None => self.add("the model imports no standard operator set"),
            Some(opset) if !OPSETS.contains(&opset) => self.add(format!(
                "opset {opset} is not supported; export the model with an opset from {oldest} to {newest}"
            )),
            Some(_) => {}
        }
        if let Some(function) = proto.functions.first() {
            let name = function.name();
            self.add(format!(
                "local function `{name}` is not supported; inline it with onnx.inliner"
            ));
        }
    }

    fn tensors(&mut self, graph: &GraphProto) {
        for tensor in &graph.initializer {
            if let Err(error) = tensor.validate() {
                self.add(error.to_string());
            }
        }
        if let Some(sparse) = graph.sparse_initializer.first() {
            let name = sparse.values.as_ref().map_or("", |values| values.name());
            self.add(format!(
                "sparse initializer `{name}` is not supported; store it dense"
            ));
        }
    }

    /// Checks inputs, outputs and initializers; returns the names that they define.
    fn interface<'a>(&mut self, graph: &'a GraphProto) -> HashSet<&'a str> {
        let inputs = self.unique("input", graph.input.iter().map(|input| input.name()));
        let constants = self.unique("initializer", graph.initializer.iter().map(name_of));
        self.unique("output", graph.output.iter().map(|output| output.name()));
        if graph.output.is_empty() {
            self.add("the graph has no output");
        }
        inputs.union(&constants).copied().collect()
    }

    fn unique<'a>(&mut self, what: &str, names: impl Iterator<Item = &'a str>) -> HashSet<&'a str> {
        let mut seen = HashSet::new();
        for name in names {
            if name.is_empty() {
                self.add(format!("an {what} has no name"));
            } else if !seen.insert(name) {
                self.add(format!("two {what}s are named `{name}`"));
            }
        }
        seen
    }

    fn node<'a>(&mut self, node: &'a NodeProto, produced: &HashSet<&str>, defined: &mut HashSet<&'a str>) {
        let label = node.label();
        if let Some(finding) = unsupported(node) {
            self.add(format!("node `{label}`: {finding}"));
        }
        for input in node.input.iter().filter(|input| !input.is_empty()) {
            if defined.contains(input.as_str()) {
                continue;
            }
            self.add(if produced.contains(input.as_str()) {
                format!("node `{label}` reads `{input}` before it is produced; sort the nodes topologically")
            } else {
                format!("node `{label}` reads `{input}`, which nothing produces")
            });
        }
        for output in node.output.iter().filter(|output| !output.is_empty()) {
            if !defined.insert(output) {
                self.add(format!(
                    "node `{label}` produces `{output}`, which exists already"
                ));
            }
        }
    }
}

fn name_of(tensor: &TensorProto) -> &str {
    tensor.name()
}

fn unsupported(node: &NodeProto) -> Option<String> {
    let operator = node.op_type();
    if node
        .attribute
        .iter()
        .any(|attribute| attribute.g.is_some() || !attribute.graphs.is_empty())
    {
        return Some(format!(
            "`{operator}` holds a subgraph, which is not supported; export the model without control flow"
        ));
    }
    if !node.is_standard() {
        let domain = node.domain();
        return Some(format!(
            "operator `{operator}` of domain `{domain}` is not supported; export the model with standard operators"
        ));
    }
    if shape::operator(node).is_none() {
        return Some(format!(
            "operator `{operator}` is not supported; express it by others, or leave that part out of the model"
        ));
    }
    None
}
