//! Node by node from the ONNX graph to a [`Program`].
//!
//! A node computes in integers where all that it reads comes from a `DequantizeLinear` and all that it makes goes to
//! a `QuantizeLinear` alone; the pairs then turn into the quantization of tensors. An activation that the kernel
//! applies at once goes into the kernel's options.

mod arithmetic;
mod convolution;
mod dense;
mod logic;
mod movement;
mod picture;
mod pooling;
mod reduction;
mod resize;
mod step;
mod values;

use std::collections::{HashMap, HashSet};

use super::program::{Port, Program, TensorId};
use super::schema::Activation;
use crate::error::Error;
use crate::graph::{Graph, NodeId};
use crate::proto::{DataType, NodeProto};
use crate::report::PassReport;
use crate::shape::Values;
pub(super) use step::Step;
use values::usual_axes;

/// What is on the way from one form to the other.
pub(super) struct Lowering<'a> {
    pub(super) graph: &'a Graph,
    values: &'a Values,
    pub(super) program: Program,
    /// The tensors that hold an ONNX value, the one that its node made first; the others are transposed.
    placed: HashMap<String, Vec<Placed>>,
    /// Nodes that others do along with their own work.
    absorbed: HashSet<NodeId>,
    report: PassReport,
    /// Whether weights are stored in half precision.
    half: bool,
}

/// A tensor that holds an ONNX value.
#[derive(Debug, Clone)]
struct Placed {
    tensor: TensorId,
    /// Where the value's axes lie.
    layout: Vec<usize>,
}

/// Turns the whole graph into a program; `half` stores weights in half precision.
pub(super) fn lower(graph: &Graph, values: &Values, half: bool) -> Result<(Program, PassReport), Error> {
    let mut lowering = Lowering {
        graph,
        values,
        program: Program::default(),
        placed: HashMap::new(),
        absorbed: HashSet::new(),
        report: PassReport::new(super::NAME),
        half,
    };
    lowering.inputs()?;
    for (id, node) in graph.nodes() {
        if !lowering.absorbed.contains(&id) {
            lowering.node(id, node)?;
        }
    }
    lowering.outputs()?;
    Ok((lowering.program, lowering.report))
}

/// Operators that make truth values.
const MAKE_BOOL: [&str; 8] = [
    "Greater",
    "GreaterOrEqual",
    "Less",
    "LessOrEqual",
    "Equal",
    "And",
    "Or",
    "Not",
];

/// Operators that make indices.
const MAKE_INDICES: [&str; 2] = ["ArgMax", "ArgMin"];

impl Lowering<'_> {
    /// Pictures come as TFLite's own converters take them, `[N, H, W, C]`.
    fn inputs(&mut self) -> Result<(), Error> {
        for input in self.graph.inputs() {
            let name = input.name();
            let layout = usual_axes(self.shape(name)?.len());
            let tensor = self.place(name, &layout)?;
            self.program.inputs.push(Port {
                name: name.to_owned(),
                tensor,
                layout,
            });
        }
        Ok(())
    }

    /// Outputs lie as inputs do, or in ONNX's order where they come in that.
    fn outputs(&mut self) -> Result<(), Error> {
        for output in self.graph.outputs() {
            let name = output.name();
            if self.values.get(name).map(|value| value.data_type) == Some(DataType::Uint8) {
                return Err(Error::Graph(format!(
                    "output `{name}` is uint8, which TFLite would give as int8; end the model with a DequantizeLinear"
                )));
            }
            let found = self.axes(name)?;
            let plain = super::axes::plain(found.len());
            let layout = if found == plain {
                plain
            } else {
                usual_axes(found.len())
            };
            let tensor = self.read(name, &layout)?;
            self.program.outputs.push(Port {
                name: name.to_owned(),
                tensor,
                layout,
            });
        }
        Ok(())
    }

    fn node(&mut self, id: NodeId, node: &NodeProto) -> Result<(), Error> {
        match node.op_type() {
            _ if !node.is_standard() => return Err(unsupported(node)),
            // Floats are made of integers where somebody reads them.
            "DequantizeLinear" => return Ok(()),
            "QuantizeLinear" => return self.quantize(id),
            "Identity" => return self.alias(&node.input[0], &node.output[0]),
            "Cast" if self.casts_floats(node) => return self.alias(&node.input[0], &node.output[0]),
            _ => {}
        }
        let step = self.step(id);
        self.check_types(&step)?;
        match node.op_type() {
            "Conv" => self.convolution(&step),
            "ConvTranspose" => self.transposed_convolution(&step),
            "Gemm" => self.gemm(&step),
            "MatMul" => self.matrix_product(&step),
            "MaxPool" => self.max_pool(&step),
            "AveragePool" => self.average_pool(&step),
            "GlobalAveragePool" | "GlobalMaxPool" => self.global_pool(&step),
            "Add" | "Sub" | "Mul" | "Div" | "Pow" => self.binary(&step),
            "Min" | "Max" | "Sum" => self.fold(&step),
            "BatchNormalization" => self.batch_normalization(&step),
            "Relu" | "HardSwish" | "Sigmoid" | "Tanh" | "Exp" | "Log" | "Sqrt" | "Neg" | "Abs" | "Floor"
            | "Ceil" | "Round" | "Sin" | "Cos" | "Elu" | "Sign" | "LeakyRelu" | "Gelu" => self.unary(&step),
            "Clip" => self.clip(&step),
            "HardSigmoid" => self.hard_sigmoid(&step),
            "PRelu" => self.prelu(&step),
            "Reciprocal" => self.reciprocal(&step),
            "Softmax" | "LogSoftmax" => self.softmax(&step),
            "ReduceMean" | "ReduceSum" | "ReduceMax" | "ReduceMin" | "ReduceProd" => self.reduce(&step),
            "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" => self.reshape(&step),
            "ArgMax" | "ArgMin" => self.arg(&step),
            "Greater" | "GreaterOrEqual" | "Less" | "LessOrEqual" | "Equal" | "And" | "Or" | "Not" => {
                self.logical(&step)
            }
            "Where" => self.choose(&step),
            "Cast" => self.cast(&step),
            "Transpose" => self.transpose(&step),
            "Concat" => self.concat(&step),
            "Split" => self.split(&step),
            "Slice" => self.slice(&step),
            "Pad" => self.pad(&step),
            "Gather" => self.gather(&step),
            "Expand" => self.expand(&step),
            "Tile" => self.tile(&step),
            "DepthToSpace" | "SpaceToDepth" => self.blocks(&step),
            "Resize" => self.resize(&step),
            _ => Err(unsupported(node)),
        }
    }

    /// Whether a cast is between floats: TFLite computes in float32, whatever the file's constants are stored in.
    fn casts_floats(&self, node: &NodeProto) -> bool {
        let is_float = |value: &str| {
            self.values
                .get(value)
                .is_some_and(|value| value.data_type.is_float())
        };
        is_float(&node.input[0]) && is_float(&node.output[0])
    }

    /// Networks compute in floats; what else there is would be cut wrongly, but for comparisons and indices.
    fn check_types(&self, step: &Step) -> Result<(), Error> {
        let node = self.graph.node(step.id);
        for name in node.output.iter().filter(|name| !name.is_empty()) {
            let kind = self.values.get(name).map(|value| value.data_type);
            match kind {
                Some(kind) if kind.is_float() && kind != DataType::Double => {}
                Some(DataType::Bool) if MAKE_BOOL.contains(&node.op_type()) => {}
                Some(DataType::Int64) if MAKE_INDICES.contains(&node.op_type()) => {}
                Some(kind) => {
                    let reason = format!(
                        "it makes {}, and only float32 and float16 are converted; cut it off the model",
                        kind.label()
                    );
                    return Err(Error::node(node, reason));
                }
                None => return Err(Error::node(node, "the type of its result is not known")),
            }
        }
        Ok(())
    }

    fn note(&mut self, step: &Step, how: &str) {
        let label = self.graph.node(step.id).label();
        match &step.float {
            Some(why) => self.report.skipped(label, format!("{how} in float32: {why}")),
            None if step.integer => self.report.applied(label, format!("{how} in int8")),
            None => self.report.applied(label, how),
        }
    }
}

/// The error of an operator that has no counterpart here.
fn unsupported(node: &NodeProto) -> Error {
    let reason =
        "the converter to TFLite does not know this operator; export the model without it, or cut it off";
    Error::node(node, reason)
}

/// The activation that a node is, if kernels can apply it at once.
fn activation_of(graph: &Graph, id: NodeId) -> Option<Activation> {
    match limits(graph, id)? {
        (0.0, f32::INFINITY) => Some(Activation::Relu),
        (0.0, 6.0) => Some(Activation::Relu6),
        (-1.0, 1.0) => Some(Activation::ReluN1To1),
        _ => None,
    }
}

/// The limits of a `Relu`, or of a `Clip` with constant limits.
fn limits(graph: &Graph, id: NodeId) -> Option<(f32, f32)> {
    let node = graph.node(id);
    if node.is("Relu") {
        return Some((0.0, f32::INFINITY));
    }
    if !node.is("Clip") {
        return None;
    }
    let limit = |index: usize, open: f32| match node.input_name(index) {
        None => Some(open),
        Some(name) => graph.initializer(name)?.floats().ok()?.first().copied(),
    };
    let (low, high) = (limit(1, f32::NEG_INFINITY)?, limit(2, f32::INFINITY)?);
    // Exporters write the largest number of their type where there is no limit.
    let half = f32::from(half::f16::MAX);
    let is_none = |limit: f32| limit >= f32::MAX || limit.total_cmp(&half).is_eq();
    let low = if is_none(-low) { f32::NEG_INFINITY } else { low };
    let high = if is_none(high) { f32::INFINITY } else { high };
    Some((low, high))
}

#[cfg(test)]
mod tests {
    use super::limits;
    use crate::graph::Graph;
    use crate::graph::build::Builder;

    fn limits_of(low: f32, high: f32) -> (f32, f32) {
        let mut b = Builder::new(17);
        let x = b.input("x", &["1", "4"]);
        let bounds = [low, high].map(|limit| b.floats(&[], &[limit]));
        let y = b.op("Clip", &[&x, &bounds[0], &bounds[1]], &[]);
        let graph = Graph::new(b.finish(&[&y])).unwrap();
        let (id, _) = graph.nodes().next().unwrap();
        limits(&graph, id).unwrap()
    }

    #[test]
    fn the_largest_numbers_of_a_type_are_no_limits_and_large_ones_are() {
        let none = (f32::NEG_INFINITY, f32::INFINITY);
        assert_eq!(limits_of(f32::MIN, f32::MAX), none);
        assert_eq!(limits_of(-65504.0, 65504.0), none);
        assert_eq!(limits_of(0.0, 1e5), (0.0, 1e5));
        assert_eq!(limits_of(70000.0, f32::MAX), (70000.0, f32::INFINITY));
    }
}
