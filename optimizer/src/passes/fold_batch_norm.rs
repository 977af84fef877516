//! Folding batch normalizations, and factors and offsets per channel, into the layers before them.

use std::collections::BTreeMap;

use super::finish;
use crate::error::Error;
use crate::graph::{Graph, NodeId};
use crate::model::Model;
use crate::proto::{DataType, NodeProto, TensorProto};
use crate::report::PassReport;
use crate::shape::{self, Values};

/// Name of the pass.
const NAME: &str = "fold-batch-norm";

/// Folds each `BatchNormalization` whose input comes from a `Conv`, `ConvTranspose` or `Gemm` that nothing
/// else reads into that node's weights and bias. So it does with a `Mul` or `Add` of one constant a channel,
/// which older exporters write after a normalization; these also fold into a normalization that has to stay.
/// The output changes by rounding only.
pub fn fold_batch_norm(model: &Model) -> Result<(Model, PassReport), Error> {
    let values = shape::infer(model, &BTreeMap::new())?;
    let mut graph = Graph::new(model.clone())?;
    let mut report = PassReport::new(NAME);
    for id in graph.ids() {
        if !graph.node(id).is("BatchNormalization") && !is_affine_of_layer(&graph, id) {
            continue;
        }
        let label = graph.node(id).label();
        match fold(&mut graph, &values, id)? {
            Ok(into) => report.applied(label, format!("folded into `{into}`")),
            Err(why) => report.skipped(label, why),
        }
    }
    graph.remove_unused_initializers();
    Ok((finish(NAME, graph)?, report))
}

/// The name of the node that took `id`, or why none did.
fn fold(graph: &mut Graph, values: &Values, id: NodeId) -> Result<Result<String, String>, Error> {
    let (layer, axis) = match layer_before(graph, id) {
        Ok(found) => found,
        Err(why) => return Ok(Err(why)),
    };
    let Some(affine) = Affine::read(graph, values, id)? else {
        return Ok(Err(
            "its parameters are not one float32 constant a channel".to_owned()
        ));
    };
    let Some((weights, bias)) = parameters(graph, layer)? else {
        return Ok(Err("the weights before it are not float32 constants".to_owned()));
    };
    let group = graph.node(layer).int("group").unwrap_or(1).max(1) as usize;
    let axis = Axis { axis, group };
    let channels = affine.scale.len();
    if axis.channels(&weights.shape()?) != channels
        || bias.as_ref().is_some_and(|bias| bias.len() != channels)
    {
        return Ok(Err(format!(
            "its {channels} channels are not those of the weights"
        )));
    }
    let beta = beta(graph, layer);
    let scaled = axis.scale(&weights, &affine.scale)?;
    let offset: Vec<f32> = (0..channels)
        .map(|channel| {
            let bias = bias.as_ref().map_or(0.0, |bias| f64::from(bias[channel])) * beta;
            ((bias - affine.mean[channel]) * affine.scale[channel] + affine.bias[channel]) as f32
        })
        .collect();
    install(graph, layer, scaled, &offset);
    let label = graph.node(layer).label();
    let output = graph.remove_node(id).output.swap_remove(0);
    graph.set_output(layer, 0, &output);
    Ok(Ok(label))
}

/// Whether the node multiplies what a layer gives it with a constant, or adds one.
fn is_affine_of_layer(graph: &Graph, id: NodeId) -> bool {
    let node = graph.node(id);
    let layer = data_input(graph, id).and_then(|data| graph.producer(data));
    let follows_layer = layer.is_some_and(|layer| weight_axis(graph.node(layer)).is_some());
    (node.is("Mul") || node.is("Add")) && follows_layer && constant_of(graph, id).is_some()
}

/// The input of a node that is not constant, if it has one: the data of a normalization, `Mul` or `Add`.
fn data_input(graph: &Graph, id: NodeId) -> Option<&str> {
    let node = graph.node(id);
    let candidates = if node.is("BatchNormalization") { 1 } else { 2 };
    let mut inputs = (0..candidates).filter_map(|index| node.input_name(index));
    inputs.find(|name| graph.initializer(name).is_none())
}

/// The constant of a `Mul` or `Add`.
fn constant_of(graph: &Graph, id: NodeId) -> Option<&TensorProto> {
    (0..2).find_map(|index| graph.constant_input(id, index))
}

/// The layer that alone feeds the node, and which axis of its weights counts the output channels.
fn layer_before(graph: &Graph, id: NodeId) -> Result<(NodeId, usize), String> {
    let node = graph.node(id);
    if is_training(node) {
        return Err("it is in training mode".to_owned());
    }
    let input = data_input(graph, id).unwrap_or_default();
    let Some(layer) = graph.producer(input) else {
        return Err("no layer is before it".to_owned());
    };
    let before = graph.node(layer);
    let foldable =
        weight_axis(before).filter(|_| !(before.is("BatchNormalization") && node.is("BatchNormalization")));
    let Some(axis) = foldable else {
        return Err(format!(
            "`{}` before it is a {}",
            before.label(),
            before.op_type()
        ));
    };
    if graph.sole_consumer(input) != Some(id) {
        return Err(format!(
            "the output of `{}` is also read elsewhere",
            before.label()
        ));
    }
    Ok((layer, axis))
}

fn is_training(node: &NodeProto) -> bool {
    node.is("BatchNormalization") && (node.int("training_mode").unwrap_or(0) != 0 || node.output.len() > 1)
}

/// Which axis of a layer's weights counts its output channels; `None` where it has no weights. The weights of a
/// normalization are its scales.
fn weight_axis(layer: &NodeProto) -> Option<usize> {
    match layer.op_type() {
        "BatchNormalization" if !is_training(layer) => Some(0),
        "Conv" => Some(0),
        "Gemm" if layer.int("transB").unwrap_or(0) != 0 => Some(0),
        "ConvTranspose" | "Gemm" => Some(1),
        _ => None,
    }
}

/// What the node does to each channel: `y = (x - mean) * scale + bias`, in double precision.
struct Affine {
    scale: Vec<f64>,
    mean: Vec<f64>,
    bias: Vec<f64>,
}

impl Affine {
    /// `None` where its parameters are not one float32 constant a channel.
    fn read(graph: &Graph, values: &Values, id: NodeId) -> Result<Option<Self>, Error> {
        match graph.node(id).op_type() {
            "BatchNormalization" => Self::of_norm(graph, id),
            "Mul" => Ok(per_channel(graph, values, id)?.map(|scale| Self {
                mean: vec![0.0; scale.len()],
                bias: vec![0.0; scale.len()],
                scale,
            })),
            _ => Ok(per_channel(graph, values, id)?.map(|bias| Self {
                mean: vec![0.0; bias.len()],
                scale: vec![1.0; bias.len()],
                bias,
            })),
        }
    }

    /// By ONNX's `BatchNormalization`: `scale` is gamma / sqrt(variance + epsilon).
    fn of_norm(graph: &Graph, norm: NodeId) -> Result<Option<Self>, Error> {
        let mut parameters = Vec::with_capacity(4);
        for index in 1..5 {
            match graph.constant_input(norm, index) {
                Some(tensor) if tensor.element_type()? == DataType::Float => {
                    parameters.push(tensor.floats()?.into_iter().map(f64::from).collect::<Vec<f64>>());
                }
                _ => return Ok(None),
            }
        }
        let [gamma, bias, mean, variance] = parameters.try_into().expect("four were read");
        let epsilon = f64::from(graph.node(norm).float("epsilon").unwrap_or(1e-5));
        let scale = gamma
            .iter()
            .zip(&variance)
            .map(|(gamma, variance)| gamma / (variance + epsilon).sqrt());
        Ok(Some(Self {
            scale: scale.collect(),
            mean,
            bias,
        }))
    }
}

/// The constant of a `Mul` or `Add` where it holds one number a channel: `[C]` for `[batch, C]`, `[C, 1, 1]` or
/// `[1, C, 1, 1]` for pictures.
fn per_channel(graph: &Graph, values: &Values, id: NodeId) -> Result<Option<Vec<f64>>, Error> {
    let data = data_input(graph, id).and_then(|name| values.get(name));
    let rank = data.and_then(|value| value.shape.as_ref()).map_or(0, Vec::len);
    let Some(constant) = constant_of(graph, id).filter(|_| rank >= 2) else {
        return Ok(None);
    };
    let mut shape = constant.shape()?;
    while shape.len() < rank {
        shape.insert(0, 1);
    }
    let is_flat = shape.len() == rank
        && shape
            .iter()
            .enumerate()
            .all(|(axis, &extent)| axis == 1 || extent == 1);
    if !is_flat || constant.element_type()? != DataType::Float {
        return Ok(None);
    }
    Ok(Some(constant.floats()?.into_iter().map(f64::from).collect()))
}

/// Weights, and a bias if there is one.
type Parameters = (TensorProto, Option<Vec<f32>>);

/// The parameters of a layer, if they are float32 constants; a bias of one number for all is not one.
fn parameters(graph: &Graph, layer: NodeId) -> Result<Option<Parameters>, Error> {
    let Some(weights) = graph.constant_input(layer, 1) else {
        return Ok(None);
    };
    if weights.element_type()? != DataType::Float {
        return Ok(None);
    }
    if graph.node(layer).input_name(2).is_none() {
        return Ok(Some((weights.clone(), None)));
    }
    match graph.constant_input(layer, 2) {
        Some(bias) if bias.element_type()? == DataType::Float => {
            Ok(Some((weights.clone(), Some(bias.floats()?))))
        }
        _ => Ok(None),
    }
}

/// What `Gemm` multiplies its bias with.
fn beta(graph: &Graph, layer: NodeId) -> f64 {
    let node = graph.node(layer);
    if node.is("Gemm") {
        f64::from(node.float("beta").unwrap_or(1.0))
    } else {
        1.0
    }
}

/// Where weights hold their output channels. `ConvTranspose` counts them within each group.
struct Axis {
    axis: usize,
    group: usize,
}

impl Axis {
    fn channels(&self, shape: &[usize]) -> usize {
        let extent = shape.get(self.axis).copied().unwrap_or(0);
        if self.axis == 0 {
            extent
        } else {
            extent * self.group
        }
    }

    /// The weights with each output channel multiplied by its factor.
    fn scale(&self, weights: &TensorProto, factors: &[f64]) -> Result<TensorProto, Error> {
        let shape = weights.shape()?;
        let inner: usize = shape[self.axis + 1..].iter().product();
        let extent = shape[self.axis];
        let rows = shape[0] / self.group;
        let values = weights.floats()?.into_iter().enumerate().map(|(index, value)| {
            let channel = index / inner % extent;
            let channel = if self.axis == 0 {
                channel
            } else {
                index / (inner * extent) / rows * extent + channel
            };
            (f64::from(value) * factors[channel]) as f32
        });
        let values: Vec<f32> = values.collect();
        Ok(TensorProto::of(weights.name(), &shape, &values))
    }
}

/// Gives a layer its new parameters, under new names where others read the old ones.
fn install(graph: &mut Graph, layer: NodeId, mut weights: TensorProto, bias: &[f32]) {
    let name = weights.name().to_owned();
    if graph.consumers(&name).len() > 1 || graph.is_output(&name) {
        let fresh = graph.fresh_name(&format!("{name}_folded"));
        weights.name = Some(fresh.clone());
        graph.set_input(layer, 1, &fresh);
    }
    graph.add_initializer(weights);
    let bias_name = graph.fresh_name(&format!("{name}_folded_bias"));
    graph.add_initializer(TensorProto::of(&bias_name, &[bias.len()], bias));
    graph.set_input(layer, 2, &bias_name);
    graph.remove_attribute(layer, "beta");
}
