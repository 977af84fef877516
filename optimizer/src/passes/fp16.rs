//! Half precision.

use std::collections::{BTreeMap, HashMap};

use half::f16;
use serde::{Deserialize, Serialize};

use super::finish;
use crate::error::Error;
use crate::graph::{Graph, NodeId};
use crate::model::Model;
use crate::proto::{AttributeProto, DataType, NodeProto, TensorProto, TypeValue, ValueInfoProto, node};
use crate::report::PassReport;
use crate::shape::{self, Values};

/// Name of the pass.
pub const NAME: &str = "fp16";

/// What a user may choose about half precision.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Nodes by name, or operators, that stay in float32 because they overflow or lose too much.
    pub keep: Vec<String>,
}

/// Operators that stay in float32, because ONNX or a runtime lacks them in half precision or loses too much by it.
const KEPT: [&str; 7] = [
    "Celu",
    "DequantizeLinear",
    "DynamicQuantizeLinear",
    "LRN",
    "QuantizeLinear",
    "Resize",
    "Upsample",
];

/// Stores weights and computes in half precision. Inputs and outputs stay float32 behind `Cast` nodes, so that
/// every runtime is fed alike. A node with a constant beyond the range of half precision stays in float32; where
/// the constant bounds or fills values that are in half precision anyway, it saturates. The report says which.
///
/// # Errors
/// Where nothing has a name that is to be kept.
pub fn fp16(model: &Model, options: &Options) -> Result<(Model, PassReport), Error> {
    let is_called = |name: &String| model.graph().node.iter().any(|node| is_named(node, name));
    if let Some(unknown) = options.keep.iter().find(|name| !is_called(name)) {
        return Err(Error::Refused {
            pass: NAME.to_owned(),
            reason: format!(
                "no node and no operator of the model is called `{unknown}`; keep one that is there"
            ),
        });
    }
    let values = shape::infer(model, &BTreeMap::new())?;
    let mut conversion = Conversion {
        graph: Graph::new(model.clone())?,
        keep: &options.keep,
        values,
        halves: HashMap::new(),
        report: PassReport::new(NAME),
    };
    let fates = conversion.fates()?;
    if !fates.iter().any(|(_, fate)| matches!(fate, Fate::Converted)) {
        for (id, fate) in fates {
            if let Fate::Kept(why) = fate {
                conversion.report.skipped(conversion.graph.node(id).label(), why);
            }
        }
        return Ok((model.clone(), conversion.report));
    }
    conversion.convert_nodes(fates)?;
    conversion.cast_outputs();
    conversion.declare_halves();
    let Conversion {
        mut graph, report, ..
    } = conversion;
    graph.remove_unused_initializers();
    Ok((finish(NAME, graph)?, report))
}

fn is_named(node: &NodeProto, name: &str) -> bool {
    node.label() == name || node.op_type() == name
}

/// Operators whose constants may saturate: bounds beyond the range bind nothing within it.
const SATURATING: [&str; 3] = ["Clip", "Max", "Min"];

/// Whether the node stays in float32: of the kept operators, or a `Gemm` with factors, which tract 0.23 has in
/// float32 only.
fn is_kept(node: &NodeProto) -> bool {
    let one = 1.0_f32.to_bits();
    let factors = ["alpha", "beta"].into_iter().filter_map(|name| node.float(name));
    let scaled = factors.map(f32::to_bits).any(|factor| factor != one);
    node.is_standard() && (KEPT.contains(&node.op_type()) || node.is("Gemm") && scaled)
}

/// What becomes of a node.
enum Fate {
    /// It stays as it is, for this reason.
    Kept(String),
    /// It computes in half precision.
    Converted,
    /// It has nothing to do with float32.
    Untouched,
}

struct Conversion<'a> {
    graph: Graph,
    /// What the user keeps in float32.
    keep: &'a [String],
    /// Types before the conversion.
    values: Values,
    /// The half-precision form of float32 values that others still read as float32, and how many of their numbers
    /// saturated.
    halves: HashMap<String, (String, usize)>,
    report: PassReport,
}

impl Conversion<'_> {
    /// What becomes of each node, in the graph's order.
    fn fates(&self) -> Result<Vec<(NodeId, Fate)>, Error> {
        let ids = self.graph.ids().into_iter();
        ids.map(|id| Ok((id, self.fate(id)?))).collect()
    }

    fn fate(&self, id: NodeId) -> Result<Fate, Error> {
        let node = self.graph.node(id);
        let is_float = |name: &String| self.is_of(DataType::Float, name);
        let is_half = |name: &String| self.is_of(DataType::Float16, name);
        let mut values = node.input.iter().chain(&node.output);
        Ok(if self.keep.iter().any(|name| is_named(node, name)) {
            Fate::Kept("kept in float32, as asked for".to_owned())
        } else if node.is("Cast") && values.clone().any(is_half) {
            Fate::Kept("kept: it stands between float32 and half precision already".to_owned())
        } else if is_kept(node) {
            Fate::Kept("kept in float32: not every runtime has it in half precision".to_owned())
        } else if let Some(why) = self.overflow(id)? {
            Fate::Kept(why)
        } else if values.any(is_float) {
            Fate::Converted
        } else {
            Fate::Untouched
        })
    }

    fn convert_nodes(&mut self, fates: Vec<(NodeId, Fate)>) -> Result<(), Error> {
        for (id, fate) in fates {
            match fate {
                Fate::Kept(why) => {
                    let label = self.graph.node(id).label();
                    self.keep(id);
                    self.report.skipped(label, why);
                }
                Fate::Converted => self.convert(id)?,
                Fate::Untouched => {}
            }
        }
        Ok(())
    }

    /// Why a node whose constants do not fit into half precision is left in float32.
    fn overflow(&self, id: NodeId) -> Result<Option<String>, Error> {
        let node = self.graph.node(id);
        if SATURATING.contains(&node.op_type()) {
            return Ok(None);
        }
        for name in node.input.iter().filter(|name| self.is_of(DataType::Float, name)) {
            let Some(tensor) = self.graph.initializer(name) else {
                continue;
            };
            if let Some(value) = tensor.floats()?.into_iter().find(|&value| saturates(value)) {
                return Ok(Some(format!(
                    "kept in float32: `{name}` holds {value:e}, beyond half precision's 65504"
                )));
            }
        }
        Ok(None)
    }

    /// Whether the value was of this type before the conversion.
    fn is_of(&self, data_type: DataType, name: &str) -> bool {
        self.values
            .get(name)
            .is_some_and(|value| value.data_type == data_type)
    }

    /// Float32 values that are not made by a converted node: inputs and constants.
    fn stays_float(&self, name: &str) -> bool {
        self.is_of(DataType::Float, name) && self.graph.producer(name).is_none()
    }

    /// Makes a node compute in half precision.
    fn convert(&mut self, id: NodeId) -> Result<(), Error> {
        let label = self.graph.node(id).label();
        if let Some(add) = self.split_gemm(id) {
            self.convert(add)?;
        }
        let mut saturated = 0;
        for (index, name) in self.graph.node(id).input.clone().into_iter().enumerate() {
            if self.stays_float(&name) {
                let (half, count) = self.half_of(&name)?;
                saturated += count;
                self.graph.set_input(id, index, &half);
            }
        }
        saturated += self.convert_attributes(id)?;
        let why = match saturated {
            0 => "computes in half precision".to_owned(),
            count => {
                format!("computes in half precision; {count} of its constants saturate, being beyond 65504")
            }
        };
        self.report.applied(label, why);
        Ok(())
    }

    /// Makes the addend of a `Gemm` an `Add`: tract 0.23 multiplies it with a float32 factor and then refuses the
    /// node. Returns the `Add`.
    fn split_gemm(&mut self, id: NodeId) -> Option<NodeId> {
        let gemm = self.graph.node(id);
        let addend = gemm.input_name(2).filter(|_| gemm.is("Gemm"))?.to_owned();
        let output = gemm.output[0].clone();
        let product = self.graph.fresh_name(&format!("{output}_product"));
        let name = self.graph.fresh_name(&format!("{output}_add"));
        self.graph.set_output(id, 0, &product);
        self.graph.truncate_inputs(id, 2);
        Some(
            self.graph
                .add_node(node("Add", &name, &[&product, &addend], &[&output])),
        )
    }

    /// Attributes that name the output's type or hold its value; returns how many numbers saturated.
    fn convert_attributes(&mut self, id: NodeId) -> Result<usize, Error> {
        let node = self.graph.node(id);
        let mut saturated = 0;
        let attribute = match node.op_type() {
            "Cast" if node.int("to") == Some(DataType::Float as i64) => {
                AttributeProto::from_int("to", DataType::Float16 as i64)
            }
            "ConstantOfShape" | "Constant" => match node.tensor("value") {
                Some(value) if value.element_type()? == DataType::Float => {
                    let (half, count) = halved(value, value.name())?;
                    saturated = count;
                    AttributeProto::from_tensor("value", half)
                }
                None if node.is("ConstantOfShape") => {
                    AttributeProto::from_tensor("value", TensorProto::of("", &[1], &[f16::ZERO]))
                }
                _ => return Ok(0),
            },
            _ => return Ok(0),
        };
        self.graph.set_attribute(id, attribute);
        Ok(saturated)
    }

    /// The half-precision form of an input or constant, and how many numbers of it saturated.
    fn half_of(&mut self, name: &str) -> Result<(String, usize), Error> {
        if let Some(half) = self.halves.get(name) {
            return Ok(half.clone());
        }
        let half = self.graph.fresh_name(&format!("{name}_fp16"));
        let saturated = if let Some(tensor) = self.graph.initializer(name) {
            let (tensor, saturated) = halved(tensor, &half)?;
            self.graph.add_initializer(tensor);
            saturated
        } else {
            self.cast(name, &half, DataType::Float16);
            0
        };
        self.halves.insert(name.to_owned(), (half.clone(), saturated));
        Ok((half, saturated))
    }

    /// Leaves a node in float32: casts before and after it. What it reads of inputs and constants is float32.
    fn keep(&mut self, id: NodeId) {
        for (index, name) in self.graph.node(id).input.clone().into_iter().enumerate() {
            if self.is_of(DataType::Float, &name) && !self.stays_float(&name) {
                let wide = self.graph.fresh_name(&format!("{name}_fp32"));
                self.cast(&name, &wide, DataType::Float);
                self.graph.set_input(id, index, &wide);
            }
        }
        for (index, name) in self.graph.node(id).output.clone().into_iter().enumerate() {
            if self.is_of(DataType::Float, &name) {
                let wide = self.graph.fresh_name(&format!("{name}_fp32"));
                self.graph.set_output(id, index, &wide);
                self.cast(&wide, &name, DataType::Float16);
            }
        }
    }

    /// Gives every float32 output of the model a cast, under whose output it keeps its name.
    fn cast_outputs(&mut self) {
        let outputs: Vec<String> = self
            .graph
            .outputs()
            .iter()
            .map(|output| output.name().to_owned())
            .collect();
        for name in outputs {
            let Some(producer) = self
                .graph
                .producer(&name)
                .filter(|_| self.is_of(DataType::Float, &name))
            else {
                continue;
            };
            let half = self.graph.fresh_name(&format!("{name}_fp16"));
            let index = self
                .graph
                .node(producer)
                .output
                .iter()
                .position(|output| *output == name);
            self.graph
                .set_output(producer, index.expect("the producer has that output"), &half);
            self.graph.replace_uses(&name, &half);
            self.cast(&half, &name, DataType::Float);
        }
    }

    fn cast(&mut self, from: &str, to: &str, data_type: DataType) {
        let name = self.graph.fresh_name(&format!("{to}_cast"));
        let mut cast = node("Cast", &name, &[from], &[to]);
        cast.set_attribute(AttributeProto::from_int("to", data_type as i64));
        self.graph.add_node(cast);
    }

    /// Types that the model declares for the values inside.
    fn declare_halves(&mut self) {
        for info in self.graph.value_infos_mut() {
            if let Some(TypeValue::TensorType(tensor)) = value_type(info)
                && tensor.elem_type == Some(DataType::Float.into())
            {
                tensor.elem_type = Some(DataType::Float16.into());
            }
        }
    }
}

fn value_type(info: &mut ValueInfoProto) -> Option<&mut TypeValue> {
    info.r#type.as_mut()?.value.as_mut()
}

/// Whether a finite number is beyond the range of half precision.
fn saturates(value: f32) -> bool {
    value.is_finite() && f16::from_f32(value).is_infinite()
}

/// The number in half precision; a finite one stays finite.
pub(crate) fn nearest_half(value: f32) -> f16 {
    let half = f16::from_f32(value);
    if saturates(value) {
        return f16::MAX.copysign(half);
    }
    half
}

/// The tensor in half precision, and how many finite numbers were beyond its range.
fn halved(tensor: &TensorProto, name: &str) -> Result<(TensorProto, usize), Error> {
    let mut saturated = 0;
    let values: Vec<f16> = tensor
        .floats()?
        .into_iter()
        .map(|value| {
            saturated += usize::from(saturates(value));
            nearest_half(value)
        })
        .collect();
    Ok((TensorProto::of(name, &tensor.shape()?, &values), saturated))
}
