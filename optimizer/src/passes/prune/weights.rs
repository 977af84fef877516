//! Zeroing single weights: those of least magnitude, or all but N of each M neighbours.

use std::cmp::Ordering;
use std::collections::HashSet;

use super::options::{Pattern, Scope};
use super::refused;
use crate::error::Error;
use crate::graph::Graph;
use crate::layer;
use crate::proto::TensorProto;
use crate::report::PassReport;

/// The weights of a layer, to change them.
struct Layer {
    label: String,
    name: String,
    shape: Vec<usize>,
    input_axis: usize,
    values: Vec<f32>,
}

/// A layer, or the name of a node with why its weights stay.
type Found = Result<Layer, (String, String)>;

/// Zeroes the fraction `amount` of the weights, those of least magnitude (L1). Of equal ones the first go.
pub(super) fn smallest(
    graph: &mut Graph,
    report: &mut PassReport,
    amount: f64,
    scope: Scope,
) -> Result<(), Error> {
    let mut found = layers(graph)?;
    let tensors = found.iter_mut().flatten().map(|layer| &mut layer.values);
    match scope {
        Scope::Layer => tensors.for_each(|values| zero_smallest(&mut [values], amount)),
        Scope::Global => zero_smallest(&mut tensors.collect::<Vec<_>>(), amount),
    }
    store(graph, report, found);
    Ok(())
}

/// Zeroes all but the largest weights of each run along the input channels.
pub(super) fn pattern(graph: &mut Graph, report: &mut PassReport, pattern: Pattern) -> Result<(), Error> {
    let apply = |layer: Layer| {
        let channels = layer.shape[layer.input_axis];
        if channels.is_multiple_of(pattern.of()) {
            return Ok(layer);
        }
        let why = format!(
            "its number of input channels, {channels}, cannot be divided by {}",
            pattern.of()
        );
        Err((layer.label, why))
    };
    let mut found: Vec<Found> = layers(graph)?
        .into_iter()
        .map(|layer| layer.and_then(apply))
        .collect();
    for layer in found.iter_mut().flatten() {
        layer.thin_out(pattern);
    }
    store(graph, report, found);
    Ok(())
}

/// All nodes that have weights. Weights that several share are the first one's.
fn layers(graph: &Graph) -> Result<Vec<Found>, Error> {
    let mut found = Vec::new();
    let mut taken = HashSet::new();
    for (id, node) in graph.nodes().filter(|(_, node)| layer::has_weights(node)) {
        let label = node.label();
        let Some(weights) = layer::weights(graph, id) else {
            found.push(Err((label, "its weights are not a float32 constant".to_owned())));
            continue;
        };
        let name = weights.tensor.name().to_owned();
        if !taken.insert(name.clone()) {
            let why = format!("its weights `{name}` are shared and already pruned");
            found.push(Err((label, why)));
            continue;
        }
        found.push(Ok(Layer {
            label,
            name,
            shape: weights.tensor.shape()?,
            input_axis: weights.input_axis,
            values: weights.tensor.floats()?,
        }));
    }
    if taken.is_empty() {
        return Err(refused(
            "no layer has weights that are a float32 constant, so there is nothing to prune",
        ));
    }
    Ok(found)
}

fn store(graph: &mut Graph, report: &mut PassReport, found: Vec<Found>) {
    for layer in found {
        match layer {
            Ok(layer) => {
                let zeros = layer.values.iter().filter(|&&value| value == 0.0).count();
                report.applied(
                    layer.label,
                    format!("{zeros} of {} weights are zero", layer.values.len()),
                );
                graph.add_initializer(TensorProto::of(&layer.name, &layer.shape, &layer.values));
            }
            Err((label, why)) => report.skipped(label, why),
        }
    }
}

/// Zeroes the first `round(amount * length)` values of all tensors in order of magnitude. What is not a number
/// is larger than all numbers.
fn zero_smallest(tensors: &mut [&mut Vec<f32>], amount: f64) {
    let magnitude = |value: f32| value.abs().to_bits();
    let values = tensors.iter().flat_map(|values| values.iter());
    let mut order: Vec<u32> = values.map(|&value| magnitude(value)).collect();
    let count = (amount * order.len() as f64).round() as usize;
    let Some(last) = count.checked_sub(1) else {
        return;
    };
    let (below, &mut largest, _) = order.select_nth_unstable(last);
    let mut equal = count - below.iter().filter(|&&bits| bits < largest).count();
    for value in tensors.iter_mut().flat_map(|values| values.iter_mut()) {
        match magnitude(*value).cmp(&largest) {
            Ordering::Less => *value = 0.0,
            Ordering::Equal if equal > 0 => {
                *value = 0.0;
                equal -= 1;
            }
            _ => {}
        }
    }
}

impl Layer {
    /// Leaves the largest of each run; of equal ones the last.
    fn thin_out(&mut self, pattern: Pattern) {
        let stride: usize = self.shape[self.input_axis + 1..].iter().product();
        let length = pattern.of() * stride;
        for block in self.values.chunks_mut(length.max(1)) {
            for start in 0..stride {
                let mut run: Vec<usize> = (start..length).step_by(stride).collect();
                run.sort_by(|&a, &b| block[a].abs().total_cmp(&block[b].abs()));
                for &index in &run[..pattern.of() - pattern.keep()] {
                    block[index] = 0.0;
                }
            }
        }
    }
}
