//! A model as a list of steps over values and parameters.

use std::collections::{BTreeMap, HashMap};

use super::NAME;
use super::kernels::Grid;
use super::operator::{Map, Operator};
use super::parameter::{InputScale, Parameter, Role};
use super::reader::Reader;
use crate::error::Error;
use crate::graph::Graph;
use crate::model::Model;
use crate::proto::{DimensionValue, TypeValue, ValueInfoProto};
use crate::shape;

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

/// Elements of the largest value that is computed, 8 GiB.
const MOST_ELEMENTS: usize = i32::MAX as usize;

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
        let masters = float.map_or_else(Vec::new, |model| model.graph().initializer.iter().collect());
        let names = inputs.iter().map(|input| input.name().to_owned()).collect();
        let mut reader = Reader::new(&graph, types, masters, names);
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
            let name = &self.names[step.output];
            match &shapes[step.output] {
                None if step.operator.needs_extents() => {
                    return Err(refused(format!(
                        "the shape of value `{name}` is not known; export the model with fixed shapes but for the batch"
                    )));
                }
                Some(extents) if extents.contains(&0) => {
                    return Err(refused(format!(
                        "value `{name}` of shape {extents:?} is empty; export the model without node `{}`",
                        step.label
                    )));
                }
                Some(extents) if !fits(extents) => {
                    return Err(refused(format!(
                        "value `{name}` of shape {extents:?} is larger than anything that can be trained"
                    )));
                }
                _ => {}
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
        let mut scales: HashMap<usize, InputScale> = HashMap::new();
        let mut factors = Vec::new();
        for step in &self.steps {
            match (&step.operator, &step.inputs[..]) {
                (Operator::Quantize, [_, Some(Operand::Parameter(scale))]) => {
                    scales.insert(step.output, InputScale::Trained(*scale));
                }
                (Operator::Quantize, [_, Some(Operand::Constant(log))]) => {
                    let scale = self.constants[*log].values[0].exp();
                    scales.insert(step.output, InputScale::Fixed(scale));
                }
                (Operator::Map(Map::Line { factor, .. }), [Some(Operand::Value(from))]) => {
                    if let Some(InputScale::Fixed(scale)) = scales.get(from) {
                        scales.insert(step.output, InputScale::Fixed(scale * factor));
                    }
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

/// Whether a value of these extents can be computed.
fn fits(extents: &[usize]) -> bool {
    let elements = extents
        .iter()
        .try_fold(1_usize, |count, &extent| count.checked_mul(extent));
    elements.is_some_and(|elements| elements <= MOST_ELEMENTS)
}
