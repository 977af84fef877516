//! What other passes rely on: constants are initializers, and nodes that do nothing at inference are gone.

mod folding;
mod gemm;
mod pads;
mod raise;
mod upgrade;

use std::collections::BTreeMap;

use super::finish;
use crate::error::Error;
use crate::graph::{Graph, NodeId};
use crate::model::Model;
use crate::proto::TensorProto;
use crate::report::PassReport;
use crate::shape::{self, Dim, Values};
use folding::Folding;
pub(super) use raise::raise;

/// Name of the pass.
const NAME: &str = "prepare";

/// Operator sets before this one lack scales per channel and keep axes and bounds in attributes.
const OPSET: i64 = 13;

/// Brings a model into the form that the other passes work on: at least opset 13, constants as initializers,
/// no `Identity`, no `Dropout`, no computation on constants, and nothing left open that shapes decide. What the
/// model computes stays the same, and so do its inputs and outputs, but for initializers that it lists as inputs:
/// they become constants.
pub fn prepare(model: &Model) -> Result<(Model, PassReport), Error> {
    let mut report = PassReport::new(NAME);
    let mut model = model.clone();
    let opset = model.opset().unwrap_or(1);
    if opset < OPSET {
        model = upgrade::upgrade(model, &mut report)?;
    }
    // Raises the IR version too: files of IR 3 must list every initializer as an input.
    model.set_opset(opset.max(OPSET));
    let values = shape::infer(&model, &BTreeMap::new())?;
    let mut folding = Folding::within(&model);
    let mut graph = Graph::new(model)?;
    fix_inputs(&mut graph, &mut report);
    for id in graph.ids() {
        let node = graph.node(id);
        let label = node.label();
        if node.is("Constant") {
            let tensor = constant_of(&graph, id)?;
            make_constant(&mut graph, id, tensor);
            report.applied(label, "made an initializer");
        } else if let Some(folded) = folding.value(&graph, id, &values) {
            match folded {
                Ok(tensor) => {
                    make_constant(&mut graph, id, tensor);
                    report.applied(label, "computed: it depends on constants only");
                }
                Err(why) => report.skipped(label, why),
            }
        } else if let Some(target) = target_of(&graph, id, &values) {
            let name = graph.fresh_name(&format!("{label}_target"));
            graph.add_initializer(TensorProto::of(&name, &[target.len()], &target));
            graph.set_input(id, 1, &name);
            graph.remove_attribute(id, "allowzero");
            report.applied(label, "its target is constant: at most one extent is open");
        } else if pads::write_out(&mut graph, id, &values) {
            report.applied(label, "its pads are written out");
        } else if pads::spread(&mut graph, id, &values) {
            report.applied(label, "it names the pads of all axes");
        } else if pads::count_none(&mut graph, id) {
            report.applied(label, "it has no pads to count");
        } else if gemm::write_plainly(&mut graph, id) {
            report.applied(label, "its factors are taken into its constants");
        } else if does_nothing(&graph, id) {
            match bypass(&mut graph, id) {
                Ok(()) => report.applied(label, "removed: it does nothing at inference"),
                Err(why) => report.skipped(label, why),
            }
        }
    }
    let products = graph.nodes().filter(|(_, node)| node.is("MatMul"));
    for id in products.map(|(id, _)| id).collect::<Vec<_>>() {
        let label = graph.node(id).label();
        if let Some(add) = gemm::join(&mut graph, id, &values) {
            report.applied(label, format!("takes `{add}` as its bias"));
        }
    }
    graph.remove_dead_nodes();
    graph.remove_unused_initializers();
    Ok((finish(NAME, graph)?, report))
}

/// Old models list initializers as inputs, newer ones those that a caller may override. Nobody overrides them
/// here, and as constants they can be folded.
fn fix_inputs(graph: &mut Graph, report: &mut PassReport) {
    let names = graph.inputs().iter().map(|input| input.name());
    let fixed = names.filter(|name| graph.initializer(name).is_some());
    for name in fixed.map(str::to_owned).collect::<Vec<_>>() {
        graph.remove_input(&name);
        report.applied(name, "no longer an input: its initializer is its value");
    }
}

/// The tensor of a `Constant` node, in whichever attribute it is.
fn constant_of(graph: &Graph, id: NodeId) -> Result<TensorProto, Error> {
    let node = graph.node(id);
    if let Some(tensor) = node.tensor("value") {
        return Ok(tensor.clone());
    }
    let int = node.int("value_int").map(|value| TensorProto::scalar("", value));
    let ints = || {
        node.ints("value_ints")
            .map(|values| TensorProto::of("", &[values.len()], values))
    };
    let float = || {
        node.float("value_float")
            .map(|value| TensorProto::scalar("", value))
    };
    let floats = || {
        let attribute = node.attribute("value_floats");
        attribute.map(|found| TensorProto::of("", &[found.floats.len()], &found.floats))
    };
    int.or_else(ints)
        .or_else(float)
        .or_else(floats)
        .ok_or_else(|| Error::node(node, "it has no value that is a tensor or a number"))
}

fn make_constant(graph: &mut Graph, id: NodeId, mut tensor: TensorProto) {
    tensor.name = Some(graph.remove_node(id).output.swap_remove(0));
    graph.add_initializer(tensor);
}

/// The target of a `Reshape` that computes it, as exporters do for a dynamic batch: 0 for an axis that stays as it
/// is, and -1 for the one that is left. `None` where more is open, or nothing is computed.
fn target_of(graph: &Graph, id: NodeId, values: &Values) -> Option<Vec<i64>> {
    let node = graph.node(id);
    if !node.is("Reshape") || graph.constant_input(id, 1).is_some() {
        return None;
    }
    let value = |index| values.get(node.input_name(index)?);
    let (shape, elements) = (&value(0)?.shape, value(1)?.elements.as_ref()?);
    let kept = |index: usize| shape.as_ref().and_then(|shape| shape.get(index));
    let extent = |(index, element): (usize, &Dim)| match element {
        Dim::Known(extent @ (-1 | 1..)) => Some(*extent),
        Dim::Known(_) => None,
        symbol @ Dim::Symbol(_) if kept(index) == Some(symbol) => Some(0),
        Dim::Symbol(_) | Dim::Unknown => Some(-1),
    };
    let target: Vec<i64> = elements.iter().enumerate().map(extent).collect::<Option<_>>()?;
    (target.iter().filter(|&&extent| extent == -1).count() <= 1).then_some(target)
}

fn does_nothing(graph: &Graph, id: NodeId) -> bool {
    let node = graph.node(id);
    let mask = node.output.get(1).filter(|name| !name.is_empty());
    let mask_is_read = mask.is_some_and(|name| !graph.consumers(name).is_empty() || graph.is_output(name));
    let trains = node.input_name(2).is_some_and(|flag| {
        let constant = graph.initializer(flag);
        constant.is_none_or(|tensor| {
            tensor
                .raw_data
                .as_ref()
                .is_none_or(|raw| raw.iter().any(|&byte| byte != 0))
        })
    });
    node.is("Identity") || (node.is("Dropout") && !mask_is_read && !trains)
}

/// Removes a node that hands its input on; the graph's outputs keep their names.
fn bypass(graph: &mut Graph, id: NodeId) -> Result<(), String> {
    let node = graph.node(id);
    let input = node.input_name(0).unwrap_or_default().to_owned();
    let output = node.output[0].clone();
    if !graph.is_output(&output) {
        graph.replace_uses(&output, &input);
        graph.remove_node(id);
        return Ok(());
    }
    let Some(producer) = graph.producer(&input).filter(|_| !graph.is_output(&input)) else {
        return Err("it gives an output of the model its name".to_owned());
    };
    let index = graph.node(producer).output.iter().position(|name| *name == input);
    graph.remove_node(id);
    graph.replace_uses(&input, &output);
    graph.set_output(producer, index.expect("the producer has that output"), &output);
    Ok(())
}
