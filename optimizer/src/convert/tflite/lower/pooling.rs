//! Pooling.

use super::picture::pair;
use super::{Lowering, Step};
use crate::convert::tflite::padding::{Window, Windows};
use crate::convert::tflite::program::TensorId;
use crate::convert::tflite::schema::{Code, Kind, Options, Padding};
use crate::error::Error;

impl Lowering<'_> {
    /// `MaxPool`: what is added around the picture never is the largest.
    pub(super) fn max_pool(&mut self, step: &Step) -> Result<(), Error> {
        let node = self.graph.node(step.id);
        if step.outputs.len() > 1 {
            return Err(Error::node(
                node,
                "the indices of the maxima are used, which TFLite does not give",
            ));
        }
        let windows = self.pool_windows(step)?;
        let picture = self.picture(step)?;
        let (picture, padding) = if let Some(padding) = windows.padding() {
            (picture, padding)
        } else {
            let lowest = (!self.zero_is_lowest(picture)).then(|| self.lowest(picture));
            (self.push_pad(picture, &windows, lowest), Padding::Valid)
        };
        self.emit_pool(step, Code::MaxPool2d, picture, &windows, padding)
    }

    /// `AveragePool`. TFLite never counts what `SAME` adds.
    pub(super) fn average_pool(&mut self, step: &Step) -> Result<(), Error> {
        let node = self.graph.node(step.id);
        let windows = self.pool_windows(step)?;
        let counts_pads = node.int("count_include_pad").unwrap_or(0) != 0;
        let (picture, padding) = match windows.padding() {
            Some(Padding::Same) if !counts_pads => (self.picture(step)?, Padding::Same),
            Some(Padding::Valid) => self.padded(step, &windows)?,
            _ if counts_pads && self.pads_are_whole(step, &windows) => {
                let picture = self.picture(step)?;
                (self.push_pad(picture, &windows, None), Padding::Valid)
            }
            _ => {
                return Err(Error::node(
                    node,
                    "TFLite divides averages at the border by another count; export it with `count_include_pad` or without pads",
                ));
            }
        };
        self.emit_pool(step, Code::AveragePool2d, picture, &windows, padding)
    }

    /// Whether no window reaches beyond the pads that ONNX counts, as with `ceil_mode` some do.
    fn pads_are_whole(&self, step: &Step, windows: &Windows) -> bool {
        let pads = self.graph.node(step.id).ints("pads").unwrap_or(&[0; 4]);
        let ends = match *pads {
            [_, right] => [0, right],
            [_, _, bottom, right] => [bottom, right],
            _ => [0, 0],
        };
        windows
            .0
            .iter()
            .zip(ends)
            .all(|(window, end)| window.after() as i64 <= end)
    }

    /// `GlobalAveragePool` and `GlobalMaxPool`.
    pub(super) fn global_pool(&mut self, step: &Step) -> Result<(), Error> {
        let node = self.graph.node(step.id);
        let [height, width] = self.plane(node, &node.input[0])?;
        let picture = self.picture(step)?;
        if node.is("GlobalAveragePool") {
            let places = self.program.ints(&[1, 2]);
            let options = Options::Reducer { keep_axes: true };
            return self.emit_picture(step, Code::Mean, vec![picture, places], options);
        }
        let window = |extent| Window {
            input: extent,
            output: 1,
            kernel: extent,
            stride: 1,
            dilation: 1,
            before: 0,
        };
        let windows = Windows([window(height), window(width)]);
        self.emit_pool(step, Code::MaxPool2d, picture, &windows, Padding::Valid)
    }

    fn pool_windows(&self, step: &Step) -> Result<Windows, Error> {
        let node = self.graph.node(step.id);
        let kernel =
            pair(node, "kernel_shape")?.ok_or_else(|| Error::node(node, "`kernel_shape` is missing"))?;
        if pair(node, "dilations")?.is_some_and(|by| by != [1, 1]) {
            return Err(Error::node(
                node,
                "TFLite has no dilated pooling; export it without dilation",
            ));
        }
        self.windows(step.id, kernel)
    }

    fn emit_pool(
        &mut self,
        step: &Step,
        code: Code,
        picture: TensorId,
        windows: &Windows,
        padding: Padding,
    ) -> Result<(), Error> {
        let options = Options::Pool2d {
            padding,
            strides: windows.strides(),
            window: windows.kernels(),
            activation: step.activation,
        };
        let given = self.quantization(picture);
        self.emit_picture_as(step, code, vec![picture], options, given)
    }

    /// Whether nothing less than zero can be stored: XNNPACK adds zeros to integers, but no other number.
    fn zero_is_lowest(&self, tensor: TensorId) -> bool {
        let zero_points = self.quantization(tensor).map(|found| found.zero_points);
        zero_points == Some(vec![i64::from(i8::MIN)])
    }

    /// A constant that is less than all else a tensor can hold.
    fn lowest(&mut self, like: TensorId) -> TensorId {
        let found = self.program.tensor(like);
        match found.kind {
            Kind::Int8 => {
                let lowest = crate::convert::tflite::program::Tensor {
                    name: "lowest".to_owned(),
                    shape: vec![1],
                    data: Some(vec![i8::MIN.cast_unsigned()]),
                    ..found.clone()
                };
                self.program.add(lowest)
            }
            _ => self.program.floats("lowest", &[1], &[f32::MIN]),
        }
    }
}
