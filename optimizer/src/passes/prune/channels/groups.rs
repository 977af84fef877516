//! Channels that are alike, and how much each of them matters.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::follow::Channels;
use super::slots::Slot;
use crate::error::Error;
use crate::graph::Graph;
use crate::layer;
use crate::proto::TensorProto;

/// A tensor by its number, and an axis of it.
type TensorAxis = (usize, usize);

/// Channels that lie in the same axes of the same tensors: the outputs of one layer, or of several layers that
/// are added to each other, together with the inputs of all that read them.
#[derive(Debug)]
pub(super) struct Group {
    /// Roots, those that matter least first.
    pub(super) channels: Vec<Slot>,
    /// How much each matters: 1 is the mean of the group.
    pub(super) scores: Vec<f64>,
    /// The fewest slots of one axis that a channel takes; more than one where layers work in groups.
    pub(super) width: usize,
}

/// The groups of all channels that may leave, in the order of their first slot.
pub(super) fn groups(graph: &Graph, channels: &Channels) -> Result<Vec<Group>, Error> {
    let layers = Layers::of(graph, channels);
    let mut members: BTreeMap<Slot, Vec<(TensorAxis, usize)>> = BTreeMap::new();
    for (slot, place) in channels.slots.placed() {
        let root = channels.slots.root(slot);
        members
            .entry(root)
            .or_default()
            .push(((place.tensor, place.axis), place.index));
    }
    members.retain(|&root, places| {
        channels.slots.reason(root).is_none() && places.iter().any(|(axis, _)| layers.outputs.contains(axis))
    });
    let mut alike: BTreeMap<Vec<(TensorAxis, usize)>, Vec<Slot>> = BTreeMap::new();
    for (&root, places) in &members {
        let mut counts: BTreeMap<TensorAxis, usize> = BTreeMap::new();
        for &(axis, _) in places {
            *counts.entry(axis).or_default() += 1;
        }
        alike.entry(counts.into_iter().collect()).or_default().push(root);
    }
    let mut norms = Norms {
        graph,
        names: &channels.tensors,
        known: HashMap::new(),
    };
    let mut groups = Vec::with_capacity(alike.len());
    for (signature, roots) in alike {
        let weighed = signature.iter().map(|&(axis, _)| axis);
        let weighed: Vec<TensorAxis> = weighed.filter(|axis| layers.weighed.contains(axis)).collect();
        let scores = scores(&roots, &weighed, &members, &mut norms)?;
        let mut order: Vec<(f64, Slot)> = scores.into_iter().zip(roots).collect();
        order.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let (scores, channels) = order.into_iter().unzip();
        groups.push(Group {
            channels,
            scores,
            width: signature.iter().map(|&(_, count)| count).min().unwrap_or(1),
        });
    }
    groups.sort_by_key(|group| group.channels.iter().min().copied());
    Ok(groups)
}

/// Group importance as in DepGraph (Fang et al., CVPR 2023): the squared L2 norm of a channel's slice of every
/// weight tensor that it is part of. Each tensor is divided by its mean over the group, so that all count alike.
fn scores(
    roots: &[Slot],
    weighed: &[TensorAxis],
    members: &BTreeMap<Slot, Vec<(TensorAxis, usize)>>,
    norms: &mut Norms<'_>,
) -> Result<Vec<f64>, Error> {
    let mut sums = vec![0.0; roots.len()];
    for &axis in weighed {
        let norms = norms.along(axis)?;
        let of = |root: &Slot| -> f64 {
            let here = members[root].iter().filter(|(other, _)| *other == axis);
            here.map(|&(_, index)| norms[index]).sum()
        };
        let parts: Vec<f64> = roots.iter().map(of).collect();
        let mean = parts.iter().sum::<f64>() / parts.len() as f64;
        if mean > 0.0 {
            for (sum, part) in sums.iter_mut().zip(parts) {
                *sum += part / mean / weighed.len() as f64;
            }
        }
    }
    Ok(sums)
}

/// Which axes of which tensors belong to layers.
struct Layers {
    /// Axes of output channels.
    outputs: HashSet<TensorAxis>,
    /// Axes along which a channel's weights say how much it matters.
    weighed: HashSet<TensorAxis>,
}

impl Layers {
    fn of(graph: &Graph, channels: &Channels) -> Self {
        let numbers: HashMap<&str, usize> = (channels.tensors.iter().enumerate())
            .map(|(number, name)| (name.as_str(), number))
            .collect();
        let (mut outputs, mut weighed) = (HashSet::new(), HashSet::new());
        for (id, node) in graph.nodes() {
            if let Some(weights) = layer::weights(graph, id)
                && let Some(&number) = numbers.get(weights.tensor.name())
            {
                outputs.insert((number, weights.output_axis));
                weighed.extend([(number, weights.input_axis), (number, weights.output_axis)]);
            } else if node.is("BatchNormalization")
                && let Some(&number) = node.input_name(1).and_then(|scale| numbers.get(scale))
            {
                weighed.insert((number, 0));
            }
        }
        Self { outputs, weighed }
    }
}

/// Squared L2 norms of slices of tensors.
struct Norms<'a> {
    graph: &'a Graph,
    names: &'a [String],
    known: HashMap<TensorAxis, Vec<f64>>,
}

impl Norms<'_> {
    /// One number for each index along the axis.
    fn along(&mut self, (tensor, axis): TensorAxis) -> Result<&[f64], Error> {
        if !self.known.contains_key(&(tensor, axis)) {
            let found = self.graph.initializer(&self.names[tensor]);
            let norms = found.map_or(Ok(Vec::new()), |tensor| squared(tensor, axis))?;
            self.known.insert((tensor, axis), norms);
        }
        Ok(&self.known[&(tensor, axis)])
    }
}

fn squared(tensor: &TensorProto, axis: usize) -> Result<Vec<f64>, Error> {
    let shape = tensor.shape()?;
    let inner: usize = shape[axis + 1..].iter().product();
    let mut norms = vec![0.0; shape[axis]];
    let values = tensor.floats()?;
    if let Some(value) = values.iter().find(|value| !value.is_finite()) {
        let reason = format!("it holds {value}, by which no channel can be ranked; repair the model");
        return Err(Error::tensor(tensor.name(), reason));
    }
    for (index, slice) in values.chunks_exact(inner.max(1)).enumerate() {
        let norm: f64 = slice.iter().map(|&value| f64::from(value).powi(2)).sum();
        norms[index % shape[axis]] += norm;
    }
    Ok(norms)
}
