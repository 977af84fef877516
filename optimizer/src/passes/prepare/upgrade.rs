//! Upgrading models of opset 7 to 12 to opset 13, by ONNX's `docs/Changelog.md`.

use std::collections::BTreeMap;

use super::OPSET;
use crate::error::Error;
use crate::graph::{Graph, NodeId};
use crate::model::Model;
use crate::proto::{AttributeProto, NodeProto, TensorProto, node};
use crate::report::PassReport;
use crate::shape::{self, Dim, Values};

/// Rewrites the nodes whose meaning or form has changed. Operators that are not named here are the same.
pub(super) fn upgrade(mut model: Model, report: &mut PassReport) -> Result<Model, Error> {
    let opset = model.opset().unwrap_or(1);
    let values = shape::infer(&model, &BTreeMap::new())?;
    model.set_opset(OPSET);
    let mut graph = Graph::new(model)?;
    for id in graph.ids() {
        let node = graph.node(id);
        if !node.is_standard() {
            continue;
        }
        let label = node.label();
        let changed = match node.op_type() {
            "Clip" if opset < 11 => move_floats(&mut graph, id, &["min", "max"]),
            "Dropout" if opset < 12 => drop_attributes(&mut graph, id, &["ratio"]),
            "Pad" if opset < 11 => {
                move_ints(&mut graph, id, &["pads"]) | move_floats_from(&mut graph, id, 2, &["value"])
            }
            "Slice" if opset < 10 => move_ints(&mut graph, id, &["starts", "ends", "axes"]),
            "Squeeze" | "Unsqueeze" | "ReduceSum" => move_ints(&mut graph, id, &["axes"]),
            "Split" => move_ints(&mut graph, id, &["split"]),
            "Softmax" | "LogSoftmax" | "Hardmax" => separate_axes(&mut graph, id, &values)?,
            "TopK" if opset < 10 => move_count(&mut graph, id),
            "Upsample" => resize(&mut graph, id, "floor"),
            "Resize" if opset < 11 => {
                let rounding = rounding(graph.node(id), &values)?;
                resize(&mut graph, id, rounding)
            }
            "BatchNormalization" => drop_attributes(&mut graph, id, &["spatial"]),
            _ => false,
        };
        if changed {
            report.applied(label, format!("upgraded from opset {opset} to {OPSET}"));
        }
    }
    graph.finish()
}

fn drop_attributes(graph: &mut Graph, id: NodeId, names: &[&str]) -> bool {
    let mut changed = false;
    for name in names {
        changed |= graph.remove_attribute(id, name).is_some();
    }
    changed
}

/// Makes lists in attributes the inputs from position 1 on.
fn move_ints(graph: &mut Graph, id: NodeId, names: &[&str]) -> bool {
    let mut changed = false;
    for (index, name) in names.iter().enumerate() {
        if let Some(attribute) = graph.remove_attribute(id, name) {
            let ints = attribute.ints.clone();
            set_constant(graph, id, index + 1, name, |name| {
                TensorProto::of(name, &[ints.len()], &ints)
            });
            changed = true;
        }
    }
    changed
}

/// Makes numbers in attributes the inputs from position 1 on.
fn move_floats(graph: &mut Graph, id: NodeId, names: &[&str]) -> bool {
    move_floats_from(graph, id, 1, names)
}

fn move_floats_from(graph: &mut Graph, id: NodeId, first: usize, names: &[&str]) -> bool {
    let mut changed = false;
    for (index, name) in names.iter().enumerate() {
        if let Some(value) = graph.remove_attribute(id, name).and_then(|attribute| attribute.f) {
            set_constant(graph, id, first + index, name, |name| {
                TensorProto::scalar(name, value)
            });
            changed = true;
        }
    }
    changed
}

/// Makes the number of elements that `TopK` takes an input.
fn move_count(graph: &mut Graph, id: NodeId) -> bool {
    let count = graph.remove_attribute(id, "k").and_then(|attribute| attribute.i);
    if let Some(count) = count {
        set_constant(graph, id, 1, "k", |name| TensorProto::of(name, &[1], &[count]));
    }
    count.is_some()
}

fn set_constant(
    graph: &mut Graph,
    id: NodeId,
    index: usize,
    what: &str,
    make: impl FnOnce(&str) -> TensorProto,
) {
    let prefix = format!("{}_{what}", graph.node(id).output[0]);
    let name = graph.fresh_name(&prefix);
    graph.add_initializer(make(&name));
    graph.set_input(id, index, &name);
}

/// `Softmax` and its kin worked on all axes from `axis` on as if they were one; now they work on `axis`.
/// Where these are not the same, the input is flattened before and the output gets its shape back.
fn separate_axes(graph: &mut Graph, id: NodeId, values: &Values) -> Result<bool, Error> {
    let old = graph.node(id);
    let input = old.input_name(0).unwrap_or_default().to_owned();
    let Some(shape) = values.get(&input).and_then(|value| value.shape.clone()) else {
        return Err(Error::node(
            old,
            "its input's shape is not known, so that it cannot be upgraded to opset 13; export the model with opset 13 or newer",
        ));
    };
    let axis = old.int("axis").unwrap_or(1);
    let from_front = if axis < 0 { axis + shape.len() as i64 } else { axis };
    let first = usize::try_from(from_front).unwrap_or(0).min(shape.len());
    graph.set_attribute(id, AttributeProto::from_int("axis", axis));
    if shape.iter().skip(first + 1).all(|dim| *dim == Dim::Known(1)) {
        return Ok(true);
    }
    let output = graph.node(id).output[0].clone();
    let flat = graph.fresh_name(&format!("{output}_flat"));
    let soft = graph.fresh_name(&format!("{output}_soft"));
    let target = graph.fresh_name(&format!("{output}_shape"));
    let mut flatten = node("Flatten", &flat, &[&input], &[&flat]);
    flatten.set_attribute(AttributeProto::from_int("axis", axis));
    graph.add_node(flatten);
    graph.add_node(node("Shape", &target, &[&input], &[&target]));
    graph.set_input(id, 0, &flat);
    graph.set_attribute(id, AttributeProto::from_int("axis", -1));
    graph.set_output(id, 0, &soft);
    let unflat = graph.fresh_name(&format!("{output}_unflat"));
    graph.add_node(node("Reshape", &unflat, &[&soft, &target], &[&output]));
    Ok(true)
}

/// How a `Resize` of opset 10 finds the nearest element, which ONNX left open: ONNX Runtime rounds down where an
/// axis grows and up where it shrinks. Today's has one way for all axes.
fn rounding(node: &NodeProto, values: &Values) -> Result<&'static str, Error> {
    if node.text("mode").is_some_and(|mode| mode != "nearest") {
        return Ok("floor");
    }
    let scales = node.input_name(1).and_then(|name| values.get(name)?.known());
    let scales = scales
        .as_ref()
        .map(TensorProto::floats)
        .transpose()?
        .unwrap_or_default();
    let some = |test: fn(&f32) -> bool| scales.iter().any(test);
    match (some(|scale| *scale < 1.0), some(|scale| *scale > 1.0)) {
        (true, true) => Err(Error::node(
            node,
            "it makes some axes longer and others shorter, which cannot be upgraded from opset 10; export the model with opset 13 or newer",
        )),
        (false, false) if scales.is_empty() => Err(Error::node(
            node,
            "its scales are computed, so that it cannot be upgraded from opset 10; export the model with opset 13 or newer",
        )),
        (true, false) => Ok("ceil"),
        _ => Ok("floor"),
    }
}

/// `Upsample`, and `Resize` of opset 10, as today's `Resize`, with asymmetric coordinates.
fn resize(graph: &mut Graph, id: NodeId, rounding: &str) -> bool {
    let mut old = graph.remove_node(id);
    let scales = old.remove_attribute("scales");
    old.op_type = Some("Resize".to_owned());
    old.set_attribute(AttributeProto::from_text(
        "coordinate_transformation_mode",
        "asymmetric",
    ));
    old.set_attribute(AttributeProto::from_text("nearest_mode", rounding));
    if old.text("mode") == Some("bilinear") {
        old.set_attribute(AttributeProto::from_text("mode", "linear"));
    }
    old.input.insert(1, String::new());
    let id = graph.add_node(old);
    if let Some(attribute) = scales {
        let floats = attribute.floats.clone();
        set_constant(graph, id, 2, "scales", |name| {
            TensorProto::of(name, &[floats.len()], &floats)
        });
    }
    true
}
