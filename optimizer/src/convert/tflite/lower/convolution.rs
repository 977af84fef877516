//! Convolutions.

use super::picture::{only_pictures, pair};
use super::{Lowering, Step};
use crate::convert::tflite::padding::{Window, Windows};
use crate::convert::tflite::program::TensorId;
use crate::convert::tflite::schema::{Code, Options, Padding};
use crate::error::Error;
use crate::graph::NodeId;

/// Weights `[O, I, H, W]` as `CONV_2D` takes them, `[O, H, W, I]`.
const OHWI: [usize; 4] = [0, 2, 3, 1];
/// Weights `[O, 1, H, W]` as `DEPTHWISE_CONV_2D` takes them, `[1, H, W, O]`.
const IHWO: [usize; 4] = [1, 2, 3, 0];

impl Lowering<'_> {
    /// `Conv` in one or two dimensions.
    pub(super) fn convolution(&mut self, step: &Step) -> Result<(), Error> {
        let node = self.graph.node(step.id);
        let weights = self.weight_shape(step.id)?;
        let (outputs, inputs, kernel) = match *weights.as_slice() {
            [outputs, inputs, width] => (outputs, inputs, [1, width]),
            [outputs, inputs, height, width] => (outputs, inputs, [height, width]),
            _ => return Err(only_pictures(node)),
        };
        if step.integer && !self.has_integer_weights(step.id) {
            return self.convolution(&self.in_float(step, "its weights are not symmetric 8-bit constants"));
        }
        let group = usize::try_from(node.int("group").unwrap_or(1)).unwrap_or(1);
        let windows = self.windows(step.id, kernel)?;
        let (picture, padding) = self.padded(step, &windows)?;
        let activation = step.activation;
        let (strides, dilations) = (windows.strides(), windows.dilations());
        let is_depthwise = inputs == 1 && group > 1;
        let order = if is_depthwise { IHWO } else { OHWI };
        let weights = self.weights(step, &order)?;
        let bias = self.bias(step, weights, outputs)?;
        let call = vec![picture, weights, bias];
        if is_depthwise {
            let options = Options::DepthwiseConv2d {
                padding,
                strides,
                dilations,
                multiplier: (outputs / group) as i32,
                activation,
            };
            return self.emit_picture(step, Code::DepthwiseConv2d, call, options);
        }
        let options = Options::Conv2d {
            padding,
            strides,
            dilations,
            activation,
        };
        self.emit_picture(step, Code::Conv2d, call, options)
    }

    /// `ConvTranspose` in one or two dimensions.
    pub(super) fn transposed_convolution(&mut self, step: &Step) -> Result<(), Error> {
        let node = self.graph.node(step.id);
        let weights = self.weight_shape(step.id)?;
        let (outputs, kernel) = match *weights.as_slice() {
            [_, outputs, width] => (outputs, [1, width]),
            [_, outputs, height, width] => (outputs, [height, width]),
            _ => return Err(only_pictures(node)),
        };
        if node.int("group").unwrap_or(1) != 1 || pair(node, "dilations")?.is_some_and(|by| by != [1, 1]) {
            return Err(Error::node(
                node,
                "TFLite has no grouped or dilated transposed convolution; replace it by a Resize and a Conv",
            ));
        }
        if node.ints("output_shape").is_some() {
            return Err(Error::node(
                node,
                "its pads follow from `output_shape`; export it with `pads` and `output_padding`",
            ));
        }
        if step.integer && !self.has_integer_weights(step.id) {
            return self.transposed_convolution(
                &self.in_float(step, "its weights are not symmetric 8-bit constants"),
            );
        }
        // Read backwards it is a convolution, of which the result is the input.
        let (from, to) = (
            self.plane(node, &node.input[0])?,
            self.plane(node, &node.output[0])?,
        );
        let strides = pair(node, "strides")?.unwrap_or([1, 1]);
        let before = self.begins(step.id)?;
        let window = |axis: usize| Window {
            input: to[axis],
            output: from[axis],
            kernel: kernel[axis],
            stride: strides[axis],
            dilation: 1,
            before: before[axis],
        };
        let windows = Windows([window(0), window(1)]);
        let whole = [0, 1].map(|axis| (from[axis] - 1) * strides[axis] + kernel[axis]);
        // What TFLite cuts off by a word follows from the extents; anything else is cut behind it, off the whole, which
        // the kernel makes longer by what its input does not reach.
        let (padding, made) = if windows.padding() == Some(Padding::Same) {
            (Padding::Same, to)
        } else {
            (
                Padding::Valid,
                [0, 1].map(|axis| whole[axis].max(before[axis] + to[axis])),
            )
        };
        if (0..2).any(|axis| made[axis] >= whole[axis] + strides[axis] && padding == Padding::Valid) {
            return Err(Error::node(
                node,
                "its `output_padding` is not less than its strides, which TFLite does not take; export it with less",
            ));
        }
        let picture = self.picture(step)?;
        let weights = self.weights(step, &[1, 2, 3, 0])?;
        let batch = self.shape(&node.output[0])?[0];
        let extents = |[height, width]: [usize; 2]| [batch, height, width, outputs];
        let numbers = extents(made).map(|extent| extent as i32);
        let mut call = vec![self.program.ints(&numbers), weights, picture];
        if node.input_name(2).is_some() {
            call.push(self.bias(step, weights, outputs)?);
        }
        let options = Options::TransposeConv {
            padding,
            strides: windows.strides(),
        };
        if made == to {
            return self.emit_picture(step, Code::TransposeConv, call, options);
        }
        let (picture, output) = self.place_picture(step)?;
        let uncut = self.between(picture, "uncut", extents(made).to_vec());
        self.push(Code::TransposeConv, call, uncut, options);
        let begins = self.program.ints(&[0, before[0] as i32, before[1] as i32, 0]);
        let sizes = self.program.ints(&extents(to).map(|extent| extent as i32));
        self.push(Code::Slice, vec![uncut, begins, sizes], picture, Options::None);
        self.settle_picture(picture, output);
        self.done(step, Code::TransposeConv);
        Ok(())
    }

    /// The windows of a convolution or pooling with this kernel.
    pub(super) fn windows(&self, id: NodeId, kernel: [usize; 2]) -> Result<Windows, Error> {
        let node = self.graph.node(id);
        let (from, to) = (
            self.plane(node, &node.input[0])?,
            self.plane(node, &node.output[0])?,
        );
        let strides = pair(node, "strides")?.unwrap_or([1, 1]);
        let dilations = pair(node, "dilations")?.unwrap_or([1, 1]);
        let before = self.begins(id)?;
        let window = |axis: usize| Window {
            input: from[axis],
            output: to[axis],
            kernel: kernel[axis],
            stride: strides[axis],
            dilation: dilations[axis],
            before: before[axis],
        };
        Ok(Windows([window(0), window(1)]))
    }

    /// What ONNX adds before each axis of the picture.
    fn begins(&self, id: NodeId) -> Result<[usize; 2], Error> {
        let node = self.graph.node(id);
        if node
            .text("auto_pad")
            .is_some_and(|word| !matches!(word, "NOTSET" | "VALID"))
        {
            return Err(Error::node(
                node,
                "its pads could not be written out; export it with `pads`",
            ));
        }
        let pads = node.ints("pads").unwrap_or(&[0; 4]);
        let extents: Option<Vec<usize>> = pads.iter().map(|&pad| usize::try_from(pad).ok()).collect();
        match extents.as_deref() {
            Some(&[left, _]) => Ok([0, left]),
            Some(&[top, left, _, _]) => Ok([top, left]),
            _ => Err(Error::node(node, "its pads are not four numbers of at least 0")),
        }
    }

    /// The picture that a step reads, with zeros around it where TFLite has no word for the pads.
    pub(super) fn padded(&mut self, step: &Step, windows: &Windows) -> Result<(TensorId, Padding), Error> {
        let picture = self.picture(step)?;
        match windows.padding() {
            Some(padding) => Ok((picture, padding)),
            None => Ok((self.push_pad(picture, windows, None), Padding::Valid)),
        }
    }

    /// Adds a call that puts `value`, or zeros, around a picture.
    pub(super) fn push_pad(
        &mut self,
        picture: TensorId,
        windows: &Windows,
        value: Option<TensorId>,
    ) -> TensorId {
        let pads = windows.pads();
        let shape = &self.program.tensor(picture).shape;
        let shape = shape
            .iter()
            .zip(pads)
            .map(|(extent, [before, after])| before + extent + after);
        let shape = shape.collect();
        let output = self.between(picture, "padded", shape);
        let numbers: Vec<i32> = pads.iter().flatten().map(|&pad| pad as i32).collect();
        let shape = [pads.len(), 2];
        let data = numbers.into_iter().flat_map(i32::to_le_bytes).collect();
        let amounts =
            self.program
                .constant("pads", crate::convert::tflite::schema::Kind::Int32, &shape, data);
        let mut call = vec![picture, amounts];
        let code = if value.is_some() { Code::PadV2 } else { Code::Pad };
        call.extend(value);
        self.push(code, call, output, Options::None);
        output
    }
}
