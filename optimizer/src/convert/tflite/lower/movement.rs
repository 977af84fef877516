//! Operators that move elements and do not compute on them.

use super::reduction::without;
use super::{Lowering, Step};
use crate::convert::tflite::axes::{CHANNELS_LAST, Reshape, arranged, place, plain, same_order, transposed};
use crate::convert::tflite::program::{Operator, TensorId};
use crate::convert::tflite::schema::{Code, Kind, Options};
use crate::error::Error;

impl Lowering<'_> {
    /// `Reshape` and its special cases.
    pub(super) fn reshape(&mut self, step: &Step) -> Result<(), Error> {
        let node = self.graph.node(step.id);
        let input = self.input(step, 0)?;
        let (from, to) = (self.shape(&node.input[0])?, self.shape(&node.output[0])?);
        let natural = self.axes(&input)?;
        let (before, mut after) = Reshape::between(&from, &to).nearest(&from, &natural);
        let before = if same_order(&from, &natural, &before) {
            natural
        } else {
            before
        };
        if after.len() == CHANNELS_LAST.len() && same_order(&to, &after, &CHANNELS_LAST) {
            after = CHANNELS_LAST.to_vec();
        }
        let value = self.read(&input, &before)?;
        let target: Vec<i32> = arranged(&to, &after)
            .into_iter()
            .map(|extent| extent as i32)
            .collect();
        let call = vec![value, self.program.ints(&target)];
        let given = self.quantization(value);
        self.emit_as(step, &after, Code::Reshape, call, Options::Reshape(target), given)
    }

    /// `Transpose`, for which the tensor stays and its axes get other names.
    pub(super) fn transpose(&mut self, step: &Step) -> Result<(), Error> {
        let node = self.graph.node(step.id);
        let input = self.input(step, 0)?;
        let layout = self.axes(&input)?;
        let order: Vec<usize> = match node.ints("perm") {
            Some(order) => {
                let order = order.iter().map(|&axis| self.axis(step.id, axis, layout.len()));
                order.collect::<Result<_, _>>()?
            }
            None => (0..layout.len()).rev().collect(),
        };
        let value = self.read(&input, &layout)?;
        let named = transposed(&layout, &order);
        if step.integer {
            let output = self.place(&step.outputs[0], &named)?;
            if self.quantization(output) == self.quantization(value) {
                self.forget(&step.outputs[0]);
                self.hold(&step.outputs[0], value, &named);
            } else {
                self.push(Code::Quantize, vec![value], output, Options::None);
            }
        } else {
            self.hold(&step.outputs[0], value, &named);
        }
        self.done(step, Code::Transpose);
        Ok(())
    }

    /// `Concat`; in integers all parts must have the scale of the whole.
    pub(super) fn concat(&mut self, step: &Step) -> Result<(), Error> {
        let node = self.graph.node(step.id);
        let layout = self.common_axes(step)?;
        let axis = self.axis(step.id, node.int("axis").unwrap_or(0), layout.len())?;
        let output = self.place(&step.outputs[0], &layout)?;
        let whole = self.quantization(output);
        let mut parts = Vec::with_capacity(node.input.len());
        for index in 0..node.input.len() {
            let part = self.spread(step, index, &layout)?;
            parts.push(if self.quantization(part) == whole {
                part
            } else {
                let shape = self.program.tensor(part).shape.clone();
                let scaled = self.between(output, "part", shape);
                self.push(Code::Quantize, vec![part], scaled, Options::None);
                scaled
            });
        }
        let axis = place(&layout, axis) as i32;
        self.push(
            Code::Concatenation,
            parts,
            output,
            Options::Concatenation { axis },
        );
        self.done(step, Code::Concatenation);
        Ok(())
    }

    /// `Split`.
    pub(super) fn split(&mut self, step: &Step) -> Result<(), Error> {
        let node = self.graph.node(step.id);
        let input = self.input(step, 0)?;
        let layout = self.axes(&input)?;
        let axis = self.axis(step.id, node.int("axis").unwrap_or(0), layout.len())?;
        if step.outputs.len() != node.output.len() {
            return Err(Error::node(
                node,
                "one of its results has no name; use a Slice for the others",
            ));
        }
        let value = self.read(&input, &layout)?;
        let mut sizes = Vec::with_capacity(step.outputs.len());
        for output in &node.output {
            sizes.push(self.shape(output)?[axis] as i32);
        }
        let parts = sizes.len() as i32;
        let sizes = self.program.ints(&sizes);
        let place = place(&layout, axis) as i32;
        let place = self
            .program
            .constant("axis", Kind::Int32, &[], place.to_le_bytes().to_vec());
        let given = self.quantization(value);
        let mut made = Vec::with_capacity(step.outputs.len());
        for output in &step.outputs {
            let output = self.place(output, &layout)?;
            made.push((self.before(output, given.clone()), output));
        }
        self.program.push(Operator {
            code: Code::SplitV,
            inputs: vec![value, sizes, place],
            outputs: made.iter().map(|(part, _)| *part).collect(),
            options: Options::SplitV { parts },
        });
        for (part, output) in made {
            self.settle(part, output);
        }
        self.done(step, Code::SplitV);
        Ok(())
    }

    /// `Slice` with constant bounds.
    pub(super) fn slice(&mut self, step: &Step) -> Result<(), Error> {
        let node = self.graph.node(step.id);
        let input = self.input(step, 0)?;
        let (from, to) = (self.shape(&node.input[0])?, self.shape(&node.output[0])?);
        let layout = self.axes(&input)?;
        let starts = self.numbers(step, 1)?;
        let along = match node.input_name(3) {
            Some(_) => self.numbers(step, 3)?,
            None => (0..starts.len() as i64).collect(),
        };
        let by = match node.input_name(4) {
            Some(_) => self.numbers(step, 4)?,
            None => vec![1; starts.len()],
        };
        let (mut begins, mut steps) = (vec![0_usize; from.len()], vec![1_usize; from.len()]);
        for ((&start, &axis), &by) in starts.iter().zip(&along).zip(&by) {
            let axis = self.axis(step.id, axis, from.len())?;
            let extent = from[axis] as i64;
            let start = if start < 0 {
                start.saturating_add(extent)
            } else {
                start
            };
            begins[axis] = start.clamp(0, extent) as usize;
            steps[axis] = usize::try_from(by).ok().filter(|&by| by > 0).ok_or_else(|| {
                Error::node(
                    node,
                    "it steps backwards, which is not converted; reverse the weights behind it",
                )
            })?;
        }
        let value = self.read(&input, &layout)?;
        let given = self.quantization(value);
        let numbers = |list: &[usize]| -> Vec<i32> {
            arranged(list, &layout)
                .into_iter()
                .map(|number| number as i32)
                .collect()
        };
        let begin = self.program.ints(&numbers(&begins));
        if steps.iter().all(|&by| by == 1) {
            let size = self.program.ints(&numbers(&to));
            let call = vec![value, begin, size];
            return self.emit_as(step, &layout, Code::Slice, call, Options::None, given);
        }
        let ends = (0..to.len()).map(|axis| begins[axis] + (to[axis] - 1) * steps[axis] + 1);
        let ends: Vec<usize> = ends.collect();
        let call = vec![
            value,
            begin,
            self.program.ints(&numbers(&ends)),
            self.program.ints(&numbers(&steps)),
        ];
        self.emit_as(
            step,
            &layout,
            Code::StridedSlice,
            call,
            Options::StridedSlice,
            given,
        )
    }

    /// `Pad` by constants: with a value, or by reflection.
    pub(super) fn pad(&mut self, step: &Step) -> Result<(), Error> {
        let node = self.graph.node(step.id);
        let mode = node.text("mode").unwrap_or("constant");
        if !matches!(mode, "constant" | "reflect") {
            let reason = format!("TFLite does not pad in mode `{mode}`; use `constant` or `reflect`");
            return Err(Error::node(node, reason));
        }
        let input = self.input(step, 0)?;
        let layout = self.axes(&input)?;
        let rank = layout.len();
        let pads = self.numbers(step, 1)?;
        let along: Vec<usize> = match node.input_name(3) {
            Some(_) => {
                let along = self.numbers(step, 3)?.into_iter();
                along
                    .map(|axis| self.axis(step.id, axis, rank))
                    .collect::<Result<_, _>>()?
            }
            None => plain(rank),
        };
        if pads.len() != 2 * along.len() || pads.iter().any(|&pad| i32::try_from(pad).is_err() || pad < 0) {
            return Err(Error::node(
                node,
                "its pads are not two numbers of at least 0 for each axis; use a Slice to cut",
            ));
        }
        let mut amounts = vec![[0_i32; 2]; rank];
        for (index, &axis) in along.iter().enumerate() {
            amounts[axis] = [pads[index] as i32, pads[index + along.len()] as i32];
        }
        let value = match self.graph.constant_input(step.id, 2) {
            Some(constant) => constant.floats()?.first().copied().unwrap_or(0.0),
            None if node.input_name(2).is_none() => 0.0,
            None => {
                return Err(Error::node(
                    node,
                    "what it fills with is computed, and TFLite takes a constant",
                ));
            }
        };
        let is_zero = mode != "constant" || value == 0.0;
        if step.integer && !is_zero {
            return self.pad(&self.in_float(step, "it fills with another value than zero"));
        }
        let picture = self.read(&input, &layout)?;
        let data = arranged(&amounts, &layout)
            .into_iter()
            .flatten()
            .flat_map(i32::to_le_bytes)
            .collect();
        let amounts = self.program.constant("pads", Kind::Int32, &[rank, 2], data);
        let given = self.quantization(picture);
        let mut call = vec![picture, amounts];
        if mode == "reflect" {
            return self.emit_as(step, &layout, Code::MirrorPad, call, Options::MirrorPad, given);
        }
        if is_zero {
            return self.emit_as(step, &layout, Code::Pad, call, Options::None, given);
        }
        call.push(self.program.floats("fill", &[1], &[value]));
        self.emit_as(step, &layout, Code::PadV2, call, Options::None, given)
    }

    /// `Gather` along an axis, with constant indices.
    pub(super) fn gather(&mut self, step: &Step) -> Result<(), Error> {
        let node = self.graph.node(step.id);
        let indices = self.numbers(step, 1)?;
        let index_shape = self.shape(&node.input[1])?;
        let input = self.input(step, 0)?;
        let from = self.shape(&node.input[0])?;
        let axis = self.axis(step.id, node.int("axis").unwrap_or(0), from.len())?;
        let natural = self.axes(&input)?;
        let (layout, after) = match index_shape.len() {
            0 => (natural.clone(), without(&natural, &[axis])),
            1 => (natural.clone(), natural),
            more => (plain(from.len()), plain(from.len() + more - 1)),
        };
        let extent = from[axis] as i64;
        let wrapped = indices
            .into_iter()
            .map(|index| if index < 0 { index + extent } else { index });
        let wrapped: Vec<i64> = wrapped.collect();
        if wrapped.iter().any(|index| !(0..extent).contains(index)) {
            return Err(Error::node(node, "an index lies outside of the axis"));
        }
        let data = wrapped
            .into_iter()
            .flat_map(|index| (index as i32).to_le_bytes())
            .collect();
        let indices = self.program.constant("indices", Kind::Int32, &index_shape, data);
        let value = self.read(&input, &layout)?;
        let given = self.quantization(value);
        let axis = place(&layout, axis) as i32;
        self.emit_as(
            step,
            &after,
            Code::Gather,
            vec![value, indices],
            Options::Gather { axis },
            given,
        )
    }

    /// `Expand`.
    pub(super) fn expand(&mut self, step: &Step) -> Result<(), Error> {
        let node = self.graph.node(step.id);
        let to = self.shape(&node.output[0])?;
        let input = self.input(step, 0)?;
        let natural = self.axes(&input)?;
        let layout = if natural.len() == to.len() {
            natural
        } else {
            plain(to.len())
        };
        let value = self.spread(step, 0, &layout)?;
        let target: Vec<i32> = arranged(&to, &layout)
            .into_iter()
            .map(|extent| extent as i32)
            .collect();
        let call = vec![value, self.program.ints(&target)];
        self.emit(step, &layout, Code::BroadcastTo, call, Options::None)
    }

    /// `Tile`.
    pub(super) fn tile(&mut self, step: &Step) -> Result<(), Error> {
        let input = self.input(step, 0)?;
        let layout = self.axes(&input)?;
        let repeats: Vec<i32> = self
            .numbers(step, 1)?
            .into_iter()
            .map(|count| count as i32)
            .collect();
        let value = self.read(&input, &layout)?;
        let call = vec![value, self.program.ints(&arranged(&repeats, &layout))];
        self.emit(step, &layout, Code::Tile, call, Options::None)
    }

    /// `DepthToSpace` and `SpaceToDepth`.
    pub(super) fn blocks(&mut self, step: &Step) -> Result<(), Error> {
        let node = self.graph.node(step.id);
        let block = node.int("blocksize").and_then(|block| i32::try_from(block).ok());
        let block = block.ok_or_else(|| Error::node(node, "`blocksize` is missing"))?;
        let (code, options) = if node.is("SpaceToDepth") {
            (Code::SpaceToDepth, Options::SpaceToDepth { block })
        } else {
            (Code::DepthToSpace, Options::DepthToSpace { block })
        };
        let mut value = self.picture(step)?;
        match node.text("mode").unwrap_or("DCR") {
            "DCR" => {}
            "CRD" => value = self.blocks_first(value, (block * block) as usize),
            other => {
                return Err(Error::node(
                    node,
                    format!("mode `{other}` is neither DCR nor CRD"),
                ));
            }
        }
        let given = self.quantization(value);
        self.emit_as(step, &CHANNELS_LAST, code, vec![value], options, given)
    }

    /// The channels of a picture, which are blocks of so many pixels, as as many pictures of their first pixels, of their
    /// second ones: TFLite's order.
    fn blocks_first(&mut self, picture: TensorId, pixels: usize) -> TensorId {
        let shape = self.program.tensor(picture).shape.clone();
        let (places, channels) = (shape[..3].iter().product(), shape[3] / pixels);
        let apart = self.between(picture, "apart", vec![places, channels, pixels]);
        self.push_reshape(picture, apart);
        let turned = self.between(picture, "turned", vec![places, pixels, channels]);
        let order = self.program.ints(&[0, 2, 1]);
        self.push(Code::Transpose, vec![apart, order], turned, Options::None);
        let reordered = self.between(picture, "reordered", shape);
        self.push_reshape(turned, reordered);
        reordered
    }

    /// Lets no tensor hold the value any more.
    fn forget(&mut self, value: &str) {
        self.placed.remove(value);
    }
}
