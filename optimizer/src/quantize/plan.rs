//! Which nodes compute in integers, and which values are therefore stored in 8 bits.
//!
//! Convolutions and matrix products are the *anchors*: their inputs are quantized, and the outputs of
//! convolutions too, as runtimes fuse a convolution only between integers. What lies between anchors follows: a
//! residual `Add` with one quantized input quantizes the other as well, and a node that only moves values keeps
//! their scale. A `Relu`, `Clip` or `HardSigmoid` belongs to the node before it, so that the value after it is
//! the quantized one.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::forms::{self, Form, Gate};
use crate::graph::{Graph, NodeId};

/// What becomes of the graph.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Each node that makes floats with the form it takes, or why it stays in float; in the order of the graph.
    pub(super) nodes: Vec<(NodeId, Result<Form, String>)>,
    /// Quantized values and where their scale comes from, in the order of the graph.
    pub(super) values: Vec<(String, Source)>,
}

/// What can be quantized at all.
#[derive(Debug, Clone)]
pub(super) struct Scope {
    /// Values that are known to be float32.
    pub(super) floats: HashSet<String>,
    /// Values that are known to be integers, as those are that shapes are computed from.
    pub(super) integers: HashSet<String>,
    /// Whether zero may lie anywhere among an activation's integers, as gates need it.
    pub(super) gates: bool,
    /// Whether the runtime has integer kernels for transposed convolutions.
    pub(super) transposed: bool,
}

/// Where the scale of a value comes from.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Source {
    /// From its own range.
    Observed,
    /// From another value, which has the same elements or more of them.
    Shared(String),
    /// From the gate that stores its input within a range and reads it as its result.
    Gate(Gate),
}

impl Plan {
    /// Plans a graph whose nodes are in topological order; those of `excluded` stay in float.
    pub(super) fn of(graph: &Graph, scope: &Scope, excluded: &HashSet<NodeId>) -> Self {
        let mut planner = Planner::new(graph, scope);
        planner.exclude(excluded);
        planner.anchor();
        planner.spread();
        planner.drop_idle_moves();
        planner.absorb_limits();
        let mut plan = planner.finish();
        let makes_integers = |id: &NodeId| {
            let outputs = &graph.node(*id).output;
            outputs.iter().all(|output| scope.integers.contains(output))
        };
        plan.nodes.retain(|(id, _)| !makes_integers(id));
        plan
    }

    /// The nodes that take a form which is `wanted`.
    pub(super) fn taken(&self, wanted: impl Fn(&Form) -> bool) -> Vec<NodeId> {
        let wanted = self
            .nodes
            .iter()
            .filter(|(_, decision)| decision.as_ref().is_ok_and(&wanted));
        wanted.map(|(id, _)| *id).collect()
    }
}

/// Values that a plan may quantize, whichever nodes are excluded, in the order of the graph.
pub(super) fn observable(graph: &Graph, scope: &Scope) -> Vec<String> {
    let planner = Planner::new(graph, scope);
    let mut seen = HashSet::new();
    let mut values = Vec::new();
    for &id in &planner.order {
        if let Ok(form) = planner.possible[&id] {
            let mut touched = forms::data_inputs(form, graph, id);
            touched.extend(planner.results(id));
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
    fn new(graph: &'a Graph, scope: &Scope) -> Self {
        let order = graph.ids();
        let form = |id| {
            let form = forms::of(graph, id)?;
            if matches!(form, Form::Swish | Form::Gate(_)) && !scope.gates {
                return Err("zero cannot lie in the middle of its integers".to_owned());
            }
            if graph.node(id).is("ConvTranspose") && !scope.transposed {
                return Err("ONNX Runtime computes it in float on x86".to_owned());
            }
            let mut data = forms::data_inputs(form, graph, id);
            data.extend(
                graph
                    .node(id)
                    .output
                    .iter()
                    .filter(|output| !output.is_empty())
                    .cloned(),
            );
            match data.iter().find(|value| !scope.floats.contains(*value)) {
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

    /// Keeps nodes in float, and with an activation the node that it belongs to.
    fn exclude(&mut self, excluded: &HashSet<NodeId>) {
        for &id in excluded {
            let node = self.graph.node(id);
            let owner = match self.possible[&id] {
                Ok(Form::Limit | Form::Gate(_)) => self.graph.producer(&node.input[0]),
                _ => None,
            };
            let owner = owner.filter(|&owner| self.results(owner).contains(&node.output[0]));
            for id in owner.into_iter().chain([id]) {
                if self.possible[&id].is_ok() {
                    self.possible.insert(id, Err("it is to stay in float".to_owned()));
                }
            }
        }
    }

    fn anchor(&mut self) {
        for id in self.order.clone() {
            let Ok(form @ (Form::Convolution(_) | Form::Product(_) | Form::Contraction)) = self.possible[&id]
            else {
                continue;
            };
            self.quantize(forms::data_inputs(form, self.graph, id));
            if matches!(form, Form::Convolution(_)) {
                self.quantize(self.results(id));
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
        let inputs = forms::data_inputs(form, self.graph, id);
        if !inputs.iter().any(|input| self.quantized.contains_key(input)) {
            return false;
        }
        match form {
            Form::Convolution(_) | Form::Product(_) | Form::Contraction | Form::Limit => return false,
            Form::Merge | Form::Map | Form::Swish | Form::Gate(_) => {
                self.quantize(inputs);
                self.quantize(self.results(id));
            }
            Form::Select | Form::Move => {
                for output in self.results(id) {
                    // Its reader may have asked for a range of its own; one scale on both sides moves bytes alone.
                    self.quantized.insert(output, Source::Shared(inputs[0].clone()));
                }
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
            let outputs = self.results(id);
            let mut readers = outputs.iter().flat_map(|output| self.graph.consumers(output));
            if !readers.any(|(reader, _)| self.taken.contains_key(reader)) {
                for output in &outputs {
                    self.quantized.remove(output);
                }
                self.taken.remove(&id);
                let reason = "what it moves is read in float".to_owned();
                self.possible.insert(id, Err(reason));
            }
        }
    }

    /// Gives each activation that storing implies to the node before it, where that computes in integers.
    fn absorb_limits(&mut self) {
        for &id in &self.order {
            let output = &self.graph.node(id).output[0];
            let belongs = || {
                let before = self.graph.producer(&self.graph.node(id).input[0])?;
                let absorbs = self.taken.contains_key(&before) && self.results(before).contains(output);
                (absorbs && self.quantized.contains_key(output)).then_some(())
            };
            if let Ok(form @ (Form::Limit | Form::Gate(_))) = self.possible[&id]
                && belongs().is_some()
            {
                self.taken.insert(id, form);
            }
        }
    }

    fn quantize(&mut self, values: Vec<String>) {
        for value in values {
            self.quantized.entry(value).or_insert(Source::Observed);
        }
    }

    /// The values that stand for the node's outputs. Those of a node that computes are what follows the
    /// activation that belongs to it.
    fn results(&self, id: NodeId) -> Vec<String> {
        let node = self.graph.node(id);
        let computes = !matches!(
            self.possible[&id],
            Ok(Form::Select | Form::Move | Form::Limit | Form::Gate(_))
        );
        let result = |output: &String| {
            let activation = self.graph.sole_consumer(output);
            match activation.filter(|&next| computes && self.is_free(next)) {
                Some(next) => self.graph.node(next).output[0].clone(),
                None => output.clone(),
            }
        };
        node.output
            .iter()
            .filter(|output| !output.is_empty())
            .map(result)
            .collect()
    }

    /// Whether a node's result can be had by storing its input within a range, for which it may belong to the
    /// node before it.
    fn is_free(&self, id: NodeId) -> bool {
        forms::clamp(self.graph, id).is_some() || matches!(self.possible[&id], Ok(Form::Gate(_)))
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
                let gate = self.graph.producer(&value).and_then(|id| self.taken.get(&id));
                let source = match gate {
                    Some(Form::Gate(gate)) => Source::Gate(*gate),
                    _ => source,
                };
                plan.values.push((value, source));
            }
        }
        for id in self.order {
            let decision = match self.possible.remove(&id) {
                Some(Ok(Form::Limit)) if !self.taken.contains_key(&id) => {
                    Err("what it limits is not computed in integers".to_owned())
                }
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
