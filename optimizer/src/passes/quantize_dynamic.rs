//! INT8 matrix products whose inputs are quantized as they come, so that no calibration is needed.
//!
//! `DynamicQuantizeLinear` takes the range of each input in each run; the product is a `MatMulInteger`. ONNX
//! Runtime fuses what is written here into one kernel. It pays where matrix products take most of the time, as in
//! transformers.

use std::collections::HashMap;

use super::finish;
use crate::error::Error;
use crate::graph::{Graph, NodeId};
use crate::model::Model;
use crate::proto::{AttributeProto, DataType, NodeProto, TensorProto, node};
use crate::report::PassReport;

/// Name of the pass.
pub const NAME: &str = "quantize-dynamic";

/// The largest integer of a weight; -128 stays unused, so that the grid is symmetric.
const LARGEST: f32 = 127.0;

/// Makes each `MatMul` and `Gemm` with a constant float32 matrix on its right an integer product: unsigned inputs
/// with the range of the run, signed weights with a scale a column.
///
/// # Errors
/// Where weights are not finite.
pub fn quantize_dynamic(model: &Model) -> Result<(Model, PassReport), Error> {
    let mut graph = Graph::new(model.clone())?;
    let mut report = PassReport::new(NAME);
    let mut inputs = HashMap::new();
    for id in graph.ids() {
        let node = graph.node(id);
        if !node.is("MatMul") && !node.is("Gemm") {
            continue;
        }
        let label = node.label();
        match Matrix::of(&graph, id)? {
            Ok(matrix) => {
                replace(&mut graph, id, &matrix, &mut inputs);
                report.applied(
                    label,
                    "u8 activations with the range of each run, s8 weights per channel",
                );
            }
            Err(why) => report.skipped(label, why),
        }
    }
    graph.remove_unused_initializers();
    Ok((finish(NAME, graph)?, report))
}

/// The right side of a product, `[rows, columns]`.
struct Matrix {
    name: String,
    rows: usize,
    columns: usize,
    values: Vec<f32>,
}

impl Matrix {
    /// The constant that a node multiplies with, or why it has no integer form.
    fn of(graph: &Graph, id: NodeId) -> Result<Result<Self, String>, Error> {
        let node = graph.node(id);
        if let Some(why) = unfit(node) {
            return Ok(Err(why));
        }
        let float = |tensor: &&TensorProto| tensor.element_type().is_ok_and(|kind| kind == DataType::Float);
        let Some(tensor) = graph.constant_input(id, 1).filter(float) else {
            return Ok(Err("its right side is not a float32 constant".to_owned()));
        };
        let &[first, second] = tensor.shape()?.as_slice() else {
            return Ok(Err("its right side is no matrix".to_owned()));
        };
        let mut values = tensor.floats()?;
        if let Some(value) = values.iter().find(|value| !value.is_finite()) {
            return Err(Error::tensor(
                tensor.name(),
                format!("it holds {value}, which cannot be quantized; repair the model"),
            ));
        }
        let (mut rows, mut columns) = (first, second);
        if node.int("transB").unwrap_or(0) != 0 {
            (rows, columns) = (second, first);
            let element = |at: usize| values[at % columns * rows + at / columns];
            values = (0..values.len()).map(element).collect();
        }
        Ok(Ok(Self {
            name: tensor.name().to_owned(),
            rows,
            columns,
            values,
        }))
    }

    /// The integers and the scales of the columns, as initializers of these names.
    fn tensors(&self, integers: &str, scales: &str) -> (TensorProto, TensorProto) {
        let mut steps = vec![0.0_f32; self.columns];
        for (at, value) in self.values.iter().enumerate() {
            let step = &mut steps[at % self.columns];
            *step = step.max(value.abs() / LARGEST);
        }
        for step in &mut steps {
            if *step < f32::MIN_POSITIVE {
                *step = 1.0;
            }
        }
        let round = |(at, value): (usize, &f32)| {
            let steps = (value / steps[at % self.columns]).round_ties_even();
            steps.clamp(-LARGEST, LARGEST) as i8
        };
        let stored: Vec<i8> = self.values.iter().enumerate().map(round).collect();
        (
            TensorProto::of(integers, &[self.rows, self.columns], &stored),
            TensorProto::of(scales, &[self.columns], &steps),
        )
    }
}

fn unfit(node: &NodeProto) -> Option<String> {
    let scaled = |name| node.float(name).is_some_and(|factor| (factor - 1.0).abs() > 0.0);
    if scaled("alpha") || scaled("beta") {
        return Some("alpha or beta is not 1".to_owned());
    }
    (node.int("transA").unwrap_or(0) != 0).then(|| "its input is transposed".to_owned())
}

/// An input in 8 bits: its integers, their scale and their zero point.
type Quantized = [String; 3];

fn replace(graph: &mut Graph, id: NodeId, matrix: &Matrix, inputs: &mut HashMap<String, Quantized>) {
    let old = graph.remove_node(id);
    let data = old.input[0].clone();
    let [integers, scale, zero_point] = inputs
        .entry(data.clone())
        .or_insert_with(|| quantize_input(graph, &data))
        .clone();
    let (weights, steps) = (
        graph.fresh_name(&format!("{}_quantized", matrix.name)),
        graph.fresh_name(&format!("{}_scale", matrix.name)),
    );
    let (stored, scales) = matrix.tensors(&weights, &steps);
    graph.add_initializer(stored);
    graph.add_initializer(scales);

    let output = old.output[0].clone();
    let value = |graph: &mut Graph, operator: &str, part: &str, reads: &[&str]| {
        let name = graph.fresh_name(&format!("{output}_{part}"));
        let mut made = node(operator, &name, reads, &[&name]);
        if operator == "Cast" {
            made.set_attribute(AttributeProto::from_int("to", DataType::Float as i64));
        }
        graph.add_node(made);
        name
    };
    let product = value(
        graph,
        "MatMulInteger",
        "integer",
        &[&integers, &weights, &zero_point],
    );
    let product = value(graph, "Cast", "float", &[&product]);
    let factor = value(graph, "Mul", "factor", &[&scale, &steps]);
    let last = |operator: &str, reads: &[&str]| node(operator, old.name(), reads, &[&output]);
    match old.input_name(2) {
        None => graph.add_node(last("Mul", &[&product, &factor])),
        Some(bias) => {
            let unbiased = value(graph, "Mul", "unbiased", &[&product, &factor]);
            graph.add_node(last("Add", &[&unbiased, bias]))
        }
    };
}

fn quantize_input(graph: &mut Graph, data: &str) -> Quantized {
    let names = ["quantized", "scale", "zero_point"].map(|part| graph.fresh_name(&format!("{data}_{part}")));
    let outputs: Vec<&str> = names.iter().map(String::as_str).collect();
    graph.add_node(node("DynamicQuantizeLinear", &names[0], &[data], &outputs));
    names
}
