//! Puts the plan into the graph: `QuantizeLinear` and `DequantizeLinear` around what is quantized.

use std::collections::HashMap;

use super::bias_correction;
use super::forms::{self, Form};
use super::layout::{BIAS, Layout, WEIGHTS};
use super::params::{self, Params};
use super::plan::{Plan, Source};
use super::weights::{self, Quantized};
use super::{ActivationType, Options};
use crate::calibrate::{Extremes, NotFinite, Statistics};
use crate::error::Error;
use crate::graph::{Graph, NodeId};
use crate::proto::{AttributeProto, NodeProto, TensorProto, node};

/// So many times finer than its input may an average be stored: from 256 on, ONNX Runtime refuses to compute it. Only
/// averages of what is zero but for rounding are finer.
const FINEST: f32 = 250.0;

/// The graph under change, with what is known of its quantized values.
pub(super) struct Rewriter<'a> {
    graph: &'a mut Graph,
    plan: &'a Plan,
    options: &'a Options,
    statistics: &'a Statistics,
    grid: params::Grid,
    /// By value.
    stored: HashMap<String, Stored>,
    /// Weights and biases that several nodes read, by tensor and bits of the scales.
    shared: HashMap<(String, Vec<u32>), Constant>,
}

/// Names of the integers of weights or of a bias, their scales and zero points.
#[derive(Debug, Clone)]
struct Constant {
    quantized: String,
    scale: String,
    zero_point: String,
}

/// How a value is stored, and how its integers are read.
#[derive(Debug, Clone)]
struct Stored {
    written: Constants,
    read: Constants,
}

/// Parameters and the constants that hold them.
#[derive(Debug, Clone)]
struct Constants {
    params: Params,
    scale: String,
    zero_point: String,
}

impl<'a> Rewriter<'a> {
    /// `statistics` hold the range of each value that the plan observes.
    pub(super) fn new(
        graph: &'a mut Graph,
        plan: &'a Plan,
        options: &'a Options,
        statistics: &'a Statistics,
        grid: params::Grid,
    ) -> Self {
        let mut rewriter = Self {
            graph,
            plan,
            options,
            statistics,
            grid,
            stored: HashMap::new(),
            shared: HashMap::new(),
        };
        for (value, source) in &plan.values {
            let stored = match source {
                Source::Observed => {
                    let params = rewriter.covering(value, statistics.ranges[value]);
                    let constants = rewriter.constants(value, params);
                    Stored {
                        written: constants.clone(),
                        read: constants,
                    }
                }
                Source::Gate(gate) => {
                    let (written, read) = grid.gate(*gate);
                    Stored {
                        written: rewriter.constants(&format!("{value}_input"), written),
                        read: rewriter.constants(value, read),
                    }
                }
                // Values come in the order of the graph, so the other one was stored before. What comes behind a gate
                // is a value as the gate reads it.
                Source::Shared(other) => {
                    let constants = &rewriter.stored[other].read;
                    Stored {
                        written: constants.clone(),
                        read: constants.clone(),
                    }
                }
            };
            rewriter.stored.insert(value.clone(), stored);
        }
        rewriter
    }

    /// Rewrites all of the graph.
    pub(super) fn run(mut self) -> Result<(), Error> {
        for (id, decision) in &self.plan.nodes {
            match decision {
                Ok(Form::Convolution(layout) | Form::Product(layout)) => {
                    self.quantize_weights(*id, *layout)?;
                }
                Ok(Form::Merge) => self.quantize_operands(*id)?,
                _ => {}
            }
        }
        self.remove_activations();
        for (value, source) in &self.plan.values {
            self.quantize_value(value, source);
        }
        self.graph.remove_unused_initializers();
        self.graph.remove_dead_nodes();
        Ok(())
    }

    /// The grid that covers the range of a value; that of an average no finer than [`FINEST`] allows.
    fn covering(&self, value: &str, range: Extremes) -> Params {
        let params = self.grid.covering(range);
        let least = self.averaged(value).map_or(0.0, |scale| scale / FINEST);
        if params.scale >= least {
            return params;
        }
        let factor = least / params.scale;
        self.grid.covering(Extremes {
            min: range.min * factor,
            max: range.max * factor,
        })
    }

    /// The scale of what a value is an average of.
    fn averaged(&self, value: &str) -> Option<f32> {
        let mut node = self.graph.node(self.graph.producer(value)?);
        if node.is("Relu") || node.is("Clip") {
            node = self.graph.node(self.graph.producer(&node.input[0])?);
        }
        let averages = ["AveragePool", "GlobalAveragePool", "ReduceMean"].contains(&node.op_type());
        let input = self.stored.get(&node.input[0]).filter(|_| averages)?;
        Some(input.read.params.scale)
    }

    fn constants(&mut self, value: &str, params: Params) -> Constants {
        let scale = self.graph.fresh_name(&format!("{value}_scale"));
        let zero_point = self.graph.fresh_name(&format!("{value}_zero_point"));
        self.graph
            .add_initializer(TensorProto::scalar(&scale, params.scale));
        self.graph.add_initializer(match params.kind {
            ActivationType::U8 => TensorProto::scalar(&zero_point, params.zero_point as u8),
            ActivationType::S8 => TensorProto::scalar(&zero_point, params.zero_point as i8),
        });
        Constants {
            params,
            scale,
            zero_point,
        }
    }

    /// Stores the constants among the inputs of a node as activations are stored.
    fn quantize_operands(&mut self, id: NodeId) -> Result<(), Error> {
        for index in 0..self.graph.node(id).input.len() {
            let Some(tensor) = self.graph.constant_input(id, index) else {
                continue;
            };
            let (name, shape) = (tensor.name().to_owned(), tensor.shape()?);
            let values: Vec<f32> = tensor.values()?;
            let range = Extremes::of(&values);
            let range =
                range.map_err(|NotFinite| Error::tensor(&name, "it is not finite; repair the model"))?;
            let params = self.grid.covering(range);
            let constants = self.constants(&name, params);
            let quantized = self.graph.fresh_name(&format!("{name}_quantized"));
            let integers = values.iter().map(|&value| params.integer(value));
            self.graph.add_initializer(match params.kind {
                ActivationType::U8 => {
                    TensorProto::of(&quantized, &shape, &integers.map(|i| i as u8).collect::<Vec<_>>())
                }
                ActivationType::S8 => {
                    TensorProto::of(&quantized, &shape, &integers.map(|i| i as i8).collect::<Vec<_>>())
                }
            });
            let dequantized = self.graph.fresh_name(&format!("{name}_dequantized"));
            let label = self.graph.fresh_name(&format!("{name}_DequantizeLinear"));
            self.graph.add_node(pair(
                "DequantizeLinear",
                &label,
                &quantized,
                &constants,
                &dequantized,
            ));
            self.graph.set_input(id, index, &dequantized);
        }
        Ok(())
    }

    fn quantize_weights(&mut self, id: NodeId, layout: Layout) -> Result<(), Error> {
        let node = self.graph.node(id);
        let names = (
            node.input[WEIGHTS].clone(),
            layout.bias.map(|index| node.input[index].clone()),
        );
        let input = self.stored[&node.input[0]].read.params;
        let tensor = self
            .graph
            .initializer(&names.0)
            .expect("the plan saw constant weights");
        let shape = tensor.shape()?;
        let values: Vec<f32> = tensor.values()?;
        let bias = match &names.1 {
            Some(name) => {
                let tensor = self
                    .graph
                    .initializer(name)
                    .expect("the plan saw a constant bias");
                Some(tensor.values::<f32>()?)
            }
            None => None,
        };
        let grid = weights::Grid {
            per_channel: self.options.per_channel,
            reduced: self.options.reduce_range,
            rounding: self.options.rounding,
        };
        let bias = self.corrected_bias(id, layout, &values, bias, input, grid);
        let Quantized {
            weights,
            scales,
            bias: integers,
        } = weights::quantize(
            &values,
            layout.channels,
            self.stored_bias(bias.as_ref()),
            input,
            grid,
        );

        let made = self.constant(&names.0, &shape, &weights, &scales, layout.axis);
        self.graph.set_input(id, WEIGHTS, &made);
        if let Some(bias) = bias {
            let name = names.1.unwrap_or_else(|| format!("{}_bias", names.0));
            let made = match integers {
                Some(integers) => self.constant(&name, &[bias.len()], &integers.values, &integers.scales, 0),
                None => self.float_constant(&name, &bias),
            };
            self.graph.set_input(id, BIAS, &made);
        }
        Ok(())
    }

    /// The bias that is to be stored in integers, if one is.
    fn stored_bias<'b>(&self, bias: Option<&'b Vec<f32>>) -> Option<&'b [f32]> {
        bias.filter(|_| !self.options.float_biases).map(Vec::as_slice)
    }

    fn float_constant(&mut self, name: &str, values: &[f32]) -> String {
        let made = self.graph.fresh_name(&format!("{name}_float"));
        self.graph
            .add_initializer(TensorProto::of(&made, &[values.len()], values));
        made
    }

    /// The bias that takes back what rounding the weights does to the mean of each output, where that is wanted
    /// and known.
    fn corrected_bias(
        &self,
        id: NodeId,
        layout: Layout,
        weights: &[f32],
        bias: Option<Vec<f32>>,
        input: Params,
        grid: weights::Grid,
    ) -> Option<Vec<f32>> {
        let node = self.graph.node(id);
        if !self.options.bias_correction || !matches!(node.op_type(), "Conv" | "Gemm") {
            return bias;
        }
        let Some(means) = self.statistics.means.get(&node.input[0]) else {
            return bias;
        };
        let rounded = weights::quantize(
            weights,
            layout.channels,
            self.stored_bias(bias.as_ref()),
            input,
            grid,
        );
        let errors: Vec<f32> = rounded.errors(weights, layout.channels).collect();
        let Some(shift) = bias_correction::shift(node, layout, &errors, means) else {
            return bias;
        };
        let mut corrected = bias.unwrap_or_else(|| vec![0.0; shift.len()]);
        for (bias, shift) in corrected.iter_mut().zip(shift) {
            *bias += shift;
        }
        Some(corrected)
    }

    /// Adds integers, unless another node brought them, and a node that makes floats of them, whose output's name
    /// is returned. There is one scale, or one for each index of `axis`. Runtimes fuse a node with
    /// `DequantizeLinear`s of its own.
    fn constant<T: crate::Element + Default>(
        &mut self,
        name: &str,
        shape: &[usize],
        integers: &[T],
        scales: &[f32],
        axis: usize,
    ) -> String {
        let key = (
            name.to_owned(),
            scales.iter().map(|scale| scale.to_bits()).collect(),
        );
        let constant = match self.shared.get(&key) {
            Some(constant) => constant.clone(),
            None => self.stored_constant(name, shape, integers, scales),
        };
        self.shared.insert(key, constant.clone());
        let output = self.graph.fresh_name(&format!("{name}_dequantized"));
        let label = self.graph.fresh_name(&format!("{name}_DequantizeLinear"));
        let inputs = [&*constant.quantized, &constant.scale, &constant.zero_point];
        let mut made = node("DequantizeLinear", &label, &inputs, &[&output]);
        if self.options.per_channel {
            made.set_attribute(AttributeProto::from_int("axis", axis as i64));
        }
        self.graph.add_node(made);
        output
    }

    fn stored_constant<T: crate::Element + Default>(
        &mut self,
        name: &str,
        shape: &[usize],
        integers: &[T],
        scales: &[f32],
    ) -> Constant {
        let mut fresh = |suffix| self.graph.fresh_name(&format!("{name}{suffix}"));
        let constant = Constant {
            quantized: fresh("_quantized"),
            scale: fresh("_scale"),
            zero_point: fresh("_zero_point"),
        };
        let extents: &[usize] = if self.options.per_channel {
            &[scales.len()]
        } else {
            &[]
        };
        let zeros = vec![T::default(); scales.len()];
        let tensors = [
            TensorProto::of(&constant.quantized, shape, integers),
            TensorProto::of(&constant.scale, extents, scales),
            TensorProto::of(&constant.zero_point, extents, &zeros),
        ];
        for tensor in tensors {
            self.graph.add_initializer(tensor);
        }
        constant
    }

    /// Removes each activation that the range of the quantized value after it implies. A gate of a value that is
    /// quantized itself leaves a node that changes nothing, between the two ways to store it.
    fn remove_activations(&mut self) {
        for (id, decision) in &self.plan.nodes {
            let node = self.graph.node(*id);
            let (input, output) = match decision {
                Ok(Form::Limit | Form::Gate(_)) => (node.input[0].clone(), node.output[0].clone()),
                _ => continue,
            };
            if self.stored.contains_key(&input) {
                self.replace_with_identity(*id);
                continue;
            }
            let free = match forms::clamp(self.graph, *id) {
                Some((low, high)) => self.stored[&output].written.params.clamps(low, high),
                None => true,
            };
            if free {
                self.graph.remove_node(*id);
                self.rename_output(&input, &output);
            }
        }
    }

    /// A leaky `Relu` of slope 1 changes nothing, and ONNX Runtime looks its results up in a table of bytes, where
    /// a pair alone would go by way of floats.
    fn replace_with_identity(&mut self, id: NodeId) {
        let old = self.graph.remove_node(id);
        let mut made = node("LeakyRelu", old.name(), &[&old.input[0]], &[&old.output[0]]);
        made.set_attribute(AttributeProto::from_float("alpha", 1.0));
        self.graph.add_node(made);
    }

    /// Makes the node that produces `old` produce `new` in its place.
    fn rename_output(&mut self, old: &str, new: &str) {
        let producer = self.graph.producer(old).expect("an integer node makes it");
        let mut outputs = self.graph.node(producer).output.iter();
        let position = outputs
            .position(|output| output == old)
            .expect("it produces the value");
        self.graph.set_output(producer, position, new);
    }

    fn in_integers(&self, id: NodeId) -> bool {
        self.plan
            .nodes
            .iter()
            .any(|(other, decision)| *other == id && decision.is_ok())
    }

    /// Puts the pair behind a value. Nodes that compute in float read the float where there is one: not behind a gate,
    /// whose result is in the integers alone.
    fn quantize_value(&mut self, value: &str, source: &Source) {
        let stored = self.stored[value].clone();
        let made_in_integers = matches!(source, Source::Gate(_))
            || self.graph.producer(value).is_some_and(|id| self.in_integers(id));
        let readers = self.graph.consumers(value).to_vec();
        let readers: Vec<_> = readers
            .into_iter()
            .filter(|(id, _)| made_in_integers || self.in_integers(*id))
            .collect();
        let returned = made_in_integers && self.graph.is_output(value);

        let quantized = self.graph.fresh_name(&format!("{value}_quantized"));
        let (float, dequantized) = if returned {
            // The graph returns what is stored in 8 bits, under the name that it had.
            let float = self.graph.fresh_name(&format!("{value}_float"));
            self.rename_output(value, &float);
            (float, value.to_owned())
        } else {
            (
                value.to_owned(),
                self.graph.fresh_name(&format!("{value}_dequantized")),
            )
        };
        let label = self.graph.fresh_name(&format!("{value}_QuantizeLinear"));
        self.graph.add_node(pair(
            "QuantizeLinear",
            &label,
            &float,
            &stored.written,
            &quantized,
        ));
        let label = self.graph.fresh_name(&format!("{value}_DequantizeLinear"));
        self.graph.add_node(pair(
            "DequantizeLinear",
            &label,
            &quantized,
            &stored.read,
            &dequantized,
        ));
        for (id, index) in readers {
            self.graph.set_input(id, index, &dequantized);
        }
    }
}

fn pair(operator: &str, label: &str, input: &str, stored: &Constants, output: &str) -> NodeProto {
    node(
        operator,
        label,
        &[input, &stored.scale, &stored.zero_point],
        &[output],
    )
}
