//! Layers with weights.

use super::{Axis, Followed, Follower, Mend, Outcome};
use crate::graph::NodeId;
use crate::passes::prune::channels::slots::Slot;
use crate::proto::NodeProto;

const NO_CHANNELS: &str = "its weights or its input have no channels to follow";

impl Follower<'_> {
    /// `Conv`. Weights are `[out, in / group, ...]`.
    pub(super) fn conv(&mut self, id: NodeId, node: &NodeProto) -> Outcome {
        let (x, w) = self.windowed(node)?;
        let group = node.int("group").unwrap_or(1).max(1) as usize;
        let (channels, out, inner) = (&x.axes[1], &w.axes[0], &w.axes[1]);
        if group == 1 {
            self.join(node, channels, inner);
        } else if inner.as_ref().is_some_and(|inner| inner.len() == 1) {
            self.depthwise(id, node, channels, out);
        } else {
            self.tie_groups(node, channels, inner);
            self.tie(out.as_deref().unwrap_or_default(), group);
        }
        let out = out.clone();
        self.bias(node, &out);
        Ok(vec![with_channels(&x, out)])
    }

    /// `ConvTranspose`. Weights are `[in, out / group, ...]`.
    pub(super) fn conv_transpose(&mut self, id: NodeId, node: &NodeProto) -> Outcome {
        let (x, w) = self.windowed(node)?;
        let group = node.int("group").unwrap_or(1).max(1) as usize;
        let (channels, inner, out) = (&x.axes[1], &w.axes[0], &w.axes[1]);
        self.join(node, channels, inner);
        let out = if group == 1 {
            out.clone()
        } else if let (Some(inner), Some(each)) = (inner, out) {
            if inner.len() == group {
                // A group is one input channel, and leaves with it.
                self.keep(node, out, "all groups have as many");
                self.mend_group(id, inner);
                Some(inner.iter().flat_map(|&slot| vec![slot; each.len()]).collect())
            } else {
                self.tie(inner, group);
                Some(each.repeat(group))
            }
        } else {
            return Err(NO_CHANNELS.to_owned());
        };
        self.bias(node, &out);
        Ok(vec![with_channels(&x, out)])
    }

    /// `Gemm`.
    pub(super) fn gemm(&mut self, node: &NodeProto) -> Outcome {
        let (a, b) = (self.input(node, 0)?, self.input(node, 1)?);
        let split = |matrix: &Followed, transposed: bool| match matrix.axes.as_slice() {
            [rows, columns] if transposed => Ok((columns.clone(), rows.clone())),
            [rows, columns] => Ok((rows.clone(), columns.clone())),
            _ => Err("it multiplies what are no matrices".to_owned()),
        };
        let (rows, inner) = split(&a, node.int("transA").unwrap_or(0) != 0)?;
        let (other, columns) = split(&b, node.int("transB").unwrap_or(0) != 0)?;
        self.join(node, &inner, &other);
        let product = Followed {
            axes: vec![rows, columns],
            shape: self.output_shape(node)?,
        };
        if node.input_name(2).is_none() {
            return Ok(vec![product.axes]);
        }
        let bias = self.input(node, 2)?;
        Ok(vec![self.broadcast(node, &[product, bias])])
    }

    /// `MatMul`.
    pub(super) fn matmul(&mut self, node: &NodeProto) -> Outcome {
        let (mut a, mut b) = (self.input(node, 0)?, self.input(node, 1)?);
        if a.axes.len() < 2 || b.axes.len() < 2 {
            return Err("it multiplies what are no matrices".to_owned());
        }
        let (inner, rows) = (a.pop(), a.pop());
        let (columns, other) = (b.pop(), b.pop());
        self.join(node, &inner, &other);
        let mut axes = self.broadcast(node, &[a, b]);
        axes.extend([rows, columns]);
        Ok(vec![axes])
    }

    /// Input and weights of a convolution; channels that lie along its window stay.
    fn windowed(&mut self, node: &NodeProto) -> Result<(Followed, Followed), String> {
        let (x, w) = (self.input(node, 0)?, self.input(node, 1)?);
        if x.axes.len() < 3 || w.axes.len() != x.axes.len() {
            return Err(NO_CHANNELS.to_owned());
        }
        for axis in &x.axes[2..] {
            self.keep(node, axis, "its window moves along them");
        }
        Ok((x, w))
    }

    /// A convolution each group of which is one input channel, and leaves with it.
    fn depthwise(&mut self, id: NodeId, node: &NodeProto, channels: &Axis, out: &Axis) {
        let (Some(channels), Some(out)) = (channels, out) else {
            self.keep(node, channels, NO_CHANNELS);
            self.keep(node, out, NO_CHANNELS);
            return;
        };
        let each = (out.len() / channels.len().max(1)).max(1);
        for (index, &slot) in out.iter().enumerate() {
            self.channels.slots.join(channels[index / each], slot);
        }
        self.mend_group(id, channels);
    }

    /// The input channels of a convolution with several in each group: all groups lose the same.
    fn tie_groups(&mut self, node: &NodeProto, channels: &Axis, inner: &Axis) {
        let repeated = channels.as_ref().zip(inner.as_ref());
        let repeated = repeated.map(|(channels, inner)| inner.repeat(channels.len() / inner.len().max(1)));
        if repeated.is_none() {
            self.keep(node, inner, NO_CHANNELS);
        }
        self.join(node, channels, &repeated);
    }

    /// Makes those channels one that are at the same position of each group, so that all groups stay alike.
    fn tie(&mut self, channels: &[Slot], groups: usize) {
        let each = channels.len() / groups;
        for (index, &slot) in channels.iter().enumerate().skip(each) {
            self.channels.slots.join(channels[index % each.max(1)], slot);
        }
    }

    fn mend_group(&mut self, node: NodeId, channels: &[Slot]) {
        self.channels.mends.push(Mend::Group {
            node,
            channels: channels.to_vec(),
        });
    }

    fn bias(&mut self, node: &NodeProto, out: &Axis) {
        if let Some([bias]) = node.input_name(2).map(|name| self.axes_of(name)).as_deref() {
            self.join(node, bias, out);
        }
    }
}

impl Followed {
    /// Takes the last axis off.
    fn pop(&mut self) -> Axis {
        self.shape.pop();
        self.axes.pop().flatten()
    }
}

/// The axes of a convolution's output.
pub(super) fn with_channels(x: &Followed, channels: Axis) -> Vec<Axis> {
    let mut axes = vec![None; x.axes.len()];
    axes[0].clone_from(&x.axes[0]);
    axes[1] = channels;
    axes
}
