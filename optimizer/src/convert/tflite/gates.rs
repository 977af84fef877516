//! Gates of a QDQ graph: integers that are stored with one scale and read with another, by which
//! `edgefront quantize` says `HardSigmoid` without arithmetic. A tensor of TFLite has one scale, so that such a gate
//! becomes part of what makes it, or of the `HardSwish` that it stands for.

use super::program::Quantization;
use super::{quantization, unit};
use crate::error::Error;
use crate::graph::{Graph, NodeId};
use crate::proto::{AttributeProto, TensorProto, node};

/// Gates become what TFLite can say.
pub(super) fn rewrite(graph: &mut Graph) -> Result<(), Error> {
    for id in graph.ids() {
        if !graph.contains(id) {
            continue;
        }
        if let Some(gate) = Gate::of(graph, id)?
            && !gate.multiply(graph)?
            && !gate.join_swish(graph)
            && !gate.join_layer(graph)?
        {
            gate.compute(graph);
        }
    }
    graph.remove_dead_nodes();
    graph.remove_unused_initializers();
    Ok(())
}

/// Integers with two meanings. Read, they are `slope * x + offset` of what was stored.
struct Gate {
    stores: NodeId,
    reads: NodeId,
    read: Quantization,
    slope: f32,
    offset: f32,
    /// `offset`, in steps of the integers as they are stored.
    shift: i64,
}

impl Gate {
    /// The gate that a `DequantizeLinear` reads, if it is one.
    fn of(graph: &Graph, reads: NodeId) -> Result<Option<Self>, Error> {
        let found = graph.node(reads);
        let stores = graph.producer(found.input.first().map_or("", String::as_str));
        let Some(stores) =
            stores.filter(|&id| found.is("DequantizeLinear") && graph.node(id).is("QuantizeLinear"))
        else {
            return Ok(None);
        };
        let (written, read) = (quantization::of(graph, stores)?, quantization::of(graph, reads)?);
        if written == read || written.scales.len() > 1 || read.scales.len() > 1 {
            return Ok(None);
        }
        let shift = written.zero_points[0] - read.zero_points[0];
        Ok(Some(Self {
            stores,
            reads,
            slope: read.scales[0] / written.scales[0],
            offset: read.scales[0] * shift as f32,
            shift,
            read,
        }))
    }

    /// Whether within half a step it is the gate of `HardSwish`.
    fn is_swish(&self) -> bool {
        (self.slope - 1.0 / 6.0).abs() < 1e-4 && (self.offset - 0.5).abs() <= self.read.scales[0]
    }

    /// Makes the gate of a value a sum with a constant, which has the same integers but counts in another unit, and
    /// takes the unit back where the product of both is read. So each kernel has a form in integers that XNNPACK
    /// knows, which it does not for `HARD_SWISH`.
    fn multiply(&self, graph: &mut Graph) -> Result<bool, Error> {
        let Some((value, product)) = self.product(graph) else {
            return Ok(false);
        };
        let result = graph.node(product).output[0].clone();
        let Some(pair) = unit::pair_behind(graph, &result) else {
            return Ok(false);
        };
        let Some(mut changes) = unit::absorb(graph, product, pair) else {
            return Ok(false);
        };
        if self.shift <= 0 || self.slope <= 0.0 {
            return Ok(false);
        }
        let unit = 1.0 / self.slope;
        changes.pairs.push(pair);
        changes.apply(graph, unit)?;
        self.count_in(graph, &value, unit);
        Ok(true)
    }

    /// Makes the gate the sum of the value and a constant, in a unit of so many.
    fn count_in(&self, graph: &mut Graph, value: &str, unit: f32) {
        /// The integer of the constant, the largest.
        const LARGEST: i8 = i8::MAX;
        let scale = self.read.scales[0] * unit;
        let addend = scale * self.shift as f32;
        let label = graph.node(self.reads).label();
        let mut fresh = |suffix: &str| graph.fresh_name(&format!("{label}_{suffix}"));
        let names = [
            "scale",
            "zero",
            "addend",
            "addend_scale",
            "addend_zero",
            "addend_float",
            "sum",
        ];
        let [scale_name, zero, integer, integer_scale, integer_zero, float, sum] = names.map(&mut fresh);
        let add = fresh("Add");
        let read = fresh("addend_read");
        graph.add_initializer(TensorProto::scalar(&scale_name, scale));
        graph.add_initializer(TensorProto::scalar(&zero, self.read.zero_points[0] as i8));
        graph.add_initializer(TensorProto::scalar(&integer, LARGEST));
        graph.add_initializer(TensorProto::scalar(&integer_scale, addend / f32::from(LARGEST)));
        graph.add_initializer(TensorProto::scalar(&integer_zero, 0_i8));
        graph.add_node(node(
            "DequantizeLinear",
            &read,
            &[&integer, &integer_scale, &integer_zero],
            &[&float],
        ));
        graph.add_node(node("Add", &add, &[value, &float], &[&sum]));
        let old = graph.remove_node(self.stores);
        let (stored, result) = (&old.output[0], graph.remove_node(self.reads).output[0].clone());
        graph.add_node(node(
            "QuantizeLinear",
            old.name(),
            &[&sum, &scale_name, &zero],
            &[stored],
        ));
        graph.add_node(node(
            "DequantizeLinear",
            &label,
            &[stored, &scale_name, &zero],
            &[&result],
        ));
    }

    /// Makes the product of a value and its own gate the `HardSwish` that it was.
    fn join_swish(&self, graph: &mut Graph) -> bool {
        let Some((value, product)) = self.product(graph).filter(|_| self.is_swish()) else {
            return false;
        };
        let old = graph.remove_node(product);
        graph.add_node(node("HardSwish", old.name(), &[&value], &[&old.output[0]]));
        true
    }

    /// The value whose gate this is and the product of both, which alone reads the gate.
    fn product(&self, graph: &Graph) -> Option<(String, NodeId)> {
        // A leaky Relu that changes nothing lies before the gate of a value that is stored itself.
        let before = graph.node(graph.producer(&graph.node(self.stores).input[0])?);
        if !before.is("LeakyRelu") || before.float("alpha") != Some(1.0) {
            return None;
        }
        let value = before.input[0].clone();
        let product = graph.sole_consumer(&graph.node(self.reads).output[0])?;
        let multiplies = graph.node(product).is("Mul") && graph.node(product).input.contains(&value);
        multiplies.then_some((value, product))
    }

    /// Makes slope and offset part of the weights and bias of the layer before the gate: its integers stay the same,
    /// and so do those of the weights.
    fn join_layer(&self, graph: &mut Graph) -> Result<bool, Error> {
        let value = graph.node(self.stores).input[0].clone();
        let integers = graph.node(self.stores).output[0].clone();
        let layer = graph.producer(&value);
        let layer = layer.filter(|&id| ["Conv", "Gemm"].contains(&graph.node(id).op_type()));
        let alone = graph.sole_consumer(&value) == Some(self.stores)
            && graph.sole_consumer(&integers) == Some(self.reads);
        let Some(layer) = layer.filter(|_| alone) else {
            return Ok(false);
        };
        let (Some(weights), Some(bias)) = (
            unit::pair_before(graph, layer, 1),
            unit::pair_before(graph, layer, 2),
        ) else {
            return Ok(false);
        };
        let constant = graph
            .constant_input(bias, 0)
            .filter(|constant| constant.dims.len() == 1);
        let Some(words) = constant.and_then(|constant| constant.values::<i32>().ok()) else {
            return Ok(false);
        };
        let stored = quantization::of(graph, self.stores)?.scales[0];
        let bias_scales = quantization::of(graph, bias)?.scales;
        let scale = |index: usize| bias_scales[if bias_scales.len() == 1 { 0 } else { index }];
        let moved = words.iter().enumerate().map(|(index, &word)| {
            let steps = self.shift as f64 * f64::from(stored) / f64::from(scale(index));
            (f64::from(word) + steps).round() as i32
        });
        let moved: Vec<i32> = moved.collect();
        unit::scale(graph, (layer, 1), weights, self.slope, None)?;
        unit::scale(graph, (layer, 2), bias, self.slope, Some(&moved))?;
        let (scale, zero_point) = (
            graph.node(self.reads).input[1].clone(),
            graph.node(self.reads).input.get(2).cloned(),
        );
        graph.set_input(self.stores, 1, &scale);
        graph.set_input(self.stores, 2, &zero_point.unwrap_or_default());
        Ok(true)
    }

    /// Computes the gate in floats.
    fn compute(&self, graph: &mut Graph) {
        let mut read = graph.remove_node(self.reads);
        let result = std::mem::take(&mut read.output[0]);
        let before = graph.node(self.stores).clone();
        let mut fresh = |suffix: &str| graph.fresh_name(&format!("{result}_{suffix}"));
        let [stored, slope, offset, product] = ["stored", "slope", "offset", "product"].map(&mut fresh);
        let labels = ["read", "scaled", "moved"].map(&mut fresh);
        graph.add_initializer(TensorProto::scalar(&slope, self.slope));
        graph.add_initializer(TensorProto::scalar(&offset, self.offset));
        read = node("DequantizeLinear", &labels[0], &[], &[&stored]);
        read.input.clone_from(&before.input);
        read.input[0].clone_from(&before.output[0]);
        if let Some(dimension) = before.int("axis") {
            read.set_attribute(AttributeProto::from_int("axis", dimension));
        }
        graph.add_node(read);
        graph.add_node(node("Mul", &labels[1], &[&stored, &slope], &[&product]));
        graph.add_node(node("Add", &labels[2], &[&product, &offset], &[&result]));
    }
}
