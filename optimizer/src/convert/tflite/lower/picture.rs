//! Pictures, and rows, which kernels take as pictures of one line.

use super::{Lowering, Step};
use crate::convert::tflite::axes::CHANNELS_LAST;
use crate::convert::tflite::program::{Quantization, TensorId};
use crate::convert::tflite::schema::{Code, Options};
use crate::error::Error;
use crate::proto::NodeProto;

/// Rows, `[N, C, W]` in ONNX, as they lie so that they are pictures at once: `[N, W, C]`.
const ROW: [usize; 3] = [0, 2, 1];

impl Lowering<'_> {
    /// The tensor of a step's first input, which is a picture, `[N, H, W, C]`, or a row.
    pub(super) fn picture(&mut self, step: &Step) -> Result<TensorId, Error> {
        let input = self.input(step, 0)?;
        match *self.shape(&input)? {
            [batch, channels, width] => {
                let row = self.read(&input, &ROW)?;
                let picture = self.between(row, "picture", vec![batch, 1, width, channels]);
                self.push_reshape(row, picture);
                Ok(picture)
            }
            [_, _, _, _] => self.read(&input, &CHANNELS_LAST),
            _ => Err(only_pictures(self.graph.node(step.id))),
        }
    }

    /// Height and width of a value that is a picture or a row.
    pub(super) fn plane(&self, node: &NodeProto, value: &str) -> Result<[usize; 2], Error> {
        match *self.shape(value)? {
            [_, _, width] => Ok([1, width]),
            [_, _, height, width] => Ok([height, width]),
            _ => Err(only_pictures(node)),
        }
    }

    /// Adds the kernel's call that makes the first output of the step, a picture or a row.
    pub(super) fn emit_picture(
        &mut self,
        step: &Step,
        code: Code,
        inputs: Vec<TensorId>,
        options: Options,
    ) -> Result<(), Error> {
        let (picture, output) = self.place_picture(step)?;
        self.push(code, inputs, picture, options);
        self.settle_picture(picture, output);
        self.done(step, code);
        Ok(())
    }

    /// The same for a kernel whose result can only have the quantization `given`.
    pub(super) fn emit_picture_as(
        &mut self,
        step: &Step,
        code: Code,
        inputs: Vec<TensorId>,
        options: Options,
        given: Option<Quantization>,
    ) -> Result<(), Error> {
        let (picture, output) = self.place_picture(step)?;
        let made = self.before(picture, given);
        self.push(code, inputs, made, options);
        self.settle(made, picture);
        self.settle_picture(picture, output);
        self.done(step, code);
        Ok(())
    }

    /// The picture that a kernel makes of a step's first output, and the tensor of that: itself, unless it is a row.
    pub(super) fn place_picture(&mut self, step: &Step) -> Result<(TensorId, TensorId), Error> {
        let name = &step.outputs[0];
        let [batch, channels, width] = *self.shape(name)? else {
            let output = self.place(name, &CHANNELS_LAST)?;
            return Ok((output, output));
        };
        let output = self.place(name, &ROW)?;
        let picture = self.between(output, "picture", vec![batch, 1, width, channels]);
        Ok((picture, output))
    }

    /// Makes a row of what [`Self::place_picture`] gave.
    pub(super) fn settle_picture(&mut self, picture: TensorId, output: TensorId) {
        if picture != output {
            self.push_reshape(picture, output);
        }
    }
}

pub(super) fn only_pictures(node: &NodeProto) -> Error {
    Error::node(
        node,
        "only pictures, of four axes, and rows, of three, are converted; give the model an axis of extent 1",
    )
}

/// A list of two numbers of at least 1, or of one for a row.
pub(super) fn pair(node: &NodeProto, name: &str) -> Result<Option<[usize; 2]>, Error> {
    let Some(values) = node.ints(name).filter(|values| !values.is_empty()) else {
        return Ok(None);
    };
    match *values {
        [width] if width > 0 => Ok(Some([1, width as usize])),
        [height, width] if height > 0 && width > 0 => Ok(Some([height as usize, width as usize])),
        _ => Err(Error::node(
            node,
            format!("`{name}` is not two numbers of at least 1"),
        )),
    }
}
