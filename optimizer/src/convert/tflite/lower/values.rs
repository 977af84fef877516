//! Which tensor holds an ONNX value, and in which order of axes.

use super::{Lowering, Placed};
use crate::convert::tflite::axes::{CHANNELS_LAST, arranged, permutation, plain, same_order};
use crate::convert::tflite::program::{Quantization, Tensor, TensorId};
use crate::convert::tflite::quantization::{self, Integers};
use crate::convert::tflite::schema::{Code, Kind, Options};
use crate::error::Error;
use crate::graph::NodeId;
use crate::proto::{DataType, TensorProto};

impl Lowering<'_> {
    /// The extents of a value.
    pub(super) fn shape(&self, value: &str) -> Result<Vec<usize>, Error> {
        let extents = self.values.get(value).and_then(crate::shape::Value::extents);
        let extents = extents.ok_or_else(|| {
            Error::Graph(format!(
                "the shape of `{value}` is not known before the model runs, and TFLite wants it fixed; export the model with fixed extents"
            ))
        })?;
        if extents.contains(&0) {
            return Err(Error::Graph(format!(
                "`{value}` has no elements; cut it off the model"
            )));
        }
        Ok(extents)
    }

    /// The integers that a value is made of, and the pair's second half; `None` where it is none of a pair.
    pub(super) fn stored(&self, value: &str) -> Option<(&str, NodeId)> {
        let id = self.graph.producer(value)?;
        let node = self.graph.node(id);
        node.is("DequantizeLinear").then(|| (node.input[0].as_str(), id))
    }

    /// How the value lies in the tensor that holds it; a constant lies in ONNX's order.
    pub(super) fn axes(&mut self, value: &str) -> Result<Vec<usize>, Error> {
        if let Some(placed) = self.placed.get(value) {
            return Ok(placed[0].layout.clone());
        }
        if let Some((integers, _)) = self.stored(value) {
            let integers = integers.to_owned();
            return self.axes(&integers);
        }
        Ok(plain(self.shape(value)?.len()))
    }

    /// Makes a tensor for a value that lies as `axes` say.
    pub(super) fn place(&mut self, value: &str, layout: &[usize]) -> Result<TensorId, Error> {
        let shape = arranged(&self.shape(value)?, layout);
        let (kind, quantization) = self.kind(value)?;
        let tensor = self.program.add(Tensor {
            name: value.to_owned(),
            kind,
            shape,
            quantization,
            data: None,
        });
        self.hold(value, tensor, layout);
        Ok(tensor)
    }

    /// Lets a tensor hold a value.
    pub(super) fn hold(&mut self, value: &str, tensor: TensorId, layout: &[usize]) {
        let placed = Placed {
            tensor,
            layout: layout.to_vec(),
        };
        self.placed.entry(value.to_owned()).or_default().push(placed);
    }

    /// Lets the tensors that hold `value` hold `other` too.
    pub(super) fn alias(&mut self, value: &str, other: &str) -> Result<(), Error> {
        let layout = self.axes(value)?;
        self.read(value, &layout)?;
        let placed = self.placed.get(value).cloned().unwrap_or_default();
        self.placed.insert(other.to_owned(), placed);
        Ok(())
    }

    /// The element type of a value's tensor, and what its integers stand for.
    pub(super) fn kind(&self, value: &str) -> Result<(Kind, Option<Quantization>), Error> {
        let found = self.values.get(value).map(|value| value.data_type);
        match found {
            Some(DataType::Float | DataType::Float16 | DataType::Bfloat16) => Ok((Kind::Float32, None)),
            Some(DataType::Int64) => Ok((Kind::Int64, None)),
            Some(DataType::Bool) => Ok((Kind::Bool, None)),
            Some(DataType::Int8 | DataType::Uint8) => {
                let pair = self.graph.producer(value);
                let pair = pair.filter(|&id| self.graph.node(id).is("QuantizeLinear"));
                let pair = pair.ok_or_else(|| {
                    Error::Graph(format!("the integers `{value}` come from no QuantizeLinear; quantize with `edgefront quantize`"))
                })?;
                let quantization = quantization::of(self.graph, pair)?;
                if quantization.scales.len() > 1 {
                    let node = self.graph.node(pair);
                    return Err(Error::node(
                        node,
                        "TFLite takes one scale for each activation; quantize it so",
                    ));
                }
                Ok((Kind::Int8, Some(quantization)))
            }
            Some(other) => Err(Error::Graph(format!(
                "`{value}` is {}, and only float32, float16 and 8-bit values are converted; cut it off the model",
                other.label()
            ))),
            None => Err(Error::Graph(format!("the type of `{value}` is not known"))),
        }
    }

    /// A tensor that holds the value and lies as `axes` say: the one that its node made, or a transposed one.
    pub(super) fn read(&mut self, value: &str, layout: &[usize]) -> Result<TensorId, Error> {
        if let Some(placed) = self.placed.get(value) {
            if let Some(found) = placed.iter().find(|placed| placed.layout == layout) {
                return Ok(found.tensor);
            }
            let first = placed[0].clone();
            return self.rearranged(value, &first, layout);
        }
        if let Some(constant) = self.graph.initializer(value) {
            let tensor = self.floats(constant, layout)?;
            self.hold(value, tensor, layout);
            return Ok(tensor);
        }
        match self.stored(value) {
            Some((integers, pair)) => {
                let integers = integers.to_owned();
                self.dequantized(value, &integers, pair, layout)
            }
            None => Err(Error::Graph(format!("`{value}` is read before it is made"))),
        }
    }

    /// Adds a transposition, or where elements keep their order a new shape.
    fn rearranged(&mut self, value: &str, from: &Placed, layout: &[usize]) -> Result<TensorId, Error> {
        let shape = self.shape(value)?;
        let target = arranged(&shape, layout);
        let output = self.between(from.tensor, "transposed", target.clone());
        if same_order(&shape, &from.layout, layout) {
            self.push_reshape(from.tensor, output);
        } else {
            let order: Vec<i32> = permutation(&from.layout, layout)
                .into_iter()
                .map(|axis| axis as i32)
                .collect();
            let order = self.program.ints(&order);
            self.push(Code::Transpose, vec![from.tensor, order], output, Options::None);
        }
        self.hold(value, output, layout);
        Ok(output)
    }

    /// Adds a call that gives a tensor's elements another shape.
    pub(super) fn push_reshape(&mut self, from: TensorId, to: TensorId) {
        let shape: Vec<i32> = self
            .program
            .tensor(to)
            .shape
            .iter()
            .map(|&extent| extent as i32)
            .collect();
        let target = self.program.ints(&shape);
        self.push(Code::Reshape, vec![from, target], to, Options::Reshape(shape));
    }

    /// The floats of a pair: of a constant at once, of a value when the model runs.
    fn dequantized(
        &mut self,
        value: &str,
        integers: &str,
        pair: NodeId,
        layout: &[usize],
    ) -> Result<TensorId, Error> {
        if let Some(constant) = self.graph.initializer(integers) {
            let tensor = if self.half {
                None
            } else {
                self.wide_constant(constant, pair, layout)?
            };
            let tensor = match tensor {
                Some(tensor) => tensor,
                None => self.dequantized_constant(value, constant, pair, layout)?,
            };
            self.hold(value, tensor, layout);
            return Ok(tensor);
        }
        let natural = self.axes(integers)?;
        let from = self.read(integers, &natural)?;
        let output = self.place(value, &natural)?;
        self.push(Code::Dequantize, vec![from], output, Options::None);
        self.read(value, layout)
    }

    /// Large weights of a node that computes in float stay small in the file: their floats are made when the model
    /// is loaded.
    fn wide_constant(
        &mut self,
        constant: &TensorProto,
        pair: NodeId,
        layout: &[usize],
    ) -> Result<Option<TensorId>, Error> {
        const LARGE: usize = 1024;
        if constant.count()? < LARGE || !matches!(constant.element_type()?, DataType::Int8 | DataType::Uint8)
        {
            return Ok(None);
        }
        let from = self.constant_integers(constant, pair, layout)?;
        let stored = self.program.tensor(from);
        let output = Tensor {
            name: format!("{}_float", stored.name),
            kind: Kind::Float32,
            shape: stored.shape.clone(),
            quantization: None,
            data: None,
        };
        let output = self.program.add(output);
        self.push(Code::Dequantize, vec![from], output, Options::None);
        Ok(Some(output))
    }

    pub(super) fn dequantized_constant(
        &mut self,
        value: &str,
        constant: &TensorProto,
        pair: NodeId,
        layout: &[usize],
    ) -> Result<TensorId, Error> {
        let quantization = quantization::of(self.graph, pair)?;
        let integers: Vec<i64> = match quantization::integers(constant)? {
            Some(Integers::Bytes(bytes)) => bytes.into_iter().map(i64::from).collect(),
            Some(Integers::Words(words)) => words.into_iter().map(i64::from).collect(),
            None => {
                return Err(Error::tensor(
                    constant.name(),
                    "its integers have neither 8 nor 32 bits",
                ));
            }
        };
        let shape = constant.shape()?;
        let inner: usize = shape.iter().skip(quantization.axis + 1).product();
        let count = quantization.scales.len();
        let floats = integers.into_iter().enumerate().map(|(index, integer)| {
            let channel = if count == 1 { 0 } else { index / inner % count };
            (integer - quantization.zero_points[channel]) as f32 * quantization.scales[channel]
        });
        let floats: Vec<f32> = floats.collect();
        let tensor = TensorProto::of(value, &shape, &floats);
        self.floats(&tensor, layout)
    }

    /// The integers of a quantized constant, in this order of axes.
    pub(super) fn constant_integers(
        &mut self,
        constant: &TensorProto,
        pair: NodeId,
        layout: &[usize],
    ) -> Result<TensorId, Error> {
        let mut quantization = quantization::of(self.graph, pair)?;
        if quantization.scales.len() > 1 {
            quantization.axis = crate::convert::tflite::axes::place(layout, quantization.axis);
        }
        let shape = constant.shape()?;
        let (kind, data) = match quantization::integers(constant)? {
            Some(Integers::Bytes(bytes)) => {
                let bytes = moved(&bytes, &shape, layout);
                (Kind::Int8, bytes.into_iter().map(i8::cast_unsigned).collect())
            }
            Some(Integers::Words(words)) => {
                let words = moved(&words, &shape, layout);
                (
                    Kind::Int32,
                    words.into_iter().flat_map(i32::to_le_bytes).collect(),
                )
            }
            None => {
                return Err(Error::tensor(
                    constant.name(),
                    "its integers have neither 8 nor 32 bits",
                ));
            }
        };
        Ok(self.program.add(Tensor {
            name: constant.name().to_owned(),
            kind,
            shape: arranged(&shape, layout),
            quantization: Some(quantization),
            data: Some(data),
        }))
    }

    /// A constant of floats, in this order of axes.
    pub(super) fn floats(&mut self, constant: &TensorProto, layout: &[usize]) -> Result<TensorId, Error> {
        let shape = constant.shape()?;
        let values = moved(&constant.floats()?, &shape, layout);
        Ok(self
            .program
            .floats(constant.name(), &arranged(&shape, layout), &values))
    }

    /// The integers of a node's operand: of a value, or of a constant.
    pub(super) fn operand(
        &mut self,
        value: &str,
        pair: Option<NodeId>,
        layout: &[usize],
    ) -> Result<TensorId, Error> {
        match (self.graph.initializer(value), pair) {
            (Some(constant), Some(pair)) => self.constant_integers(constant, pair, layout),
            _ => self.read(value, layout),
        }
    }

    /// `QuantizeLinear` of a value that is computed in float.
    pub(super) fn quantize(&mut self, id: NodeId) -> Result<(), Error> {
        let node = self.graph.node(id);
        let (input, output) = (&node.input[0], &node.output[0]);
        let layout = self.axes(input)?;
        // A pair that another follows at once changes the scale; no floats are made between the two.
        let integers = self
            .stored(input)
            .filter(|(integers, _)| self.graph.initializer(integers).is_none());
        let from = match integers.map(|(integers, _)| integers.to_owned()) {
            Some(integers) => self.read(&integers, &layout)?,
            None => self.read(input, &layout)?,
        };
        let to = self.place(output, &layout)?;
        self.push(Code::Quantize, vec![from], to, Options::None);
        Ok(())
    }
}

/// How values of that many axes lie at the model's borders.
pub(super) fn usual_axes(rank: usize) -> Vec<usize> {
    if rank == CHANNELS_LAST.len() {
        CHANNELS_LAST.to_vec()
    } else {
        plain(rank)
    }
}

/// The elements of an array of `shape` in another order of axes.
pub(super) fn moved<T: Copy>(values: &[T], shape: &[usize], layout: &[usize]) -> Vec<T> {
    let mut strides = vec![1; shape.len()];
    for axis in (0..shape.len().saturating_sub(1)).rev() {
        strides[axis] = strides[axis + 1] * shape[axis + 1];
    }
    let (extents, steps) = (arranged(shape, layout), arranged(&strides, layout));
    let mut index = vec![0; shape.len()];
    let mut at = 0;
    let mut result = Vec::with_capacity(values.len());
    for _ in 0..values.len() {
        result.push(values[at]);
        for axis in (0..extents.len()).rev() {
            index[axis] += 1;
            at += steps[axis];
            if index[axis] < extents[axis] {
                break;
            }
            at -= steps[axis] * extents[axis];
            index[axis] = 0;
        }
    }
    result
}
