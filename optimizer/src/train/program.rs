//! A model as a list of steps over values and parameters.

use std::collections::{BTreeMap, HashMap};

use super::NAME;
use super::kernels::Grid;
use super::operator::{Combine, Operator};
use super::parameter::{Parameter, Role};
use crate::error::Error;
use crate::graph::{Graph, NodeId};
use crate::model::Model;
use crate::proto::{DataType, DimensionValue, NodeProto, TensorProto, TypeValue, ValueInfoProto};
use crate::shape::{self, Values};

/// Where a step reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Operand {
    /// What a step made, or an input.
    Value(usize),
    /// What is trained.
    Parameter(usize),
    /// A float constant that is not.
    Constant(usize),
}

/// A node.
#[derive(Debug, Clone)]
pub(super) struct Step {
    /// How messages call the node.
    pub(super) label: String,
    pub(super) operator: Operator,
    /// `None` where an input is left out.
    pub(super) inputs: Vec<Option<Operand>>,
    /// The value that it makes.
    pub(super) output: usize,
    /// Values that no later step reads.
    pub(super) last: Vec<usize>,
    /// The grid of a `Quantize`.
    pub(super) grid: Option<Grid>,
}

impl Step {
    fn is_softmax(&self) -> bool {
        matches!(self.operator, Operator::Softmax { .. })
    }
}

/// A float constant.
#[derive(Debug, Clone)]
pub(super) struct Constant {
    pub(super) shape: Vec<usize>,
    pub(super) values: Vec<f32>,
}

/// A model as steps.
#[derive(Debug, Clone)]
pub(super) struct Program {
    model: Model,
    pub(super) steps: Vec<Step>,
    pub(super) parameters: Vec<Parameter>,
    pub(super) constants: Vec<Constant>,
    /// The values by name; inputs come first.
    names: Vec<String>,
    /// The value that holds the logits.
    pub(super) answer: usize,
}

/// Extents of all values for one batch, by value.
pub(super) type Shapes = Vec<Option<Vec<usize>>>;

impl Program {
    /// Reads a valid model that is prepared for passes. `float` is the model that this one was quantized from, if
    /// it was: weights begin with what rounding lost.
    pub(super) fn of(model: &Model, float: Option<&Model>) -> Result<Self, Error> {
        let types = shape::infer(model, &BTreeMap::new())?;
        let graph = Graph::new(model.clone())?;
        let inputs = inputs(model);
        let [output] = graph.outputs() else {
            return Err(refused(
                "the model has several outputs; training needs one, the logits",
            ));
        };
        let answer = output.name().to_owned();
        let mut reader = Reader {
            names: inputs.iter().map(|input| input.name().to_owned()).collect(),
            masters: float.map_or_else(Vec::new, |model| model.graph().initializer.iter().collect()),
            graph: &graph,
            types,
            steps: Vec::new(),
            parameters: Vec::new(),
            constants: Vec::new(),
            operands: HashMap::new(),
        };
        for (index, name) in reader.names.iter().enumerate() {
            reader.operands.insert(name.clone(), Operand::Value(index));
        }
        for id in graph.ids() {
            reader.read(id)?;
        }
        let Some(&Operand::Value(mut answer)) = reader.operands.get(&answer) else {
            return Err(refused("the model's output depends on no input"));
        };
        // The loss is computed from logits.
        if let Some(softmax) = reader
            .steps
            .pop_if(|step| step.output == answer && step.is_softmax())
            && let Some(Operand::Value(logits)) = softmax.inputs[0]
        {
            answer = logits;
        }
        let mut program = Self {
            model: model.clone(),
            steps: reader.steps,
            parameters: reader.parameters,
            constants: reader.constants,
            names: reader.names,
            answer,
        };
        program.connect_biases();
        program.mark_last_uses();
        Ok(program)
    }

    /// The extents of all values for inputs of these extents.
    pub(super) fn shapes(&self, inputs: &[Vec<usize>]) -> Result<Shapes, Error> {
        let declared = self::inputs(&self.model);
        if declared.len() != inputs.len() {
            return Err(refused(format!(
                "the model has {} inputs and a sample {}",
                declared.len(),
                inputs.len()
            )));
        }
        let mut bindings = BTreeMap::new();
        for (input, extents) in declared.into_iter().zip(inputs) {
            bind(input, extents, &mut bindings)?;
        }
        let values = shape::infer(&self.model, &bindings)?;
        let of = |name: &String| values.get(name).and_then(shape::Value::extents);
        let shapes: Shapes = self.names.iter().map(of).collect();
        for step in &self.steps {
            let needed = matches!(step.operator, Operator::Reshape | Operator::Mean(_));
            if needed && shapes[step.output].is_none() {
                let name = &self.names[step.output];
                return Err(refused(format!(
                    "the shape of value `{name}` is not known; export the model with fixed shapes but for the batch"
                )));
            }
        }
        Ok(shapes)
    }

    /// Number of values.
    pub(super) fn value_count(&self) -> usize {
        self.names.len()
    }

    /// Finds for each bias in integers the scales that it is made of.
    fn connect_biases(&mut self) {
        let mut scales: HashMap<usize, usize> = HashMap::new();
        let mut factors = Vec::new();
        for step in &self.steps {
            match (&step.operator, &step.inputs[..]) {
                (Operator::Quantize, [_, Some(Operand::Parameter(scale))]) => {
                    scales.insert(step.output, *scale);
                }
                (Operator::Same, [Some(Operand::Value(from))]) => {
                    if let Some(&scale) = scales.get(from) {
                        scales.insert(step.output, scale);
                    }
                }
                (
                    _,
                    [
                        Some(Operand::Value(input)),
                        Some(Operand::Parameter(weights)),
                        Some(Operand::Parameter(bias)),
                    ],
                ) => {
                    if let Some(&input) = scales.get(input) {
                        factors.push((*bias, (input, *weights)));
                    }
                }
                _ => {}
            }
        }
        for (bias, found) in factors {
            let is_stored = matches!(self.parameters[found.1].role, Role::Weights(_));
            if let Role::Bias { factors, .. } = &mut self.parameters[bias].role
                && is_stored
            {
                *factors = Some(found);
            }
        }
    }

    fn mark_last_uses(&mut self) {
        let mut seen = vec![false; self.names.len()];
        seen[self.answer] = true;
        for step in self.steps.iter_mut().rev() {
            for input in step.inputs.iter().flatten() {
                if let Operand::Value(value) = *input
                    && !std::mem::replace(&mut seen[value], true)
                {
                    step.last.push(value);
                }
            }
        }
    }
}

/// Reads nodes in their order.
struct Reader<'a> {
    graph: &'a Graph,
    types: Values,
    masters: Vec<&'a TensorProto>,
    names: Vec<String>,
    steps: Vec<Step>,
    parameters: Vec<Parameter>,
    constants: Vec<Constant>,
    /// By the name of the value or initializer.
    operands: HashMap<String, Operand>,
}

impl Reader<'_> {
    fn read(&mut self, id: NodeId) -> Result<(), Error> {
        let node = self.graph.node(id);
        if self.computes_on_shapes(node) {
            return Ok(());
        }
        let mut operator = Operator::of(self.graph, id)?;
        if operator == Operator::Dequantize {
            if self.graph.constant_input(id, 0).is_some() {
                return self.read_integers(id);
            }
            self.check_pair(id)?;
            operator = Operator::Same;
        }
        let (inputs, grid) = if operator == Operator::Quantize {
            let (scale, grid) = self.grid(id)?;
            (vec![Some(self.value(node, 0)?), Some(scale)], Some(grid))
        } else {
            (self.inputs(&operator, node)?, None)
        };
        let output = self.name_value(node);
        self.steps.push(Step {
            label: node.label(),
            operator,
            inputs,
            output,
            last: Vec::new(),
            grid,
        });
        Ok(())
    }

    /// Whether the node makes integers, such as the target of a `Reshape`: those are known by inference.
    fn computes_on_shapes(&self, node: &NodeProto) -> bool {
        let mut outputs = node.output.iter().filter_map(|output| self.types.get(output));
        !node.is("QuantizeLinear")
            && outputs.any(|value| matches!(value.data_type, DataType::Int64 | DataType::Int32))
    }

    fn name_value(&mut self, node: &NodeProto) -> usize {
        let index = self.names.len();
        self.names.push(node.output[0].clone());
        self.operands
            .insert(node.output[0].clone(), Operand::Value(index));
        index
    }

    fn inputs(&mut self, operator: &Operator, node: &NodeProto) -> Result<Vec<Option<Operand>>, Error> {
        let count = match operator {
            Operator::Convolution { .. } | Operator::Gemm { .. } => 3,
            Operator::Normalization { .. } => 5,
            Operator::Combine(_) | Operator::Product => 2,
            Operator::Concat(_) => node.input.len(),
            _ => 1,
        };
        let mut inputs = Vec::with_capacity(count);
        for index in 0..count.min(node.input.len()) {
            inputs.push(match node.input_name(index) {
                None => None,
                Some(name) if self.operands.contains_key(name) => Some(self.operands[name]),
                Some(name) => Some(self.constant(name, operator, node, index)?),
            });
        }
        Ok(inputs)
    }

    /// The value that an input reads.
    fn value(&self, node: &NodeProto, index: usize) -> Result<Operand, Error> {
        let operand = node.input_name(index).and_then(|name| self.operands.get(name));
        operand
            .copied()
            .ok_or_else(|| Error::node(node, "its input is constant, which cannot be trained"))
    }

    /// An initializer that a node reads as floats.
    fn constant(
        &mut self,
        name: &str,
        operator: &Operator,
        node: &NodeProto,
        index: usize,
    ) -> Result<Operand, Error> {
        let tensor = self.graph.initializer(name);
        let tensor =
            tensor.ok_or_else(|| Error::node(node, format!("its input `{name}` cannot be trained")))?;
        let operand = if let Some((role, decays)) = self.role(operator, node, index, tensor) {
            self.parameters.push(Parameter::float(tensor, role, decays)?);
            Operand::Parameter(self.parameters.len() - 1)
        } else {
            self.constants.push(Constant {
                shape: tensor.shape()?,
                values: tensor.floats()?,
            });
            Operand::Constant(self.constants.len() - 1)
        };
        self.operands.insert(name.to_owned(), operand);
        Ok(operand)
    }

    /// How an initializer is trained and whether it decays; `None` for one that is not.
    fn role(
        &self,
        operator: &Operator,
        node: &NodeProto,
        index: usize,
        tensor: &TensorProto,
    ) -> Option<(Role, bool)> {
        if tensor.element_type().ok()? != DataType::Float {
            return None;
        }
        let other_is_input = || {
            let other = node.input_name(1 - index).unwrap_or_default();
            self.graph.inputs().iter().any(|input| input.name() == other)
        };
        match operator {
            Operator::Convolution { .. } | Operator::Gemm { .. } => Some((Role::Float, index == 1)),
            Operator::Product => Some((Role::Float, true)),
            Operator::Normalization { .. } if index > 2 => Some((Role::Statistic, false)),
            Operator::Normalization { .. } => Some((Role::Float, false)),
            // Single numbers and what prepares the input are part of the architecture.
            Operator::Combine(Combine::Add | Combine::Multiply) => {
                (tensor.count().ok()? > 1 && !other_is_input()).then_some((Role::Float, false))
            }
            _ => None,
        }
    }

    /// Integers that a node makes floats of: parameters where they are weights or biases.
    fn read_integers(&mut self, id: NodeId) -> Result<(), Error> {
        let node = self.graph.node(id);
        let constant = |index: usize| self.graph.constant_input(id, index);
        let (Some(tensor), Some(scale)) = (constant(0), constant(1)) else {
            return Err(Error::node(node, "its scale is not constant"));
        };
        let zeros = constant(2)
            .map(TensorProto::integers)
            .transpose()?
            .unwrap_or_default();
        let axis = node.int("axis").unwrap_or(1);
        let found = if zeros.iter().all(|&zero| zero == 0) {
            Parameter::integers(tensor, scale, axis, &self.masters)?
        } else {
            None
        };
        let known = found
            .as_ref()
            .and_then(|found| self.parameters.iter().position(|known| known.name == found.name));
        let operand = match (known, found) {
            (Some(index), _) => Operand::Parameter(index),
            (None, Some(parameter)) => {
                self.parameters.push(parameter);
                Operand::Parameter(self.parameters.len() - 1)
            }
            (None, None) => {
                let [scale] = scale.floats()?[..] else {
                    return Err(Error::node(node, "integers of this kind cannot be trained"));
                };
                let zero = zeros.first().copied().unwrap_or(0);
                let values = tensor.integers()?.into_iter();
                self.constants.push(Constant {
                    shape: tensor.shape()?,
                    values: values.map(|value| (value - zero) as f32 * scale).collect(),
                });
                Operand::Constant(self.constants.len() - 1)
            }
        };
        self.operands.insert(node.output[0].clone(), operand);
        Ok(())
    }

    /// Scale and grid of a `QuantizeLinear`.
    fn grid(&mut self, id: NodeId) -> Result<(Operand, Grid), Error> {
        let node = self.graph.node(id);
        let scale = self.graph.constant_input(id, 1);
        let scale = scale.ok_or_else(|| Error::node(node, "its scale is not constant"))?;
        let operand = if let Some(known) = self.operands.get(scale.name()) {
            *known
        } else {
            self.parameters.push(Parameter::log_scale(scale)?);
            Operand::Parameter(self.parameters.len() - 1)
        };
        self.operands.insert(scale.name().to_owned(), operand);
        let zero = self.graph.constant_input(id, 2);
        if node.input_name(2).is_some() != zero.is_some() {
            return Err(Error::node(node, "its zero point is not constant"));
        }
        let limits = match zero.map_or(Ok(DataType::Uint8), TensorProto::element_type)? {
            DataType::Uint8 => (0.0, 255.0),
            DataType::Int8 => (-128.0, 127.0),
            DataType::Uint16 => (0.0, 65535.0),
            DataType::Int16 => (-32768.0, 32767.0),
            other => {
                return Err(Error::node(
                    node,
                    format!("{} activations cannot be trained", other.label()),
                ));
            }
        };
        let zero = zero.map(TensorProto::integers).transpose()?;
        let zero_point = zero.and_then(|zero| zero.first().copied()).unwrap_or(0) as f32;
        Ok((operand, Grid { zero_point, limits }))
    }

    /// A `DequantizeLinear` must read what a `QuantizeLinear` of the same scale made.
    fn check_pair(&self, id: NodeId) -> Result<(), Error> {
        let node = self.graph.node(id);
        let producer = node.input_name(0).and_then(|name| self.graph.producer(name));
        let producer = producer
            .map(|id| self.graph.node(id))
            .filter(|node| node.is("QuantizeLinear"));
        match producer {
            Some(before) if before.input.get(1..) == node.input.get(1..) => Ok(()),
            _ => Err(Error::node(
                node,
                "it does not follow a `QuantizeLinear` of the same scale and zero point",
            )),
        }
    }
}

/// The inputs of a model, without initializers that old models list among them.
fn inputs(model: &Model) -> Vec<&ValueInfoProto> {
    let graph = model.graph();
    let constant = |name: &str| graph.initializer.iter().any(|tensor| tensor.name() == name);
    graph
        .input
        .iter()
        .filter(|input| !constant(input.name()))
        .collect()
}

/// Notes the extents of an input's dynamic axes; an error where fixed ones differ.
fn bind(
    input: &ValueInfoProto,
    extents: &[usize],
    bindings: &mut BTreeMap<String, usize>,
) -> Result<(), Error> {
    let name = input.name();
    let shape = match input.r#type.as_ref().and_then(|kind| kind.value.as_ref()) {
        Some(TypeValue::TensorType(tensor)) => tensor.shape.as_ref(),
        _ => None,
    };
    let Some(shape) = shape.filter(|shape| shape.dim.len() == extents.len()) else {
        return Err(refused(format!(
            "a sample of {extents:?} does not fit input `{name}`"
        )));
    };
    for (axis, (dim, &extent)) in shape.dim.iter().zip(extents).enumerate() {
        match &dim.value {
            Some(DimensionValue::DimValue(fixed)) if *fixed == extent as i64 => {}
            Some(DimensionValue::DimValue(fixed)) if axis == 0 => {
                return Err(refused(format!(
                    "the model takes a batch of {fixed} alone; export it with a dynamic batch"
                )));
            }
            Some(DimensionValue::DimValue(_)) => {
                return Err(refused(format!(
                    "a sample of {extents:?} does not fit input `{name}`"
                )));
            }
            Some(DimensionValue::DimParam(symbol)) if !symbol.is_empty() => {
                bindings.insert(symbol.clone(), extent);
            }
            _ => {
                bindings.insert(format!("{name}.{axis}"), extent);
            }
        }
    }
    Ok(())
}

pub(super) fn refused(reason: impl Into<String>) -> Error {
    Error::Refused {
        pass: NAME.to_owned(),
        reason: reason.into(),
    }
}
