//! Folding batch normalizations into the convolutions and dense layers before them.

use super::finish;
use crate::error::Error;
use crate::graph::{Graph, NodeId};
use crate::model::Model;
use crate::proto::{DataType, TensorProto};
use crate::report::PassReport;

/// Name of the pass.
const NAME: &str = "fold-batch-norm";

/// Folds each `BatchNormalization` whose input comes from a `Conv`, `ConvTranspose` or `Gemm` that nothing
/// else reads into that node's weights and bias. The output changes by rounding only.
pub fn fold_batch_norm(model: &Model) -> Result<(Model, PassReport), Error> {
    let mut graph = Graph::new(model.clone())?;
    let mut report = PassReport::new(NAME);
    for id in graph.ids() {
        if !graph.node(id).is("BatchNormalization") {
            continue;
        }
        let label = graph.node(id).label();
        match fold(&mut graph, id)? {
            Ok(into) => report.applied(label, format!("folded into `{into}`")),
            Err(why) => report.skipped(label, why),
        }
    }
    graph.remove_unused_initializers();
    Ok((finish(NAME, graph)?, report))
}

/// The name of the node that took the normalization, or why none did.
fn fold(graph: &mut Graph, norm: NodeId) -> Result<Result<String, String>, Error> {
    let (layer, axis) = match layer_before(graph, norm) {
        Ok(found) => found,
        Err(why) => return Ok(Err(why)),
    };
    let Some(affine) = Affine::read(graph, norm)? else {
        return Ok(Err("its parameters are not float32 constants".to_owned()));
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
    let output = graph.remove_node(norm).output.swap_remove(0);
    graph.set_output(layer, 0, &output);
    Ok(Ok(label))
}

/// The layer that alone feeds the normalization, and which axis of its weights counts the output channels.
fn layer_before(graph: &Graph, norm: NodeId) -> Result<(NodeId, usize), String> {
    let node = graph.node(norm);
    if node.int("training_mode").unwrap_or(0) != 0 || node.output.len() > 1 {
        return Err("it is in training mode".to_owned());
    }
    let input = node.input_name(0).unwrap_or_default();
    let Some(layer) = graph.producer(input) else {
        return Err("no layer is before it".to_owned());
    };
    let before = graph.node(layer);
    let axis = match before.op_type() {
        "Conv" => 0,
        "Gemm" if before.int("transB").unwrap_or(0) != 0 => 0,
        "ConvTranspose" | "Gemm" => 1,
        other => return Err(format!("`{}` before it is a {other}", before.label())),
    };
    if graph.sole_consumer(input) != Some(norm) {
        return Err(format!(
            "the output of `{}` is also read elsewhere",
            before.label()
        ));
    }
    Ok((layer, axis))
}

/// The normalization as `y = (x - mean) * scale + bias` for each channel, in double precision.
struct Affine {
    scale: Vec<f64>,
    mean: Vec<f64>,
    bias: Vec<f64>,
}

impl Affine {
    /// By ONNX's `BatchNormalization`: `scale` is gamma / sqrt(variance + epsilon).
    fn read(graph: &Graph, norm: NodeId) -> Result<Option<Self>, Error> {
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
