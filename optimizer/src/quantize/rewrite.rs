//! Puts the plan into the graph: `QuantizeLinear` and `DequantizeLinear` around what is quantized.

use std::collections::HashMap;

use super::forms::{self, Form, Layout, WEIGHTS};
use super::params::{self, Params};
use super::plan::{Plan, Source};
use super::weights::{self, Quantized};
use super::{ActivationType, Options};
use crate::calibrate::Extremes;
use crate::error::Error;
use crate::graph::{Graph, NodeId};
use crate::proto::{AttributeProto, NodeProto, TensorProto, node};

/// The graph under change, with what is known of its quantized values.
pub(super) struct Rewriter<'a> {
    graph: &'a mut Graph,
    plan: &'a Plan,
    options: &'a Options,
    /// By value.
    stored: HashMap<String, Stored>,
}

/// A value's parameters and the constants that hold them.
#[derive(Debug, Clone)]
struct Stored {
    params: Params,
    scale: String,
    zero_point: String,
}

impl<'a> Rewriter<'a> {
    /// `ranges` holds the range of each value that the plan observes.
    pub(super) fn new(
        graph: &'a mut Graph,
        plan: &'a Plan,
        options: &'a Options,
        ranges: &HashMap<String, Extremes>,
        grid: params::Grid,
    ) -> Self {
        let mut rewriter = Self {
            graph,
            plan,
            options,
            stored: HashMap::new(),
        };
        for (value, source) in &plan.values {
            let stored = match source {
                Source::Observed => rewriter.store(value, grid.covering(ranges[value])),
                // Values come in the order of the graph, so the other one was stored before.
                Source::Shared(other) => rewriter.stored[other].clone(),
            };
            rewriter.stored.insert(value.clone(), stored);
        }
        rewriter
    }

    /// Rewrites all of the graph.
    pub(super) fn run(mut self) -> Result<(), Error> {
        for (id, decision) in &self.plan.nodes {
            if let Ok(Form::Convolution(layout) | Form::Product(layout)) = decision {
                self.quantize_weights(*id, *layout)?;
            }
        }
        self.remove_limits();
        for (value, _) in &self.plan.values {
            self.quantize_value(value);
        }
        self.graph.remove_unused_initializers();
        self.graph.remove_dead_nodes();
        Ok(())
    }

    fn store(&mut self, value: &str, params: Params) -> Stored {
        let scale = self.graph.fresh_name(&format!("{value}_scale"));
        let zero_point = self.graph.fresh_name(&format!("{value}_zero_point"));
        self.graph
            .add_initializer(TensorProto::scalar(&scale, params.scale));
        self.graph.add_initializer(match params.kind {
            ActivationType::U8 => TensorProto::scalar(&zero_point, params.zero_point as u8),
            ActivationType::S8 => TensorProto::scalar(&zero_point, params.zero_point as i8),
        });
        Stored {
            params,
            scale,
            zero_point,
        }
    }

    fn quantize_weights(&mut self, id: NodeId, layout: Layout) -> Result<(), Error> {
        let node = self.graph.node(id);
        let names = (
            node.input[WEIGHTS].clone(),
            layout.bias.map(|index| node.input[index].clone()),
        );
        let input = self.stored[&node.input[0]].params;
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
        };
        let Quantized {
            weights,
            scales,
            bias,
        } = weights::quantize(&values, layout.channels, bias.as_deref(), input, grid);

        let made = self.constant(&names.0, &shape, &weights, &scales, layout.axis);
        self.graph.set_input(id, WEIGHTS, &made);
        if let (Some(index), Some(name), Some(bias)) = (layout.bias, &names.1, bias) {
            let made = self.constant(name, &[bias.values.len()], &bias.values, &bias.scales, 0);
            self.graph.set_input(id, index, &made);
        }
        Ok(())
    }

    /// Adds integers and the node that makes floats of them, whose output's name is returned. There is one
    /// scale, or one for each index of `axis`.
    fn constant<T: crate::Element + Default>(
        &mut self,
        name: &str,
        shape: &[usize],
        integers: &[T],
        scales: &[f32],
        axis: usize,
    ) -> String {
        let mut fresh = |suffix| self.graph.fresh_name(&format!("{name}{suffix}"));
        let quantized = fresh("_quantized");
        let (scale, zero_point) = (fresh("_scale"), fresh("_zero_point"));
        let (output, label) = (fresh("_dequantized"), fresh("_DequantizeLinear"));
        let extents: &[usize] = if self.options.per_channel {
            &[scales.len()]
        } else {
            &[]
        };
        let zeros = vec![T::default(); scales.len()];
        self.graph
            .add_initializer(TensorProto::of(&quantized, shape, integers));
        self.graph
            .add_initializer(TensorProto::of(&scale, extents, scales));
        self.graph
            .add_initializer(TensorProto::of(&zero_point, extents, &zeros));
        let mut made = node(
            "DequantizeLinear",
            &label,
            &[&quantized, &scale, &zero_point],
            &[&output],
        );
        if self.options.per_channel {
            made.set_attribute(AttributeProto::from_int("axis", axis as i64));
        }
        self.graph.add_node(made);
        output
    }

    /// Removes each `Relu` and `Clip` that the range of the quantized value after it implies.
    fn remove_limits(&mut self) {
        for (id, decision) in &self.plan.nodes {
            if *decision != Ok(Form::Limit) {
                continue;
            }
            let (low, high) = forms::clamp(self.graph, *id).expect("the plan saw its limits");
            let node = self.graph.node(*id);
            let (input, output) = (node.input[0].clone(), node.output[0].clone());
            if self.stored[&output].params.clamps(low, high) {
                self.graph.remove_node(*id);
                self.rename_output(&input, &output);
            }
        }
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

    /// Puts the pair behind a value. Nodes that compute in float read the float where there is one.
    fn quantize_value(&mut self, value: &str) {
        let stored = self.stored[value].clone();
        let made_in_integers = self.graph.producer(value).is_some_and(|id| self.in_integers(id));
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
        self.graph
            .add_node(pair("QuantizeLinear", &label, &float, &stored, &quantized));
        let label = self.graph.fresh_name(&format!("{value}_DequantizeLinear"));
        self.graph.add_node(pair(
            "DequantizeLinear",
            &label,
            &quantized,
            &stored,
            &dequantized,
        ));
        for (id, index) in readers {
            self.graph.set_input(id, index, &dequantized);
        }
    }
}

fn pair(operator: &str, label: &str, input: &str, stored: &Stored, output: &str) -> NodeProto {
    node(
        operator,
        label,
        &[input, &stored.scale, &stored.zero_point],
        &[output],
    )
}
