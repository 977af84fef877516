//! Comparisons, what is made of their results, and what is chosen by them.

use super::{Lowering, Step, unsupported};
use crate::convert::tflite::schema::{Code, Options};
use crate::error::Error;
use crate::proto::DataType;

impl Lowering<'_> {
    /// An operator that makes truth values of two values, or of one.
    pub(super) fn logical(&mut self, step: &Step) -> Result<(), Error> {
        let node = self.graph.node(step.id);
        let (code, takes_floats) = match node.op_type() {
            "Greater" => (Code::Greater, true),
            "GreaterOrEqual" => (Code::GreaterEqual, true),
            "Less" => (Code::Less, true),
            "LessOrEqual" => (Code::LessEqual, true),
            "Equal" => (Code::Equal, true),
            "And" => (Code::LogicalAnd, false),
            "Or" => (Code::LogicalOr, false),
            "Not" => (Code::LogicalNot, false),
            _ => return Err(unsupported(node)),
        };
        for name in &node.input {
            self.check_operand(step, name, takes_floats)?;
        }
        let layout = self.common_axes(step)?;
        let operands = (0..node.input.len()).map(|index| self.spread(step, index, &layout));
        let call = operands.collect::<Result<_, _>>()?;
        self.emit(step, &layout, code, call, Options::None)
    }

    /// `Where`.
    pub(super) fn choose(&mut self, step: &Step) -> Result<(), Error> {
        let node = self.graph.node(step.id);
        for (index, name) in node.input.iter().enumerate() {
            self.check_operand(step, name, index > 0)?;
        }
        let layout = self.common_axes(step)?;
        let call = vec![
            self.spread(step, 0, &layout)?,
            self.spread(step, 1, &layout)?,
            self.spread(step, 2, &layout)?,
        ];
        self.emit(step, &layout, Code::SelectV2, call, Options::None)
    }

    /// `Cast` of truth values or indices to floats. A quantized tensor's bytes are other numbers here than in ONNX.
    pub(super) fn cast(&mut self, step: &Step) -> Result<(), Error> {
        let node = self.graph.node(step.id);
        let from = self.values.get(&node.input[0]).map(|value| value.data_type);
        if !matches!(from, Some(DataType::Bool | DataType::Int64)) {
            let reason = "it casts neither truth values nor indices; cut it off the model";
            return Err(Error::node(node, reason));
        }
        let (value, layout) = self.first(step)?;
        self.emit(step, &layout, Code::Cast, vec![value], Options::None)
    }

    /// Refuses an operand of another type than the kernel's, and constant truth values.
    fn check_operand(&self, step: &Step, name: &str, is_float: bool) -> Result<(), Error> {
        let found = self.values.get(name).map(|value| value.data_type);
        let fits = match found {
            Some(DataType::Bool) => !is_float && self.graph.initializer(name).is_none(),
            Some(kind) => is_float && kind.is_float() && kind != DataType::Double,
            None => false,
        };
        if fits {
            return Ok(());
        }
        let wanted = if is_float {
            "floats"
        } else {
            "computed truth values"
        };
        let reason = format!(
            "it takes `{name}`, and of its operands only {wanted} are converted; cut it off the model"
        );
        Err(Error::node(self.graph.node(step.id), reason))
    }
}
