//! Weights and biases, and products with a matrix of them.

use super::{Lowering, Step};
use crate::convert::tflite::axes::plain;
use crate::convert::tflite::program::{Quantization, Tensor, TensorId};
use crate::convert::tflite::quantization::{self, Integers};
use crate::convert::tflite::schema::{Code, Kind, Options};
use crate::error::Error;
use crate::graph::NodeId;
use crate::proto::TensorProto;

impl Lowering<'_> {
    /// The constant that holds a node's weights, and the pair that it is half of.
    pub(super) fn weight_constant(&self, id: NodeId, index: usize) -> Option<(&TensorProto, Option<NodeId>)> {
        let name = self.graph.node(id).input_name(index)?;
        if let Some(constant) = self.graph.initializer(name) {
            return Some((constant, None));
        }
        let (integers, pair) = self.stored(name)?;
        Some((self.graph.initializer(integers)?, Some(pair)))
    }

    /// The extents of a node's weights.
    pub(super) fn weight_shape(&self, id: NodeId) -> Result<Vec<usize>, Error> {
        let node = self.graph.node(id);
        let (constant, _) = self.weight_constant(id, 1).ok_or_else(|| {
            Error::node(
                node,
                "its weights are computed, and TFLite takes constants; fold them before the export",
            )
        })?;
        constant.shape()
    }

    /// Whether the weights and bias of a node are what integer kernels take: zero lies at 0.
    pub(super) fn has_integer_weights(&self, id: NodeId) -> bool {
        let is_symmetric = |index: usize, bits: u32| {
            let Some((constant, Some(pair))) = self.weight_constant(id, index) else {
                return false;
            };
            let quantization = quantization::of(self.graph, pair);
            let zero = quantization.is_ok_and(|found| found.zero_points.iter().all(|&zero| zero == 0));
            zero && constant
                .element_type()
                .is_ok_and(|kind| kind.bits() == Some(bits))
        };
        is_symmetric(1, 8) && (self.graph.node(id).input_name(2).is_none() || is_symmetric(2, 32))
    }

    /// A node's weights in this order of axes.
    pub(super) fn weights(&mut self, step: &Step, layout: &[usize]) -> Result<TensorId, Error> {
        let name = self.graph.node(step.id).input[1].clone();
        let (constant, pair) = self
            .weight_constant(step.id, 1)
            .expect("their shape was asked for before");
        // Those of a row, `[O, I, W]`, are of a picture of one line.
        let is_row = constant.dims.len() + 1 == layout.len();
        if !step.integer && !is_row {
            let tensor = self.read(&name, layout)?;
            return Ok(self.stored_in_half(tensor));
        }
        let mut constant = constant.clone();
        if is_row {
            constant.dims.insert(2, 1);
        }
        match pair {
            Some(pair) if step.integer => self.constant_integers(&constant, pair, layout),
            Some(pair) => self.dequantized_constant(&name, &constant, pair, layout),
            None => {
                let tensor = self.floats(&constant, layout)?;
                Ok(self.stored_in_half(tensor))
            }
        }
    }

    /// A node's bias for so many channels; zeros where it has none.
    pub(super) fn bias(
        &mut self,
        step: &Step,
        weights: TensorId,
        channels: usize,
    ) -> Result<TensorId, Error> {
        let name = self.graph.node(step.id).input_name(2).map(str::to_owned);
        if step.integer {
            return self.integer_bias(step, weights, channels);
        }
        let Some(name) = name else {
            return Ok(self.program.floats("zeros", &[channels], &vec![0.0; channels]));
        };
        let tensor = self.read(&name, &[0])?;
        Ok(self.stored_in_half(tensor))
    }

    /// The scale of an integer bias is the product of those of input and weights, whatever the file says: it is
    /// what the kernel takes it for.
    fn integer_bias(&mut self, step: &Step, weights: TensorId, channels: usize) -> Result<TensorId, Error> {
        let node = self.graph.node(step.id);
        let input = self.input(step, 0)?;
        let layout = self.axes(&input)?;
        let input = self.read(&input, &layout)?;
        let scale = self.quantization(input).map_or(1.0, |found| found.scales[0]);
        let weight_scales = self
            .quantization(weights)
            .map_or_else(|| vec![1.0], |found| found.scales);
        let scales: Vec<f32> = weight_scales.iter().map(|weight| scale * weight).collect();
        let mut values = vec![0; channels];
        if let Some((constant, Some(pair))) = self.weight_constant(step.id, 2) {
            let Some(Integers::Words(words)) = quantization::integers(constant)? else {
                return Err(Error::node(node, "its bias is not stored in int32"));
            };
            if words.len() != channels {
                return Err(Error::node(
                    node,
                    format!("its bias is not one number for each of {channels} channels"),
                ));
            }
            let stored = quantization::of(self.graph, pair)?.scales;
            let at = |list: &[f32], index: usize| f64::from(list[if list.len() == 1 { 0 } else { index }]);
            for (index, word) in words.into_iter().enumerate() {
                let value = f64::from(word) * at(&stored, index) / at(&scales, index);
                values[index] = value.round() as i32;
            }
        }
        let zero_points = vec![0; scales.len()];
        Ok(self.program.add(Tensor {
            name: format!("{}_bias", self.program.tensor(weights).name),
            kind: Kind::Int32,
            shape: vec![channels],
            quantization: Some(Quantization {
                scales,
                zero_points,
                axis: 0,
            }),
            data: Some(values.into_iter().flat_map(i32::to_le_bytes).collect()),
        }))
    }

    /// A constant of floats in half precision, where that is wanted, and a call that makes floats of it.
    pub(super) fn stored_in_half(&mut self, tensor: TensorId) -> TensorId {
        let found = self.program.tensor(tensor);
        let Some(data) = found
            .data
            .as_ref()
            .filter(|_| self.half && found.kind == Kind::Float32)
        else {
            return tensor;
        };
        let words = data
            .chunks_exact(4)
            .map(|word| f32::from_le_bytes([word[0], word[1], word[2], word[3]]));
        let halves = words
            .map(crate::passes::fp16::nearest_half)
            .flat_map(half::f16::to_le_bytes);
        let stored = Tensor {
            name: format!("{}_half", found.name),
            kind: Kind::Float16,
            shape: found.shape.clone(),
            quantization: None,
            data: Some(halves.collect()),
        };
        let output = Tensor {
            data: None,
            ..found.clone()
        };
        let (stored, output) = (self.program.add(stored), self.program.add(output));
        self.push(Code::Dequantize, vec![stored], output, Options::None);
        output
    }

    /// `Gemm` with constant weights.
    pub(super) fn gemm(&mut self, step: &Step) -> Result<(), Error> {
        let node = self.graph.node(step.id);
        let is_one = |name: &str| {
            node.float(name)
                .is_none_or(|factor| (factor - 1.0).abs() < f32::EPSILON)
        };
        if node.int("transA").unwrap_or(0) != 0 || !is_one("alpha") || !is_one("beta") {
            return Err(Error::node(
                node,
                "it transposes its input, or alpha or beta is not 1; export it as MatMul and Add",
            ));
        }
        let shape = self.weight_shape(step.id)?;
        let order = if node.int("transB").unwrap_or(0) == 0 {
            [1, 0]
        } else {
            [0, 1]
        };
        let &[rows, columns] = shape.as_slice() else {
            return Err(Error::node(node, "its weights are no matrix"));
        };
        let outputs = [rows, columns][order[0]];
        self.fully_connected(step, &order, outputs)
    }

    /// `MatMul`: with a constant matrix, or of two values.
    pub(super) fn matrix_product(&mut self, step: &Step) -> Result<(), Error> {
        let node = self.graph.node(step.id);
        let matrix = self
            .weight_constant(step.id, 1)
            .map(|(constant, _)| constant.shape())
            .transpose()?;
        if let Some(&[_, outputs]) = matrix.as_deref() {
            return self.fully_connected(step, &[1, 0], outputs);
        }
        if self.weight_constant(step.id, 0).is_some() && step.integer {
            return self.matrix_product(&self.in_float(step, "its first factor is constant"));
        }
        let mut call = Vec::new();
        let ranks = [
            self.shape(&node.input[0])?.len(),
            self.shape(&node.input[1])?.len(),
        ];
        let rank = self.shape(&node.output[0])?.len();
        if ranks.iter().any(|&rank| rank < 2) {
            return Err(Error::node(
                node,
                "it multiplies with a vector; reshape that to a matrix",
            ));
        }
        for (index, rank) in ranks.into_iter().enumerate() {
            let name = self.input(step, index)?;
            let pair = self
                .stored(&node.input[index])
                .map(|(_, pair)| pair)
                .filter(|_| step.integer);
            call.push(self.operand(&name, pair, &plain(rank))?);
        }
        self.emit(step, &plain(rank), Code::BatchMatmul, call, Options::BatchMatmul)
    }

    fn fully_connected(&mut self, step: &Step, order: &[usize], outputs: usize) -> Result<(), Error> {
        if step.integer && !self.has_integer_weights(step.id) {
            let float = self.in_float(step, "its weights are not symmetric 8-bit constants");
            return self.fully_connected(&float, order, outputs);
        }
        let node = self.graph.node(step.id);
        let rank = self.shape(&node.output[0])?.len();
        if self.shape(&node.input[0])?.len() != rank {
            return Err(Error::node(
                node,
                "it multiplies a vector; reshape that to a matrix",
            ));
        }
        let input = self.input(step, 0)?;
        let input = self.read(&input, &plain(rank))?;
        let weights = self.weights(step, order)?;
        let addend = node.input_name(2).map(|name| self.shape(name)).transpose()?;
        let is_bias = addend.as_deref().is_none_or(|shape| shape == [outputs]);
        if !is_bias {
            return Err(Error::node(
                node,
                format!(
                    "its addend is not one number for each of {outputs} outputs; export it as MatMul and Add"
                ),
            ));
        }
        let bias = self.bias(step, weights, outputs)?;
        let options = Options::FullyConnected {
            activation: step.activation,
            keep_axes: rank > 2,
        };
        self.emit(
            step,
            &plain(rank),
            Code::FullyConnected,
            vec![input, weights, bias],
            options,
        )
    }
}
