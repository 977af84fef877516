//! Rules that need no shapes: versions, names, order, operators, lengths of data.

use std::collections::HashSet;

use super::{OPSETS, schema};
use crate::model::Model;
use crate::proto::{AttributeProto, AttributeType, GraphProto, NodeProto, TensorProto};
use crate::shape;

/// The newest version of the file format that the schema describes.
const NEWEST_IR: i64 = 14;

/// Before this version of the file format every initializer had to be an input, too.
const FIRST_OF_FREE_CONSTANTS: i64 = 4;

/// Everything that is wrong.
pub(super) fn findings(model: &Model) -> Vec<String> {
    let mut findings = Findings(Vec::new());
    findings.versions(model);
    let graph = model.graph();
    findings.tensors(graph);
    let mut defined = findings.interface(graph);
    if model.proto().ir_version() < FIRST_OF_FREE_CONSTANTS {
        findings.constants_are_inputs(graph);
    }
    let produced = graph
        .node
        .iter()
        .flat_map(|node| &node.output)
        .map(String::as_str)
        .collect();
    let opset = model.opset().unwrap_or_default();
    for node in &graph.node {
        findings.node(node, opset);
        findings.edges(node, &produced, &mut defined);
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
        let mut domains = HashSet::new();
        for import in &proto.opset_import {
            let domain = if import.domain() == "ai.onnx" {
                ""
            } else {
                import.domain()
            };
            if !domains.insert(domain) {
                self.add(format!("the model imports domain `{domain}` twice"));
            }
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

    fn constants_are_inputs(&mut self, graph: &GraphProto) {
        let inputs: HashSet<&str> = graph.input.iter().map(|input| input.name()).collect();
        let missing = graph
            .initializer
            .iter()
            .map(name_of)
            .filter(|name| !inputs.contains(name));
        for name in missing {
            self.add(format!(
                "initializer `{name}` is no input, which IR version 3 asks for; raise the IR version to 4"
            ));
        }
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

    /// What a node breaks by itself.
    fn node(&mut self, node: &NodeProto, opset: i64) {
        let label = node.label();
        let mut findings: Vec<String> = attributes(node);
        match unsupported(node) {
            Some(finding) => findings.push(finding),
            None if OPSETS.contains(&opset) => findings.extend(schema::findings(node, opset)),
            None => {}
        }
        for finding in findings {
            self.add(format!("node `{label}`: {finding}"));
        }
    }

    /// What a node reads and produces.
    fn edges<'a>(&mut self, node: &'a NodeProto, produced: &HashSet<&str>, defined: &mut HashSet<&'a str>) {
        let label = node.label();
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

/// Attributes without a name, of one name, or whose value is not of the type that they state.
fn attributes(node: &NodeProto) -> Vec<String> {
    let mut findings = Vec::new();
    let mut seen = HashSet::new();
    for attribute in &node.attribute {
        let name = attribute.name();
        if name.is_empty() {
            findings.push("an attribute has no name".to_owned());
        } else if !seen.insert(name) {
            findings.push(format!("two attributes are named `{name}`"));
        }
        if !holds_its_type(attribute) {
            findings.push(format!(
                "attribute `{name}` says that it is {} and holds something else",
                attribute.r#type().as_str_name()
            ));
        }
    }
    findings
}

/// Whether no field is set but that of the attribute's type. A list may be empty, and a number is its default
/// where it is left out.
fn holds_its_type(attribute: &AttributeProto) -> bool {
    let fields = [
        (AttributeType::Float, attribute.f.is_some()),
        (AttributeType::Int, attribute.i.is_some()),
        (AttributeType::String, attribute.s.is_some()),
        (AttributeType::Tensor, attribute.t.is_some()),
        (AttributeType::Graph, attribute.g.is_some()),
        (AttributeType::Floats, !attribute.floats.is_empty()),
        (AttributeType::Ints, !attribute.ints.is_empty()),
        (AttributeType::Strings, !attribute.strings.is_empty()),
        (AttributeType::Tensors, !attribute.tensors.is_empty()),
        (AttributeType::Graphs, !attribute.graphs.is_empty()),
    ];
    let stated = attribute.r#type();
    let message = matches!(stated, AttributeType::Tensor | AttributeType::Graph);
    let own = fields.iter().any(|&(kind, is_set)| kind == stated && is_set);
    fields.iter().all(|&(kind, is_set)| kind == stated || !is_set) && (own || !message)
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
