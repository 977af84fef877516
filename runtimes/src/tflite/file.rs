//! What a `.tflite` file says of itself, and whether its parts refer to parts that are there. LiteRT holds the file to
//! its schema and then takes each index in it for granted: one that leads nowhere would end the process.
//!
//! Numbers of fields are those of TensorFlow Lite's `schema.fbs`.

use serde::Deserialize;

use super::axes::Axes;
use super::flat::{Fault, Table};
use crate::DataType;
use crate::port::Declared;

/// The identifier that stands behind the first offset.
const IDENTIFIER: &[u8] = b"TFL3";

/// Under which a file keeps how the axes of its tensors were ordered in the model that it was converted from.
const AXES: &str = "edgefront.axes";

/// Inputs and outputs of the graph that a session runs, in order.
#[derive(Debug)]
pub(super) struct Interface {
    pub(super) inputs: Vec<Input>,
    pub(super) outputs: Vec<Output>,
    /// Whether constants are stored in half precision.
    pub(super) has_halves: bool,
}

/// An input.
#[derive(Debug)]
pub(super) struct Input {
    /// As callers give it: with the axes of the model that the file was converted from, if it was.
    pub(super) declared: Declared,
    /// Where they lie in the tensor; `None` where it lies as callers give it.
    pub(super) axes: Option<Axes>,
}

/// An output as the file declares it.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) name: String,
    pub(super) data_type: DataType,
    /// Where the axes of what callers get lie in the tensor; `None` where it lies as they get it.
    pub(super) axes: Option<Axes>,
}

/// What a converted file says of the model that it was.
#[derive(Debug, Default, Deserialize)]
struct Origin {
    inputs: Vec<Port>,
    outputs: Vec<Port>,
}

#[derive(Debug, Deserialize)]
struct Port {
    name: String,
    axes: Vec<usize>,
}

/// Reads the interface of a file whose parts refer to parts that are there. The error is a reason in one line.
pub(super) fn interface(file: &[u8]) -> Result<Interface, String> {
    if file.get(4..8) != Some(IDENTIFIER) {
        return Err("it is no TensorFlow Lite model".to_owned());
    }
    let damaged = |fault: Fault| format!("it is damaged: {fault}");
    let model = Model::read(file).map_err(damaged)?;
    model.check(file.len()).map_err(damaged)?;
    let graph = model.main().map_err(damaged)?;
    let origin = model.origin()?;
    let tensors = |indices: &[i32], ports: Option<Vec<Port>>| -> Result<Vec<Input>, String> {
        let tensors = indices
            .iter()
            .map(|&index| declared(&graph.tensors[index as usize]));
        match ports {
            Some(ports) if ports.len() == indices.len() => tensors
                .zip(ports)
                .map(|(tensor, port)| input(&tensor?, port))
                .collect(),
            Some(_) => Err(format!("its {AXES} are of another file")),
            None => tensors
                .map(|tensor| {
                    Ok(Input {
                        declared: tensor?,
                        axes: None,
                    })
                })
                .collect(),
        }
    };
    let output = |tensor: Input| Output {
        name: tensor.declared.name,
        data_type: tensor.declared.data_type,
        axes: tensor.axes,
    };
    let (inputs, outputs) = origin.map_or((None, None), |origin| (Some(origin.inputs), Some(origin.outputs)));
    Ok(Interface {
        inputs: tensors(&graph.inputs, inputs)?,
        outputs: tensors(&graph.outputs, outputs)?
            .into_iter()
            .map(output)
            .collect(),
        has_halves: model.has_halves(graph).map_err(damaged)?,
    })
}

/// A tensor as it was in the model that the file was converted from.
fn input(tensor: &Declared, Port { name, axes }: Port) -> Result<Input, String> {
    let Some(axes) = Axes::new(axes, tensor.axes.len()) else {
        return Err(format!("its {AXES} do not fit `{}`", tensor.name));
    };
    let declared = Declared {
        name,
        data_type: tensor.data_type,
        axes: axes.in_model(&tensor.axes),
    };
    let axes = (!axes.is_plain()).then_some(axes);
    Ok(Input { declared, axes })
}

struct Model<'a> {
    root: Table<'a>,
    graphs: Vec<Graph<'a>>,
    signatures: Vec<Table<'a>>,
    operator_codes: usize,
    buffers: Vec<Table<'a>>,
}

struct Graph<'a> {
    tensors: Vec<Table<'a>>,
    inputs: Vec<i32>,
    outputs: Vec<i32>,
    operators: Vec<Table<'a>>,
}

/// `TensorType` of half precision.
const HALF: u8 = 1;

impl<'a> Model<'a> {
    fn read(file: &'a [u8]) -> Result<Self, Fault> {
        let root = Table::root(file)?;
        let graph = |table: Table<'a>| {
            Ok(Graph {
                tensors: table.tables(0)?,
                inputs: table.ints(1)?,
                outputs: table.ints(2)?,
                operators: table.tables(3)?,
            })
        };
        Ok(Self {
            root,
            graphs: root
                .tables(2)?
                .into_iter()
                .map(graph)
                .collect::<Result<_, Fault>>()?,
            signatures: root.tables(7)?,
            operator_codes: root.tables(1)?.len(),
            buffers: root.tables(4)?,
        })
    }

    /// The graph of the first signature, or the first graph where there is none, as LiteRT takes it.
    fn main(&self) -> Result<&Graph<'a>, Fault> {
        let index = match self.signatures.first() {
            Some(signature) => signature.uint(4)?,
            None => 0,
        };
        self.graphs.get(index as usize).ok_or("it has no graph")
    }

    /// Whether a constant of the graph is in half precision.
    fn has_halves(&self, graph: &Graph<'_>) -> Result<bool, Fault> {
        for tensor in &graph.tensors {
            if tensor.byte(1)? == HALF {
                let buffer = self.buffers.get(tensor.uint(2)? as usize);
                // Those of values have no data, here or behind the tables.
                if let Some(buffer) = buffer
                    && (!buffer.bytes(0)?.is_empty() || buffer.ulong(2)? > 0)
                {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// What the file says of the model that it was converted from; `None` where it says nothing.
    fn origin(&self) -> Result<Option<Origin>, String> {
        let damaged = |fault: Fault| format!("it is damaged: {fault}");
        for metadata in self.root.tables(6).map_err(damaged)? {
            if metadata.text(0).map_err(damaged)? == AXES {
                let buffer = &self.buffers[metadata.uint(1).map_err(damaged)? as usize];
                let text = buffer.bytes(0).map_err(damaged)?;
                return serde_json::from_slice(text)
                    .map(Some)
                    .map_err(|error| format!("its {AXES} cannot be read: {error}"));
            }
        }
        Ok(None)
    }

    fn check(&self, length: usize) -> Result<(), Fault> {
        for buffer in &self.buffers {
            // Large models keep their constants behind the tables.
            let end = buffer.ulong(1)?.checked_add(buffer.ulong(2)?);
            require(
                end.is_some_and(|end| end <= length as u64),
                "a constant is not there",
            )?;
        }
        for graph in &self.graphs {
            self.check_graph(graph)?;
        }
        for signature in &self.signatures {
            let graph = self.graphs.get(signature.uint(4)? as usize);
            let tensors = graph.ok_or("a signature has no graph")?.tensors.len();
            for map in [signature.tables(0)?, signature.tables(1)?].concat() {
                require((map.uint(1)? as usize) < tensors, "a signature names no tensor")?;
            }
        }
        for metadata in self.root.tables(6)? {
            require(
                (metadata.uint(1)? as usize) < self.buffers.len(),
                "metadata is not there",
            )?;
        }
        self.main().map(drop)
    }

    fn check_graph(&self, graph: &Graph<'_>) -> Result<(), Fault> {
        let tensors = graph.tensors.len();
        // An input of an operator may be left out, which -1 says.
        let all = |indices: &[i32], least: i32| {
            let there = |&index: &i32| index >= least && usize::try_from(index).unwrap_or(0) < tensors;
            require(
                indices.iter().all(there),
                "an operator or a graph names no tensor",
            )
        };
        all(&graph.inputs, 0)?;
        all(&graph.outputs, 0)?;
        for tensor in &graph.tensors {
            let buffer = tensor.uint(2)? as usize;
            // Buffer 0 stands for no constant, even where a file has no buffers.
            require(
                buffer == 0 || buffer < self.buffers.len(),
                "a constant is not there",
            )?;
        }
        for operator in &graph.operators {
            require(
                (operator.uint(0)? as usize) < self.operator_codes,
                "an operator has no name",
            )?;
            all(&operator.ints(1)?, -1)?;
            all(&operator.ints(2)?, 0)?;
            all(&operator.ints(8)?, -1)?;
        }
        Ok(())
    }
}

fn require(holds: bool, fault: Fault) -> Result<(), Fault> {
    if holds { Ok(()) } else { Err(fault) }
}

/// A tensor's name, type and extents; the extents that its signature leaves open are open.
fn declared(tensor: &Table<'_>) -> Result<Declared, String> {
    let damaged = |fault: Fault| format!("it is damaged: {fault}");
    let name = tensor.text(3).map_err(damaged)?;
    let code = tensor.byte(1).map_err(damaged)?;
    let data_type =
        data_type(code).ok_or_else(|| format!("`{name}` is of the unsupported type {code} of its schema"))?;
    let shape = tensor.ints(0).map_err(damaged)?;
    let signature = tensor.ints(7).map_err(damaged)?;
    let axes = if signature.len() == shape.len() {
        signature
    } else {
        shape
    };
    Ok(Declared {
        name,
        data_type,
        axes: axes.iter().map(|&extent| usize::try_from(extent).ok()).collect(),
    })
}

fn data_type(code: u8) -> Option<DataType> {
    Some(match code {
        0 => DataType::F32,
        HALF => DataType::F16,
        2 => DataType::I32,
        3 => DataType::U8,
        4 => DataType::I64,
        6 => DataType::Bool,
        9 => DataType::I8,
        _ => return None,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::Path;

    use super::*;

    fn fixture(name: &str) -> Vec<u8> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/models");
        std::fs::read(folder.join(name)).unwrap()
    }

    #[test]
    fn the_interface_is_the_files() {
        let small = interface(&fixture("small.tflite")).unwrap();
        assert_eq!(small.inputs[0].declared.name, "image");
        assert_eq!(small.inputs[0].declared.axes, [None, Some(8), Some(8), Some(3)]);
        assert_eq!(small.outputs[0].name, "scores");
        let gather = interface(&fixture("gather.tflite")).unwrap();
        let types: Vec<_> = gather
            .inputs
            .iter()
            .map(|input| input.declared.data_type)
            .collect();
        assert_eq!(types, [DataType::F32, DataType::I32]);
    }

    #[test]
    fn other_files_are_told_apart_from_damaged_ones() {
        let onnx = interface(&fixture("tiny.onnx")).unwrap_err();
        assert_eq!(onnx, "it is no TensorFlow Lite model");
        let whole = fixture("small.tflite");
        let cut = interface(&whole[..whole.len() / 2]).unwrap_err();
        assert_eq!(cut, "it is damaged: it points beyond its end");
    }

    /// An index of 255 leads nowhere in so small a file.
    #[test]
    fn any_byte_of_a_file_may_be_anything() {
        let mut faults = std::collections::BTreeSet::new();
        for name in ["small.tflite", "small_int8.tflite", "gather.tflite"] {
            let whole = fixture(name);
            for position in 0..whole.len() {
                for value in [0, 1, 0x7f, 0xff] {
                    let mut damaged = whole.clone();
                    damaged[position] = value;
                    faults.extend(interface(&damaged).err());
                }
                let _ = interface(&whole[..position]);
            }
        }
        for fault in [
            "an operator or a graph names no tensor",
            "an operator has no name",
            "a constant is not there",
        ] {
            assert!(faults.contains(&format!("it is damaged: {fault}")), "{fault}");
        }
    }
}
