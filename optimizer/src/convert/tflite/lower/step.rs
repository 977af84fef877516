//! A node with what is done along with it: the activation behind it, and the pairs around it.

use super::{Lowering, activation_of};
use crate::convert::tflite::program::{Operator, Quantization, Tensor, TensorId};
use crate::convert::tflite::schema::{Activation, Code, Kind, Options};
use crate::error::Error;
use crate::graph::{Graph, NodeId};

/// A node of the ONNX graph on its way into the program.
#[derive(Debug, Clone)]
pub(in super::super) struct Step {
    pub(super) id: NodeId,
    /// Whether it computes in integers.
    pub(super) integer: bool,
    /// Why it computes in float although its neighbours compute in integers.
    pub(super) float: Option<String>,
    /// The activation that its kernel applies at once.
    pub(super) activation: Activation,
    /// The values that it makes, behind what is done along with it.
    pub(super) outputs: Vec<String>,
    /// The nodes that are done along with it.
    absorbs: Vec<NodeId>,
}

/// Operators whose kernels apply an activation at once.
const FUSING: [&str; 10] = [
    "Conv",
    "Gemm",
    "Add",
    "Sub",
    "Mul",
    "Div",
    "MaxPool",
    "AveragePool",
    "BatchNormalization",
    "Sum",
];

/// Operators with integer kernels.
const INTEGER: [&str; 32] = [
    "Conv",
    "ConvTranspose",
    "Gemm",
    "MatMul",
    "MaxPool",
    "AveragePool",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "Add",
    "Sub",
    "Mul",
    "Concat",
    "Relu",
    "Clip",
    "LeakyRelu",
    "HardSwish",
    "Sigmoid",
    "Tanh",
    "Softmax",
    "ReduceMean",
    "Reshape",
    "Flatten",
    "Squeeze",
    "Unsqueeze",
    "Transpose",
    "Split",
    "Slice",
    "Pad",
    "Resize",
    "DepthToSpace",
    "SpaceToDepth",
    "Gather",
];

/// Inputs that hold numbers to compute with, from the first; the others set up the node.
fn data_inputs(graph: &Graph, id: NodeId) -> usize {
    let node = graph.node(id);
    match node.op_type() {
        "Conv" | "ConvTranspose" | "Gemm" | "MatMul" | "Add" | "Sub" | "Mul" | "Concat" => node.input.len(),
        _ => 1,
    }
}

impl Lowering<'_> {
    /// Finds out what is done along with a node.
    pub(super) fn step(&self, id: NodeId) -> Step {
        let node = self.graph.node(id);
        let outputs = node.output.iter().filter(|name| !name.is_empty()).cloned();
        let mut step = Step {
            id,
            integer: false,
            float: None,
            activation: Activation::None,
            outputs: outputs.collect(),
            absorbs: Vec::new(),
        };
        let behind = step
            .outputs
            .first()
            .and_then(|output| self.graph.sole_consumer(output));
        let applies = FUSING.contains(&node.op_type()) || (node.is("MatMul") && self.multiplies_constant(id));
        if let Some(next) = behind.filter(|_| applies)
            && let Some(activation) = activation_of(self.graph, next)
        {
            step.activation = activation;
            step.outputs[0].clone_from(&self.graph.node(next).output[0]);
            step.absorbs.push(next);
        }
        self.take_pairs(&mut step);
        step
    }

    /// Whether a product is one with a constant matrix.
    fn multiplies_constant(&self, id: NodeId) -> bool {
        let constant = self.weight_constant(id, 1);
        constant.is_some_and(|(constant, _)| constant.dims.len() == 2)
    }

    /// Lets the step compute in integers, if the pairs around it allow that.
    fn take_pairs(&self, step: &mut Step) {
        let node = self.graph.node(step.id);
        let inputs = node.input.iter().take(data_inputs(self.graph, step.id));
        let mut inputs = inputs.filter(|name| !name.is_empty());
        let is_pair = |name: &String| self.stored(name).is_some();
        let quantizes = |output: &String| {
            let next = self.graph.sole_consumer(output);
            next.filter(|&next| self.graph.node(next).is("QuantizeLinear"))
        };
        let behind: Option<Vec<NodeId>> = step.outputs.iter().map(quantizes).collect();
        let all = inputs.clone().all(is_pair);
        if !inputs.any(is_pair) && behind.as_ref().is_none_or(Vec::is_empty) {
            return;
        }
        step.float = match behind {
            _ if !all && !node.input.first().is_some_and(is_pair) => None,
            _ if !INTEGER.contains(&node.op_type()) => Some("TFLite has no integer kernel for it".to_owned()),
            _ if !all => Some("not all that it reads is quantized".to_owned()),
            None => Some("what it makes is not quantized".to_owned()),
            Some(behind) => {
                step.integer = true;
                for (output, next) in step.outputs.iter_mut().zip(behind) {
                    output.clone_from(&self.graph.node(next).output[0]);
                    step.absorbs.push(next);
                }
                None
            }
        };
    }

    /// The step computing in floats after all: nothing is done along with it but an activation.
    pub(super) fn in_float(&self, step: &Step, why: &str) -> Step {
        let node = self.graph.node(step.id);
        let mut float = Step {
            integer: false,
            float: Some(why.to_owned()),
            activation: Activation::None,
            outputs: node
                .output
                .iter()
                .filter(|name| !name.is_empty())
                .cloned()
                .collect(),
            absorbs: Vec::new(),
            ..step.clone()
        };
        if let Some(&first) = step
            .absorbs
            .first()
            .filter(|_| step.activation != Activation::None)
        {
            float.activation = step.activation;
            float.outputs[0].clone_from(&self.graph.node(first).output[0]);
            float.absorbs.push(first);
        }
        float
    }

    /// What input `index` is read from: the integers, or the floats.
    pub(super) fn input(&self, step: &Step, index: usize) -> Result<String, Error> {
        let node = self.graph.node(step.id);
        let name = node
            .input_name(index)
            .ok_or_else(|| Error::node(node, format!("input {index} is missing")))?;
        let stored = self.stored(name).filter(|_| step.integer);
        Ok(stored.map_or_else(|| name.to_owned(), |(integers, _)| integers.to_owned()))
    }

    /// The tensor of a step's first input as it lies, and how.
    pub(super) fn first(&mut self, step: &Step) -> Result<(TensorId, Vec<usize>), Error> {
        let input = self.input(step, 0)?;
        let layout = self.axes(&input)?;
        Ok((self.read(&input, &layout)?, layout))
    }

    /// Adds the kernel's call that makes the first output of the step, which lies as `axes` say.
    pub(super) fn emit(
        &mut self,
        step: &Step,
        layout: &[usize],
        code: Code,
        inputs: Vec<TensorId>,
        options: Options,
    ) -> Result<(), Error> {
        let output = self.place(&step.outputs[0], layout)?;
        self.push(code, inputs, output, options);
        self.done(step, code);
        Ok(())
    }

    /// The same for a kernel whose result can only have the quantization `given`; it is converted where it must have
    /// another.
    pub(super) fn emit_as(
        &mut self,
        step: &Step,
        layout: &[usize],
        code: Code,
        inputs: Vec<TensorId>,
        options: Options,
        given: Option<Quantization>,
    ) -> Result<(), Error> {
        let output = self.place(&step.outputs[0], layout)?;
        let made = self.before(output, given);
        self.push(code, inputs, made, options);
        self.settle(made, output);
        self.done(step, code);
        Ok(())
    }

    /// A tensor to make `output` from: itself, unless it must have another quantization than `given`.
    pub(super) fn before(&mut self, output: TensorId, given: Option<Quantization>) -> TensorId {
        let wanted = self.program.tensor(output);
        if !step_is_int8(wanted) || wanted.quantization == given {
            return output;
        }
        let made = Tensor {
            name: format!("{}_before", wanted.name),
            quantization: given,
            ..wanted.clone()
        };
        self.program.add(made)
    }

    /// Converts what [`Self::before`] gave.
    pub(super) fn settle(&mut self, made: TensorId, output: TensorId) {
        if made != output {
            self.push(Code::Quantize, vec![made], output, Options::None);
        }
    }

    pub(super) fn push(&mut self, code: Code, inputs: Vec<TensorId>, output: TensorId, options: Options) {
        self.program.push(Operator {
            code,
            inputs,
            outputs: vec![output],
            options,
        });
    }

    /// Notes that the step's last kernel is there.
    pub(super) fn done(&mut self, step: &Step, code: Code) {
        self.absorbed.extend(step.absorbs.iter().copied());
        let label = code.label();
        self.note(step, &label);
    }

    /// The quantization of a tensor.
    pub(super) fn quantization(&self, tensor: TensorId) -> Option<Quantization> {
        self.program.tensor(tensor).quantization.clone()
    }

    /// A tensor like another, but of this shape, for what lies between two kernels of one step.
    pub(super) fn between(&mut self, like: TensorId, suffix: &str, shape: Vec<usize>) -> TensorId {
        let like = self.program.tensor(like);
        let made = Tensor {
            name: format!("{}_{suffix}", like.name),
            kind: like.kind,
            shape,
            quantization: like.quantization.clone(),
            data: None,
        };
        self.program.add(made)
    }
}

fn step_is_int8(tensor: &Tensor) -> bool {
    tensor.kind == Kind::Int8
}
