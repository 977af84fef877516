//! Taking the channels out of the tensors.

use super::follow::{Axis, Channels, Mend};
use super::select::{Leaving, kept};
use crate::error::Error;
use crate::graph::{Graph, NodeId};
use crate::proto::{AttributeProto, TensorProto};

/// Takes the channels out of every constant and mends the nodes that count them.
pub(super) fn cut(graph: &mut Graph, channels: &Channels, leaving: &Leaving) -> Result<(), Error> {
    forget_shapes(graph, channels, leaving);
    for name in &channels.tensors {
        let axes = &channels.axes[name];
        if !loses(channels, leaving, axes) {
            continue;
        }
        if let Some(tensor) = graph.initializer(name) {
            let smaller = smaller(tensor, channels, leaving, axes)?;
            graph.add_initializer(smaller);
        }
    }
    for mend in &channels.mends {
        match mend {
            Mend::Group {
                node,
                channels: slots,
            } => {
                let groups = kept(channels, leaving, slots);
                graph.set_attribute(*node, AttributeProto::from_int("group", groups as i64));
            }
            Mend::Extents { node, input, axes } => {
                if loses(channels, leaving, axes) {
                    mend_extents(graph, *node, *input, &counts(channels, leaving, axes))?;
                }
            }
        }
    }
    Ok(())
}

/// Removes the declared types of values that lose channels.
fn forget_shapes(graph: &mut Graph, channels: &Channels, leaving: &Leaving) {
    graph.value_infos_mut().retain(|info| {
        let axes = channels.axes.get(info.name());
        axes.is_none_or(|axes| !loses(channels, leaving, axes))
    });
}

fn loses(channels: &Channels, leaving: &Leaving, axes: &[Axis]) -> bool {
    let mut slots = axes.iter().flatten().flatten();
    slots.any(|&slot| leaving[channels.slots.root(slot)])
}

fn counts(channels: &Channels, leaving: &Leaving, axes: &[Axis]) -> Vec<Option<i64>> {
    let count = |axis: &Axis| Some(kept(channels, leaving, axis.as_ref()?) as i64);
    axes.iter().map(count).collect()
}

/// The tensor without the channels that leave.
fn smaller(
    tensor: &TensorProto,
    channels: &Channels,
    leaving: &Leaving,
    axes: &[Axis],
) -> Result<TensorProto, Error> {
    let mut shape = tensor.shape()?;
    let mut values = tensor.floats()?;
    for (axis, slots) in axes.iter().enumerate() {
        let Some(slots) = slots else {
            continue;
        };
        let stays: Vec<bool> = slots
            .iter()
            .map(|&slot| !leaving[channels.slots.root(slot)])
            .collect();
        if stays.iter().all(|&stays| stays) {
            continue;
        }
        let inner: usize = shape[axis + 1..].iter().product();
        let mut left = Vec::with_capacity(values.len());
        for (index, slice) in values.chunks_exact(inner.max(1)).enumerate() {
            if stays[index % stays.len()] {
                left.extend_from_slice(slice);
            }
        }
        values = left;
        shape[axis] = stays.iter().filter(|&&stays| stays).count();
    }
    Ok(TensorProto::of(tensor.name(), &shape, &values))
}

/// Writes the new extents into an input of a node; entries that mean something else, such as -1 in the target of
/// a `Reshape`, stay.
fn mend_extents(graph: &mut Graph, node: NodeId, input: usize, counts: &[Option<i64>]) -> Result<(), Error> {
    let (name, values) = if let Some(tensor) = graph.constant_input(node, input) {
        let mut values = tensor.integers()?;
        for (value, count) in values.iter_mut().zip(counts) {
            if let Some(count) = count.filter(|_| *value > 0) {
                *value = count;
            }
        }
        (tensor.name().to_owned(), values)
    } else {
        // Equal parts of a `Split`, which no longer are.
        graph.remove_attribute(node, "num_outputs");
        let values = counts.iter().copied().flatten().collect();
        (format!("{}_parts", graph.node(node).label()), values)
    };
    let fresh = graph.fresh_name(&name);
    graph.add_initializer(TensorProto::of(&fresh, &[values.len()], &values));
    graph.set_input(node, input, &fresh);
    Ok(())
}
