//! Which nodes compute in integers, and which values are therefore stored in 8 bits.
//!
//! Convolutions and matrix products with constant weights are the *anchors*: their inputs are quantized, and
//! the outputs of convolutions too, as runtimes fuse a convolution only between integers. What lies between
//! anchors follows: a residual `Add` with one quantized input quantizes the other as well, and a node that
//! only moves values keeps their scale. A `Relu` or `Clip` belongs to the node before it, so that the value
//! after it is the quantized one.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::forms::{self, Form};
use crate::graph::{Graph, NodeId};

/// What becomes of the graph.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Each node with the form it takes, or why it stays in float; in the order of the graph.
    pub(super) nodes: Vec<(NodeId, Result<Form, String>)>,
    /// Quantized values and where their scale comes from, in the order of the graph.
    pub(super) values: Vec<(String, Source)>,
}

/// Where the scale of a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// From its own range.
    Observed,
    /// From another value, which has the same elements or more of them.
    Shared(String),
}

impl Plan {
    /// Plans a graph whose nodes are in topological order. `floats` are its values of type float32; the nodes
    /// of `excluded` stay in float.
    pub(super) fn of(graph: &Graph, floats: &HashSet<String>, excluded: &HashSet<NodeId>) -> Self {
        let mut planner = Planner::new(graph, floats);
        planner.exclude(excluded);
        planner.anchor();
        planner.spread();
        planner.drop_idle_moves();
        planner.absorb_limits();
        planner.finish()
    }
}

/// Values that a plan may quantize, whichever nodes are excluded, in the order of the graph.
pub(super) fn observable(graph: &Graph, floats: &HashSet<String>) -> Vec<String> {
    let planner = Planner::new(graph, floats);
    let mut seen = HashSet::new();
    let mut values = Vec::new();
    for &id in &planner.order {
        if let Ok(form) = planner.possible[&id] {
            let mut touched = forms::data_inputs(form, graph.node(id));
            touched.push(planner.result(id));
            values.extend(touched.into_iter().filter(|value| seen.insert(value.clone())));
        }
    }
    values
}

struct Planner<'a> {
    graph: &'a Graph,
    order: Vec<NodeId>,
    /// The form that each node could take, or why it has none.
    possible: HashMap<NodeId, Result<Form, String>>,
    /// Nodes that take their form.
    taken: BTreeMap<NodeId, Form>,
    /// Quantized values.
    quantized: HashMap<String, Source>,
}

impl<'a> Planner<'a> {
    fn new(graph: &'a Graph, floats: &HashSet<String>) -> Self {
        let order = graph.ids();
        let form = |id| {
            let form = forms::of(graph, id)?;
            let node = graph.node(id);
            let mut data = forms::data_inputs(form, node);
            data.push(node.output[0].clone());
            match data.iter().find(|value| !floats.contains(*value)) {
                Some(other) => Err(format!("`{other}` is not float32")),
                None => Ok(form),
            }
        };
        let possible = order.iter().map(|&id| (id, form(id))).collect();
        Self {
            graph,
            order,
            possible,
            taken: BTreeMap::new(),
            quantized: HashMap::new(),
        }
    }

    /// Keeps nodes in float, and with a `Relu` or `Clip` the node whose result it limits.
    fn exclude(&mut self, excluded: &HashSet<NodeId>) {
        for &id in excluded {
            let node = self.graph.node(id);
            let owner = match self.possible[&id] {
                Ok(Form::Limit) => self.graph.producer(&node.input[0]),
                _ => None,
            };
            let owner = owner.filter(|&owner| self.result(owner) == node.output[0]);
            for id in owner.into_iter().chain([id]) {
                if self.possible[&id].is_ok() {
                    self.possible.insert(id, Err("it is to stay in float".to_owned()));
                }
            }
        }
    }

    fn anchor(&mut self) {
        for id in self.order.clone() {
            let Ok(form @ (Form::Convolution(_) | Form::Product(_))) = &self.possible[&id] else {
                continue;
            };
            let form = *form;
            self.quantize(&self.graph.node(id).input[0].clone());
            if matches!(form, Form::Convolution(_)) {
                self.quantize(&self.result(id));
            }
            self.taken.insert(id, form);
        }
    }

    /// Takes the forms of nodes between anchors until none follows from another any more.
    fn spread(&mut self) {
        let mut changed = true;
        while changed {
            changed = false;
            for id in self.order.clone() {
                if !self.taken.contains_key(&id) && self.follow(id) {
                    changed = true;
                }
            }
        }
    }

    /// Takes the node's form if its inputs call for it.
    fn follow(&mut self, id: NodeId) -> bool {
        let form = match &self.possible[&id] {
            Ok(form) => *form,
            Err(_) => return false,
        };
        let inputs = forms::data_inputs(form, self.graph.node(id));
        if !inputs.iter().any(|input| self.quantized.contains_key(input)) {
            return false;
        }
        match form {
            Form::Convolution(_) | Form::Product(_) | Form::Limit => return false,
            Form::Merge | Form::Average => {
                for input in &inputs {
                    self.quantize(input);
                }
                self.quantize(&self.result(id));
            }
            Form::Select | Form::Move => {
                let output = self.graph.node(id).output[0].clone();
                // Its reader may have asked for a range of its own; one scale on both sides moves bytes alone.
                self.quantized.insert(output, Source::Shared(inputs[0].clone()));
            }
        }
        self.taken.insert(id, form);
        true
    }

    /// Gives back nodes that would move bytes only for them to be turned to floats at once.
    fn drop_idle_moves(&mut self) {
        for &id in self.order.iter().rev() {
            if self.taken.get(&id) != Some(&Form::Move) {
                continue;
            }
            let output = &self.graph.node(id).output[0];
            let mut readers = self.graph.consumers(output).iter();
            if !readers.any(|(reader, _)| self.taken.contains_key(reader)) {
                self.quantized.remove(output);
                self.taken.remove(&id);
                let reason = "what it moves is read in float".to_owned();
                self.possible.insert(id, Err(reason));
            }
        }
    }

    /// Gives each `Relu` and `Clip` to the node before it, where that computes in integers.
    fn absorb_limits(&mut self) {
        for &id in &self.order {
            let node = self.graph.node(id);
            let belongs = || {
                let before = self.graph.producer(&node.input[0])?;
                let absorbs =
                    self.taken.contains_key(&before) && self.graph.sole_consumer(&node.input[0]) == Some(id);
                (absorbs && self.quantized.contains_key(&node.output[0])).then_some(())
            };
            if self.possible[&id] == Ok(Form::Limit) && belongs().is_some() {
                self.taken.insert(id, Form::Limit);
            }
        }
    }

    fn quantize(&mut self, value: &str) {
        self.quantized.entry(value.to_owned()).or_insert(Source::Observed);
    }

    /// The value that stands for the node's output: what follows the activation that belongs to it.
    fn result(&self, id: NodeId) -> String {
        let output = &self.graph.node(id).output[0];
        let activation = self
            .graph
            .sole_consumer(output)
            .filter(|&next| forms::clamp(self.graph, next).is_some());
        activation.map_or_else(|| output.clone(), |next| self.graph.node(next).output[0].clone())
    }

    fn finish(mut self) -> Plan {
        let mut plan = Plan::default();
        let inputs = self.graph.inputs().iter().map(|input| input.name().to_owned());
        let outputs = self
            .order
            .iter()
            .flat_map(|&id| self.graph.node(id).output.iter().cloned());
        for value in inputs.chain(outputs) {
            if let Some(source) = self.quantized.remove(&value) {
                plan.values.push((value, source));
            }
        }
        for id in self.order {
            let decision = match self.possible.remove(&id) {
                Some(Ok(_)) if !self.taken.contains_key(&id) => {
                    Err("no neighbour computes in integers".to_owned())
                }
                Some(decision) => decision,
                None => continue,
            };
            plan.nodes.push((id, decision));
        }
        plan
    }
}
