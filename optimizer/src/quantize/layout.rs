//! Where nodes with constant weights have them, and what they look like.

use super::weights::Channels;
use crate::graph::{Graph, NodeId};
use crate::proto::{DataType, TensorProto};

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

/// Position of the bias among the inputs of a node that has one.
pub(super) const BIAS: usize = 2;

/// Of a `Conv`, whose weights are `[outputs, inputs / groups, ...]`.
pub(super) fn convolution(graph: &Graph, id: NodeId) -> Result<Layout, String> {
    let shape = weight_shape(graph, id)?;
    let (&count, kernel) = shape.split_first().ok_or("its weights have no axis")?;
    if kernel.is_empty() {
        return Err("its weights have one axis".to_owned());
    }
    let bias = bias(graph, id, count)?;
    let channels = Channels {
        count,
        stride: kernel.iter().product(),
        kernel: kernel[1..].iter().product(),
    };
    layout(channels, 0, bias)
}

/// Of a `ConvTranspose`, whose weights are `[inputs, outputs / groups, ...]`.
pub(super) fn transposed_convolution(graph: &Graph, id: NodeId) -> Result<Layout, String> {
    if graph.node(id).int("group").unwrap_or(1) != 1 {
        return Err("it is transposed and grouped".to_owned());
    }
    let shape = weight_shape(graph, id)?;
    let [_, count, kernel @ ..] = shape.as_slice() else {
        return Err("its weights have no axis".to_owned());
    };
    let bias = bias(graph, id, *count)?;
    let channels = Channels {
        count: *count,
        stride: kernel.iter().product(),
        kernel: kernel.iter().product(),
    };
    layout(channels, 1, bias)
}

/// Of a `Gemm`, whose weights are a matrix.
pub(super) fn gemm(graph: &Graph, id: NodeId) -> Result<Layout, String> {
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
                kernel: 1,
            },
            1,
        )
    } else {
        (
            Channels {
                count: rows,
                stride: columns,
                kernel: 1,
            },
            0,
        )
    };
    let bias = bias(graph, id, channels.count)?;
    layout(channels, axis, bias)
}

/// Of a `MatMul`, whose weights are a matrix.
pub(super) fn matrix_product(graph: &Graph, id: NodeId) -> Result<Layout, String> {
    let (_, columns) = matrix(&weight_shape(graph, id)?)?;
    let channels = Channels {
        count: columns,
        stride: 1,
        kernel: 1,
    };
    layout(channels, 1, None)
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

pub(super) fn float_shape(tensor: &TensorProto) -> Option<Vec<usize>> {
    (tensor.element_type().ok()? == DataType::Float).then(|| tensor.shape().ok())?
}
