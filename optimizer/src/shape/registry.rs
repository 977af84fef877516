//! All operators that the optimizer knows.

use super::call::{Call, Outcome};
use super::rules::{
    constant, elementwise, layout, matrix, normalize, quantize, reduce, resize, select, window,
};
use crate::proto::NodeProto;

type Rule = fn(&Call) -> Outcome;

/// An operator of the standard set.
pub(crate) struct Operator {
    name: &'static str,
    pub(super) rule: Rule,
}

const fn op(name: &'static str, rule: Rule) -> Operator {
    Operator { name, rule }
}

/// The node's operator, if it is a known one.
pub(crate) fn find(node: &NodeProto) -> Option<&'static Operator> {
    if !node.is_standard() {
        return None;
    }
    OPERATORS.iter().find(|operator| operator.name == node.op_type())
}

const OPERATORS: &[Operator] = &[
    op("Abs", elementwise::unary),
    op("Add", elementwise::arithmetic),
    op("And", elementwise::predicate),
    op("ArgMax", reduce::arg),
    op("ArgMin", reduce::arg),
    op("AveragePool", window::pool),
    op("BatchNormalization", normalize::batch_norm),
    op("Cast", elementwise::cast),
    op("Ceil", elementwise::unary),
    op("Celu", elementwise::unary),
    op("Clip", elementwise::clip),
    op("Concat", layout::concat),
    op("Constant", constant::constant),
    op("ConstantOfShape", constant::constant_of_shape),
    op("Conv", window::conv),
    op("ConvTranspose", window::conv_transpose),
    op("Cos", elementwise::unary),
    op("DepthToSpace", layout::depth_to_space),
    op("DequantizeLinear", quantize::dequantize),
    op("Div", elementwise::arithmetic),
    op("Dropout", elementwise::dropout),
    op("Elu", elementwise::unary),
    op("Equal", elementwise::predicate),
    op("Erf", elementwise::unary),
    op("Exp", elementwise::unary),
    op("Expand", layout::expand),
    op("Flatten", layout::flatten),
    op("Floor", elementwise::unary),
    op("Gather", select::gather),
    op("Gelu", elementwise::unary),
    op("Gemm", matrix::gemm),
    op("GlobalAveragePool", window::global_pool),
    op("GlobalLpPool", window::global_pool),
    op("GlobalMaxPool", window::global_pool),
    op("Greater", elementwise::predicate),
    op("GreaterOrEqual", elementwise::predicate),
    op("HardSigmoid", elementwise::unary),
    op("HardSwish", elementwise::unary),
    op("Hardmax", elementwise::unary),
    op("Identity", elementwise::identity),
    op("InstanceNormalization", normalize::instance_norm),
    op("LRN", elementwise::unary),
    op("LayerNormalization", normalize::layer_norm),
    op("LeakyRelu", elementwise::unary),
    op("Less", elementwise::predicate),
    op("LessOrEqual", elementwise::predicate),
    op("Log", elementwise::unary),
    op("LogSoftmax", elementwise::unary),
    op("LpNormalization", elementwise::unary),
    op("LpPool", window::pool),
    op("MatMul", matrix::matmul),
    op("Max", elementwise::arithmetic),
    op("MaxPool", window::pool),
    op("Mean", elementwise::arithmetic),
    op("Min", elementwise::arithmetic),
    op("Mish", elementwise::unary),
    op("Mul", elementwise::arithmetic),
    op("Neg", elementwise::unary),
    op("Not", elementwise::unary),
    op("Or", elementwise::predicate),
    op("PRelu", elementwise::prelu),
    op("Pad", layout::pad),
    op("Pow", elementwise::power),
    op("QuantizeLinear", quantize::quantize),
    op("Reciprocal", elementwise::unary),
    op("ReduceL1", reduce::reduce),
    op("ReduceL2", reduce::reduce),
    op("ReduceMax", reduce::reduce),
    op("ReduceMean", reduce::reduce),
    op("ReduceMin", reduce::reduce),
    op("ReduceProd", reduce::reduce),
    op("ReduceSum", reduce::reduce),
    op("ReduceSumSquare", reduce::reduce),
    op("Relu", elementwise::unary),
    op("Reshape", layout::reshape),
    op("Resize", resize::resize),
    op("Round", elementwise::unary),
    op("Selu", elementwise::unary),
    op("Shape", constant::shape),
    op("Sigmoid", elementwise::unary),
    op("Sign", elementwise::unary),
    op("Sin", elementwise::unary),
    op("Size", constant::size),
    op("Slice", select::slice),
    op("Softmax", elementwise::unary),
    op("Softplus", elementwise::unary),
    op("Softsign", elementwise::unary),
    op("SpaceToDepth", layout::space_to_depth),
    op("Split", layout::split),
    op("Sqrt", elementwise::unary),
    op("Squeeze", layout::squeeze),
    op("Sub", elementwise::arithmetic),
    op("Sum", elementwise::arithmetic),
    op("Tanh", elementwise::unary),
    op("ThresholdedRelu", elementwise::unary),
    op("Tile", layout::tile),
    op("Transpose", layout::transpose),
    op("Unsqueeze", layout::unsqueeze),
    op("Upsample", resize::resize),
    op("Where", elementwise::choose),
    op("Xor", elementwise::predicate),
];
