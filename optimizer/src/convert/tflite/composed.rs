//! Operators of which TFLite has the parts alone become those, and parts that it has as one become that.

use half::f16;

use crate::graph::{Graph, NodeId};
use crate::proto::{AttributeProto, DataType, NodeProto, TensorProto, node};
use crate::shape::{Value, Values};

/// The first operator set in which a reduction takes its axes as an input.
const AXES_AS_INPUT: i64 = 18;

/// Writes normalizations and `Softplus` as arithmetic, and `Gelu` by `Erf` as one operator.
pub(super) fn rewrite(graph: &mut Graph, values: &Values) {
    for id in graph.ids() {
        if !graph.contains(id) {
            continue;
        }
        match graph.node(id).op_type() {
            "LayerNormalization" => layer_normalization(graph, id, values),
            "InstanceNormalization" => instance_normalization(graph, id, values),
            "Softplus" => softplus(graph, id, values),
            "Erf" => gelu(graph, id, values),
            _ => {}
        }
    }
    graph.remove_dead_nodes();
    graph.remove_unused_initializers();
}

/// Nodes in place of one, with names after it.
struct Parts<'a> {
    graph: &'a mut Graph,
    old: NodeProto,
    /// Whether it computes in half precision.
    half: bool,
}

impl<'a> Parts<'a> {
    fn of(graph: &'a mut Graph, id: NodeId, values: &Values) -> Self {
        let old = graph.remove_node(id);
        let found = old.input.first().and_then(|input| values.get(input));
        let half = found.is_some_and(|value| value.data_type == DataType::Float16);
        Self { graph, old, half }
    }

    fn input(&self, index: usize) -> String {
        self.old.input[index].clone()
    }

    fn constant(&mut self, value: f32) -> String {
        let name = self.graph.fresh_name(&format!("{}_constant", self.old.label()));
        let constant = if self.half {
            TensorProto::scalar(&name, f16::from_f32(value))
        } else {
            TensorProto::scalar(&name, value)
        };
        self.graph.add_initializer(constant);
        name
    }

    fn op(&mut self, operator: &str, inputs: &[&str]) -> String {
        let name = self.graph.fresh_name(&format!("{}_{operator}", self.old.label()));
        self.graph.add_node(node(operator, &name, inputs, &[&name]));
        name
    }

    /// The mean over some axes, which stay.
    fn mean(&mut self, value: &str, axes: &[i64]) -> String {
        let name = self.graph.fresh_name(&format!("{}_ReduceMean", self.old.label()));
        let mut mean = node("ReduceMean", &name, &[value], &[&name]);
        if self.graph.opset() < AXES_AS_INPUT {
            mean.set_attribute(AttributeProto::from_ints("axes", axes));
        } else {
            let list = self.graph.fresh_name(&format!("{name}_axes"));
            self.graph
                .add_initializer(TensorProto::of(&list, &[axes.len()], axes));
            mean.input.push(list);
        }
        self.graph.add_node(mean);
        name
    }

    /// `(x - mean) / sqrt(variance + epsilon)` over some axes.
    fn normalized(&mut self, axes: &[i64]) -> String {
        let epsilon = self.old.float("epsilon").unwrap_or(1e-5);
        let value = self.input(0);
        let mean = self.mean(&value, axes);
        let centred = self.op("Sub", &[&value, &mean]);
        let square = self.op("Mul", &[&centred, &centred]);
        let variance = self.mean(&square, axes);
        let epsilon = self.constant(epsilon);
        let sum = self.op("Add", &[&variance, &epsilon]);
        let deviation = self.op("Sqrt", &[&sum]);
        self.op("Div", &[&centred, &deviation])
    }

    /// The last node, which gives what the old one gave.
    fn finish(self, operator: &str, inputs: &[&str]) {
        let (name, output) = (self.old.label(), &self.old.output[0]);
        self.graph.add_node(node(operator, &name, inputs, &[output]));
    }
}

fn rank(values: &Values, name: &str) -> Option<usize> {
    Some(values.get(name).and_then(Value::extents)?.len())
}

/// By the definition of ONNX's `LayerNormalization`; one whose statistics are read too stays.
fn layer_normalization(graph: &mut Graph, id: NodeId, values: &Values) {
    let old = graph.node(id);
    let reads_more = old.output.iter().skip(1).any(|output| !output.is_empty());
    let Some(rank) = rank(values, &old.input[0]).filter(|_| !reads_more) else {
        return;
    };
    let axis = old.int("axis").unwrap_or(-1);
    let first = if axis < 0 { axis + rank as i64 } else { axis };
    let last: Vec<i64> = (first..rank as i64).collect();
    let bias = old.input_name(2).map(str::to_owned);
    let mut parts = Parts::of(graph, id, values);
    let normalized = parts.normalized(&last);
    let scale = parts.input(1);
    if let Some(bias) = bias {
        let product = parts.op("Mul", &[&normalized, &scale]);
        parts.finish("Add", &[&product, &bias]);
    } else {
        parts.finish("Mul", &[&normalized, &scale]);
    }
}

/// By the definition of ONNX's `InstanceNormalization`, where scale and bias are constants.
fn instance_normalization(graph: &mut Graph, id: NodeId, values: &Values) {
    let Some(rank) = rank(values, &graph.node(id).input[0]) else {
        return;
    };
    let mut constants = Vec::new();
    for index in [1, 2] {
        let Some(mut constant) = graph.constant_input(id, index).cloned() else {
            return;
        };
        // Along the channels, the second axis.
        constant.dims.extend(vec![1; rank.saturating_sub(2)]);
        constant.name = Some(graph.fresh_name(&format!("{}_channels", constant.name())));
        constants.push(constant.name().to_owned());
        graph.add_initializer(constant);
    }
    let axes: Vec<i64> = (2..rank as i64).collect();
    let mut parts = Parts::of(graph, id, values);
    let normalized = parts.normalized(&axes);
    let scaled = parts.op("Mul", &[&normalized, &constants[0]]);
    parts.finish("Add", &[&scaled, &constants[1]]);
}

/// `max(x, 0) + log(1 + exp(-|x|))`, which overflows nowhere.
fn softplus(graph: &mut Graph, id: NodeId, values: &Values) {
    let mut parts = Parts::of(graph, id, values);
    let value = parts.input(0);
    let size = parts.op("Abs", &[&value]);
    let below = parts.op("Neg", &[&size]);
    let small = parts.op("Exp", &[&below]);
    let one = parts.constant(1.0);
    let sum = parts.op("Add", &[&small, &one]);
    let rest = parts.op("Log", &[&sum]);
    let positive = parts.op("Relu", &[&value]);
    parts.finish("Add", &[&positive, &rest]);
}

/// `x * (1 + erf(x / sqrt(2))) / 2` as exporters write it, whichever factor stands first.
fn gelu(graph: &mut Graph, id: NodeId, values: &Values) {
    let Some((value, last)) = half_of_product(graph, id) else {
        return;
    };
    let parts = Parts::of(graph, last, values);
    parts.finish("Gelu", &[&value]);
}

/// The value of which a `Gelu` is written around an `Erf`, and the node that gives it.
fn half_of_product(graph: &Graph, erf: NodeId) -> Option<(String, NodeId)> {
    let scaled = graph.producer(&graph.node(erf).input[0])?;
    let value = match graph.node(scaled).op_type() {
        "Div" => is_near(scalar(graph, scaled, 1)?, std::f32::consts::SQRT_2)
            .then(|| graph.node(scaled).input[0].clone())?,
        "Mul" => {
            let (factor, value) = with_scalar(graph, scaled)?;
            is_near(factor, std::f32::consts::FRAC_1_SQRT_2).then_some(value)?
        }
        _ => return None,
    };
    let sum = next(graph, &graph.node(erf).output[0], "Add")?;
    with_scalar(graph, sum).filter(|(one, _)| is_near(*one, 1.0))?;
    let sum = graph.node(sum).output[0].clone();
    let first = next(graph, &sum, "Mul")?;
    let other = graph.node(first).input.iter().find(|input| **input != sum)?;
    if *other == value {
        let last = next(graph, &graph.node(first).output[0], "Mul")?;
        let (half, _) = with_scalar(graph, last)?;
        return is_near(half, 0.5).then_some((value, last));
    }
    if let Some((half, _)) = with_scalar(graph, first) {
        let product = &graph.node(first).output[0];
        let last = next(graph, product, "Mul").filter(|_| is_near(half, 0.5))?;
        return graph.node(last).input.contains(&value).then_some((value, last));
    }
    let before = graph.producer(other).filter(|&id| graph.node(id).is("Mul"))?;
    let (half, whole) = with_scalar(graph, before)?;
    (is_near(half, 0.5) && whole == value).then_some((value, first))
}

/// The node of this operator that alone reads a value.
fn next(graph: &Graph, value: &str, operator: &str) -> Option<NodeId> {
    graph
        .sole_consumer(value)
        .filter(|&id| graph.node(id).is(operator))
}

/// The one number that a constant input holds.
fn scalar(graph: &Graph, id: NodeId, index: usize) -> Option<f32> {
    let values = graph.constant_input(id, index)?.floats().ok()?;
    (values.len() == 1).then(|| values[0])
}

/// The number that one input of a node is, and the name of the other.
fn with_scalar(graph: &Graph, id: NodeId) -> Option<(f32, String)> {
    let found = |index: usize| Some((scalar(graph, id, index)?, graph.node(id).input[1 - index].clone()));
    found(0).or_else(|| found(1))
}

fn is_near(found: f32, wanted: f32) -> bool {
    (found - wanted).abs() < 1e-5
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::graph::build::Builder;
    use crate::shape;

    /// Operators of what a graph of one input becomes.
    fn rewritten(build: impl Fn(&mut Builder, &str) -> String) -> Vec<String> {
        let mut b = Builder::new(17);
        let x = b.input("x", &["1", "4", "8"]);
        let y = build(&mut b, &x);
        let model = b.finish(&[&y]);
        let values = shape::infer(&model, &BTreeMap::new()).unwrap();
        let mut graph = Graph::new(model).unwrap();
        rewrite(&mut graph, &values);
        graph.nodes().map(|(_, node)| node.op_type().to_owned()).collect()
    }

    /// The half stands behind the product, beside the sum or beside the value.
    #[test]
    fn gelu_is_one_operator_however_it_is_written() {
        for form in 0..3 {
            let found = rewritten(|b, x| {
                let [root, one, half] =
                    [std::f32::consts::SQRT_2, 1.0, 0.5].map(|value| b.floats(&[], &[value]));
                let scaled = b.op("Div", &[x, &root], &[]);
                let erf = b.op("Erf", &[&scaled], &[]);
                let sum = b.op("Add", &[&erf, &one], &[]);
                match form {
                    0 => {
                        let product = b.op("Mul", &[x, &sum], &[]);
                        b.op("Mul", &[&product, &half], &[])
                    }
                    1 => {
                        let halved = b.op("Mul", &[&sum, &half], &[]);
                        b.op("Mul", &[x, &halved], &[])
                    }
                    _ => {
                        let halved = b.op("Mul", &[x, &half], &[]);
                        b.op("Mul", &[&halved, &sum], &[])
                    }
                }
            });
            assert_eq!(found, ["Gelu"], "form {form}");
        }
    }

    #[test]
    fn another_factor_makes_no_gelu() {
        let found = rewritten(|b, x| {
            let [root, one, third] =
                [std::f32::consts::SQRT_2, 1.0, 1.0 / 3.0].map(|value| b.floats(&[], &[value]));
            let scaled = b.op("Div", &[x, &root], &[]);
            let erf = b.op("Erf", &[&scaled], &[]);
            let sum = b.op("Add", &[&erf, &one], &[]);
            let product = b.op("Mul", &[x, &sum], &[]);
            b.op("Mul", &[&product, &third], &[])
        });
        assert!(found.contains(&"Erf".to_owned()), "{found:?}");
    }

    #[test]
    fn normalizations_become_arithmetic() {
        let found = rewritten(|b, x| {
            let scale = b.floats(&[8], &[2.0; 8]);
            b.op("LayerNormalization", &[x, &scale], &[])
        });
        let parts = [
            "ReduceMean",
            "Sub",
            "Mul",
            "ReduceMean",
            "Add",
            "Sqrt",
            "Div",
            "Mul",
        ];
        assert_eq!(found, parts);
    }
}
