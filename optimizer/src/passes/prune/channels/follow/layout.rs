//! Operators that move elements.

use super::reshape::{Block, blocks};
use super::{Axis, Followed, Follower, Mend, Outcome, axis};
use crate::graph::NodeId;
use crate::passes::prune::channels::slots::Slot;
use crate::proto::NodeProto;
use crate::shape::Dim;

const AMBIGUOUS: &str = "it mixes them with other axes";

impl Follower<'_> {
    /// `Concat`: the channels of each input keep their own places.
    pub(super) fn concat(&mut self, node: &NodeProto) -> Outcome {
        let inputs: Result<Vec<Followed>, String> = (0..node.input.len())
            .map(|index| self.input(node, index))
            .collect();
        let inputs = inputs?;
        let rank = inputs.first().ok_or("it has no input")?.axes.len();
        let along = axis(node.int("axis").unwrap_or(1), rank)?;
        let mut joined = Vec::with_capacity(rank);
        for index in 0..rank {
            let axes: Vec<Axis> = inputs.iter().map(|input| input.axes[index].clone()).collect();
            if index == along {
                joined.push(self.appended(&axes, &inputs, index)?);
                continue;
            }
            let mut all = axes[0].clone();
            for other in &axes[1..] {
                self.join(node, &all, other);
                all = all.or_else(|| other.clone());
            }
            joined.push(all);
        }
        Ok(vec![joined])
    }

    /// One axis after the other. Those without channels get some that stay.
    fn appended(&mut self, axes: &[Axis], inputs: &[Followed], along: usize) -> Result<Axis, String> {
        if axes.iter().all(Option::is_none) {
            return Ok(None);
        }
        let mut all = Vec::new();
        for (slots, input) in axes.iter().zip(inputs) {
            if let Some(slots) = slots {
                all.extend_from_slice(slots);
            } else {
                let extent = input.shape[along].extent().ok_or("an extent is not known")?;
                let fixed: Vec<Slot> = (0..extent).map(|_| self.channels.slots.add(None)).collect();
                self.channels
                    .slots
                    .keep(&fixed, "they are no channels of a layer");
                all.extend(fixed);
            }
        }
        Ok(Some(all))
    }

    /// `Split`.
    pub(super) fn split(&mut self, id: NodeId, node: &NodeProto) -> Outcome {
        let x = self.input(node, 0)?;
        let along = axis(node.int("axis").unwrap_or(0), x.axes.len())?;
        let Some(slots) = &x.axes[along] else {
            return Ok(vec![x.axes; node.output.len()]);
        };
        let given = node.input_name(1);
        if node.ints("split").is_some() || given.is_some_and(|name| self.graph.initializer(name).is_none()) {
            return Err("the sizes of its parts are no constant input".to_owned());
        }
        let mut rest = slots.as_slice();
        let mut parts = Vec::with_capacity(node.output.len());
        for name in &node.output {
            let extent = self.value(name)?.shape[along].extent();
            let extent = extent.filter(|&extent| extent <= rest.len());
            let (part, others) = rest.split_at(extent.ok_or("the sizes of its parts are not known")?);
            parts.push(Some(part.to_vec()));
            rest = others;
        }
        self.channels.mends.push(Mend::Extents {
            node: id,
            input: 1,
            axes: parts.clone(),
        });
        let output = |part| {
            let mut axes = x.axes.clone();
            axes[along] = part;
            axes
        };
        Ok(parts.into_iter().map(output).collect())
    }

    /// `Slice`: channels that are not sliced go on.
    pub(super) fn slice(&mut self, node: &NodeProto) -> Outcome {
        let x = self.input(node, 0)?;
        let axes = match node.input_name(3) {
            Some(_) => self.integers(node, 3),
            None => node.ints("axes").map(<[i64]>::to_vec),
        };
        let axes = axes.ok_or("its axes are not known")?;
        self.without(node, x, &axes, "it takes some of them")
    }

    /// `Gather`: channels that are not picked from go on.
    pub(super) fn gather(&mut self, node: &NodeProto) -> Outcome {
        let x = self.input(node, 0)?;
        let indices = self.input(node, 1)?.shape.len();
        let along = axis(node.int("axis").unwrap_or(0), x.axes.len())?;
        self.keep(node, &x.axes[along], "it picks some of them");
        let mut axes = x.axes;
        axes.splice(along..=along, vec![None; indices]);
        Ok(vec![axes])
    }

    /// `Shape`: channels stay whose number is read, since what is computed from it may be no extent.
    pub(super) fn extents(&mut self, node: &NodeProto) -> Outcome {
        let x = self.input(node, 0)?;
        let output = node.output.first().ok_or("it has no output")?;
        let whole = node.int("start").unwrap_or(0) == 0;
        let readers = self.graph.consumers(output);
        let all = self.graph.is_output(output) || !whole;
        for (index, axis) in x.axes.iter().enumerate() {
            let rank = x.axes.len();
            let mut readers = readers.iter();
            if all || readers.any(|&(reader, input)| self.may_read(reader, input, index, rank)) {
                self.keep(node, axis, "their number is computed with");
            }
        }
        Ok(vec![])
    }

    /// Whether a node that has a shape of `rank` extents for its input may take that of `axis`.
    fn may_read(&self, reader: NodeId, input: usize, axis: usize, rank: usize) -> bool {
        let reader = self.graph.node(reader);
        let at = |index: i64| if index < 0 { index + rank as i64 } else { index };
        let one = |index| self.integers(reader, index)?.first().copied();
        match reader.op_type() {
            "Gather" => {
                let indices = self.integers(reader, 1);
                indices.is_none_or(|indices| indices.iter().any(|&index| at(index) == axis as i64))
            }
            "Slice" if reader.input_name(4).is_none_or(|_| one(4) == Some(1)) => match (one(1), one(2)) {
                (Some(from), Some(to)) => (at(from)..at(to)).contains(&(axis as i64)),
                _ => true,
            },
            // What a target may hold is seen where it is used.
            "Reshape" if input == 1 => false,
            _ => true,
        }
    }

    /// `Transpose`; without `perm` the axes are reversed.
    pub(super) fn transpose(&mut self, node: &NodeProto) -> Outcome {
        let x = self.input(node, 0)?;
        let rank = x.axes.len();
        let order: Vec<usize> = match node.ints("perm") {
            Some(order) => order
                .iter()
                .map(|&index| axis(index, rank))
                .collect::<Result<_, _>>()?,
            None => (0..rank).rev().collect(),
        };
        Ok(vec![
            order.into_iter().map(|index| x.axes[index].clone()).collect(),
        ])
    }

    /// `Pad`: channels that are not padded go on.
    pub(super) fn pad(&mut self, node: &NodeProto) -> Outcome {
        let x = self.input(node, 0)?;
        let rank = x.axes.len();
        let pads = match node.input_name(1) {
            Some(_) => self.integers(node, 1),
            None => node.ints("pads").map(<[i64]>::to_vec),
        };
        let pads = pads.ok_or("how much it pads is not known")?;
        let axes = match node.input_name(3) {
            Some(_) => self.integers(node, 3).ok_or("its axes are not known")?,
            None => (0..rank as i64).collect(),
        };
        if pads.len() != 2 * axes.len() {
            return Err("its amounts are not those of its axes".to_owned());
        }
        let padded = (0..axes.len()).filter(|&index| pads[index] != 0 || pads[axes.len() + index] != 0);
        let padded: Vec<i64> = padded.map(|index| axes[index]).collect();
        self.without(node, x, &padded, "it pads them")
    }

    /// `Resize`: channels that are not scaled go on.
    pub(super) fn resize(&mut self, id: NodeId, node: &NodeProto) -> Outcome {
        if node.text("coordinate_transformation_mode") == Some("tf_crop_and_resize") {
            return Err("it crops them".to_owned());
        }
        let x = self.input(node, 0)?;
        let rank = x.axes.len();
        let axes: Vec<usize> = match node.ints("axes") {
            Some(axes) => axes
                .iter()
                .map(|&index| axis(index, rank))
                .collect::<Result<_, _>>()?,
            None => (0..rank).collect(),
        };
        let after = self.output_shape(node)?;
        let scaled = axes.iter().filter(|&&axis| x.shape[axis] != after[axis]);
        let scaled: Vec<i64> = scaled.map(|&axis| axis as i64).collect();
        let sizes = node.input_name(3);
        if sizes.is_some_and(|name| self.graph.initializer(name).is_none()) && x.has_channels() {
            return Err("the sizes it resizes to are computed".to_owned());
        }
        let made = self.without(node, x, &scaled, "it resizes them")?;
        if sizes.is_some() {
            self.channels.mends.push(Mend::Extents {
                node: id,
                input: 3,
                axes: axes.iter().map(|&axis| made[0][axis].clone()).collect(),
            });
        }
        Ok(made)
    }

    /// `Flatten`, `Squeeze` and `Unsqueeze`, which adapt to the shape by themselves.
    pub(super) fn reshape(&mut self, node: &NodeProto) -> Outcome {
        let x = self.input(node, 0)?;
        let shape = self.output_shape(node)?;
        Ok(vec![self.reshaped(node, &x, &shape)])
    }

    /// `Reshape`, whose target may hold numbers of channels.
    pub(super) fn reshape_to(&mut self, id: NodeId, node: &NodeProto) -> Outcome {
        let x = self.input(node, 0)?;
        if !x.has_channels() {
            return Ok(vec![vec![None; self.output_shape(node)?.len()]]);
        }
        let shape = self.output_shape(node)?;
        let name = node.input_name(1).ok_or("its target is missing")?;
        let target = self.values.get(name).and_then(|value| value.elements.clone());
        let target = target.ok_or("its target is not known")?;
        let axes = self.reshaped(node, &x, &shape);
        let computed = self.graph.initializer(name).is_none();
        for (index, (axis, wanted)) in axes.iter().zip(&target).enumerate() {
            let fits = match wanted {
                _ if axis.is_none() => true,
                Dim::Known(0) => x.axes.get(index) == Some(axis),
                Dim::Known(-1) => true,
                _ => !computed,
            };
            if !fits {
                self.keep(node, axis, "its target is computed");
            }
        }
        if !computed {
            self.channels.mends.push(Mend::Extents {
                node: id,
                input: 1,
                axes: axes.clone(),
            });
        }
        Ok(vec![axes])
    }

    /// The axes of a value after a reshape to `shape`; channels that cannot be followed stay.
    fn reshaped(&mut self, node: &NodeProto, x: &Followed, shape: &[Dim]) -> Vec<Axis> {
        let mut axes = vec![None; shape.len()];
        let Some(blocks) = blocks(&x.shape, shape) else {
            for axis in &x.axes {
                self.keep(node, axis, "it reshapes axes of unknown extent");
            }
            return axes;
        };
        for Block { from, to } in blocks {
            let tracked: Vec<usize> = from
                .iter()
                .copied()
                .filter(|&axis| x.axes[axis].is_some())
                .collect();
            match (tracked.as_slice(), from.as_slice(), to.as_slice()) {
                ([], ..) => {}
                ([_], [one], [other]) => axes[*other].clone_from(&x.axes[*one]),
                ([channels], _, [other]) => axes[*other] = merged(x, &from, *channels),
                ([_], [one], _) => self.divide(&x.axes[*one], shape, &to, &mut axes),
                _ => {
                    for axis in tracked {
                        self.keep(node, &x.axes[axis], AMBIGUOUS);
                    }
                }
            }
        }
        axes
    }

    /// One axis becomes several: channels follow the longest of these, the last of equal ones, and those that
    /// share a position along it leave together.
    fn divide(&mut self, slots: &Axis, shape: &[Dim], to: &[usize], axes: &mut [Axis]) {
        let extent = |axis: usize| shape[axis].extent().unwrap_or(1);
        let Some(slots) = slots else {
            return;
        };
        let Some(place) = (0..to.len()).max_by_key(|&place| extent(to[place])) else {
            return;
        };
        let inner: usize = to[place + 1..].iter().map(|&axis| extent(axis)).product();
        let length = extent(to[place]);
        let mut first: Vec<Option<usize>> = vec![None; length];
        for (index, &slot) in slots.iter().enumerate() {
            let place = &mut first[index / inner % length];
            match *place {
                Some(other) => self.channels.slots.join(other, slot),
                None => *place = Some(slot),
            }
        }
        axes[to[place]] = first.into_iter().collect();
    }

    /// A value some of whose axes change otherwise than by leaving channels.
    fn without(&mut self, node: &NodeProto, x: Followed, axes: &[i64], why: &str) -> Outcome {
        let mut left = x.axes;
        for &index in axes {
            let along = axis(index, left.len())?;
            self.keep(node, &left[along], why);
            left[along] = None;
        }
        Ok(vec![left])
    }
}

impl Followed {
    fn has_channels(&self) -> bool {
        self.axes.iter().any(Option::is_some)
    }
}

/// Several axes become one: the channels of `tracked` repeat along it.
fn merged(x: &Followed, from: &[usize], tracked: usize) -> Axis {
    let extent = |axis: usize| x.shape[axis].extent();
    let slots = x.axes[tracked].as_ref()?;
    let mut inner = 1;
    let mut volume = 1;
    for &axis in from.iter().rev() {
        volume *= extent(axis)?;
        if axis > tracked {
            inner *= extent(axis)?;
        }
    }
    Some(
        (0..volume)
            .map(|index| slots[index / inner % slots.len()])
            .collect(),
    )
}
