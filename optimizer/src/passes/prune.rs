//! Unstructured pruning by magnitude.

use super::finish;
use crate::error::Error;
use crate::graph::{Graph, NodeId};
use crate::model::Model;
use crate::proto::{DataType, TensorProto};
use crate::report::PassReport;

/// Name of the pass.
const NAME: &str = "prune";

/// Sets the fraction `amount` of each layer's weights, those of least magnitude (L1), to zero. Of equal ones
/// the first go. Biases stay. This changes what the model computes; how much is for validation to tell.
pub fn prune(model: &Model, amount: f64) -> Result<(Model, PassReport), Error> {
    if !(0.0..=1.0).contains(&amount) {
        return Err(Error::Refused {
            pass: NAME.to_owned(),
            reason: format!("the amount is {amount}; it is a fraction of the weights, between 0 and 1"),
        });
    }
    let mut graph = Graph::new(model.clone())?;
    let mut report = PassReport::new(NAME);
    let mut done = Vec::new();
    for id in graph.ids() {
        if !has_weights(&graph, id) {
            continue;
        }
        let label = graph.node(id).label();
        let Some(weights) = weights(&graph, id) else {
            report.skipped(label, "its weights are not a float32 constant");
            continue;
        };
        let name = weights.name().to_owned();
        if done.contains(&name) {
            report.skipped(
                label,
                format!("its weights `{name}` are shared and already pruned"),
            );
            continue;
        }
        let mut values = weights.floats()?;
        let shape = weights.shape()?;
        let zeros = zero_smallest(&mut values, amount);
        report.applied(label, format!("{zeros} of {} weights are zero", values.len()));
        graph.add_initializer(TensorProto::of(&name, &shape, &values));
        done.push(name);
    }
    if done.is_empty() {
        return Err(Error::Refused {
            pass: NAME.to_owned(),
            reason: "no layer has weights that are a float32 constant, so there is nothing to prune"
                .to_owned(),
        });
    }
    Ok((finish(NAME, graph)?, report))
}

/// How many weights a model has and how many of them are zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Sparsity {
    /// Weights of all layers that can be pruned; those that layers share are counted once.
    pub weights: u64,
    /// Those that are zero.
    pub zeros: u64,
}

impl Sparsity {
    /// The fraction that is zero.
    pub fn fraction(&self) -> f64 {
        if self.weights == 0 {
            0.0
        } else {
            self.zeros as f64 / self.weights as f64
        }
    }
}

/// The sparsity of the layers that [`prune`] works on.
pub fn sparsity(model: &Model) -> Result<Sparsity, Error> {
    let graph = Graph::new(model.clone())?;
    let layers = graph.nodes().filter(|&(id, _)| has_weights(&graph, id));
    let mut tensors: Vec<&TensorProto> = layers.filter_map(|(id, _)| weights(&graph, id)).collect();
    tensors.sort_by_key(|tensor| tensor.name());
    tensors.dedup_by_key(|tensor| tensor.name());
    let mut sum = Sparsity { weights: 0, zeros: 0 };
    for tensor in tensors {
        let values = tensor.floats()?;
        sum.weights += values.len() as u64;
        sum.zeros += values.iter().filter(|&&value| value == 0.0).count() as u64;
    }
    Ok(sum)
}

/// Zeroes the first `round(amount * length)` values in order of magnitude; returns how many are zero then.
fn zero_smallest(values: &mut [f32], amount: f64) -> usize {
    let count = (amount * values.len() as f64).round() as usize;
    let mut order: Vec<usize> = (0..values.len()).collect();
    if (1..order.len()).contains(&count) {
        // The position settles ties, so that the outcome does not depend on the algorithm.
        order.select_nth_unstable_by(count, |&a, &b| {
            values[a].abs().total_cmp(&values[b].abs()).then(a.cmp(&b))
        });
    }
    for &index in &order[..count] {
        values[index] = 0.0;
    }
    values.iter().filter(|&&value| value == 0.0).count()
}

fn has_weights(graph: &Graph, id: NodeId) -> bool {
    let node = graph.node(id);
    node.is_standard() && matches!(node.op_type(), "Conv" | "ConvTranspose" | "Gemm" | "MatMul")
}

/// The weights of a layer; of `MatMul` either side can be the constant one, which has two axes.
fn weights(graph: &Graph, id: NodeId) -> Option<&TensorProto> {
    let candidates: &[usize] = if graph.node(id).is("MatMul") {
        &[1, 0]
    } else {
        &[1]
    };
    let constants = candidates
        .iter()
        .filter_map(|&index| graph.constant_input(id, index));
    constants.into_iter().find(|tensor| {
        tensor.element_type().is_ok_and(|kind| kind == DataType::Float) && tensor.dims.len() >= 2
    })
}
