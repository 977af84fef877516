//! Weights alone in 8 or 4 bits; activations stay in float, so that no calibration is needed.
//!
//! A `DequantizeLinear` stands between the stored integers and the node. ONNX Runtime fuses it with a `MatMul`
//! into one kernel (`MatMulNBits`); before a convolution it computes the weights anew in each run, which makes the
//! file smaller and not faster. tract 0.23 loads the 8-bit form and not the 4-bit one.

use std::collections::HashMap;

use prost::bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::finish;
use super::prepare::raise;
use crate::error::Error;
use crate::graph::{Graph, NodeId};
use crate::layer;
use crate::model::Model;
use crate::proto::{AttributeProto, DataType, TensorProto, node, onnx};
use crate::report::PassReport;

/// Name of the pass.
pub const NAME: &str = "quantize-weights";

/// The opset that brought integers of 4 bits and scales for blocks.
const OPSET_OF_BLOCKS: i64 = 21;

/// What a user may choose about weights in few bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Bits of a weight.
    pub bits: Bits,
    /// With 4 bits, input channels that share a scale: a power of two of at least 16, as ONNX Runtime's kernel
    /// asks for.
    pub block: usize,
}

/// Bits of a weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum Bits {
    /// One scale an output channel; convolutions too.
    Eight,
    /// One scale a block of input channels; matrix products only.
    Four,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            bits: Bits::Eight,
            block: 32,
        }
    }
}

impl Options {
    /// Refuses figures that are out of range.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.bits == Bits::Eight || (self.block >= 16 && self.block.is_power_of_two()) {
            return Ok(());
        }
        Err(Error::Refused {
            pass: NAME.to_owned(),
            reason: format!("a block of {} is not a power of two of at least 16", self.block),
        })
    }
}

impl TryFrom<u8> for Bits {
    type Error = String;

    fn try_from(bits: u8) -> Result<Self, String> {
        match bits {
            8 => Ok(Self::Eight),
            4 => Ok(Self::Four),
            other => Err(format!("weights have 8 or 4 bits, not {other}")),
        }
    }
}

impl From<Bits> for u8 {
    fn from(bits: Bits) -> Self {
        match bits {
            Bits::Eight => 8,
            Bits::Four => 4,
        }
    }
}

/// Stores the float32 weights of convolutions and matrix products in few bits, symmetric around zero. Every
/// weight moves by at most half a step of its scale.
///
/// # Errors
/// Where weights are not finite, and where the model cannot be raised to opset 21, which 4 bits need.
pub fn quantize_weights(model: &Model, options: &Options) -> Result<(Model, PassReport), Error> {
    options.check()?;
    let model = match options.bits {
        Bits::Eight => model.clone(),
        Bits::Four => raise(model.clone(), OPSET_OF_BLOCKS)?,
    };
    let mut graph = Graph::new(model)?;
    let mut report = PassReport::new(NAME);
    let mut stored = HashMap::new();
    for id in graph.ids() {
        if !layer::has_weights(graph.node(id)) {
            continue;
        }
        let label = graph.node(id).label();
        match plan(&graph, id, options)? {
            Ok(plan) => {
                report.applied(&label, plan.describe());
                install(&mut graph, id, &plan, &mut stored);
            }
            Err(why) => report.skipped(&label, why),
        }
    }
    graph.remove_unused_initializers();
    Ok((finish(NAME, graph)?, report))
}

/// How a weight tensor is to be stored.
struct Plan {
    name: String,
    shape: Vec<usize>,
    values: Vec<f32>,
    /// The axis along which scales differ.
    axis: usize,
    /// Elements along the axis that share a scale where there are blocks; without them each has its own.
    block: Option<usize>,
}

/// The plan for a node's weights, or why they stay in float.
fn plan(graph: &Graph, id: NodeId, options: &Options) -> Result<Result<Plan, String>, Error> {
    let Some(weights) = layer::weights(graph, id) else {
        return Ok(Err("its weights are not a float32 constant".to_owned()));
    };
    let node = graph.node(id);
    let shape = weights.tensor.shape()?;
    let values = weights.tensor.floats()?;
    if let Some(value) = values.iter().find(|value| !value.is_finite()) {
        return Err(Error::tensor(
            weights.tensor.name(),
            format!("it holds {value}, which cannot be quantized; repair the model"),
        ));
    }
    if values.is_empty() {
        return Ok(Err("its weights are empty".to_owned()));
    }
    let (axis, block) = match options.bits {
        Bits::Eight => (weights.output_axis, None),
        Bits::Four if shape.len() != 2 => {
            return Ok(Err(format!("a {} has no 4-bit form", node.op_type())));
        }
        Bits::Four if shape[weights.input_axis] < options.block => {
            let channels = shape[weights.input_axis];
            return Ok(Err(format!(
                "its {channels} input channels are less than a block of {}",
                options.block
            )));
        }
        Bits::Four => (weights.input_axis, Some(options.block)),
    };
    Ok(Ok(Plan {
        name: weights.tensor.name().to_owned(),
        shape,
        values,
        axis,
        block,
    }))
}

impl Plan {
    fn describe(&self) -> String {
        match self.block {
            None => "s8 weights, a scale a channel".to_owned(),
            Some(block) => format!("s4 weights, a scale for each {block} input channels"),
        }
    }

    /// The largest integer; its negative is the least, so that zero stays zero.
    fn largest(&self) -> f32 {
        if self.block.is_some() { 7.0 } else { 127.0 }
    }

    /// Shape of the scales, and for each weight the index of its scale.
    fn scales(&self) -> (Vec<usize>, Vec<usize>) {
        let inner: usize = self.shape[self.axis + 1..].iter().product();
        let extent = self.shape[self.axis];
        match self.block {
            None => {
                let of = |element: usize| element / inner % extent;
                (vec![extent], (0..self.values.len()).map(of).collect())
            }
            Some(block) => {
                let blocks = extent.div_ceil(block);
                let of = |element: usize| {
                    let (outer, along) = (element / (inner * extent), element / inner % extent);
                    (outer * blocks + along / block) * inner + element % inner
                };
                let mut shape = self.shape.clone();
                shape[self.axis] = blocks;
                (shape, (0..self.values.len()).map(of).collect())
            }
        }
    }

    /// The stored integers and their scales, as initializers of these names.
    fn tensors(&self, integers: &str, scales: &str) -> (TensorProto, TensorProto) {
        let (shape, of) = self.scales();
        let mut steps = vec![0.0_f32; shape.iter().product()];
        for (value, &scale) in self.values.iter().zip(&of) {
            steps[scale] = steps[scale].max(value.abs() / self.largest());
        }
        for step in &mut steps {
            // A block of zeros has any scale.
            if *step < f32::MIN_POSITIVE {
                *step = 1.0;
            }
        }
        let largest = self.largest();
        let round = |(value, &scale): (&f32, &usize)| {
            (value / steps[scale]).round_ties_even().clamp(-largest, largest) as i8
        };
        let stored: Vec<i8> = self.values.iter().zip(&of).map(round).collect();
        let stored = match self.block {
            None => TensorProto::of(integers, &self.shape, &stored),
            Some(_) => packed(integers, &self.shape, &stored),
        };
        (stored, TensorProto::of(scales, &shape, &steps))
    }
}

/// Integers of 4 bits, two a byte, the first in the lower half.
fn packed(name: &str, shape: &[usize], values: &[i8]) -> TensorProto {
    let nibble = |value: Option<&i8>| value.map_or(0, |value| value.cast_unsigned() & 0xF);
    let bytes = values
        .chunks(2)
        .map(|pair| nibble(pair.first()) | nibble(pair.get(1)) << 4);
    onnx::TensorProto {
        name: Some(name.to_owned()),
        data_type: Some(DataType::Int4.into()),
        dims: shape.iter().map(|&extent| extent as i64).collect(),
        raw_data: Some(bytes.collect::<Bytes>()),
        ..Default::default()
    }
    .into()
}

/// Makes the node read its weights through a `DequantizeLinear`, one for all nodes that share them.
fn install(graph: &mut Graph, id: NodeId, plan: &Plan, stored: &mut HashMap<(String, usize), String>) {
    let key = (plan.name.clone(), plan.axis);
    let dequantized = stored
        .entry(key)
        .or_insert_with(|| add_dequantize(graph, plan))
        .clone();
    let reads = |(index, input): (usize, &String)| (*input == plan.name).then_some(index);
    let index = graph.node(id).input.iter().enumerate().find_map(reads);
    graph.set_input(id, index.expect("the node reads its weights"), &dequantized);
}

fn add_dequantize(graph: &mut Graph, plan: &Plan) -> String {
    let integers = graph.fresh_name(&format!("{}_quantized", plan.name));
    let scales = graph.fresh_name(&format!("{}_scale", plan.name));
    let output = graph.fresh_name(&format!("{}_dequantized", plan.name));
    let (stored, steps) = plan.tensors(&integers, &scales);
    graph.add_initializer(stored);
    graph.add_initializer(steps);
    let mut dequantize = node("DequantizeLinear", &output, &[&integers, &scales], &[&output]);
    dequantize.set_attribute(AttributeProto::from_int("axis", plan.axis as i64));
    if let Some(block) = plan.block {
        dequantize.set_attribute(AttributeProto::from_int("block_size", block as i64));
    }
    graph.add_node(dequantize);
    output
}
