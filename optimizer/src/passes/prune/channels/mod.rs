//! Structured pruning: channels leave the tensors, so that every runtime computes less.
//!
//! A channel is more than a row of one weight tensor: the layers that read it lose an input, normalizations and
//! depthwise convolutions a parameter, and layers whose outputs are added to it the same channel. [`follow`]
//! finds all of these (the dependency graph of Fang et al., "DepGraph", CVPR 2023), [`groups`] ranks channels
//! that compete with each other, [`select`] chooses and [`cut`] cuts.

mod cut;
mod follow;
mod groups;
mod select;
mod slots;
#[cfg(test)]
mod tests;

use follow::{Axis, Channels};
use select::{Leaving, kept};

use super::options::Scope;
use super::refused;
use crate::cost;
use crate::error::Error;
use crate::graph::{Graph, NodeId};
use crate::layer;
use crate::model::Model;
use crate::report::PassReport;

/// Takes out the channels that matter least.
pub(super) fn prune(
    model: &Model,
    graph: &mut Graph,
    report: &mut PassReport,
    amount: f64,
    scope: Scope,
    multiple: usize,
) -> Result<(), Error> {
    let channels = follow::follow(graph, &cost::infer_single(model)?)?;
    let groups = groups::groups(graph, &channels)?;
    if groups.is_empty() {
        return Err(refused(nothing(graph, &channels)));
    }
    let leaving = select::select(&channels, &groups, amount, scope, multiple)?;
    for id in graph.ids() {
        describe(graph, &channels, &leaving, id, report);
    }
    cut::cut(graph, &channels, &leaving)
}

/// Why no channel can leave.
fn nothing(graph: &Graph, channels: &Channels) -> String {
    let layers = graph.ids().into_iter().filter_map(|id| layer::weights(graph, id));
    let reasons = layers.filter_map(|weights| {
        let axis = channels.axes.get(weights.tensor.name())?[weights.output_axis].as_ref()?;
        channels.slots.reason(*axis.first()?)
    });
    match reasons.into_iter().next() {
        Some(reason) => format!("no channel can leave: {reason}"),
        None => "no layer has weights that are a float32 constant, so there is nothing to prune".to_owned(),
    }
}

/// Reports what a layer loses, or why it stays.
fn describe(graph: &Graph, channels: &Channels, leaving: &Leaving, id: NodeId, report: &mut PassReport) {
    let node = graph.node(id);
    if !layer::has_weights(node) {
        return;
    }
    let weights = layer::weights(graph, id)
        .and_then(|weights| Some((weights, channels.axes.get(weights.tensor.name())?)));
    let Some((weights, axes)) = weights else {
        report.skipped(node.label(), "its weights are not a float32 constant");
        return;
    };
    let count = |axis: &Axis| {
        let slots = axis.as_deref().unwrap_or_default();
        (kept(channels, leaving, slots), slots.len())
    };
    let (inputs, all_inputs) = count(&axes[weights.input_axis]);
    let (outputs, all_outputs) = count(&axes[weights.output_axis]);
    let mut said = Vec::new();
    if outputs < all_outputs {
        said.push(format!("{outputs} of {all_outputs} output channels stay"));
    }
    if inputs < all_inputs {
        said.push(format!("{inputs} of {all_inputs} input channels stay"));
    }
    if outputs == all_outputs {
        let first = axes[weights.output_axis].as_ref().and_then(|axis| axis.first());
        let why = first.and_then(|&slot| channels.slots.reason(slot));
        let why = why.unwrap_or("so few are to leave that rounding keeps them");
        said.push(format!("its {all_outputs} output channels stay: {why}"));
    }
    if outputs < all_outputs || inputs < all_inputs {
        report.applied(node.label(), said.join(", "));
    } else {
        report.skipped(node.label(), said.join(", "));
    }
}
