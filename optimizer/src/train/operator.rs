//! The operators that can be trained through, with their attributes.

use super::attributes::Attributes;
use super::pick::{self, Pick};
use super::window::Window;
use crate::error::Error;

/// What a node computes.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Operator {
    /// A two-dimensional convolution of a picture with weights and perhaps a bias.
    Convolution { window: Window, groups: usize },
    /// Batch normalization: input, scale, shift, running mean, running variance.
    Normalization { epsilon: f32, momentum: f32 },
    /// A function of each element.
    Map(Map),
    /// A function of pairs of elements, with broadcasting.
    Combine(Combine),
    /// A window that slides over pictures.
    Pool {
        pool: Pool,
        window: Window,
        /// Whether a last window that reaches over the end counts.
        ceil: bool,
    },
    /// A reduction over all axes after the second, which stay with an extent of 1.
    Global(Reduction),
    /// `alpha * a * b + beta * c`.
    Gemm {
        alpha: f32,
        beta: f32,
        transposed: [bool; 2],
    },
    /// The product of matrices along the last two axes.
    Product,
    /// The same elements in the inferred shape: `Flatten`, `Reshape`, `Squeeze`, `Unsqueeze`.
    Reshape,
    /// The axes in another order; reversed where no order is given.
    Transpose(Option<Vec<usize>>),
    /// Joins along an axis.
    Concat(i64),
    /// Exponentials along an axis that sum to 1, or their logarithms.
    Softmax { axis: i64, log: bool },
    /// A reduction over axes; the inferred shape says whether they stay.
    Reduce(Reduction, Vec<i64>),
    /// Some of what lies along axes, one after another: `Slice`, `Gather`, and one output of `Split`.
    Pick(Vec<Pick>),
    /// Puts elements of this value around: how many before and after, for each axis.
    Pad { pads: Vec<(usize, usize)>, value: f32 },
    /// Repeats along axes of one element until the inferred shape is filled.
    Expand,
    /// By a constant condition either of two inputs.
    Choose,
    /// Normalizes over the last axes, from `axis` on: input, scale, shift.
    LayerNormalization { axis: i64, epsilon: f32 },
    /// Stores in 8 bits: input, scale, zero point.
    Quantize,
    /// The float of what is stored in 8 bits.
    Dequantize,
    /// The input.
    Same,
}

/// A function of one element.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Map {
    Clamp {
        low: f32,
        high: f32,
    },
    /// `factor * x + offset`.
    Line {
        factor: f32,
        offset: f32,
    },
    Curve(Curve),
    Tanh,
    Erf,
    Sqrt,
    Exp,
    Log,
    Negative,
    Reciprocal,
    Power(f32),
}

/// A function of one element that burn has not, or slowly.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Curve {
    Leaky(f32),
    Sigmoid,
    HardSigmoid {
        alpha: f32,
        beta: f32,
    },
    HardSwish,
    Gelu,
    /// Gelu by a hyperbolic tangent.
    TanhGelu,
    Softplus,
    Mish,
}

/// A function of two elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Combine {
    Add,
    Subtract,
    Multiply,
    Divide,
    Largest,
    Smallest,
}

/// What becomes of the elements along axes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reduction {
    Mean,
    Sum,
    Max,
}

/// What a sliding window gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pool {
    Max,
    Average { count_padding: bool },
}

impl Operator {
    /// Whether a step must know the extents of what it makes.
    pub(super) fn needs_extents(&self) -> bool {
        matches!(
            self,
            Self::Reshape | Self::Reduce(..) | Self::Pick(_) | Self::Expand
        )
    }

    /// Reads a node; an error names what cannot be trained through.
    pub(super) fn of(reader: &Attributes) -> Result<Self, Error> {
        let node = reader.node;
        if !node.is_standard() {
            return Err(reader.error(format!(
                "operators of domain `{}` cannot be trained",
                node.domain()
            )));
        }
        let float = |name, default| node.float(name).unwrap_or(default);
        let curve = |curve| Self::Map(Map::Curve(curve));
        Ok(match node.op_type() {
            "Conv" => Self::Convolution {
                window: reader.window(reader.kernel_of_weights()?)?,
                groups: reader.count("group")?,
            },
            "BatchNormalization" => Self::Normalization {
                epsilon: float("epsilon", 1e-5),
                momentum: float("momentum", 0.9),
            },
            "Relu" => Self::Map(Map::Clamp {
                low: 0.0,
                high: f32::INFINITY,
            }),
            "Clip" => {
                let high = reader.limit(2, f32::INFINITY)?;
                // Of limits that cross, the upper one holds.
                let low = reader.limit(1, f32::NEG_INFINITY)?.min(high);
                Self::Map(Map::Clamp { low, high })
            }
            "LeakyRelu" => curve(Curve::Leaky(float("alpha", 0.01))),
            "Sigmoid" => curve(Curve::Sigmoid),
            "HardSigmoid" => curve(Curve::HardSigmoid {
                alpha: float("alpha", 0.2),
                beta: float("beta", 0.5),
            }),
            "HardSwish" => curve(Curve::HardSwish),
            "Gelu" => curve(match node.text("approximate").unwrap_or("none") {
                "tanh" => Curve::TanhGelu,
                _ => Curve::Gelu,
            }),
            "Softplus" => curve(Curve::Softplus),
            "Mish" => curve(Curve::Mish),
            "Tanh" => Self::Map(Map::Tanh),
            "Erf" => Self::Map(Map::Erf),
            "Sqrt" => Self::Map(Map::Sqrt),
            "Exp" => Self::Map(Map::Exp),
            "Log" => Self::Map(Map::Log),
            "Neg" => Self::Map(Map::Negative),
            "Reciprocal" => Self::Map(Map::Reciprocal),
            "Pow" => Self::Map(Map::Power(reader.exponent()?)),
            "Max" => reader.extreme(Combine::Largest)?,
            "Min" => reader.extreme(Combine::Smallest)?,
            "Add" => Self::Combine(Combine::Add),
            "Sub" => Self::Combine(Combine::Subtract),
            "Mul" => Self::Combine(Combine::Multiply),
            "Div" => Self::Combine(Combine::Divide),
            "MaxPool" => reader.pool(Pool::Max)?,
            "AveragePool" => reader.pool(Pool::Average {
                count_padding: node.int("count_include_pad").unwrap_or(0) != 0,
            })?,
            "GlobalAveragePool" => Self::Global(Reduction::Mean),
            "GlobalMaxPool" => Self::Global(Reduction::Max),
            "Gemm" => Self::Gemm {
                alpha: float("alpha", 1.0),
                beta: float("beta", 1.0),
                transposed: ["transA", "transB"].map(|name| node.int(name).unwrap_or(0) != 0),
            },
            "MatMul" => reader.product()?,
            "Flatten" | "Reshape" | "Squeeze" | "Unsqueeze" => Self::Reshape,
            "Transpose" => Self::Transpose(reader.order()?),
            "Concat" => Self::Concat(node.int("axis").unwrap_or(0)),
            "Softmax" | "LogSoftmax" => Self::Softmax {
                axis: node.int("axis").unwrap_or(-1),
                log: node.is("LogSoftmax"),
            },
            "ReduceMean" => reader.reduce(Reduction::Mean)?,
            "ReduceSum" => reader.reduce(Reduction::Sum)?,
            "ReduceMax" => reader.reduce(Reduction::Max)?,
            "Slice" => Self::Pick(pick::of_slice(reader)?),
            "Gather" => Self::Pick(vec![pick::of_gather(reader)?]),
            "Pad" => reader.pad()?,
            "Expand" => Self::Expand,
            "Where" => Self::Choose,
            "LayerNormalization" => reader.layer_normalization()?,
            "QuantizeLinear" => Self::Quantize,
            "DequantizeLinear" => Self::Dequantize,
            "Identity" | "Dropout" => Self::Same,
            other => return Err(reader.error(format!("operator `{other}` cannot be trained"))),
        })
    }
}
