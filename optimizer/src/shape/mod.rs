//! Types and shapes of all values of a model.
//!
//! Axes are known, symbolic (a dynamic axis with a name, such as `batch`) or unknown. Small integer tensors,
//! such as the target of a `Reshape` that is computed from a `Shape`, are followed by value; so are small constants
//! of every type.

mod call;
mod dim;
mod registry;
mod rules;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};

pub(crate) use call::numbers;
pub use dim::Dim;
pub(crate) use registry::find as operator;

use crate::error::Error;
use crate::evaluate;
use crate::model::Model;
use crate::proto::{DataType, DimensionValue, NodeProto, TensorProto, TypeValue, ValueInfoProto};
use call::Call;
use dim::LARGEST_EXTENT;

/// Tensors of more elements than this are not followed by value.
const MOST_FOLLOWED: usize = 64;

/// What is known of a value.
#[derive(Debug, Clone, PartialEq)]
pub struct Value {
    /// Element type.
    pub data_type: DataType,
    /// Axes; `None` where not even their number is known.
    pub shape: Option<Vec<Dim>>,
    /// The elements of a small integer tensor of at most one axis, as far as they are known.
    pub elements: Option<Vec<Dim>>,
    /// The whole of a small tensor that does not depend on the model's inputs.
    pub constant: Option<TensorProto>,
}

impl Value {
    /// A value of known shape.
    pub fn new(data_type: DataType, shape: Vec<Dim>) -> Self {
        Self {
            data_type,
            shape: Some(shape),
            elements: None,
            constant: None,
        }
    }

    /// A value of unknown shape.
    pub fn unshaped(data_type: DataType) -> Self {
        Self {
            data_type,
            shape: None,
            elements: None,
            constant: None,
        }
    }

    /// The extents, if all are known.
    pub fn extents(&self) -> Option<Vec<usize>> {
        self.shape.as_ref()?.iter().map(Dim::extent).collect()
    }

    /// The value as a tensor without a name, if it is small and does not depend on the model's inputs.
    pub fn known(&self) -> Option<TensorProto> {
        self.constant.clone().or_else(|| self.known_elements())
    }

    fn known_elements(&self) -> Option<TensorProto> {
        let (extents, elements) = (self.extents()?, numbers(self.elements.as_deref()?)?);
        if extents.iter().product::<usize>() != elements.len() {
            return None;
        }
        match self.data_type {
            DataType::Int64 => Some(TensorProto::of("", &extents, &elements)),
            DataType::Int32 => {
                let narrow: Result<Vec<i32>, _> = elements.into_iter().map(i32::try_from).collect();
                Some(TensorProto::of("", &extents, &narrow.ok()?))
            }
            _ => None,
        }
    }

    /// The same value without what is known of its elements.
    fn of_unknown_elements(&self) -> Self {
        Self {
            data_type: self.data_type,
            shape: self.shape.clone(),
            elements: None,
            constant: None,
        }
    }
}

/// The values of a model by name.
#[derive(Debug, Clone, Default)]
pub struct Values(HashMap<String, Value>);

impl Values {
    /// A value; `None` where nothing is known of it.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// What is known of the values of both.
    pub(crate) fn agreeing(mut self, other: &Self) -> Self {
        for (name, value) in &mut self.0 {
            let Some(other) = other.0.get(name) else {
                (value.shape, value.elements, value.constant) = (None, None, None);
                continue;
            };
            let same_rank =
                |shape: &Vec<Dim>| other.shape.as_ref().filter(|other| other.len() == shape.len());
            value.shape = value.shape.take().and_then(|shape| {
                let pairs = shape.iter().zip(same_rank(&shape)?);
                let common =
                    |(own, other): (&Dim, &Dim)| if own == other { own.clone() } else { Dim::Unknown };
                Some(pairs.map(common).collect())
            });
            value.elements = value
                .elements
                .take()
                .filter(|own| other.elements.as_ref() == Some(own));
            value.constant = value
                .constant
                .take()
                .filter(|own| other.constant.as_ref() == Some(own));
        }
        self
    }

    /// All values, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }
}

/// Infers all values. `bindings` gives extents to dynamic axes by name; a nameless dynamic axis of an input is
/// called `INPUT.AXIS`, as `x.0`.
pub fn infer(model: &Model, bindings: &BTreeMap<String, usize>) -> Result<Values, Error> {
    let (values, errors) = infer_all(model, bindings);
    errors.into_iter().next().map_or(Ok(values), Err)
}

/// As [`infer`], but goes on after an error with the nodes that do not depend on it.
pub(crate) fn infer_all(model: &Model, bindings: &BTreeMap<String, usize>) -> (Values, Vec<Error>) {
    let mut inference = Inference {
        opset: model.opset().unwrap_or(1),
        bindings,
        values: HashMap::new(),
        declared: HashMap::new(),
        errors: Vec::new(),
    };
    let graph = model.graph();
    for info in graph.value_info.iter().chain(&graph.output) {
        if let Some(value) = inference.declared_value(info, false) {
            inference.declared.insert(info.name().to_owned(), value);
        }
    }
    for tensor in &graph.initializer {
        inference.initializer(tensor);
    }
    for info in &graph.input {
        inference.input(info);
    }
    for node in &graph.node {
        inference.node(node);
    }
    (Values(inference.values), inference.errors)
}

struct Inference<'a> {
    opset: i64,
    bindings: &'a BTreeMap<String, usize>,
    values: HashMap<String, Value>,
    declared: HashMap<String, Value>,
    errors: Vec<Error>,
}

impl Inference<'_> {
    fn initializer(&mut self, tensor: &TensorProto) {
        match constant(tensor) {
            Ok(value) => drop(self.values.insert(tensor.name().to_owned(), value)),
            Err(error) => self.errors.push(error),
        }
    }

    /// Old models list their initializers as inputs; the two must not contradict each other.
    fn input(&mut self, info: &ValueInfoProto) {
        let name = info.name().to_owned();
        let Some(declared) = self.declared_value(info, true) else {
            self.errors.push(Error::Graph(format!(
                "input `{name}` is no tensor of a known type"
            )));
            return;
        };
        let Some(initializer) = self.values.get(&name) else {
            self.values.insert(name, declared);
            return;
        };
        if let Err(reason) = merge(initializer, &declared) {
            self.errors.push(Error::Graph(format!(
                "input `{name}` contradicts its initializer: {reason}"
            )));
        }
    }

    /// Infers the outputs of a node. What depends on something that failed before is passed over.
    fn node(&mut self, node: &NodeProto) {
        let Some(operator) = registry::find(node) else {
            return;
        };
        let mut inputs = Vec::with_capacity(node.input.len());
        for name in &node.input {
            match self.values.get(name) {
                Some(value) => inputs.push(Some(value)),
                None if name.is_empty() => inputs.push(None),
                None => return,
            }
        }
        let call = Call {
            node,
            opset: self.opset,
            inputs,
        };
        match (operator.rule)(&call).and_then(|outputs| self.settle(node, outputs)) {
            Ok(mut outputs) => {
                if let Some((_, output)) = outputs.first_mut() {
                    follow(&call, output);
                }
                self.values.extend(outputs);
            }
            Err(reason) => self.errors.push(Error::node(node, reason)),
        }
    }

    /// Joins what was inferred for a node's outputs with what the model declares of them.
    fn settle(&self, node: &NodeProto, outputs: Vec<Value>) -> Result<Vec<(String, Value)>, String> {
        if node.output.len() > outputs.len() {
            return Err(format!(
                "{} outputs, at most {} expected",
                node.output.len(),
                outputs.len()
            ));
        }
        let named = node
            .output
            .iter()
            .zip(outputs)
            .filter(|(name, _)| !name.is_empty());
        let settle = |(name, mut value): (&String, Value)| {
            if let Some(too_large) = value.shape.iter().flatten().find(|dim| dim.out_of_range()) {
                return Err(format!("`{name}` would have an axis of {too_large}"));
            }
            if let Some(declared) = self.declared.get(name) {
                let merged = merge(&value, declared);
                value.shape =
                    merged.map_err(|why| format!("the model declares `{name}` otherwise: {why}"))?;
            }
            value.elements = value.elements.filter(|elements| elements.len() <= MOST_FOLLOWED);
            Ok((name.clone(), value))
        };
        named.map(settle).collect()
    }

    /// What a model says of a value; `None` where it is not of a known tensor type.
    fn declared_value(&self, info: &ValueInfoProto, is_input: bool) -> Option<Value> {
        let TypeValue::TensorType(tensor) = info.r#type.as_ref()?.value.as_ref()? else {
            return None;
        };
        let data_type = DataType::try_from(tensor.elem_type.unwrap_or_default()).ok()?;
        if data_type == DataType::Undefined {
            return None;
        }
        let Some(shape) = &tensor.shape else {
            return Some(Value::unshaped(data_type));
        };
        let dim = |(axis, dimension): (usize, &crate::proto::DimensionProto)| match &dimension.value {
            Some(DimensionValue::DimValue(extent @ 0..=LARGEST_EXTENT)) => Dim::Known(*extent),
            Some(DimensionValue::DimParam(name)) if !name.is_empty() => self.bind(name.clone()),
            _ if is_input => self.bind(format!("{}.{axis}", info.name())),
            _ => Dim::Unknown,
        };
        Some(Value::new(
            data_type,
            shape.dim.iter().enumerate().map(dim).collect(),
        ))
    }

    fn bind(&self, name: String) -> Dim {
        match self.bindings.get(&name) {
            Some(&extent) => Dim::Known(extent as i64),
            None => Dim::Symbol(name),
        }
    }
}

/// Computes the output of a node whose inputs are all known, if it is small.
fn follow(call: &Call, output: &mut Value) {
    let is_small = |value: &Value| {
        let extents = value.extents();
        let count = extents.and_then(|extents| extents.iter().try_fold(1_usize, |n, &e| n.checked_mul(e)));
        count.is_some_and(|count| count <= MOST_FOLLOWED)
    };
    if output.constant.is_some() || !evaluate::may_evaluate(call.node) || !is_small(output) {
        return;
    }
    let mut tensors = Vec::with_capacity(call.inputs.len());
    for input in &call.inputs {
        match input {
            Some(value) => match value.known() {
                Some(tensor) => tensors.push(Some(tensor)),
                None => return,
            },
            None => tensors.push(None),
        }
    }
    let inputs: Vec<Option<&TensorProto>> = tensors.iter().map(Option::as_ref).collect();
    if let Some(tensor) = evaluate::evaluate(call.node, &inputs, output) {
        output.elements = elements_of(&tensor).or(output.elements.take());
        output.constant = Some(tensor);
    }
}

/// The elements of a small integer tensor of at most one axis.
fn elements_of(tensor: &TensorProto) -> Option<Vec<Dim>> {
    let integers = matches!(tensor.element_type(), Ok(DataType::Int64 | DataType::Int32));
    let elements = (integers && tensor.dims.len() <= 1).then(|| tensor.integers().ok())??;
    Some(elements.into_iter().map(Dim::Known).collect())
}

/// What is known of a constant.
fn constant(tensor: &TensorProto) -> Result<Value, Error> {
    let shape: Vec<usize> = tensor.shape()?;
    let mut value = Value::new(
        tensor.element_type()?,
        shape.iter().map(|&extent| extent.into()).collect(),
    );
    if tensor.count().is_ok_and(|count| count <= MOST_FOLLOWED) {
        tensor.validate()?;
        value.elements = elements_of(tensor);
        value.constant = Some(tensor.clone());
    }
    Ok(value)
}

/// The shape that both agree on, each axis as exactly as either knows it.
fn merge(inferred: &Value, declared: &Value) -> Result<Option<Vec<Dim>>, String> {
    if inferred.data_type != declared.data_type {
        let (found, expected) = (inferred.data_type.label(), declared.data_type.label());
        return Err(format!("{expected}, but it is {found}"));
    }
    let (Some(found), Some(expected)) = (&inferred.shape, &declared.shape) else {
        return Ok(inferred.shape.clone().or_else(|| declared.shape.clone()));
    };
    let contradiction = || format!("{}, but it is {}", dim::display(expected), dim::display(found));
    if found.len() != expected.len() {
        return Err(contradiction());
    }
    let axes = found
        .iter()
        .zip(expected)
        .map(|(found, expected)| match (found, expected) {
            (Dim::Known(a), Dim::Known(b)) if a != b => Err(contradiction()),
            (Dim::Known(_), _) | (Dim::Symbol(_), Dim::Symbol(_) | Dim::Unknown) => Ok(found.clone()),
            (_, expected) => Ok(expected.clone()),
        });
    axes.collect::<Result<_, _>>().map(Some)
}
