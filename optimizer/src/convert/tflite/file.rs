//! A program as the tables of a file.

use serde_json::json;

use super::flat::{self, Item, Table};
use super::program::{Operator, Port, Program, Quantization, Tensor};
use super::schema::{
    self, Code, Kind, Options, buffer, code, metadata, model, operator, quantization, signature, subgraph,
    tensor, tensor_map,
};

/// Name of the metadata that say how the axes of inputs and outputs lie.
pub(super) const AXES: &str = "edgefront.axes";

/// The signature that runtimes look for.
const SIGNATURE: &str = "serving_default";

/// The bytes of the file; `None` where they are more than a file of this form can hold.
pub(super) fn bytes(mut program: Program) -> Option<Vec<u8>> {
    let data = program.take_data();
    let total: usize = data.iter().flatten().map(Vec::len).sum();
    // What surrounds the weights is smaller than this by far, but for graphs of millions of nodes.
    if total > flat::LARGEST - (64 << 20) {
        return None;
    }
    let codes = Codes::of(&program);
    let mut buffers = vec![Table::new()];
    let tensors = program.tensors().iter().zip(data).map(|(found, data)| {
        let index = data.map(|data| {
            buffers.push(Table::new().item(buffer::DATA, Item::Bytes(data)));
            buffers.len() - 1
        });
        tensor_table(found, index.unwrap_or(0))
    });
    let tensors: Vec<Table> = tensors.collect();
    let operators = program.operators().iter();
    let operators = operators.map(|found| operator_table(found, codes.index(&program, found)));
    let ids = |ports: &[Port]| Item::Ints(ports.iter().map(|port| port.tensor.0 as i32).collect());
    let main = Table::new()
        .item(subgraph::TENSORS, Item::Tables(tensors))
        .item(subgraph::INPUTS, ids(&program.inputs))
        .item(subgraph::OUTPUTS, ids(&program.outputs))
        .item(subgraph::OPERATORS, Item::Tables(operators.collect()))
        .item(subgraph::NAME, Item::Text("main".to_owned()));
    let text = json!({ "inputs": axes(&program.inputs), "outputs": axes(&program.outputs) });
    let text = text.to_string().into_bytes();
    buffers.push(Table::new().item(buffer::DATA, Item::Bytes(text)));
    let axes = Table::new()
        .item(metadata::NAME, Item::Text(AXES.to_owned()))
        .int(metadata::BUFFER, buffers.len() as i32 - 1);
    let signature = Table::new()
        .item(signature::INPUTS, Item::Tables(maps(&program.inputs)))
        .item(signature::OUTPUTS, Item::Tables(maps(&program.outputs)))
        .item(signature::KEY, Item::Text(SIGNATURE.to_owned()));
    let root = Table::new()
        .int(model::VERSION, schema::VERSION)
        .item(model::OPERATOR_CODES, Item::Tables(codes.tables()))
        .item(model::SUBGRAPHS, Item::Tables(vec![main]))
        .item(model::DESCRIPTION, Item::Text("made by Edgefront".to_owned()))
        .item(model::METADATA, Item::Tables(vec![axes]))
        .item(model::SIGNATURES, Item::Tables(vec![signature]))
        .item(model::BUFFERS, Item::Tables(buffers));
    Some(flat::write(root, schema::IDENTIFIER))
}

fn axes(ports: &[Port]) -> serde_json::Value {
    let entry = |port: &Port| json!({ "name": port.name, "axes": port.layout });
    ports.iter().map(entry).collect()
}

fn maps(ports: &[Port]) -> Vec<Table> {
    let entry = |port: &Port| {
        let table = Table::new().item(tensor_map::NAME, Item::Text(port.name.clone()));
        table.int(tensor_map::TENSOR, port.tensor.0 as i32)
    };
    ports.iter().map(entry).collect()
}

fn tensor_table(found: &Tensor, buffer: usize) -> Table {
    let shape = found.shape.iter().map(|&extent| extent as i32).collect();
    let quantization = found.quantization.as_ref().map(quantization_table);
    Table::new()
        .item(tensor::SHAPE, Item::Ints(shape))
        .byte(tensor::TYPE, found.kind as u8)
        .int(tensor::BUFFER, buffer as i32)
        .item(tensor::NAME, Item::Text(found.name.clone()))
        .maybe(tensor::QUANTIZATION, quantization.map(Item::Table))
}

fn quantization_table(found: &Quantization) -> Table {
    Table::new()
        .item(quantization::SCALE, Item::Floats(found.scales.clone()))
        .item(quantization::ZERO_POINT, Item::Longs(found.zero_points.clone()))
        .int(quantization::AXIS, found.axis as i32)
}

fn operator_table(found: &Operator, code: usize) -> Table {
    let ids = |ids: &[super::program::TensorId]| Item::Ints(ids.iter().map(|id| id.0 as i32).collect());
    let table = Table::new()
        .int(operator::CODE_INDEX, code as i32)
        .item(operator::INPUTS, ids(&found.inputs))
        .item(operator::OUTPUTS, ids(&found.outputs));
    match found.options.table() {
        Some((number, options)) => {
            let table = table.byte(operator::OPTIONS_TYPE, number);
            table.item(operator::OPTIONS, Item::Table(options))
        }
        None => table,
    }
}

/// The operators that a program uses, each with the version of its kernel.
struct Codes(Vec<(Code, i32)>);

impl Codes {
    fn of(program: &Program) -> Self {
        let mut codes = Vec::new();
        for operator in program.operators() {
            let code = (operator.code, version(program, operator));
            if !codes.contains(&code) {
                codes.push(code);
            }
        }
        Self(codes)
    }

    fn index(&self, program: &Program, operator: &Operator) -> usize {
        let code = (operator.code, version(program, operator));
        let found = self.0.iter().position(|known| *known == code);
        found.expect("all operators of the program are listed")
    }

    fn tables(&self) -> Vec<Table> {
        /// Numbers from here on do not fit into the field that older readers know, which then holds this one.
        const PLACEHOLDER: u8 = 127;
        let table = |&(found, version): &(Code, i32)| {
            let number = found as i32;
            Table::new()
                .byte(
                    code::DEPRECATED,
                    u8::try_from(number).map_or(PLACEHOLDER, |low| low.min(PLACEHOLDER)),
                )
                .int(code::VERSION, version)
                .int(code::BUILTIN, number)
        };
        self.0.iter().map(table).collect()
    }
}

/// The oldest version of a kernel that does this, by `op_version.cc` of LiteRT.
fn version(program: &Program, operator: &Operator) -> i32 {
    let kind = |index: usize| operator.inputs.get(index).map(|&id| program.tensor(id));
    let is_int8 = |index: usize| kind(index).is_some_and(|tensor| tensor.kind == Kind::Int8);
    let per_channel = |index: usize| {
        let quantization = kind(index).and_then(|tensor| tensor.quantization.as_ref());
        quantization.is_some_and(|quantization| quantization.scales.len() > 1)
    };
    let rank = kind(0).map_or(0, |tensor| tensor.shape.len());
    match operator.code {
        Code::Conv2d | Code::DepthwiseConv2d if is_int8(1) => 3,
        Code::DepthwiseConv2d if matches!(operator.options, Options::DepthwiseConv2d { dilations, .. } if dilations != [1, 1]) => {
            2
        }
        Code::FullyConnected if is_int8(1) && per_channel(1) => 12,
        Code::FullyConnected
            if matches!(operator.options, Options::FullyConnected { keep_axes: true, .. }) =>
        {
            5
        }
        Code::FullyConnected if is_int8(1) => 4,
        Code::TransposeConv => match (operator.inputs.len(), is_int8(1)) {
            (4.., _) => 3,
            (_, true) => 2,
            _ => 1,
        },
        Code::ResizeBilinear | Code::ResizeNearestNeighbor => 3,
        Code::Dequantize if per_channel(0) => 5,
        Code::Dequantize if kind(0).is_some_and(|tensor| tensor.kind == Kind::Float16) => 3,
        Code::Transpose if rank > 5 => 6,
        Code::Transpose | Code::StridedSlice if rank > 4 => 4,
        Code::Slice if rank > 4 => 5,
        Code::BroadcastTo => 2,
        Code::Add
        | Code::Mul
        | Code::Gelu
        | Code::BatchMatmul
        | Code::Gather
        | Code::SplitV
        | Code::Sub
        | Code::Concatenation
        | Code::AveragePool2d
        | Code::MaxPool2d
        | Code::Softmax
        | Code::LogSoftmax
        | Code::Logistic
        | Code::Tanh
        | Code::Relu
        | Code::Relu6
        | Code::Pad
        | Code::PadV2
        | Code::Mean
        | Code::Sum
        | Code::ReduceMax
        | Code::ReduceMin
        | Code::Maximum
        | Code::Minimum
        | Code::LeakyRelu
        | Code::Transpose
        | Code::Slice
        | Code::StridedSlice
        | Code::MirrorPad
        | Code::DepthToSpace
        | Code::SpaceToDepth
        | Code::Dequantize
        | Code::Quantize
            if is_int8(0) =>
        {
            2
        }
        _ => 1,
    }
}
