//! A TFLite model in memory: tensors, and operators in the order in which they run.

use std::collections::HashMap;

use super::schema::{Code, Kind, Options};

/// A tensor of a [`Program`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct TensorId(pub(super) usize);

/// What the integers of a tensor stand for: `scale * (integer - zero point)`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Quantization {
    /// One, or one for each index of `axis`.
    pub(super) scales: Vec<f32>,
    /// As many as scales.
    pub(super) zero_points: Vec<i64>,
    pub(super) axis: usize,
}

impl Quantization {
    /// Of a tensor with one scale.
    pub(super) fn of(scale: f32, zero_point: i64) -> Self {
        Self {
            scales: vec![scale],
            zero_points: vec![zero_point],
            axis: 0,
        }
    }
}

/// A value or constant.
#[derive(Debug, Clone)]
pub(super) struct Tensor {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) shape: Vec<usize>,
    pub(super) quantization: Option<Quantization>,
    /// The bytes of a constant.
    pub(super) data: Option<Vec<u8>>,
}

/// A kernel's call.
#[derive(Debug, Clone)]
pub(super) struct Operator {
    pub(super) code: Code,
    pub(super) inputs: Vec<TensorId>,
    pub(super) outputs: Vec<TensorId>,
    pub(super) options: Options,
}

/// The whole model.
#[derive(Debug, Clone, Default)]
pub(super) struct Program {
    tensors: Vec<Tensor>,
    operators: Vec<Operator>,
    pub(super) inputs: Vec<Port>,
    pub(super) outputs: Vec<Port>,
    /// Small constants that are there already.
    shared: HashMap<(Kind, Vec<usize>, Vec<u8>), TensorId>,
}

/// An input or output of the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Port {
    /// The name that it has in the ONNX model.
    pub(super) name: String,
    pub(super) tensor: TensorId,
    /// For each axis of the tensor, which axis of the ONNX model's it is.
    pub(super) layout: Vec<usize>,
}

/// Constants of at most so many bytes are looked up before another is made.
const SHARED: usize = 64;

impl Program {
    /// Adds a tensor.
    pub(super) fn add(&mut self, tensor: Tensor) -> TensorId {
        self.tensors.push(tensor);
        TensorId(self.tensors.len() - 1)
    }

    /// A constant without quantization.
    pub(super) fn constant(&mut self, name: &str, kind: Kind, shape: &[usize], data: Vec<u8>) -> TensorId {
        let key = (kind, shape.to_vec(), data);
        if let Some(&known) = self.shared.get(&key) {
            return known;
        }
        let id = self.add(Tensor {
            name: name.to_owned(),
            kind,
            shape: shape.to_vec(),
            quantization: None,
            data: Some(key.2.clone()),
        });
        if key.2.len() <= SHARED {
            self.shared.insert(key, id);
        }
        id
    }

    /// A constant list of numbers that sets up a kernel.
    pub(super) fn ints(&mut self, values: &[i32]) -> TensorId {
        let data = values.iter().copied().flat_map(i32::to_le_bytes).collect();
        self.constant("numbers", Kind::Int32, &[values.len()], data)
    }

    /// A constant of float32.
    pub(super) fn floats(&mut self, name: &str, shape: &[usize], values: &[f32]) -> TensorId {
        let data = values.iter().copied().flat_map(f32::to_le_bytes).collect();
        self.constant(name, Kind::Float32, shape, data)
    }

    /// Adds a call behind the others.
    pub(super) fn push(&mut self, operator: Operator) {
        self.operators.push(operator);
    }

    /// A tensor.
    pub(super) fn tensor(&self, id: TensorId) -> &Tensor {
        &self.tensors[id.0]
    }

    /// All tensors, in the order of their handles.
    pub(super) fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// All calls, in the order in which they run.
    pub(super) fn operators(&self) -> &[Operator] {
        &self.operators
    }

    /// Removes the tensors that nothing uses: constants of which another form is read.
    pub(super) fn remove_unused(&mut self) {
        let mut used = vec![false; self.tensors.len()];
        let calls = self
            .operators
            .iter()
            .flat_map(|operator| operator.inputs.iter().chain(&operator.outputs));
        let ports = self.inputs.iter().chain(&self.outputs).map(|port| &port.tensor);
        for id in calls.chain(ports) {
            used[id.0] = true;
        }
        let mut next = 0;
        let numbers: Vec<usize> = used
            .iter()
            .map(|&is_used| {
                next += usize::from(is_used);
                next.saturating_sub(1)
            })
            .collect();
        let calls = self
            .operators
            .iter_mut()
            .flat_map(|operator| operator.inputs.iter_mut().chain(&mut operator.outputs));
        let ports = self
            .inputs
            .iter_mut()
            .chain(&mut self.outputs)
            .map(|port| &mut port.tensor);
        for id in calls.chain(ports) {
            id.0 = numbers[id.0];
        }
        let mut is_used = used.into_iter();
        self.tensors.retain(|_| is_used.next() == Some(true));
        self.shared.clear();
    }

    /// Takes the bytes of the constants out.
    pub(super) fn take_data(&mut self) -> Vec<Option<Vec<u8>>> {
        self.tensors.iter_mut().map(|tensor| tensor.data.take()).collect()
    }
}
