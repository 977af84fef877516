//! Which operators have an integer form, and under which conditions.

use super::weights::Channels;
use crate::graph::{Graph, NodeId};
use crate::proto::{DataType, NodeProto, TensorProto};

/// How a node computes in integers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A convolution with constant weights.
    Convolution(Layout),
    /// A matrix product with constant weights. Its output need not be quantized.
    Product(Layout),
    /// Joins quantized values into one of another scale: `Add`, `Mul`, `Concat`.
    Merge,
    /// Averages a quantized value into one of another scale.
    Average,
    /// Selects among values, whose scale it keeps: `MaxPool`.
    Select,
    /// Moves values without looking at them.
    Move,
    /// Limits what the node before it computes in integers, and so belongs to that node.
    Limit,
}

/// Where a node has its weights and what they look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    /// Output channels within the weights.
    pub(super) channels: Channels,
    /// The axis of the weights along which the output channels lie.
    pub(super) axis: usize,
    /// Position of the bias among the inputs, if the node has one.
    pub(super) bias: Option<usize>,
}

/// Position of the weights among the inputs of a node with a [`Layout`].
pub(super) const WEIGHTS: usize = 1;

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
        "Conv" => convolution(graph, id),
        "Gemm" => gemm(graph, id),
        "MatMul" => matrix_product(graph, id),
        "Add" | "Mul" | "Concat" if has_constant_input(graph, node) => {
            Err("an operand is constant".to_owned())
        }
        "Add" | "Mul" | "Concat" => Ok(Form::Merge),
        "AveragePool" if node.attribute("dilations").is_some() => Err("the pooling is dilated".to_owned()),
        "AveragePool" | "GlobalAveragePool" => Ok(Form::Average),
        "MaxPool" if node.output.len() > 1 => Err("the indices of the maxima are used".to_owned()),
        "MaxPool" => Ok(Form::Select),
        "Flatten" | "Reshape" | "Transpose" | "Squeeze" | "Unsqueeze" => Ok(Form::Move),
        _ if clamp(graph, id).is_some() => Ok(Form::Limit),
        other => Err(format!("operator `{other}` has no integer form")),
    }
}

/// The inputs of a node that hold activations.
pub(super) fn data_inputs(form: Form, node: &NodeProto) -> Vec<String> {
    let count = if form == Form::Merge { node.input.len() } else { 1 };
    node.input.iter().take(count).cloned().collect()
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

fn has_constant_input(graph: &Graph, node: &NodeProto) -> bool {
    node.input.iter().any(|input| graph.initializer(input).is_some())
}

fn convolution(graph: &Graph, id: NodeId) -> Result<Form, String> {
    let shape = weight_shape(graph, id)?;
    let (&count, kernel) = shape.split_first().ok_or("its weights have no axis")?;
    let bias = bias(graph, id, count)?;
    let channels = Channels {
        count,
        stride: kernel.iter().product(),
    };
    Ok(Form::Convolution(layout(channels, 0, bias)?))
}

fn gemm(graph: &Graph, id: NodeId) -> Result<Form, String> {
    let node = graph.node(id);
    let scales = |name| node.float(name).is_some_and(|factor| (factor - 1.0).abs() > 0.0);
    if scales("alpha") || scales("beta") {
        return Err("alpha or beta is not 1".to_owned());
    }
    if node.int("transA").unwrap_or(0) != 0 {
        return Err("its input is transposed".to_owned());
    }
    let (rows, columns) = matrix(&weight_shape(graph, id)?)?;
    let (channels, axis) = if node.int("transB").unwrap_or(0) == 0 {
        (
            Channels {
                count: columns,
                stride: 1,
            },
            1,
        )
    } else {
        (
            Channels {
                count: rows,
                stride: columns,
            },
            0,
        )
    };
    let bias = bias(graph, id, channels.count)?;
    Ok(Form::Product(layout(channels, axis, bias)?))
}

fn matrix_product(graph: &Graph, id: NodeId) -> Result<Form, String> {
    let (_, columns) = matrix(&weight_shape(graph, id)?)?;
    let channels = Channels {
        count: columns,
        stride: 1,
    };
    Ok(Form::Product(layout(channels, 1, None)?))
}

fn matrix(shape: &[usize]) -> Result<(usize, usize), String> {
    match *shape {
        [rows, columns] => Ok((rows, columns)),
        _ => Err(format!("its weights have shape {shape:?} and are no matrix")),
    }
}

fn layout(channels: Channels, axis: usize, bias: Option<usize>) -> Result<Layout, String> {
    if channels.count == 0 || channels.stride == 0 {
        return Err("its weights are empty".to_owned());
    }
    Ok(Layout { channels, axis, bias })
}

fn weight_shape(graph: &Graph, id: NodeId) -> Result<Vec<usize>, String> {
    let weights = graph
        .constant_input(id, WEIGHTS)
        .ok_or("its weights are not constant")?;
    if graph.constant_input(id, 0).is_some() {
        return Err("its input is constant".to_owned());
    }
    float_shape(weights).ok_or_else(|| "its weights are not float32".to_owned())
}

fn bias(graph: &Graph, id: NodeId, channels: usize) -> Result<Option<usize>, String> {
    const BIAS: usize = 2;
    if graph.node(id).input_name(BIAS).is_none() {
        return Ok(None);
    }
    let bias = graph.constant_input(id, BIAS).ok_or("its bias is not constant")?;
    match float_shape(bias).as_deref() {
        Some([count]) if *count == channels => Ok(Some(BIAS)),
        _ => Err(format!(
            "its bias is not one float32 for each of {channels} channels"
        )),
    }
}

fn float_shape(tensor: &TensorProto) -> Option<Vec<usize>> {
    (tensor.element_type().ok()? == DataType::Float).then(|| tensor.shape().ok())?
}
