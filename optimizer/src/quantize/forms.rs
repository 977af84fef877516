//! Which operators have an integer form, and under which conditions.

use super::layout::{self, Layout};
use crate::graph::{Graph, NodeId};
use crate::proto::NodeProto;

/// How a node computes in integers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Form {
    /// A convolution with constant weights.
    Convolution(Layout),
    /// A matrix product with constant weights. Its output need not be quantized.
    Product(Layout),
    /// A matrix product of two activations. Its output need not be quantized.
    Contraction,
    /// Joins quantized values and constants into a value of another scale: `Add`, `Mul`, `Concat`.
    Merge,
    /// Makes of a quantized value one of another scale: pooling by averages, `Sigmoid`, `LeakyRelu`.
    Map,
    /// `HardSwish`, which becomes a gate and a product.
    Swish,
    /// `HardSigmoid`, whose result is the integers that it reads, read otherwise.
    Gate(Gate),
    /// Selects among values or blends them, and keeps their scale: `MaxPool`, `Resize`.
    Select,
    /// Moves values without looking at them.
    Move,
    /// Limits what the node before it computes in integers, and so belongs to that node.
    Limit,
}

/// `min(max(alpha * x + beta, 0), 1)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Gate {
    pub(super) alpha: f32,
    pub(super) beta: f32,
}

impl Gate {
    /// Of `HardSwish(x) = x * gate(x)`.
    pub(super) const SWISH: Self = Self {
        alpha: 1.0 / 6.0,
        beta: 0.5,
    };
}

/// Convolutions of no more inputs than this gain least from integers.
const FEW_INPUTS: usize = 4;

/// The form that a node can take, or why it stays in float.
pub(super) fn of(graph: &Graph, id: NodeId) -> Result<Form, String> {
    let node = graph.node(id);
    if !node.is_standard() {
        return Err(format!(
            "operator `{}` of domain `{}` has no integer form",
            node.op_type(),
            node.domain()
        ));
    }
    match node.op_type() {
        "Conv" if is_costly_stem(graph, id) => {
            Err("in integers its activation costs more than so few inputs gain".to_owned())
        }
        "Conv" => layout::convolution(graph, id).map(Form::Convolution),
        "ConvTranspose" => layout::transposed_convolution(graph, id).map(Form::Convolution),
        "Gemm" => layout::gemm(graph, id).map(Form::Product),
        "MatMul" if !has_constant_input(graph, node) => Ok(Form::Contraction),
        "MatMul" => layout::matrix_product(graph, id).map(Form::Product),
        "Concat" if has_constant_input(graph, node) => Err("an operand is constant".to_owned()),
        "Add" | "Mul" | "Concat" => Ok(Form::Merge),
        "AveragePool" if node.attribute("dilations").is_some() => Err("the pooling is dilated".to_owned()),
        "AveragePool" | "GlobalAveragePool" | "ReduceMean" | "Sigmoid" | "LeakyRelu" => Ok(Form::Map),
        "HardSwish" => Ok(Form::Swish),
        "HardSigmoid" => gate(node)
            .map(Form::Gate)
            .ok_or_else(|| "its slope or offset is out of range".to_owned()),
        "MaxPool" if node.output.len() > 1 => Err("the indices of the maxima are used".to_owned()),
        "Resize" if node.text("mode").is_some_and(|mode| mode == "cubic") => {
            Err("cubic interpolation exceeds the range of its input".to_owned())
        }
        "Resize"
            if node
                .text("coordinate_transformation_mode")
                .is_some_and(|mode| mode == "tf_crop_and_resize") =>
        {
            Err("it crops, and fills with a value of its own".to_owned())
        }
        "MaxPool" | "Resize" => Ok(Form::Select),
        "Pad" if !pads_with_zeros(graph, id) => Err("it fills with another value than zero".to_owned()),
        "Flatten" | "Reshape" | "Transpose" | "Squeeze" | "Unsqueeze" | "Slice" | "Split" | "Pad" => {
            Ok(Form::Move)
        }
        _ if clamp(graph, id).is_some() => Ok(Form::Limit),
        other => Err(format!("operator `{other}` has no integer form")),
    }
}

/// The inputs of a node that hold activations.
pub(super) fn data_inputs(form: Form, graph: &Graph, id: NodeId) -> Vec<String> {
    let count = match form {
        Form::Merge | Form::Contraction => graph.node(id).input.len(),
        _ => 1,
    };
    let inputs = graph.node(id).input.iter().take(count);
    inputs
        .filter(|input| graph.initializer(input).is_none())
        .cloned()
        .collect()
}

/// The limits of a `Relu` or of a `Clip` with constant limits.
pub(super) fn clamp(graph: &Graph, id: NodeId) -> Option<(f32, f32)> {
    let node = graph.node(id);
    if node.is("Relu") {
        return Some((0.0, f32::INFINITY));
    }
    if !node.is("Clip") {
        return None;
    }
    let limit = |index: usize, open: f32| match node.input_name(index) {
        None => Some(open),
        Some(name) => graph.initializer(name)?.values::<f32>().ok()?.first().copied(),
    };
    Some((limit(1, f32::NEG_INFINITY)?, limit(2, f32::INFINITY)?))
}

fn gate(node: &NodeProto) -> Option<Gate> {
    let (alpha, beta) = (
        node.float("alpha").unwrap_or(0.2),
        node.float("beta").unwrap_or(0.5),
    );
    (alpha > 1e-3 && alpha.is_finite() && (0.0..=1.0).contains(&beta)).then_some(Gate { alpha, beta })
}

/// Whether a convolution of the model's own input is followed by an activation that in integers takes passes of
/// its own. Float kernels compute the activation at once.
fn is_costly_stem(graph: &Graph, id: NodeId) -> bool {
    let node = graph.node(id);
    let inputs = || {
        graph
            .constant_input(id, layout::WEIGHTS)?
            .shape()
            .ok()?
            .get(1)
            .copied()
    };
    let reads_input = graph.producer(&node.input[0]).is_none();
    let mut readers = graph.consumers(&node.output[0]).iter();
    reads_input
        && inputs().is_some_and(|inputs| inputs <= FEW_INPUTS)
        && readers.any(|(reader, _)| {
            matches!(
                graph.node(*reader).op_type(),
                "HardSwish" | "HardSigmoid" | "Sigmoid"
            )
        })
}

fn pads_with_zeros(graph: &Graph, id: NodeId) -> bool {
    const VALUE: usize = 2;
    let node = graph.node(id);
    let is_zero = || {
        graph
            .constant_input(id, VALUE)?
            .values::<f32>()
            .ok()?
            .first()
            .map(|&value| value == 0.0)
    };
    node.text("mode").is_some_and(|mode| mode != "constant")
        || node.input_name(VALUE).is_none()
        || is_zero() == Some(true)
}

fn has_constant_input(graph: &Graph, node: &NodeProto) -> bool {
    node.input.iter().any(|input| graph.initializer(input).is_some())
}
