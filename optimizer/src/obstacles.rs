//! What keeps a variant from running faster than the model that it came from, as its graph shows it.
//!
//! In a quantized model runtimes fuse a *layer* (a convolution or matrix product), the `DequantizeLinear` of
//! its inputs and the `QuantizeLinear` of its result into one integer kernel. Where one of these is missing
//! the layer computes in float, and the conversions around it come on top.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::graph::{Graph, NodeId};
use crate::layer::{has_weights, weights_among};
use crate::model::Model;
use crate::proto::{DataType, NodeProto, TensorProto};

/// Vector kernels compute this many channels at once, or a multiple of it; what is left over costs as much.
pub const LANES: usize = 8;

/// What stands in the way of fast kernels. Nodes are named as in pass reports.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Obstacles {
    /// Convolutions and matrix products.
    pub layers: usize,
    /// `QuantizeLinear` and `DequantizeLinear` nodes, those of constants aside; 0 in a model of floats.
    pub conversions: usize,
    /// Weights in few bits, each of which a `DequantizeLinear` makes floats of.
    #[serde(default)]
    pub stored: usize,
    /// Activations whose range is found anew in each run.
    #[serde(default)]
    pub dynamic: usize,
    /// Whether activations are quantized to signed integers.
    pub signed: bool,
    /// In a quantized model, the layers whose inputs are not quantized.
    pub float_layers: Vec<String>,
    /// In a quantized model, the layers whose inputs are quantized and whose result is not.
    pub unfused: Vec<String>,
    /// In a quantized model, how many nodes of each other operator compute in float.
    pub float_operators: BTreeMap<String, usize>,
    /// Layers with a number of input or output channels that is not a multiple of [`LANES`]; those of one
    /// group, where each channel is a group of its own, aside.
    pub unaligned: Vec<String>,
}

impl Obstacles {
    /// Reads them from a model.
    pub fn of(model: &Model) -> Result<Self, Error> {
        let graph = Graph::new(model.clone())?;
        let mut found = Self::default();
        let mut float = Vec::new();
        for (id, node) in graph.nodes() {
            match node.op_type() {
                "QuantizeLinear" | "DequantizeLinear" => found.count_conversion(&graph, id),
                "DynamicQuantizeLinear" => found.dynamic += 1,
                _ if has_weights(node) => {
                    found.layers += 1;
                    if is_unaligned(&graph, id) {
                        found.unaligned.push(node.label());
                    }
                    float.push(id);
                }
                operator if COMPUTING.contains(&operator) => float.push(id),
                _ => {}
            }
        }
        if found.is_quantized() {
            for id in float {
                found.judge(&graph, id);
            }
        }
        Ok(found)
    }

    /// Whether the model is quantized.
    pub fn is_quantized(&self) -> bool {
        self.conversions > 0
    }

    fn count_conversion(&mut self, graph: &Graph, id: NodeId) {
        if let Some(tensor) = graph.constant_input(id, 0) {
            self.stored += usize::from(tensor.dims.len() > 1);
            return;
        }
        self.conversions += 1;
        let zero_point = graph.constant_input(id, 2);
        let kind = zero_point.and_then(|tensor| tensor.element_type().ok());
        self.signed |= kind == Some(DataType::Int8);
    }

    /// Notes a node that may compute in float though the model is quantized.
    fn judge(&mut self, graph: &Graph, id: NodeId) {
        let node = graph.node(id);
        let (takes, gives) = (
            takes_integers(graph, node),
            becomes_quantized(graph, output(node)),
        );
        if has_weights(node) {
            match (takes, gives) {
                (false, _) => self.float_layers.push(node.label()),
                (true, false) => self.unfused.push(node.label()),
                (true, true) => {}
            }
            return;
        }
        let is_integer = takes && gives && INTEGER.contains(&node.op_type());
        if !is_integer && !follows_integers(graph, node) {
            *self.float_operators.entry(node.op_type().to_owned()).or_default() += 1;
        }
    }
}

/// Operators other than layers that take time: not those that only move or rename.
const COMPUTING: [&str; 24] = [
    "Add",
    "AveragePool",
    "BatchNormalization",
    "Clip",
    "Concat",
    "Div",
    "Elu",
    "Erf",
    "Exp",
    "Gelu",
    "GlobalAveragePool",
    "HardSigmoid",
    "HardSwish",
    "LayerNormalization",
    "LeakyRelu",
    "MaxPool",
    "Mul",
    "ReduceMean",
    "Relu",
    "Resize",
    "Sigmoid",
    "Softmax",
    "Sub",
    "Tanh",
];

/// Those of [`COMPUTING`] that ONNX Runtime fuses with the conversions around them.
const INTEGER: [&str; 12] = [
    "Add",
    "AveragePool",
    "Clip",
    "Concat",
    "GlobalAveragePool",
    "LeakyRelu",
    "MaxPool",
    "Mul",
    "Relu",
    "Resize",
    "Sigmoid",
    "Softmax",
];

fn output(node: &NodeProto) -> &str {
    node.output.first().map_or("", String::as_str)
}

/// Whether the value comes out of a `DequantizeLinear`, that of a constant aside.
fn is_dequantized(graph: &Graph, value: &str) -> bool {
    let producer = graph.producer(value);
    producer.is_some_and(|id| {
        graph.node(id).op_type() == "DequantizeLinear" && graph.constant_input(id, 0).is_none()
    })
}

/// Whether the node reads quantized values, and beside them constants alone.
fn takes_integers(graph: &Graph, node: &NodeProto) -> bool {
    let is_constant = |value: &str| match graph.producer(value) {
        None => graph.initializer(value).is_some(),
        Some(id) => graph.node(id).op_type() == "DequantizeLinear" && graph.constant_input(id, 0).is_some(),
    };
    let mut values = node
        .input
        .iter()
        .filter(|value| !value.is_empty() && !is_constant(value))
        .peekable();
    values.peek().is_some() && values.all(|value| is_dequantized(graph, value))
}

/// Whether all that reads the value quantizes it, with an activation between at most. The outputs of the
/// model are float anyway.
fn becomes_quantized(graph: &Graph, value: &str) -> bool {
    let ends = |id: NodeId| match graph.node(id).op_type() {
        "QuantizeLinear" => true,
        "Relu" | "Clip" => becomes_quantized(graph, output(graph.node(id))),
        _ => false,
    };
    graph.is_output(value) || graph.consumers(value).iter().all(|(id, _)| ends(*id))
}

/// Whether the node is the activation at the end of an integer kernel.
fn follows_integers(graph: &Graph, node: &NodeProto) -> bool {
    let producer = node.input.first().and_then(|value| graph.producer(value));
    let of_integers = |id: NodeId| takes_integers(graph, graph.node(id));
    matches!(node.op_type(), "Relu" | "Clip")
        && producer.is_some_and(of_integers)
        && becomes_quantized(graph, output(node))
}

fn is_unaligned(graph: &Graph, id: NodeId) -> bool {
    let Some(found) = weights_among(graph.node(id), |index| stored(graph, id, index)) else {
        return false;
    };
    let extent = |axis: usize| found.tensor.dims[axis] as usize;
    let (inputs, outputs) = (extent(found.input_axis), extent(found.output_axis));
    // A depthwise convolution has one input channel a group.
    (inputs > 1 && !inputs.is_multiple_of(LANES)) || !outputs.is_multiple_of(LANES)
}

/// The constant that a node reads, quantized or not.
fn stored(graph: &Graph, id: NodeId, index: usize) -> Option<&TensorProto> {
    graph.constant_input(id, index).or_else(|| {
        let value = graph.node(id).input.get(index)?;
        let producer = graph.producer(value)?;
        let dequantizes = graph.node(producer).op_type() == "DequantizeLinear";
        graph.constant_input(producer, 0).filter(|_| dequantizes)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::build::Builder;

    /// Puts a value into integers and back.
    fn requantized(b: &mut Builder, value: &str, scale: &str, zero_point: &str) -> String {
        let quantized = b.op("QuantizeLinear", &[value, scale, zero_point], &[]);
        b.op("DequantizeLinear", &[&quantized, scale, zero_point], &[])
    }

    fn weights(b: &mut Builder, outputs: usize, inputs: usize) -> String {
        b.floats(&[outputs, inputs, 1, 1], &vec![0.5; outputs * inputs])
    }

    #[test]
    fn a_model_of_floats_has_no_conversions_and_names_its_odd_channels() {
        let mut b = Builder::new(17);
        let x = b.input("x", &["1", "8", "4", "4"]);
        let (even, odd) = (weights(&mut b, 16, 8), weights(&mut b, 13, 16));
        let y = b.op("Conv", &[&x, &even], &[]);
        let y = b.op("Conv", &[&y, &odd], &[]);
        let found = Obstacles::of(&b.finish(&[&y])).unwrap();
        assert_eq!(
            found,
            Obstacles {
                layers: 2,
                unaligned: vec!["conv_1".to_owned()],
                ..Obstacles::default()
            }
        );
    }

    #[test]
    fn a_wholly_quantized_model_has_no_obstacle() {
        let mut b = Builder::new(17);
        let x = b.input("x", &["1", "8", "4", "4"]);
        let scale = b.floats(&[], &[0.1]);
        let zero = b.initializer(TensorProto::of("zero", &[], &[128_u8]));
        let w = weights(&mut b, 8, 8);
        let x = requantized(&mut b, &x, &scale, &zero);
        let y = b.op("Conv", &[&x, &w], &[]);
        let y = b.op("Relu", &[&y], &[]);
        let y = requantized(&mut b, &y, &scale, &zero);
        let y = b.op("Add", &[&x, &y], &[]);
        let y = requantized(&mut b, &y, &scale, &zero);
        let y = b.op("Conv", &[&y, &w], &[]);
        let found = Obstacles::of(&b.finish(&[&y])).unwrap();
        assert_eq!(
            found,
            Obstacles {
                layers: 2,
                conversions: 6,
                ..Obstacles::default()
            }
        );
    }

    #[test]
    fn what_computes_in_float_among_integers_is_named() {
        let mut b = Builder::new(17);
        let x = b.input("x", &["1", "8", "4", "4"]);
        let scale = b.floats(&[], &[0.1]);
        let zero = b.initializer(TensorProto::of("zero", &[], &[0_i8]));
        let w = weights(&mut b, 8, 8);
        let y = b.op("Conv", &[&x, &w], &[]);
        let y = requantized(&mut b, &y, &scale, &zero);
        let y = b.op("Conv", &[&y, &w], &[]);
        let y = b.op("Sigmoid", &[&y], &[]);
        let y = b.op("Softmax", &[&y], &[]);
        let found = Obstacles::of(&b.finish(&[&y])).unwrap();
        let one = |operator: &str| (operator.to_owned(), 1);
        assert_eq!(
            found,
            Obstacles {
                layers: 2,
                conversions: 2,
                signed: true,
                float_layers: vec!["conv_0".to_owned()],
                unfused: vec!["conv_3".to_owned()],
                float_operators: [one("Sigmoid"), one("Softmax")].into(),
                ..Obstacles::default()
            }
        );
    }

    #[test]
    fn weights_that_are_stored_in_bytes_alone_are_counted() {
        let mut b = Builder::new(17);
        let x = b.input("x", &["1", "8", "4", "4"]);
        let stored = b.initializer(TensorProto::of("w", &[8, 8, 1, 1], &[1_i8; 64]));
        let scale = b.floats(&[], &[0.1]);
        let w = b.op("DequantizeLinear", &[&stored, &scale], &[]);
        let y = b.op("Conv", &[&x, &w], &[]);
        let found = Obstacles::of(&b.finish(&[&y])).unwrap();
        assert!(!found.is_quantized());
        assert_eq!((found.stored, found.dynamic), (1, 0));
    }

    #[test]
    fn an_operator_without_an_integer_kernel_computes_in_float_between_conversions() {
        let mut b = Builder::new(17);
        let x = b.input("x", &["1", "8", "4", "4"]);
        let scale = b.floats(&[], &[0.1]);
        let zero = b.initializer(TensorProto::of("zero", &[], &[128_u8]));
        let x = requantized(&mut b, &x, &scale, &zero);
        let y = b.op("HardSwish", &[&x], &[]);
        let float = b.op("Tanh", &[&y], &[]);
        let y = requantized(&mut b, &y, &scale, &zero);
        let y = b.op("Mul", &[&y, &float], &[]);
        let y = requantized(&mut b, &y, &scale, &zero);
        let y = b.op("GlobalAveragePool", &[&y], &[]);
        let found = Obstacles::of(&b.finish(&[&y])).unwrap();
        let counts: Vec<&str> = found.float_operators.keys().map(String::as_str).collect();
        assert_eq!(counts, ["HardSwish", "Mul", "Tanh"]);
    }

    #[test]
    fn quantized_weights_are_seen_through_their_conversion() {
        let mut b = Builder::new(17);
        let x = b.input("x", &["1", "8", "4", "4"]);
        let scale = b.floats(&[], &[0.1]);
        let w = b.initializer(TensorProto::of("w", &[5, 8, 1, 1], &[1_i8; 40]));
        let w = b.op("DequantizeLinear", &[&w, &scale], &[]);
        let y = b.op("Conv", &[&x, &w], &[]);
        let found = Obstacles::of(&b.finish(&[&y])).unwrap();
        assert_eq!((found.conversions, found.unaligned.len()), (0, 1));
    }
}
