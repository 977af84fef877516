//! What a valid model is.

use std::collections::{BTreeMap, HashSet};

use serde::Serialize;

use crate::model::Model;
use crate::proto::{DataType, NodeProto, TensorProto, ValueInfoProto};
use crate::shape::{self, Dim, Values};

/// A model in figures.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Version of the file format.
    pub ir_version: i64,
    /// Version of the standard operator set.
    pub opset: i64,
    /// Who wrote the file: name and version.
    pub producer: String,
    /// What the model takes, in order.
    pub inputs: Vec<Port>,
    /// What it returns, in order.
    pub outputs: Vec<Port>,
    /// How many nodes of each operator.
    pub operators: BTreeMap<String, usize>,
    /// Elements of all constants but integers of 64 bits, which are shapes and indices.
    pub parameters: u64,
    /// Multiplications with an addition, of convolutions and matrix products, with dynamic leading axes as 1;
    /// `None` where another axis is dynamic.
    pub macs: Option<u64>,
}

/// An input or output of a model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// Element type: `float32`.
    pub data_type: String,
    /// Axes; `None` where not even their number is known.
    pub shape: Option<Vec<Dim>>,
}

pub(super) fn summarize(model: &Model, values: &Values) -> Summary {
    let (proto, graph) = (model.proto(), model.graph());
    let mut operators = BTreeMap::new();
    for node in &graph.node {
        *operators.entry(node.op_type().to_owned()).or_default() += 1;
    }
    let constant_names: HashSet<&str> = graph.initializer.iter().map(|tensor| tensor.name()).collect();
    let inputs = graph
        .input
        .iter()
        .filter(|input| !constant_names.contains(input.name()));
    Summary {
        ir_version: proto.ir_version(),
        opset: model.opset().unwrap_or_default(),
        producer: format!("{} {}", proto.producer_name(), proto.producer_version())
            .trim()
            .to_owned(),
        inputs: inputs.map(|input| port(input, values)).collect(),
        outputs: graph.output.iter().map(|output| port(output, values)).collect(),
        operators,
        parameters: constants(model).map(parameters).sum(),
        macs: macs(model, values),
    }
}

fn port(info: &ValueInfoProto, values: &Values) -> Port {
    let value = values.get(info.name());
    Port {
        name: info.name().to_owned(),
        data_type: value.map_or_else(String::new, |value| value.data_type.label()),
        shape: value.and_then(|value| value.shape.clone()),
    }
}

fn constants(model: &Model) -> impl Iterator<Item = &TensorProto> {
    let graph = model.graph();
    let in_nodes = graph.node.iter().filter(|node| node.is("Constant"));
    let in_nodes = in_nodes.filter_map(|node| node.tensor("value"));
    graph.initializer.iter().chain(in_nodes)
}

fn parameters(tensor: &TensorProto) -> u64 {
    match tensor.element_type() {
        Ok(DataType::Int64) | Err(_) => 0,
        Ok(_) => tensor.count().unwrap_or(0) as u64,
    }
}

fn macs(model: &Model, values: &Values) -> Option<u64> {
    let leading = |input: &ValueInfoProto| match values.get(input.name())?.shape.as_deref()? {
        [Dim::Symbol(name), ..] => Some((name.clone(), 1)),
        _ => None,
    };
    let bindings: BTreeMap<String, usize> = model.graph().input.iter().filter_map(leading).collect();
    let values = shape::infer(model, &bindings).ok()?;
    let nodes = model.graph().node.iter();
    nodes
        .map(|node| macs_of(node, &values))
        .try_fold(0_u64, |sum, macs| sum.checked_add(macs?))
}

/// Multiplications of a node: each element of the output sums over the window and the input channels of its
/// group, or over the inner axis.
fn macs_of(node: &NodeProto, values: &Values) -> Option<u64> {
    let extents = |name: Option<&str>| values.get(name?)?.extents();
    let volume = |extents: &[usize]| {
        extents
            .iter()
            .try_fold(1_u64, |volume, &extent| volume.checked_mul(extent as u64))
    };
    let output = || extents(node.output.first().map(String::as_str)).and_then(|shape| volume(&shape));
    match node.op_type() {
        "Conv" => {
            let weights = extents(node.input_name(1))?;
            output()?.checked_mul(volume(&weights[1..])?)
        }
        "ConvTranspose" => {
            let weights = extents(node.input_name(1))?;
            volume(&extents(node.input_name(0))?)?.checked_mul(volume(&weights[1..])?)
        }
        "Gemm" | "MatMul" => {
            let a = extents(node.input_name(0))?;
            let transposed = node.op_type() == "Gemm" && node.int("transA").unwrap_or(0) != 0;
            let inner = if transposed { a.first() } else { a.last() };
            output()?.checked_mul(*inner? as u64)
        }
        _ => Some(0),
    }
}
