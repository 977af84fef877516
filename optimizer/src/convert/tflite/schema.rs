//! The parts of TFLite's schema (version 3) that the converter writes: numbers of operators and types, and the
//! slots of the tables' fields.
//!
//! They are copied from `schema.fbs` of LiteRT by hand, since the code that a generator makes of it is many times
//! the rest of the converter. Numbers are never reused there, so that they stay right.

use super::flat::{Item, Table};

/// Marks a file as one of this schema.
pub(super) const IDENTIFIER: [u8; 4] = *b"TFL3";

/// Version of the schema.
pub(super) const VERSION: i32 = 3;

/// Slots of `Model`.
pub(super) mod model {
    pub(in super::super) const VERSION: usize = 0;
    pub(in super::super) const OPERATOR_CODES: usize = 1;
    pub(in super::super) const SUBGRAPHS: usize = 2;
    pub(in super::super) const DESCRIPTION: usize = 3;
    pub(in super::super) const BUFFERS: usize = 4;
    pub(in super::super) const METADATA: usize = 6;
    pub(in super::super) const SIGNATURES: usize = 7;
}

/// Slots of `SubGraph`.
pub(super) mod subgraph {
    pub(in super::super) const TENSORS: usize = 0;
    pub(in super::super) const INPUTS: usize = 1;
    pub(in super::super) const OUTPUTS: usize = 2;
    pub(in super::super) const OPERATORS: usize = 3;
    pub(in super::super) const NAME: usize = 4;
}

/// Slots of `Tensor`.
pub(super) mod tensor {
    pub(in super::super) const SHAPE: usize = 0;
    pub(in super::super) const TYPE: usize = 1;
    pub(in super::super) const BUFFER: usize = 2;
    pub(in super::super) const NAME: usize = 3;
    pub(in super::super) const QUANTIZATION: usize = 4;
}

/// Slots of `QuantizationParameters`.
pub(super) mod quantization {
    pub(in super::super) const SCALE: usize = 2;
    pub(in super::super) const ZERO_POINT: usize = 3;
    pub(in super::super) const AXIS: usize = 6;
}

/// Slots of `Operator`.
pub(super) mod operator {
    pub(in super::super) const CODE_INDEX: usize = 0;
    pub(in super::super) const INPUTS: usize = 1;
    pub(in super::super) const OUTPUTS: usize = 2;
    pub(in super::super) const OPTIONS_TYPE: usize = 3;
    pub(in super::super) const OPTIONS: usize = 4;
}

/// Slots of `OperatorCode`.
pub(super) mod code {
    pub(in super::super) const DEPRECATED: usize = 0;
    pub(in super::super) const VERSION: usize = 2;
    pub(in super::super) const BUILTIN: usize = 3;
}

/// Slots of `Buffer`.
pub(super) mod buffer {
    pub(in super::super) const DATA: usize = 0;
}

/// Slots of `Metadata`.
pub(super) mod metadata {
    pub(in super::super) const NAME: usize = 0;
    pub(in super::super) const BUFFER: usize = 1;
}

/// Slots of `SignatureDef`.
pub(super) mod signature {
    pub(in super::super) const INPUTS: usize = 0;
    pub(in super::super) const OUTPUTS: usize = 1;
    pub(in super::super) const KEY: usize = 2;
}

/// Slots of `TensorMap`.
pub(super) mod tensor_map {
    pub(in super::super) const NAME: usize = 0;
    pub(in super::super) const TENSOR: usize = 1;
}

/// Element type of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Float32 = 0,
    Float16 = 1,
    Int32 = 2,
    Int64 = 4,
    Bool = 6,
    Int8 = 9,
}

/// A builtin operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Code {
    Add = 0,
    AveragePool2d = 1,
    Concatenation = 2,
    Conv2d = 3,
    DepthwiseConv2d = 4,
    DepthToSpace = 5,
    Dequantize = 6,
    Floor = 8,
    FullyConnected = 9,
    Logistic = 14,
    MaxPool2d = 17,
    Mul = 18,
    Relu = 19,
    ReluN1To1 = 20,
    Relu6 = 21,
    Reshape = 22,
    ResizeBilinear = 23,
    Softmax = 25,
    SpaceToDepth = 26,
    Tanh = 28,
    Pad = 34,
    Gather = 36,
    Transpose = 39,
    Mean = 40,
    Sub = 41,
    Div = 42,
    StridedSlice = 45,
    Exp = 47,
    LogSoftmax = 50,
    Cast = 53,
    Prelu = 54,
    Maximum = 55,
    ArgMax = 56,
    Minimum = 57,
    Less = 58,
    Neg = 59,
    PadV2 = 60,
    Greater = 61,
    GreaterEqual = 62,
    LessEqual = 63,
    Slice = 65,
    Sin = 66,
    TransposeConv = 67,
    Tile = 69,
    Equal = 71,
    Log = 73,
    Sum = 74,
    Sqrt = 75,
    Pow = 78,
    ArgMin = 79,
    ReduceProd = 81,
    ReduceMax = 82,
    LogicalOr = 84,
    LogicalAnd = 86,
    LogicalNot = 87,
    ReduceMin = 89,
    ResizeNearestNeighbor = 97,
    LeakyRelu = 98,
    MirrorPad = 100,
    Abs = 101,
    SplitV = 102,
    Ceil = 104,
    Cos = 108,
    Elu = 111,
    Quantize = 114,
    Round = 116,
    HardSwish = 117,
    SelectV2 = 123,
    BatchMatmul = 126,
    BroadcastTo = 130,
    Gelu = 150,
    Sign = 158,
}

impl Code {
    /// The name in messages and in the schema: `CONV_2D`.
    pub(super) fn label(self) -> String {
        match self {
            Self::Relu6 => return "RELU6".to_owned(),
            Self::ReluN1To1 => return "RELU_N1_TO_1".to_owned(),
            Self::PadV2 => return "PADV2".to_owned(),
            Self::SelectV2 => return "SELECT_V2".to_owned(),
            _ => {}
        }
        let mut label = String::new();
        for letter in format!("{self:?}").chars() {
            if !label.is_empty() && (letter.is_uppercase() || letter.is_ascii_digit()) {
                label.push('_');
            }
            label.push(letter.to_ascii_uppercase());
        }
        label
    }
}

/// What an operator does to its result at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Activation {
    None = 0,
    Relu = 1,
    ReluN1To1 = 2,
    Relu6 = 3,
}

/// How a window meets the borders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Padding {
    /// As many outputs as steps fit into the input; what lacks is divided between both sides.
    Same = 0,
    /// Windows lie within the input.
    Valid = 1,
}

/// Steps of a window: height, width.
pub(super) type Steps = [i32; 2];

/// How a kernel is set up; the tables of the union `BuiltinOptions`.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Options {
    /// A kernel without settings.
    None,
    Conv2d {
        padding: Padding,
        strides: Steps,
        dilations: Steps,
        activation: Activation,
    },
    DepthwiseConv2d {
        padding: Padding,
        strides: Steps,
        dilations: Steps,
        multiplier: i32,
        activation: Activation,
    },
    TransposeConv {
        padding: Padding,
        strides: Steps,
    },
    Pool2d {
        padding: Padding,
        strides: Steps,
        window: Steps,
        activation: Activation,
    },
    FullyConnected {
        activation: Activation,
        keep_axes: bool,
    },
    Add(Activation),
    Sub(Activation),
    Mul(Activation),
    Div(Activation),
    Concatenation {
        axis: i32,
    },
    Reshape(Vec<i32>),
    Reducer {
        keep_axes: bool,
    },
    /// Which type the indices have.
    ArgMax(Kind),
    ArgMin(Kind),
    Softmax,
    ResizeBilinear(Centers),
    ResizeNearestNeighbor(Centers),
    LeakyRelu {
        alpha: f32,
    },
    SplitV {
        parts: i32,
    },
    Gather {
        axis: i32,
    },
    DepthToSpace {
        block: i32,
    },
    SpaceToDepth {
        block: i32,
    },
    Gelu {
        approximate: bool,
    },
    /// Reflection without the border itself.
    MirrorPad,
    BatchMatmul,
    StridedSlice,
}

/// Where a resized picture's samples lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Centers {
    pub(super) align_corners: bool,
    pub(super) half_pixel: bool,
}

impl Options {
    /// Number of the table in the union, and the table.
    pub(super) fn table(&self) -> Option<(u8, Table)> {
        let window = |padding: Padding, strides: Steps| {
            let table = Table::new().byte(0, padding as u8);
            table.int(1, strides[1]).int(2, strides[0])
        };
        Some(match self {
            Self::None => return None,
            Self::Conv2d {
                padding,
                strides,
                dilations,
                activation,
            } => {
                let table = window(*padding, *strides).byte(3, *activation as u8);
                (1, table.int(4, dilations[1]).int(5, dilations[0]))
            }
            Self::DepthwiseConv2d {
                padding,
                strides,
                dilations,
                multiplier,
                activation,
            } => {
                let table = window(*padding, *strides).int(3, *multiplier);
                let table = table.byte(4, *activation as u8);
                (2, table.int(5, dilations[1]).int(6, dilations[0]))
            }
            Self::TransposeConv { padding, strides } => (49, window(*padding, *strides)),
            Self::Pool2d {
                padding,
                strides,
                window: size,
                activation,
            } => {
                let table = window(*padding, *strides).int(3, size[1]).int(4, size[0]);
                (5, table.byte(5, *activation as u8))
            }
            Self::FullyConnected {
                activation,
                keep_axes,
            } => (8, Table::new().byte(0, *activation as u8).flag(2, *keep_axes)),
            Self::Add(activation) => (11, Table::new().byte(0, *activation as u8)),
            Self::Sub(activation) => (28, Table::new().byte(0, *activation as u8)),
            Self::Mul(activation) => (21, Table::new().byte(0, *activation as u8)),
            Self::Div(activation) => (29, Table::new().byte(0, *activation as u8)),
            Self::Concatenation { axis } => (10, Table::new().int(0, *axis)),
            Self::Reshape(shape) => (17, Table::new().item(0, Item::Ints(shape.clone()))),
            Self::Reducer { keep_axes } => (27, Table::new().flag(0, *keep_axes)),
            Self::ArgMax(kind) => (40, Table::new().byte(0, *kind as u8)),
            Self::ArgMin(kind) => (57, Table::new().byte(0, *kind as u8)),
            Self::Softmax => (9, Table::new().float(0, 1.0)),
            Self::ResizeBilinear(centers) => (15, centers.at(2)),
            Self::ResizeNearestNeighbor(centers) => (74, centers.at(0)),
            Self::LeakyRelu { alpha } => (75, Table::new().float(0, *alpha)),
            Self::SplitV { parts } => (79, Table::new().int(0, *parts)),
            Self::Gather { axis } => (23, Table::new().int(0, *axis)),
            Self::DepthToSpace { block } => (94, Table::new().int(0, *block)),
            Self::SpaceToDepth { block } => (19, Table::new().int(0, *block)),
            Self::Gelu { approximate } => (116, Table::new().flag(0, *approximate)),
            Self::MirrorPad => (77, Table::new().byte(0, 0)),
            Self::BatchMatmul => (101, Table::new()),
            Self::StridedSlice => (32, Table::new()),
        })
    }
}

impl Centers {
    fn at(self, slot: usize) -> Table {
        let table = Table::new().flag(slot, self.align_corners);
        table.flag(slot + 1, self.half_pixel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_are_named_as_in_the_schema() {
        let names = [
            (Code::Conv2d, "CONV_2D"),
            (Code::DepthwiseConv2d, "DEPTHWISE_CONV_2D"),
            (Code::Relu6, "RELU6"),
            (Code::ReluN1To1, "RELU_N1_TO_1"),
            (Code::ResizeNearestNeighbor, "RESIZE_NEAREST_NEIGHBOR"),
        ];
        for (code, name) in names {
            assert_eq!(code.label(), name);
        }
    }
}
