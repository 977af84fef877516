//! Operators that compute element by element.

use super::{Lowering, Step, activation_of, limits, unsupported};
use crate::convert::tflite::axes::{CHANNELS_LAST, arranged, place, plain, same_order};
use crate::convert::tflite::program::{Quantization, TensorId};
use crate::convert::tflite::schema::{Activation, Code, Options};
use crate::error::Error;
use crate::graph::NodeId;
use crate::proto::TensorProto;

impl Lowering<'_> {
    /// An operator on two values or constants, which are repeated along axes that they lack.
    pub(super) fn binary(&mut self, step: &Step) -> Result<(), Error> {
        let node = self.graph.node(step.id);
        let (code, options) = match node.op_type() {
            "Add" => (Code::Add, Options::Add(step.activation)),
            "Sub" => (Code::Sub, Options::Sub(step.activation)),
            "Mul" => (Code::Mul, Options::Mul(step.activation)),
            "Div" => (Code::Div, Options::Div(step.activation)),
            _ => (Code::Pow, Options::None),
        };
        if step.integer && self.has_channel_scales(step.id) {
            return self.binary(&self.in_float(step, "a constant has a scale for each channel"));
        }
        let layout = self.common_axes(step)?;
        let a = self.spread(step, 0, &layout)?;
        let b = self.spread(step, 1, &layout)?;
        self.emit(step, &layout, code, vec![a, b], options)
    }

    fn has_channel_scales(&self, id: NodeId) -> bool {
        let scales = |name: &String| {
            let (_, pair) = self.stored(name)?;
            Some(self.graph.constant_input(pair, 1)?.count().ok()? > 1)
        };
        self.graph
            .node(id)
            .input
            .iter()
            .filter_map(scales)
            .any(|several| several)
    }

    /// An operator on any number of values, two by two.
    pub(super) fn fold(&mut self, step: &Step) -> Result<(), Error> {
        let node = self.graph.node(step.id);
        let count = node.input.len();
        if count < 2 {
            return Err(Error::node(node, "it has one operand; remove it"));
        }
        let (code, options) = match node.op_type() {
            "Min" => (Code::Minimum, Options::None),
            "Max" => (Code::Maximum, Options::None),
            _ => (Code::Add, Options::Add(Activation::None)),
        };
        let last = if code == Code::Add {
            Options::Add(step.activation)
        } else {
            Options::None
        };
        let layout = self.common_axes(step)?;
        let shape = arranged(&self.shape(&node.output[0])?, &layout);
        let mut result = self.spread(step, 0, &layout)?;
        for index in 1..count - 1 {
            let operand = self.spread(step, index, &layout)?;
            let part = self.between(result, "part", shape.clone());
            self.push(code, vec![result, operand], part, options.clone());
            result = part;
        }
        let operand = self.spread(step, count - 1, &layout)?;
        self.emit(step, &layout, code, vec![result, operand], last)
    }

    /// How the operands of a node shall lie: as one of them does already, and rather as pictures do.
    pub(super) fn common_axes(&mut self, step: &Step) -> Result<Vec<usize>, Error> {
        let node = self.graph.node(step.id);
        let rank = self.shape(&node.output[0])?.len();
        let mut best = None;
        for name in node.input.iter().filter(|name| !name.is_empty()) {
            let is_constant = |name: &str| self.graph.initializer(name).is_some();
            if is_constant(name)
                || self
                    .stored(name)
                    .is_some_and(|(integers, _)| is_constant(integers))
            {
                continue;
            }
            let layout = self.axes(name)?;
            if layout.len() == rank && best.as_ref().is_none_or(|_| layout == CHANNELS_LAST) {
                best = Some(layout);
            }
        }
        Ok(best.unwrap_or_else(|| plain(rank)))
    }

    /// Operand `index` of a step, with leading axes of extent 1 where it has fewer axes than the result.
    pub(super) fn spread(&mut self, step: &Step, index: usize, layout: &[usize]) -> Result<TensorId, Error> {
        let node = self.graph.node(step.id);
        let name = self.input(step, index)?;
        let pair = self
            .stored(&node.input[index])
            .map(|(_, pair)| pair)
            .filter(|_| step.integer);
        let own = self.shape(&name)?;
        let missing = layout.len().saturating_sub(own.len());
        if missing == 0 {
            return self.operand(&name, pair, layout);
        }
        let extended: Vec<usize> = std::iter::repeat_n(1, missing)
            .chain(own.iter().copied())
            .collect();
        if let Some(constant) = self.graph.initializer(&name) {
            let mut constant: TensorProto = constant.clone();
            constant.dims = extended.iter().map(|&extent| extent as i64).collect();
            return match pair {
                Some(pair) => self.constant_integers(&constant, pair, layout),
                None => self.floats(&constant, layout),
            };
        }
        let tensor = self.read(&name, &plain(own.len()))?;
        if layout == plain(layout.len()) {
            return Ok(tensor);
        }
        if same_order(&extended, &plain(layout.len()), layout) {
            let output = self.between(tensor, "spread", arranged(&extended, layout));
            self.push_reshape(tensor, output);
            return Ok(output);
        }
        let whole = self.between(tensor, "spread", extended.clone());
        self.push_reshape(tensor, whole);
        let output = self.between(tensor, "transposed", arranged(&extended, layout));
        let order: Vec<i32> = layout.iter().map(|&axis| axis as i32).collect();
        let order = self.program.ints(&order);
        self.push(Code::Transpose, vec![whole, order], output, Options::None);
        Ok(output)
    }

    /// An operator on one value, with a kernel of its own.
    pub(super) fn unary(&mut self, step: &Step) -> Result<(), Error> {
        let node = self.graph.node(step.id);
        let alpha = node.float("alpha");
        let (code, options) = match node.op_type() {
            "Relu" => (Code::Relu, Options::None),
            "HardSwish" => (Code::HardSwish, Options::None),
            "Sigmoid" => (Code::Logistic, Options::None),
            "Tanh" => (Code::Tanh, Options::None),
            "Exp" => (Code::Exp, Options::None),
            "Log" => (Code::Log, Options::None),
            "Sqrt" => (Code::Sqrt, Options::None),
            "Neg" => (Code::Neg, Options::None),
            "Abs" => (Code::Abs, Options::None),
            "Floor" => (Code::Floor, Options::None),
            "Ceil" => (Code::Ceil, Options::None),
            "Round" => (Code::Round, Options::None),
            "Sin" => (Code::Sin, Options::None),
            "Cos" => (Code::Cos, Options::None),
            "Sign" => (Code::Sign, Options::None),
            "Elu" if alpha.is_none_or(|alpha| (alpha - 1.0).abs() < f32::EPSILON) => {
                (Code::Elu, Options::None)
            }
            "LeakyRelu" => {
                let alpha = alpha.unwrap_or(0.01);
                (Code::LeakyRelu, Options::LeakyRelu { alpha })
            }
            "Gelu" => {
                let approximate = node.text("approximate") == Some("tanh");
                (Code::Gelu, Options::Gelu { approximate })
            }
            _ => return Err(unsupported(node)),
        };
        let given = match code {
            // The kernels' tables give these and nothing else.
            Code::Logistic => Some(Quantization::of(1.0 / 256.0, -128)),
            Code::Tanh => Some(Quantization::of(1.0 / 128.0, 0)),
            _ => None,
        };
        if given.is_some() && self.is_small_and_not(step, given.as_ref())? {
            return self.unary(&self.in_float(step, "the kernel in integers rounds to another scale"));
        }
        let (input, layout) = self.first(step)?;
        match given {
            Some(_) => self.emit_as(step, &layout, code, vec![input], options, given),
            None => self.emit(step, &layout, code, vec![input], options),
        }
    }

    /// Whether an integer step makes few numbers, of another scale than this: to round them twice costs more answers
    /// than floats cost time.
    fn is_small_and_not(&self, step: &Step, given: Option<&Quantization>) -> Result<bool, Error> {
        const FEW: usize = 4096;
        if !step.integer {
            return Ok(false);
        }
        let (_, wanted) = self.kind(&step.outputs[0])?;
        let count: usize = self.shape(&step.outputs[0])?.iter().product();
        Ok(count <= FEW && wanted.as_ref() != given)
    }

    /// `Clip` with constant limits.
    pub(super) fn clip(&mut self, step: &Step) -> Result<(), Error> {
        let node = self.graph.node(step.id);
        let (low, high) = limits(self.graph, step.id)
            .ok_or_else(|| Error::node(node, "its limits are computed, and TFLite takes constants"))?;
        let code = activation_of(self.graph, step.id).map(|activation| match activation {
            Activation::ReluN1To1 => Code::ReluN1To1,
            Activation::Relu6 => Code::Relu6,
            _ => Code::Relu,
        });
        if step.integer && code.is_none_or(|code| code == Code::ReluN1To1) {
            return self.clip(&self.in_float(step, "TFLite has no integer kernel for its limits"));
        }
        let (mut value, layout) = self.first(step)?;
        if let Some(code) = code {
            return self.emit(step, &layout, code, vec![value], Options::None);
        }
        let low = self.program.floats("low", &[], &[low]);
        let raised = self.between(value, "raised", self.program.tensor(value).shape.clone());
        self.push(Code::Maximum, vec![value, low], raised, Options::None);
        value = raised;
        let high = self.program.floats("high", &[], &[high]);
        self.emit(step, &layout, Code::Minimum, vec![value, high], Options::None)
    }

    /// `HardSigmoid`, `min(max(alpha * x + beta, 0), 1)`, in sixths: `Relu6` comes with an addition.
    pub(super) fn hard_sigmoid(&mut self, step: &Step) -> Result<(), Error> {
        let node = self.graph.node(step.id);
        let slope = 6.0 * node.float("alpha").unwrap_or(0.2);
        let offset = 6.0 * node.float("beta").unwrap_or(0.5);
        let (mut value, layout) = self.first(step)?;
        let shape = self.program.tensor(value).shape.clone();
        if (slope - 1.0).abs() > 1e-6 {
            let factor = self.program.floats("slope", &[], &[slope]);
            let scaled = self.between(value, "scaled", shape.clone());
            self.push(
                Code::Mul,
                vec![value, factor],
                scaled,
                Options::Mul(Activation::None),
            );
            value = scaled;
        }
        let addend = self.program.floats("offset", &[], &[offset]);
        let sixths = self.between(value, "sixths", shape);
        self.push(
            Code::Add,
            vec![value, addend],
            sixths,
            Options::Add(Activation::Relu6),
        );
        let sixth = self.program.floats("sixth", &[], &[1.0 / 6.0]);
        let options = Options::Mul(Activation::None);
        self.emit(step, &layout, Code::Mul, vec![sixths, sixth], options)
    }

    /// `PRelu` with a constant slope.
    pub(super) fn prelu(&mut self, step: &Step) -> Result<(), Error> {
        let layout = self.common_axes(step)?;
        let value = self.spread(step, 0, &layout)?;
        let slope = self.spread(step, 1, &layout)?;
        self.emit(step, &layout, Code::Prelu, vec![value, slope], Options::None)
    }

    /// `Reciprocal`, `1 / x`.
    pub(super) fn reciprocal(&mut self, step: &Step) -> Result<(), Error> {
        let layout = self.common_axes(step)?;
        let value = self.spread(step, 0, &layout)?;
        let one = self.program.floats("one", &[], &[1.0]);
        let options = Options::Div(Activation::None);
        self.emit(step, &layout, Code::Div, vec![one, value], options)
    }

    /// A normalization that no layer before it could take: a product and a sum with constants.
    pub(super) fn batch_normalization(&mut self, step: &Step) -> Result<(), Error> {
        let node = self.graph.node(step.id);
        if node.int("training_mode").unwrap_or(0) != 0 {
            return Err(Error::node(
                node,
                "it is in training mode; export it for inference",
            ));
        }
        let epsilon = node.float("epsilon").unwrap_or(1e-5);
        let parameter = |index: usize| -> Result<Vec<f32>, Error> {
            let constant = self.graph.constant_input(step.id, index);
            let constant = constant
                .ok_or_else(|| Error::node(node, "its parameters are computed; export it for inference"))?;
            constant.floats()
        };
        let (scale, bias, mean, variance) = (parameter(1)?, parameter(2)?, parameter(3)?, parameter(4)?);
        let channels = scale.len();
        if [&bias, &mean, &variance]
            .iter()
            .any(|list| list.len() != channels)
        {
            return Err(Error::node(node, "its parameters differ in number"));
        }
        let factors = scale
            .iter()
            .zip(&variance)
            .map(|(scale, variance)| scale / (variance + epsilon).sqrt());
        let factors: Vec<f32> = factors.collect();
        let addends = (0..channels).map(|index| bias[index] - mean[index] * factors[index]);
        let addends: Vec<f32> = addends.collect();
        let input = self.input(step, 0)?;
        let layout = self.axes(&input)?;
        if layout.len() < 2 {
            return Err(Error::node(node, "its input has no channels"));
        }
        let value = self.read(&input, &layout)?;
        let mut extents = vec![1; layout.len()];
        extents[place(&layout, 1)] = channels;
        let factors = self.program.floats("factors", &extents, &factors);
        let addends = self.program.floats("addends", &extents, &addends);
        let scaled = self.between(value, "scaled", self.program.tensor(value).shape.clone());
        self.push(
            Code::Mul,
            vec![value, factors],
            scaled,
            Options::Mul(Activation::None),
        );
        self.emit(
            step,
            &layout,
            Code::Add,
            vec![scaled, addends],
            Options::Add(step.activation),
        )
    }

    /// `Softmax` and its logarithm, for which TFLite wants the axis to be the last.
    pub(super) fn softmax(&mut self, step: &Step) -> Result<(), Error> {
        let node = self.graph.node(step.id);
        let input = self.input(step, 0)?;
        let mut layout = self.axes(&input)?;
        let axis = self.axis(step.id, node.int("axis").unwrap_or(-1), layout.len())?;
        layout.retain(|&other| other != axis);
        layout.push(axis);
        let value = self.read(&input, &layout)?;
        if node.is("LogSoftmax") {
            return self.emit(step, &layout, Code::LogSoftmax, vec![value], Options::None);
        }
        let given = Some(Quantization::of(1.0 / 256.0, -128));
        self.emit_as(step, &layout, Code::Softmax, vec![value], Options::Softmax, given)
    }

    /// An axis of a value of that rank, counted from the front.
    pub(super) fn axis(&self, id: NodeId, axis: i64, rank: usize) -> Result<usize, Error> {
        let from_front = if axis < 0 { axis + rank as i64 } else { axis };
        let found = usize::try_from(from_front).ok().filter(|&axis| axis < rank);
        found.ok_or_else(|| Error::node(self.graph.node(id), format!("axis {axis} does not exist")))
    }
}
