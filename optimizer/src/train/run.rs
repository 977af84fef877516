//! Running a program: forward, and on a tape also backward.

use burn_backend::tensor::FloatTensor;
use burn_backend::{Shape, TensorMetadata as _};

use super::differentiable;
use super::kernels::{Kernels, Statistics};
use super::operator::Operator;
use super::parameter::{Parameter, Role};
use super::program::{Constant, Operand, Program, Shapes, Step};
use super::tape::Tape;
use super::value::{Value, position, reversed};
use super::{elementwise, movement, reduction};
use crate::error::Error;

/// What a batch normalization saw.
pub(super) struct Seen<B: Kernels> {
    /// Its scale, shift, running mean and running variance.
    pub(super) parameters: [usize; 4],
    /// The part of the running statistics that stays at each step.
    pub(super) momentum: f32,
    /// Those of the batch.
    pub(super) statistics: Statistics<B>,
}

/// How batch normalizations work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// By their running statistics.
    Infer,
    /// By their running statistics, noting those of the batch.
    Observe,
    /// By the statistics of the batch.
    Train,
}

/// What a run gives.
pub(super) struct Outcome<B: Tape> {
    /// The answer, in the layout of the model.
    pub(super) answer: FloatTensor<B>,
    /// What all batch normalizations saw, unless the run only infers.
    pub(super) seen: Vec<Seen<B::Plain>>,
}

/// A program whose constants are on a device.
pub(super) struct Loaded<B: Kernels> {
    pub(super) program: Program,
    constants: Vec<FloatTensor<B>>,
    pub(super) device: B::Device,
}

impl<B: Kernels> Loaded<B> {
    pub(super) fn new(program: Program, device: &B::Device) -> Self {
        let upload = |constant: &Constant| B::upload(constant.values.clone(), constant.shape.clone(), device);
        Self {
            constants: program.constants.iter().map(upload).collect(),
            device: device.clone(),
            program,
        }
    }

    /// The parameters as they were read.
    pub(super) fn parameters(&self) -> Vec<FloatTensor<B>> {
        let read = self.program.parameters.iter().enumerate();
        read.map(|(index, parameter)| self.parameter(index, parameter.values.clone()))
            .collect()
    }

    /// A parameter with these elements.
    pub(super) fn parameter(&self, index: usize, values: Vec<f32>) -> FloatTensor<B> {
        let shape = self.program.parameters[index].shape.clone();
        B::upload(values, shape, &self.device)
    }
}

/// A program on its way through the steps.
pub(super) struct Run<'a, B: Tape> {
    program: &'a Program,
    constants: &'a [FloatTensor<B::Plain>],
    shapes: &'a Shapes,
    /// Parameters as they enter the steps: weights rounded to their grid.
    parameters: Vec<FloatTensor<B>>,
    values: Vec<Option<Value<B>>>,
    mode: Mode,
    seen: Vec<Seen<B::Plain>>,
}

impl<'a, B: Tape> Run<'a, B> {
    /// `parameters` are in the order of the program, `shapes` those of a batch like the one to come.
    pub(super) fn new(
        Loaded {
            program, constants, ..
        }: &'a Loaded<B::Plain>,
        shapes: &'a Shapes,
        parameters: &[FloatTensor<B>],
        mode: Mode,
    ) -> Self {
        let enter = |(parameter, leaf): (&Parameter, &FloatTensor<B>)| match &parameter.role {
            Role::Weights(stored) => differentiable::rounded::<B>(stored, leaf.clone()),
            _ => leaf.clone(),
        };
        let mut values = Vec::new();
        values.resize_with(program.value_count(), || None);
        Self {
            program,
            constants,
            shapes,
            parameters: program.parameters.iter().zip(parameters).map(enter).collect(),
            values,
            mode,
            seen: Vec::new(),
        }
    }

    /// Runs all steps.
    pub(super) fn run(mut self, inputs: Vec<FloatTensor<B::Plain>>) -> Outcome<B> {
        for (slot, input) in self.values.iter_mut().zip(inputs) {
            *slot = Some(Value::new(B::constant(input), false));
        }
        let program = self.program;
        for step in &program.steps {
            let made = self.step(step);
            self.values[step.output] = Some(made);
            for &value in &step.last {
                self.values[value] = None;
            }
        }
        let answer = self.values[program.answer]
            .take()
            .expect("a step made the answer");
        Outcome {
            answer: answer.plain(),
            seen: self.seen,
        }
    }

    fn operand(&self, operand: Operand) -> Value<B> {
        match operand {
            Operand::Value(index) => self.values[index].clone().expect("steps come in their order"),
            Operand::Parameter(index) => Value::new(self.parameters[index].clone(), false),
            Operand::Constant(index) => Value::new(B::constant(self.constants[index].clone()), false),
        }
    }

    fn input(&self, step: &Step, index: usize) -> Value<B> {
        let operand = step.inputs.get(index).copied().flatten();
        self.operand(operand.expect("a valid node has its inputs"))
    }

    fn inputs<'b>(&'b self, step: &'b Step) -> impl Iterator<Item = Value<B>> + use<'a, 'b, B> {
        (0..step.inputs.len()).map(|index| self.input(step, index))
    }

    fn optional(&self, step: &Step, index: usize) -> Option<FloatTensor<B>> {
        let operand = step.inputs.get(index).copied().flatten();
        operand.map(|operand| self.operand(operand).plain())
    }

    /// The inferred extents of what a step makes.
    fn extents(&self, step: &Step) -> Shape {
        let extents = self.shapes[step.output].clone();
        Shape::from(extents.expect("the program refused steps whose extents it needs and cannot infer"))
    }

    fn step(&mut self, step: &Step) -> Value<B> {
        match &step.operator {
            Operator::Convolution { window, groups } => {
                let weights = self.input(step, 1).plain();
                let (input, bias) = (self.input(step, 0).pictures(), self.optional(step, 2));
                let made = differentiable::convolve::<B>(*window, *groups, input, weights, bias);
                Value::new(made, B::Plain::BY_CHANNEL)
            }
            Operator::Normalization { epsilon, momentum } => self.normalize(step, *epsilon, *momentum),
            Operator::Map(function) => {
                let Value { tensor, by_channel } = self.input(step, 0);
                Value::new(elementwise::map::<B>(*function, tensor), by_channel)
            }
            Operator::Combine(function) => {
                let combined = self
                    .inputs(step)
                    .reduce(|a, b| elementwise::combine(*function, a, b));
                combined.expect("a valid node has its inputs")
            }
            Operator::Choose => {
                let [condition, a, b] = [0, 1, 2].map(|index| self.input(step, index));
                elementwise::choose(condition, a, b)
            }
            Operator::Pool { pool, window, ceil } => {
                let pooling = if *ceil {
                    reduction::pool_rounded_up
                } else {
                    reduction::pool
                };
                pooling(*pool, *window, self.input(step, 0))
            }
            Operator::Global(function) => reduction::global(*function, self.input(step, 0)),
            Operator::Gemm {
                alpha,
                beta,
                transposed,
            } => Value::new(self.gemm(step, *alpha, *beta, *transposed), false),
            Operator::Product => {
                let (a, b) = (self.input(step, 0), self.input(step, 1));
                let rank = a.tensor.shape().rank().max(b.tensor.shape().rank());
                let product = B::float_matmul(a.widened(rank).plain(), b.widened(rank).plain());
                Value::new(product, false)
            }
            Operator::Reshape => {
                let made = B::float_reshape(self.input(step, 0).plain(), self.extents(step));
                Value::new(made, false)
            }
            Operator::Transpose(order) => {
                let input = self.input(step, 0).plain();
                let reversed = || (0..input.shape().rank()).rev().collect();
                let order = order.clone().unwrap_or_else(reversed);
                Value::new(B::float_permute(input, &order), false)
            }
            Operator::Concat(axis) => movement::concat(self.inputs(step).collect(), *axis),
            Operator::Pick(picks) => movement::pick(self.input(step, 0), picks, self.extents(step)),
            Operator::Pad { pads, value } => movement::pad(self.input(step, 0), pads, *value),
            Operator::Expand => movement::expand(self.input(step, 0), self.extents(step)),
            Operator::Softmax { axis, log } => {
                let input = self.input(step, 0).plain();
                let axis = position(*axis, input.shape().rank());
                let made = if *log {
                    B::log_softmax(input, axis)
                } else {
                    B::softmax(input, axis)
                };
                Value::new(made, false)
            }
            Operator::Reduce(function, axes) => {
                reduction::along(*function, self.input(step, 0), axes, self.extents(step))
            }
            Operator::LayerNormalization { axis, epsilon } => {
                let (scale, shift) = (self.input(step, 1), self.optional(step, 2));
                reduction::normalize_layer(self.input(step, 0), (*axis, *epsilon), scale, shift)
            }
            Operator::Quantize => {
                let Value { tensor, by_channel } = self.input(step, 0);
                let scale = self.input(step, 1).tensor;
                let grid = step.grid.expect("the program read its grid");
                let made = differentiable::fake_quantize::<B>(tensor, scale, grid);
                Value::new(made, by_channel)
            }
            Operator::Dequantize | Operator::Same => self.input(step, 0),
        }
    }

    fn normalize(&mut self, step: &Step, epsilon: f32, momentum: f32) -> Value<B> {
        let input = self.input(step, 0).pictures();
        let [scale, shift, mean, variance] = [1, 2, 3, 4].map(|index| self.input(step, index).tensor);
        match self.mode {
            Mode::Infer => {}
            Mode::Observe => self.note(step, momentum, differentiable::statistics::<B>(&input)),
            Mode::Train => {
                let (made, statistics) = differentiable::normalize::<B>(input, scale, shift, epsilon);
                self.note(step, momentum, statistics);
                return Value::new(made, B::Plain::BY_CHANNEL);
            }
        }
        let deviation = B::float_sqrt(B::float_add_scalar(variance, epsilon.into()));
        let factor = B::float_div(scale, deviation);
        let shift = B::float_sub(shift, B::float_mul(mean, factor.clone()));
        let mut extents = vec![1; input.shape().rank()];
        let channels = reversed(1, B::Plain::BY_CHANNEL);
        extents[channels] = input.shape()[channels];
        let extents = Shape::from(extents);
        let scaled = B::float_mul(input, B::float_reshape(factor, extents.clone()));
        let made = B::float_add(scaled, B::float_reshape(shift, extents));
        Value::new(made, B::Plain::BY_CHANNEL)
    }

    fn note(&mut self, step: &Step, momentum: f32, statistics: Statistics<B::Plain>) {
        if let [
            _,
            Some(Operand::Parameter(scale)),
            Some(Operand::Parameter(shift)),
            Some(Operand::Parameter(mean)),
            Some(Operand::Parameter(variance)),
        ] = step.inputs[..]
        {
            self.seen.push(Seen {
                parameters: [scale, shift, mean, variance],
                momentum,
                statistics,
            });
        }
    }

    fn gemm(&self, step: &Step, alpha: f32, beta: f32, transposed: [bool; 2]) -> FloatTensor<B> {
        let [a, b] = [0, 1].map(|index| {
            let matrix = self.input(step, index).plain();
            if transposed[index] {
                B::float_transpose(matrix)
            } else {
                matrix
            }
        });
        let product = scaled::<B>(B::float_matmul(a, b), alpha);
        match self.optional(step, 2) {
            None => product,
            Some(addend) => {
                let addend = Value::<B>::new(addend, false).widened(2).plain();
                B::float_add(product, scaled::<B>(addend, beta))
            }
        }
    }
}

fn scaled<B: Tape>(tensor: FloatTensor<B>, factor: f32) -> FloatTensor<B> {
    if (factor - 1.0).abs() > 0.0 {
        B::float_mul_scalar(tensor, factor.into())
    } else {
        tensor
    }
}

/// The elements of an answer in row-major order.
pub(super) fn answer<B: Tape>(outcome: &Outcome<B>) -> Result<Vec<f32>, Error> {
    B::Plain::download(B::plain(&outcome.answer))
}
