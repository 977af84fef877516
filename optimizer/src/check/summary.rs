//! What a valid model is.

use std::collections::{BTreeMap, HashSet};

use serde::Serialize;

use crate::cost;
use crate::model::Model;
use crate::proto::ValueInfoProto;
use crate::shape::{Dim, Values};

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
    /// As [`cost::Cost::parameters`].
    pub parameters: u64,
    /// As [`cost::Cost::macs`].
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
        parameters: cost::parameters(model),
        macs: cost::macs(model),
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
