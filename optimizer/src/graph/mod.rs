//! The one mutator of a model's graph.
//!
//! [`Graph`] owns the messages of a model and keeps beside them who produces and who reads each value. Every
//! change of nodes, constants and edges goes through it, so that this index never lies.

pub mod build;
mod sort;

use std::collections::{BTreeSet, HashMap};

use crate::error::Error;
use crate::model::Model;
use crate::proto::{AttributeProto, ModelProto, NodeProto, TensorProto, ValueInfoProto};

/// A handle of a node, valid for the life of its graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(usize);

/// An input of a node that reads a value: the node and the position among its inputs.
pub type Use = (NodeId, usize);

/// A model under change.
#[derive(Debug, Clone)]
pub struct Graph {
    /// Everything but the nodes and the initializers.
    model: ModelProto,
    /// By [`NodeId`]; removed ones leave a gap, so that handles stay valid.
    nodes: Vec<Option<NodeProto>>,
    initializers: Vec<Option<TensorProto>>,
    initializer_index: HashMap<String, usize>,
    producers: HashMap<String, NodeId>,
    consumers: HashMap<String, Vec<Use>>,
    /// Names of values and nodes that are or were in use.
    names: BTreeSet<String>,
}

impl Graph {
    /// Takes a model apart. Values that two nodes produce, subgraphs and local functions are refused.
    pub fn new(model: Model) -> Result<Self, Error> {
        let mut model = model.into_proto();
        let proto = model.graph.as_mut().expect("a model has a graph");
        let nodes = std::mem::take(&mut proto.node);
        let initializers = std::mem::take(&mut proto.initializer);
        let mut graph = Self {
            names: interface_names(&model),
            model,
            nodes: Vec::with_capacity(nodes.len()),
            initializers: Vec::with_capacity(initializers.len()),
            initializer_index: HashMap::new(),
            producers: HashMap::new(),
            consumers: HashMap::new(),
        };
        for tensor in initializers {
            if graph.initializer(tensor.name()).is_some() {
                return Err(Error::tensor(tensor.name(), "two initializers have this name"));
            }
            graph.add_initializer(tensor);
        }
        for node in nodes {
            graph.admit(&node)?;
            graph.add_node(node);
        }
        Ok(graph)
    }

    /// Puts the model together again: nodes in topological order, those that do not depend on one another in
    /// the order in which they were, and no type information of values that are gone.
    pub fn finish(mut self) -> Result<Model, Error> {
        let order = sort::topological(&self)?;
        let ids = order
            .iter()
            .map(|id| self.nodes[id.0].take().expect("sorted nodes exist"));
        let nodes: Vec<NodeProto> = ids.collect();
        let mut model = self.model;
        let proto = model.graph.as_mut().expect("a model has a graph");
        let produced = &self.producers;
        proto.value_info.retain(|info| produced.contains_key(info.name()));
        proto.node = nodes;
        proto.initializer = self.initializers.into_iter().flatten().collect();
        Ok(Model::from_proto(model))
    }

    /// Version of the standard operator set, 1 where the model imports none.
    pub fn opset(&self) -> i64 {
        let mut imports = self.model.opset_import.iter();
        let standard = imports.find(|import| matches!(import.domain(), "" | "ai.onnx"));
        standard.map_or(1, |import| import.version())
    }

    /// The graph's inputs, initializers that old models list among them included.
    pub fn inputs(&self) -> &[ValueInfoProto] {
        &self.proto().input
    }

    /// The graph's outputs.
    pub fn outputs(&self) -> &[ValueInfoProto] {
        &self.proto().output
    }

    /// Types that the model declares for values inside the graph.
    pub fn value_infos(&self) -> &[ValueInfoProto] {
        &self.proto().value_info
    }

    /// Types that the model declares for values inside the graph, to change them.
    pub fn value_infos_mut(&mut self) -> &mut Vec<ValueInfoProto> {
        &mut self.model.graph.as_mut().expect("a model has a graph").value_info
    }

    /// Removes an entry from the list of inputs, as for an initializer that was listed there.
    pub fn remove_input(&mut self, name: &str) {
        let graph = self.model.graph.as_mut().expect("a model has a graph");
        graph.input.retain(|input| input.name() != name);
    }

    /// Whether the value is an output of the graph.
    pub fn is_output(&self, value: &str) -> bool {
        self.outputs().iter().any(|output| output.name() == value)
    }

    /// All nodes with their handles, in the order of their handles.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, &NodeProto)> {
        let slots = self.nodes.iter().enumerate();
        slots.filter_map(|(index, slot)| slot.as_ref().map(|node| (NodeId(index), node)))
    }

    /// Handles of all nodes, to change the graph while walking it.
    pub fn ids(&self) -> Vec<NodeId> {
        self.nodes().map(|(id, _)| id).collect()
    }

    /// Whether the node is still there.
    pub fn contains(&self, id: NodeId) -> bool {
        self.nodes.get(id.0).is_some_and(Option::is_some)
    }

    /// A node.
    ///
    /// # Panics
    /// If it was removed.
    pub fn node(&self, id: NodeId) -> &NodeProto {
        self.nodes[id.0].as_ref().expect("the node was not removed")
    }

    /// The node that produces a value; `None` for inputs, initializers and unknown names.
    pub fn producer(&self, value: &str) -> Option<NodeId> {
        self.producers.get(value).copied()
    }

    /// Who reads a value. That the graph itself returns it is told by [`Self::is_output`].
    pub fn consumers(&self, value: &str) -> &[Use] {
        self.consumers.get(value).map_or(&[], Vec::as_slice)
    }

    /// The node that alone reads a value which is not an output of the graph.
    pub fn sole_consumer(&self, value: &str) -> Option<NodeId> {
        match self.consumers(value) {
            [(id, _)] if !self.is_output(value) => Some(*id),
            _ => None,
        }
    }

    /// A constant.
    pub fn initializer(&self, name: &str) -> Option<&TensorProto> {
        let index = *self.initializer_index.get(name)?;
        self.initializers[index].as_ref()
    }

    /// All constants, in the order of the file.
    pub fn initializers(&self) -> impl Iterator<Item = &TensorProto> {
        self.initializers.iter().flatten()
    }

    /// The constant that input `index` of a node reads, if it is one.
    pub fn constant_input(&self, id: NodeId, index: usize) -> Option<&TensorProto> {
        self.initializer(self.node(id).input_name(index)?)
    }

    /// Adds a node.
    ///
    /// # Panics
    /// If another node already produces one of its outputs.
    pub fn add_node(&mut self, node: NodeProto) -> NodeId {
        let id = NodeId(self.nodes.len());
        self.names.insert(node.name().to_owned());
        for (index, input) in node.input.iter().enumerate() {
            self.names.insert(input.clone());
            self.link(input, (id, index));
        }
        for output in node.output.iter().filter(|output| !output.is_empty()) {
            self.names.insert(output.clone());
            let other = self.producers.insert(output.clone(), id);
            assert!(other.is_none(), "`{output}` has one producer");
        }
        self.nodes.push(Some(node));
        id
    }

    /// Removes a node and returns it; its outputs have no producer from now on.
    ///
    /// # Panics
    /// If it was removed before.
    pub fn remove_node(&mut self, id: NodeId) -> NodeProto {
        let node = self.nodes[id.0].take().expect("the node was not removed");
        for (index, input) in node.input.iter().enumerate() {
            self.unlink(input, (id, index));
        }
        for output in &node.output {
            self.producers.remove(output);
        }
        node
    }

    /// Makes input `index` of a node read `value`; inputs that the node lacks before it are left out.
    pub fn set_input(&mut self, id: NodeId, index: usize, value: &str) {
        let node = self.nodes[id.0].as_mut().expect("the node was not removed");
        while node.input.len() <= index {
            node.input.push(String::new());
        }
        let old = std::mem::replace(&mut node.input[index], value.to_owned());
        self.unlink(&old, (id, index));
        self.names.insert(value.to_owned());
        self.link(value, (id, index));
    }

    /// Cuts a node's inputs from position `count` on.
    pub fn truncate_inputs(&mut self, id: NodeId, count: usize) {
        let node = self.nodes[id.0].as_mut().expect("the node was not removed");
        let keep = count.min(node.input.len());
        let cut: Vec<String> = node.input.drain(keep..).collect();
        for (offset, input) in cut.iter().enumerate() {
            self.unlink(input, (id, count + offset));
        }
    }

    /// Renames output `index` of a node; readers of the old name are not changed.
    ///
    /// # Panics
    /// If another node already produces `value`.
    pub fn set_output(&mut self, id: NodeId, index: usize, value: &str) {
        let node = self.nodes[id.0].as_mut().expect("the node was not removed");
        let old = std::mem::replace(&mut node.output[index], value.to_owned());
        self.producers.remove(&old);
        self.names.insert(value.to_owned());
        let other = self.producers.insert(value.to_owned(), id);
        assert!(other.is_none(), "`{value}` has one producer");
    }

    /// Cuts a node's outputs from position `count` on.
    pub fn truncate_outputs(&mut self, id: NodeId, count: usize) {
        let node = self.nodes[id.0].as_mut().expect("the node was not removed");
        let keep = count.min(node.output.len());
        for output in node.output.drain(keep..) {
            self.producers.remove(&output);
        }
    }

    /// Sets an attribute of a node.
    pub fn set_attribute(&mut self, id: NodeId, attribute: AttributeProto) {
        let node = self.nodes[id.0].as_mut().expect("the node was not removed");
        node.set_attribute(attribute);
    }

    /// Removes an attribute of a node, if it has one of that name.
    pub fn remove_attribute(&mut self, id: NodeId, name: &str) -> Option<AttributeProto> {
        let node = self.nodes[id.0].as_mut().expect("the node was not removed");
        node.remove_attribute(name)
    }

    /// Makes all nodes that read `old` read `new`. An output of the graph named `old` stays one.
    pub fn replace_uses(&mut self, old: &str, new: &str) {
        for (id, index) in self.consumers(old).to_vec() {
            self.set_input(id, index, new);
        }
    }

    /// Adds a constant, or replaces the one of that name.
    pub fn add_initializer(&mut self, tensor: TensorProto) {
        let name = tensor.name().to_owned();
        self.names.insert(name.clone());
        if let Some(&index) = self.initializer_index.get(&name) {
            self.initializers[index] = Some(tensor);
        } else {
            self.initializer_index.insert(name, self.initializers.len());
            self.initializers.push(Some(tensor));
        }
    }

    /// Removes a constant and returns it.
    pub fn remove_initializer(&mut self, name: &str) -> Option<TensorProto> {
        let index = self.initializer_index.remove(name)?;
        self.initializers[index].take()
    }

    /// Removes the constants that nothing reads, and their entries among the inputs.
    pub fn remove_unused_initializers(&mut self) {
        let unused = |name: &&str| self.consumers(name).is_empty() && !self.is_output(name);
        let names = self.initializers().map(|tensor| tensor.name());
        let names: Vec<String> = names.filter(unused).map(str::to_owned).collect();
        for name in names {
            self.remove_initializer(&name);
            self.remove_input(&name);
        }
    }

    /// Removes nodes none of whose outputs are read, until there are none.
    pub fn remove_dead_nodes(&mut self) {
        let mut candidates = self.ids();
        while let Some(id) = candidates.pop() {
            let needed = |output: &String| !self.consumers(output).is_empty() || self.is_output(output);
            if !self.contains(id) || self.node(id).output.iter().any(needed) {
                continue;
            }
            let node = self.remove_node(id);
            candidates.extend(node.input.iter().filter_map(|input| self.producer(input)));
        }
    }

    /// A name that no value and no node has or had: `prefix`, or `prefix_1`, `prefix_2`, ...
    pub fn fresh_name(&mut self, prefix: &str) -> String {
        let numbered = (1_usize..).map(|number| format!("{prefix}_{number}"));
        let name = std::iter::once(prefix.to_owned())
            .chain(numbered)
            .find(|name| !self.names.contains(name))
            .expect("numbers do not end");
        self.names.insert(name.clone());
        name
    }

    /// Nodes that the mutator's index cannot describe.
    fn admit(&self, node: &NodeProto) -> Result<(), Error> {
        let subgraph = |attribute: &AttributeProto| attribute.g.is_some() || !attribute.graphs.is_empty();
        if node.attribute.iter().any(subgraph) {
            return Err(Error::node(
                node,
                "control flow is not supported; export the model without it",
            ));
        }
        let mut seen = BTreeSet::new();
        for output in node.output.iter().filter(|output| !output.is_empty()) {
            if self.producers.contains_key(output) || !seen.insert(output) {
                return Err(Error::node(node, format!("`{output}` is already produced")));
            }
        }
        Ok(())
    }

    fn proto(&self) -> &crate::proto::GraphProto {
        self.model.graph.as_ref().expect("a model has a graph")
    }

    fn link(&mut self, value: &str, by: Use) {
        if !value.is_empty() {
            self.consumers.entry(value.to_owned()).or_default().push(by);
        }
    }

    fn unlink(&mut self, value: &str, by: Use) {
        if let Some(uses) = self.consumers.get_mut(value) {
            uses.retain(|&other| other != by);
        }
    }
}

fn interface_names(model: &ModelProto) -> BTreeSet<String> {
    let graph = model.graph.as_ref().expect("a model has a graph");
    let infos = graph.input.iter().chain(&graph.output);
    let mut names: BTreeSet<String> = infos.map(|info| info.name().to_owned()).collect();
    names.insert(String::new());
    names
}

#[cfg(test)]
mod tests;
