//! Operators that work element by element, normalizations, pools and reductions.

use super::layers::with_channels;
use super::{Axis, Followed, Follower, Outcome, axis};
use crate::proto::NodeProto;
use crate::shape::Dim;

/// Since this version `Softmax` works along one axis.
const SOFTMAX_OF_ONE_AXIS: i64 = 13;

impl Follower<'_> {
    /// Outputs are as the first input.
    pub(super) fn unary(&mut self, node: &NodeProto) -> Outcome {
        let x = self.input(node, 0)?;
        Ok(vec![x.axes; node.output.len()])
    }

    /// Any number of inputs, broadcast.
    pub(super) fn elementwise(&mut self, node: &NodeProto) -> Outcome {
        let inputs: Result<Vec<Followed>, String> = (0..node.input.len())
            .map(|index| self.input(node, index))
            .collect();
        Ok(vec![self.broadcast(node, &inputs?)])
    }

    /// The axes of values that are broadcast together, by ONNX's multidirectional broadcasting.
    pub(super) fn broadcast(&mut self, node: &NodeProto, inputs: &[Followed]) -> Vec<Axis> {
        let rank = inputs.iter().map(|input| input.axes.len()).max().unwrap_or(0);
        let mut joined = Vec::with_capacity(rank);
        for index in 0..rank {
            let along = |input: &Followed| {
                let index = index.checked_sub(rank - input.axes.len())?;
                let stretched = input.shape[index] == Dim::Known(1);
                (!stretched).then(|| input.axes[index].clone())
            };
            let mut axes = inputs.iter().filter_map(along);
            let mut all: Axis = axes.next().flatten();
            for other in axes {
                self.join(node, &all, &other);
                all = all.or(other);
            }
            joined.push(all);
        }
        joined
    }

    /// `BatchNormalization` and `InstanceNormalization`, which have parameters for each channel.
    pub(super) fn normalization(&mut self, node: &NodeProto) -> Outcome {
        let trains = node.int("training_mode").unwrap_or(0) != 0 || node.output.len() > 1;
        let x = self.input(node, 0)?;
        if trains || x.axes.len() < 2 || node.int("spatial").unwrap_or(1) == 0 {
            return Err("it is no normalization of channels for inference".to_owned());
        }
        for index in 1..node.input.len() {
            for parameters in &self.input(node, index)?.axes {
                self.join(node, parameters, &x.axes[1]);
            }
        }
        Ok(vec![x.axes])
    }

    /// `LayerNormalization`.
    pub(super) fn layer_normalization(&mut self, node: &NodeProto) -> Outcome {
        let x = self.input(node, 0)?;
        let first = axis(node.int("axis").unwrap_or(-1), x.axes.len())?;
        let mut mixed = x.axes[first..].to_vec();
        for index in 1..node.input.len() {
            mixed.extend(self.input(node, index)?.axes);
        }
        for axis in &mixed {
            self.keep(node, axis, "it normalizes over them");
        }
        Ok(vec![x.axes])
    }

    /// Operators that mix the elements along one axis.
    pub(super) fn softmax(&mut self, node: &NodeProto) -> Outcome {
        if self.graph.opset() < SOFTMAX_OF_ONE_AXIS && !node.is("LpNormalization") {
            return Err("it normalizes over them".to_owned());
        }
        let x = self.input(node, 0)?;
        let along = axis(node.int("axis").unwrap_or(-1), x.axes.len())?;
        self.keep(node, &x.axes[along], "it normalizes over them");
        Ok(vec![x.axes])
    }

    /// `LRN`, which mixes neighbouring channels.
    pub(super) fn response_normalization(&mut self, node: &NodeProto) -> Outcome {
        let x = self.input(node, 0)?;
        let channels = x.axes.get(1).ok_or("it is no normalization of channels")?;
        self.keep(node, channels, "it normalizes over neighbouring channels");
        Ok(vec![x.axes])
    }

    /// Pools, local and global.
    pub(super) fn pool(&mut self, node: &NodeProto) -> Outcome {
        let x = self.input(node, 0)?;
        if x.axes.len() < 3 {
            return Err("it is no pool of channels".to_owned());
        }
        for axis in &x.axes[2..] {
            self.keep(node, axis, "its window moves along them");
        }
        let channels = x.axes[1].clone();
        Ok(vec![with_channels(&x, channels)])
    }

    /// Reductions, whose axes are an attribute or an input.
    pub(super) fn reduce(&mut self, node: &NodeProto) -> Outcome {
        let x = self.input(node, 0)?;
        let rank = x.axes.len();
        let given = match node.input_name(1) {
            Some(_) => Some(self.integers(node, 1).ok_or("its axes are not known")?),
            None => node.ints("axes").map(<[i64]>::to_vec),
        };
        let given = given.unwrap_or_default();
        if given.is_empty() && node.int("noop_with_empty_axes").unwrap_or(0) != 0 {
            return Ok(vec![x.axes]);
        }
        let reduced: Vec<usize> = if given.is_empty() {
            (0..rank).collect()
        } else {
            given
                .into_iter()
                .map(|index| axis(index, rank))
                .collect::<Result<_, _>>()?
        };
        let keep_axes = node.int("keepdims").unwrap_or(1) != 0;
        let mut axes = Vec::with_capacity(rank);
        for (index, along) in x.axes.into_iter().enumerate() {
            if !reduced.contains(&index) {
                axes.push(along);
                continue;
            }
            self.keep(node, &along, "it reduces over them");
            if keep_axes {
                axes.push(None);
            }
        }
        Ok(vec![axes])
    }
}
