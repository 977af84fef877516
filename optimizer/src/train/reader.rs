//! Reading a model's nodes as the steps of a program.

use std::collections::HashMap;

use super::attributes::Attributes;
use super::kernels::Grid;
use super::operator::{Combine, Map, Operator};
use super::parameter::{Parameter, Role};
use super::pick;
use super::program::{Constant, Operand, Step};
use crate::error::Error;
use crate::graph::{Graph, NodeId};
use crate::proto::{DataType, NodeProto, TensorProto};
use crate::shape::{Value, Values};

/// Reads nodes in their order.
pub(super) struct Reader<'a> {
    graph: &'a Graph,
    types: Values,
    masters: Vec<&'a TensorProto>,
    pub(super) names: Vec<String>,
    pub(super) steps: Vec<Step>,
    pub(super) parameters: Vec<Parameter>,
    pub(super) constants: Vec<Constant>,
    /// By the name of the value or initializer.
    pub(super) operands: HashMap<String, Operand>,
}

impl<'a> Reader<'a> {
    /// `names` are those of the inputs, the first values; `masters` the float constants behind integers.
    pub(super) fn new(
        graph: &'a Graph,
        types: Values,
        masters: Vec<&'a TensorProto>,
        names: Vec<String>,
    ) -> Self {
        let operand = |(index, name): (usize, &String)| (name.clone(), Operand::Value(index));
        Self {
            operands: names.iter().enumerate().map(operand).collect(),
            graph,
            types,
            masters,
            names,
            steps: Vec::new(),
            parameters: Vec::new(),
            constants: Vec::new(),
        }
    }

    pub(super) fn read(&mut self, id: NodeId) -> Result<(), Error> {
        let node = self.graph.node(id);
        if self.is_known_by_inference(node) {
            return Ok(());
        }
        let attributes = Attributes {
            graph: self.graph,
            types: &self.types,
            id,
            node,
        };
        if node.is("Split") && node.is_standard() {
            // Each output by a step of its own, as if it were a slice: so a step makes one value.
            let picks = pick::of_split(&attributes)?;
            let is_read = |name: &str| !self.graph.consumers(name).is_empty() || self.graph.is_output(name);
            let outputs = node.output.iter().zip(picks);
            let outputs: Vec<_> = outputs.filter(|(name, _)| is_read(name)).collect();
            for (output, pick) in outputs {
                let operator = Operator::Pick(vec![pick]);
                let inputs = self.inputs(&operator, node)?;
                self.push(node, output, operator, inputs, None);
            }
            return Ok(());
        }
        let mut operator = Operator::of(&attributes)?;
        if operator == Operator::Dequantize {
            if self.graph.constant_input(id, 0).is_some() {
                return self.read_integers(id);
            }
            operator = self.reading(id)?;
        }
        let (inputs, grid) = if operator == Operator::Quantize {
            let (scale, grid) = self.grid(id)?;
            (vec![Some(self.value(node, 0)?), Some(scale)], Some(grid))
        } else {
            (self.inputs(&operator, node)?, None)
        };
        self.push(node, &node.output[0], operator, inputs, grid);
        Ok(())
    }

    /// Adds a step that makes this output of a node.
    fn push(
        &mut self,
        node: &NodeProto,
        output: &str,
        operator: Operator,
        inputs: Vec<Option<Operand>>,
        grid: Option<Grid>,
    ) {
        let index = self.names.len();
        self.names.push(output.to_owned());
        self.operands.insert(output.to_owned(), Operand::Value(index));
        self.steps.push(Step {
            label: node.label(),
            operator,
            inputs,
            output: index,
            last: Vec::new(),
            grid,
        });
    }

    /// Whether the node makes integers or truth values, such as the target of a `Reshape`, or what only depends on
    /// shapes.
    fn is_known_by_inference(&self, node: &NodeProto) -> bool {
        if node.is("QuantizeLinear") || node.is("DequantizeLinear") {
            return false;
        }
        let output = node.output.first().and_then(|output| self.types.get(output));
        output.is_some_and(|value| {
            matches!(
                value.data_type,
                DataType::Int64 | DataType::Int32 | DataType::Bool
            ) || value.known().is_some()
        })
    }

    fn inputs(&mut self, operator: &Operator, node: &NodeProto) -> Result<Vec<Option<Operand>>, Error> {
        let count = match operator {
            Operator::Convolution { .. }
            | Operator::Gemm { .. }
            | Operator::Choose
            | Operator::LayerNormalization { .. } => 3,
            Operator::Normalization { .. } => 5,
            Operator::Product => 2,
            Operator::Combine(_) | Operator::Concat(_) => node.input.len(),
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

    /// What a node reads as floats and no step makes.
    fn constant(
        &mut self,
        name: &str,
        operator: &Operator,
        node: &NodeProto,
        index: usize,
    ) -> Result<Operand, Error> {
        let stored = self.graph.initializer(name);
        let trained = stored.and_then(|tensor| Some((tensor, self.role(operator, node, index, tensor)?)));
        let operand = if let Some((tensor, (role, decays))) = trained {
            self.parameters.push(Parameter::float(tensor, role, decays)?);
            Operand::Parameter(self.parameters.len() - 1)
        } else {
            let inferred = || self.types.get(name).and_then(Value::known);
            let tensor = stored.cloned().or_else(inferred);
            let tensor = tensor.ok_or_else(|| {
                let reason = "is neither a constant nor made of floats, and cannot be trained through";
                Error::node(node, format!("its input `{name}` {reason}"))
            })?;
            let is_condition = *operator == Operator::Choose && index == 0;
            let values = if is_condition {
                tensor
                    .flags()?
                    .into_iter()
                    .map(|flag| f32::from(u8::from(flag)))
                    .collect()
            } else {
                tensor.floats()?
            };
            let shape = tensor.shape()?;
            self.constants.push(Constant { shape, values });
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
            Operator::Normalization { .. } | Operator::LayerNormalization { .. } => {
                Some((Role::Float, false))
            }
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
        let is_fixed = self.is_read_otherwise(node) || self.is_of_a_gate(scale.name());
        let operand = if let Some(known) = self.operands.get(scale.name()) {
            if is_fixed && matches!(known, Operand::Parameter(_)) {
                let reason = "its integers are read by another scale, and others share its own";
                return Err(Error::node(node, reason));
            }
            *known
        } else if is_fixed {
            self.constants.push(Constant {
                shape: vec![1],
                values: Parameter::log_scale(scale)?.values,
            });
            Operand::Constant(self.constants.len() - 1)
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

    /// Whether some `DequantizeLinear` reads the integers by another scale or zero point, as a gate does: what it
    /// makes of them holds for this scale alone.
    fn is_read_otherwise(&self, quantize: &NodeProto) -> bool {
        let readers = self.graph.consumers(&quantize.output[0]);
        let mut readers = readers.iter().map(|&(id, _)| self.graph.node(id));
        readers
            .any(|reader| reader.is("DequantizeLinear") && reader.input.get(1..) != quantize.input.get(1..))
    }

    /// Whether a gate reads its integers by this scale, which what it makes of them holds for as well.
    fn is_of_a_gate(&self, scale: &str) -> bool {
        let mut readers = self.graph.consumers(scale).iter();
        readers.any(|&(id, _)| {
            let node = self.graph.node(id);
            let before = node.input_name(0).and_then(|name| self.graph.producer(name));
            let before = before.map(|id| self.graph.node(id));
            node.is("DequantizeLinear")
                && before.is_some_and(|before| {
                    before.is("QuantizeLinear") && before.input.get(1..) != node.input.get(1..)
                })
        })
    }

    /// What a `DequantizeLinear` does to the floats that the integers before it stand for.
    fn reading(&self, id: NodeId) -> Result<Operator, Error> {
        let node = self.graph.node(id);
        let producer = node.input_name(0).and_then(|name| self.graph.producer(name));
        let Some(before) = producer.filter(|&id| self.graph.node(id).is("QuantizeLinear")) else {
            return Err(Error::node(
                node,
                "it does not follow a `QuantizeLinear`, so its input cannot be trained",
            ));
        };
        if self.graph.node(before).input.get(1..) == node.input.get(1..) {
            return Ok(Operator::Same);
        }
        let (written, written_zero) = self.affine(before)?;
        let (read, read_zero) = self.affine(id)?;
        Ok(Operator::Map(Map::Line {
            factor: read / written,
            offset: (written_zero - read_zero) * read,
        }))
    }

    /// Scale and zero point of a `QuantizeLinear` or `DequantizeLinear` of activations.
    fn affine(&self, id: NodeId) -> Result<(f32, f32), Error> {
        let node = self.graph.node(id);
        let constant = |index| self.graph.constant_input(id, index);
        let scale = constant(1).map(TensorProto::floats).transpose()?;
        let zero = constant(2).map(TensorProto::integers).transpose()?;
        match (scale.as_deref(), zero.as_deref(), node.input_name(2)) {
            (Some(&[scale]), Some(&[zero]), _) => Ok((scale, zero as f32)),
            (Some(&[scale]), None, None) => Ok((scale, 0.0)),
            _ => Err(Error::node(
                node,
                "its scale and zero point are not one constant number each, which training needs",
            )),
        }
    }
}
