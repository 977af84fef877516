//! The operators that can be trained through, with their attributes.

use super::window::Window;
use crate::error::Error;
use crate::graph::{Graph, NodeId};
use crate::proto::{NodeProto, TensorProto};

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
    Pool { pool: Pool, window: Window },
    /// The mean over all axes after the second, which stay with an extent of 1.
    GlobalAverage,
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
    /// The mean over axes; the inferred shape says whether they stay.
    Mean(Vec<i64>),
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
}

/// A function of one element that burn has not, or slowly.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Curve {
    Leaky(f32),
    Sigmoid,
    HardSigmoid { alpha: f32, beta: f32 },
    HardSwish,
}

/// A function of two elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Combine {
    Add,
    Subtract,
    Multiply,
    Divide,
}

/// What a sliding window gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pool {
    Max,
    Average { count_padding: bool },
}

impl Operator {
    /// Reads a node; an error names what cannot be trained through.
    pub(super) fn of(graph: &Graph, id: NodeId) -> Result<Self, Error> {
        let node = graph.node(id);
        let reader = Reader { graph, id, node };
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
            "Clip" => Self::Map(Map::Clamp {
                low: reader.limit(1, f32::NEG_INFINITY)?,
                high: reader.limit(2, f32::INFINITY)?,
            }),
            "LeakyRelu" => curve(Curve::Leaky(float("alpha", 0.01))),
            "Sigmoid" => curve(Curve::Sigmoid),
            "HardSigmoid" => curve(Curve::HardSigmoid {
                alpha: float("alpha", 0.2),
                beta: float("beta", 0.5),
            }),
            "HardSwish" => curve(Curve::HardSwish),
            "Tanh" => Self::Map(Map::Tanh),
            "Erf" => Self::Map(Map::Erf),
            "Sqrt" => Self::Map(Map::Sqrt),
            "Exp" => Self::Map(Map::Exp),
            "Log" => Self::Map(Map::Log),
            "Neg" => Self::Map(Map::Negative),
            "Reciprocal" => Self::Map(Map::Reciprocal),
            "Add" => Self::Combine(Combine::Add),
            "Sub" => Self::Combine(Combine::Subtract),
            "Mul" => Self::Combine(Combine::Multiply),
            "Div" => Self::Combine(Combine::Divide),
            "MaxPool" => reader.pool(Pool::Max)?,
            "AveragePool" => reader.pool(Pool::Average {
                count_padding: node.int("count_include_pad").unwrap_or(0) != 0,
            })?,
            "GlobalAveragePool" => Self::GlobalAverage,
            "Gemm" => Self::Gemm {
                alpha: float("alpha", 1.0),
                beta: float("beta", 1.0),
                transposed: ["transA", "transB"].map(|name| node.int(name).unwrap_or(0) != 0),
            },
            "MatMul" => Self::Product,
            "Flatten" | "Reshape" | "Squeeze" | "Unsqueeze" => Self::Reshape,
            "Transpose" => Self::Transpose(reader.order()?),
            "Concat" => Self::Concat(node.int("axis").unwrap_or(0)),
            "Softmax" | "LogSoftmax" => Self::Softmax {
                axis: node.int("axis").unwrap_or(-1),
                log: node.is("LogSoftmax"),
            },
            "ReduceMean" => Self::Mean(reader.axes()?),
            "QuantizeLinear" => Self::Quantize,
            "DequantizeLinear" => Self::Dequantize,
            "Identity" | "Dropout" => Self::Same,
            other => return Err(reader.error(format!("operator `{other}` cannot be trained"))),
        })
    }
}

/// A node whose attributes are read.
struct Reader<'a> {
    graph: &'a Graph,
    id: NodeId,
    node: &'a NodeProto,
}

impl Reader<'_> {
    fn error(&self, reason: impl Into<String>) -> Error {
        Error::node(self.node, reason)
    }

    fn count(&self, name: &str) -> Result<usize, Error> {
        match usize::try_from(self.node.int(name).unwrap_or(1)) {
            Ok(count) if count > 0 => Ok(count),
            _ => Err(self.error(format!("attribute `{name}` must be at least 1"))),
        }
    }

    /// A list of `N` numbers.
    fn numbers<const N: usize>(&self, name: &str, default: usize) -> Result<[usize; N], Error> {
        let Some(values) = self.node.ints(name) else {
            return Ok([default; N]);
        };
        let values: Result<Vec<usize>, _> = values.iter().map(|&value| usize::try_from(value)).collect();
        values
            .ok()
            .and_then(|values| values.try_into().ok())
            .ok_or_else(|| {
                self.error(format!(
                    "attribute `{name}` is not {N} numbers; only operators on rows and columns can be trained"
                ))
            })
    }

    fn kernel_of_weights(&self) -> Result<[usize; 2], Error> {
        let weights = self.node.input_name(1).unwrap_or_default();
        let producer = self.graph.producer(weights);
        let stored = producer.and_then(|id| self.graph.constant_input(id, 0));
        let weights = self.graph.initializer(weights).or(stored);
        let shape = weights
            .ok_or_else(|| self.error("its weights are not constant"))?
            .shape()?;
        match shape[..] {
            [_, _, rows, columns] if rows > 0 && columns > 0 => Ok([rows, columns]),
            _ => Err(self.error("only two-dimensional convolutions can be trained")),
        }
    }

    fn window(&self, kernel: [usize; 2]) -> Result<Window, Error> {
        let pads = match self.node.text("auto_pad").unwrap_or("NOTSET") {
            "" | "NOTSET" => self.numbers("pads", 0)?,
            "VALID" => [0; 4],
            other => {
                return Err(self.error(format!(
                    "auto_pad `{other}` cannot be trained; export the model with explicit pads"
                )));
            }
        };
        let window = Window {
            kernel,
            stride: self.numbers("strides", 1)?,
            pads,
            dilation: self.numbers("dilations", 1)?,
        };
        let steps = window.stride.iter().chain(&window.dilation).chain(&window.kernel);
        if steps.copied().any(|step| step == 0) {
            return Err(self.error("kernel, strides and dilations must be at least 1"));
        }
        Ok(window)
    }

    fn pool(&self, pool: Pool) -> Result<Operator, Error> {
        if self.node.int("ceil_mode").unwrap_or(0) != 0 {
            return Err(self.error("ceil_mode cannot be trained; export the model without it"));
        }
        if self.node.output.iter().skip(1).any(|output| !output.is_empty()) {
            return Err(self.error("the indices of maxima cannot be trained"));
        }
        let window = self.window(self.numbers("kernel_shape", 1)?)?;
        Ok(Operator::Pool { pool, window })
    }

    fn limit(&self, index: usize, open: f32) -> Result<f32, Error> {
        if self.node.input_name(index).is_none() {
            return Ok(open);
        }
        let limit = self.graph.constant_input(self.id, index).map(TensorProto::floats);
        match limit.transpose()?.as_deref() {
            Some([limit]) => Ok(*limit),
            _ => Err(self.error("its limits are not constant")),
        }
    }

    fn order(&self) -> Result<Option<Vec<usize>>, Error> {
        let order = self.node.ints("perm").map(|order| {
            let order = order.iter().map(|&axis| usize::try_from(axis));
            order.collect::<Result<Vec<usize>, _>>()
        });
        order
            .transpose()
            .map_err(|_| self.error("attribute `perm` holds a negative axis"))
    }

    /// The axes of a reduction, an attribute up to opset 17 and an input since.
    fn axes(&self) -> Result<Vec<i64>, Error> {
        match (self.node.ints("axes"), self.node.input_name(1)) {
            (Some(axes), _) => Ok(axes.to_vec()),
            (None, None) => Ok(Vec::new()),
            (None, Some(_)) => {
                let axes = self.graph.constant_input(self.id, 1);
                axes.ok_or_else(|| self.error("its axes are not constant"))?
                    .integers()
            }
        }
    }
}
