//! What a model costs: its parameters, its multiplications, and how many of its weights are zero.

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::graph::Graph;
use crate::layer;
use crate::model::Model;
use crate::proto::{DataType, NodeProto, TensorProto, ValueInfoProto};
use crate::shape::{self, Dim, Values};

/// What a whole model costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// Elements of all constants but integers of 64 bits, which are shapes and indices.
    pub parameters: u64,
    /// Weights of the layers, which are convolutions and matrix products, without biases; those that layers
    /// share are counted once.
    pub weights: u64,
    /// Those of [`Self::weights`] that are zero.
    pub zeros: u64,
    /// Multiplications with an addition, of convolutions and matrix products, with dynamic leading axes as 1;
    /// `None` where another axis is dynamic.
    pub macs: Option<u64>,
}

impl Cost {
    /// Counts a model's.
    pub fn of(model: &Model) -> Result<Self, Error> {
        let graph = Graph::new(model.clone())?;
        let mut counted = HashSet::new();
        let (mut weights, mut zeros) = (0, 0);
        for (id, _) in graph.nodes() {
            let Some(found) = layer::weights(&graph, id) else {
                continue;
            };
            if counted.insert(found.tensor.name()) {
                weights += found.tensor.count()? as u64;
                zeros += zeros_of(found.tensor)?;
            }
        }
        Ok(Self {
            parameters: parameters(model),
            weights,
            zeros,
            macs: macs(model),
        })
    }

    /// The fraction of the weights that is zero.
    pub fn sparsity(&self) -> f64 {
        if self.weights == 0 {
            0.0
        } else {
            self.zeros as f64 / self.weights as f64
        }
    }
}

/// All values with dynamic leading axes of inputs, which are batches, bound to 1.
pub(crate) fn infer_single(model: &Model) -> Result<Values, Error> {
    let values = shape::infer_all(model, &BTreeMap::new()).0;
    let leading = |input: &ValueInfoProto| match values.get(input.name())?.shape.as_deref()? {
        [Dim::Symbol(name), ..] => Some((name.clone(), 1)),
        _ => None,
    };
    shape::infer(model, &model.graph().input.iter().filter_map(leading).collect())
}

/// As [`Cost::parameters`].
pub(crate) fn parameters(model: &Model) -> u64 {
    let graph = model.graph();
    let in_nodes = graph.node.iter().filter(|node| node.is("Constant"));
    let in_nodes = in_nodes.filter_map(|node| node.tensor("value"));
    let count = |tensor: &TensorProto| match tensor.element_type() {
        Ok(DataType::Int64) | Err(_) => 0,
        Ok(_) => tensor.count().unwrap_or(0) as u64,
    };
    graph.initializer.iter().chain(in_nodes).map(count).sum()
}

/// As [`Cost::macs`].
pub(crate) fn macs(model: &Model) -> Option<u64> {
    let values = infer_single(model).ok()?;
    let nodes = model.graph().node.iter();
    nodes
        .map(|node| macs_of(node, &values))
        .try_fold(0_u64, |sum, macs| sum.checked_add(macs?))
}

/// Multiplications of a node: each element of the output sums over the window and the input channels of its
/// group, or over the inner axis.
pub(crate) fn macs_of(node: &NodeProto, values: &Values) -> Option<u64> {
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

fn zeros_of(tensor: &TensorProto) -> Result<u64, Error> {
    let values = tensor.floats()?;
    Ok(values.iter().filter(|&&value| value == 0.0).count() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::build::Builder;
    use crate::testing::int;

    #[test]
    fn weights_and_multiplications_are_counted() {
        let mut b = Builder::new(17);
        let x = b.input("x", &["batch", "4", "8", "8"]);
        let w = b.floats(&[6, 2, 3, 3], &[&[0.0; 27][..], &[1.0; 81]].concat());
        let y = b.op("Conv", &[&x, &w], &[int("group", 2)]);
        let w = b.floats(&[6, 5, 2, 2], &[1.0; 120]);
        let bias = b.floats(&[5], &[1.0; 5]);
        let y = b.op("ConvTranspose", &[&y, &w, &bias], &[]);
        let y = b.op("GlobalAveragePool", &[&y], &[]);
        let y = b.op("Flatten", &[&y], &[]);
        let w = b.floats(&[5, 5], &[&[0.0; 5][..], &[2.0; 20]].concat());
        let y = b.op("MatMul", &[&y, &w], &[]);
        let y = b.op("MatMul", &[&y, &w], &[]);
        let model = b.finish(&[&y]);
        let cost = Cost {
            parameters: 108 + 120 + 5 + 25,
            weights: 108 + 120 + 25,
            zeros: 27 + 5,
            macs: Some(108 * 36 + 6 * 36 * 20 + 25 + 25),
        };
        assert_eq!(Cost::of(&model).unwrap(), cost);
        assert!((cost.sparsity() - 32.0 / 253.0).abs() < 1e-12);
    }
}
