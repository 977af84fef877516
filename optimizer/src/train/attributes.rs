//! The attributes of a node, and inputs that stand for attributes.

use super::operator::{Combine, Map, Operator, Pool, Reduction};
use super::window::Window;
use crate::error::Error;
use crate::graph::{Graph, NodeId};
use crate::proto::{DataType, NodeProto, TensorProto};
use crate::shape::{Dim, Values};

/// A node whose attributes are read.
pub(super) struct Attributes<'a> {
    pub(super) graph: &'a Graph,
    pub(super) types: &'a Values,
    pub(super) id: NodeId,
    pub(super) node: &'a NodeProto,
}

impl Attributes<'_> {
    pub(super) fn error(&self, reason: impl Into<String>) -> Error {
        Error::node(self.node, reason)
    }

    pub(super) fn count(&self, name: &str) -> Result<usize, Error> {
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

    pub(super) fn kernel_of_weights(&self) -> Result<[usize; 2], Error> {
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

    pub(super) fn window(&self, kernel: [usize; 2]) -> Result<Window, Error> {
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

    pub(super) fn pool(&self, pool: Pool) -> Result<Operator, Error> {
        if self.node.output.iter().skip(1).any(|output| !output.is_empty()) {
            return Err(self.error("the indices of maxima cannot be trained"));
        }
        let window = self.window(self.numbers("kernel_shape", 1)?)?;
        let ceil = self.node.int("ceil_mode").unwrap_or(0) != 0;
        Ok(Operator::Pool { pool, window, ceil })
    }

    pub(super) fn product(&self) -> Result<Operator, Error> {
        for name in self.node.input.iter().take(2) {
            match self.types.get(name).and_then(|value| value.shape.as_ref()) {
                Some(shape) if shape.len() >= 2 => {}
                Some(_) => {
                    let reason = "is a vector, and only products of matrices can be trained; write it as a matrix of one row or column";
                    return Err(self.error(format!("its input `{name}` {reason}")));
                }
                None => return Err(self.error(format!("the shape of its input `{name}` is not known"))),
            }
        }
        Ok(Operator::Product)
    }

    pub(super) fn limit(&self, index: usize, open: f32) -> Result<f32, Error> {
        if self.node.input_name(index).is_none() {
            return Ok(open);
        }
        let limit = self.graph.constant_input(self.id, index).map(TensorProto::floats);
        match limit.transpose()?.as_deref() {
            Some([limit]) => Ok(*limit),
            _ => Err(self.error("its limits are not constant")),
        }
    }

    pub(super) fn order(&self) -> Result<Option<Vec<usize>>, Error> {
        let order = self.node.ints("perm").map(|order| {
            let order = order.iter().map(|&axis| usize::try_from(axis));
            order.collect::<Result<Vec<usize>, _>>()
        });
        order
            .transpose()
            .map_err(|_| self.error("attribute `perm` holds a negative axis"))
    }

    /// A tensor that an input always is: a constant, or what only depends on the shapes of the model's inputs.
    pub(super) fn known(&self, index: usize) -> Option<TensorProto> {
        let name = self.node.input_name(index)?;
        let constant = self.graph.initializer(name).cloned();
        constant.or_else(|| self.types.get(name)?.known())
    }

    /// Integers from an input that must be constant, called `what`; `None` where it is left out.
    pub(super) fn integers(&self, index: usize, what: &str) -> Result<Option<Vec<i64>>, Error> {
        if self.node.input_name(index).is_none() {
            return Ok(None);
        }
        let tensor = self.known(index).ok_or_else(|| {
            self.error(format!(
                "its {what} are not constant; export the model with fixed shapes but for the batch"
            ))
        })?;
        tensor.integers().map(Some)
    }

    /// The extents of an input as far as they are known.
    pub(super) fn extents(&self, index: usize) -> Result<Vec<Option<usize>>, Error> {
        let value = self.node.input_name(index).and_then(|name| self.types.get(name));
        let shape = value.and_then(|value| value.shape.as_ref());
        let shape = shape.ok_or_else(|| self.error("the number of axes of its input is not known"))?;
        Ok(shape.iter().map(Dim::extent).collect())
    }

    /// The axes of a reduction, an attribute in older opsets and an input since. None mean all, or by an attribute
    /// that nothing is done.
    pub(super) fn reduce(&self, reduction: Reduction) -> Result<Operator, Error> {
        let axes = match self.node.ints("axes") {
            Some(axes) => axes.to_vec(),
            None => self.integers(1, "axes")?.unwrap_or_default(),
        };
        if axes.is_empty() && self.node.int("noop_with_empty_axes").unwrap_or(0) != 0 {
            return Ok(Operator::Same);
        }
        Ok(Operator::Reduce(reduction, axes))
    }

    pub(super) fn layer_normalization(&self) -> Result<Operator, Error> {
        if self.node.output.iter().skip(1).any(|output| !output.is_empty()) {
            return Err(self.error("its mean and deviation as outputs cannot be trained through"));
        }
        let input = self.extents(0)?;
        for index in (1..3).filter(|&index| self.node.input_name(index).is_some()) {
            let own = self.extents(index)?;
            let pairs = own.iter().rev().zip(input.iter().rev());
            let mut known = pairs.filter_map(|(own, input)| Some(((*own)?, (*input)?)));
            if own.len() > input.len() || known.any(|(own, input)| own != 1 && own != input) {
                let name = self.node.input_name(index).unwrap_or_default();
                return Err(self.error(format!("the shape of `{name}` does not fit that of its input")));
            }
        }
        Ok(Operator::LayerNormalization {
            axis: self.node.int("axis").unwrap_or(-1),
            epsilon: self.node.float("epsilon").unwrap_or(1e-5),
        })
    }

    pub(super) fn pad(&self) -> Result<Operator, Error> {
        let mode = self.node.text("mode").unwrap_or("constant");
        if mode != "constant" {
            return Err(self.error(format!(
                "mode `{mode}` cannot be trained through; pad with a constant"
            )));
        }
        let rank = self.extents(0)?.len();
        let value = match self.node.input_name(2) {
            None => 0.0,
            Some(_) => self
                .single(2)?
                .ok_or_else(|| self.error("what it fills with is not one constant number"))?,
        };
        let given = self.integers(1, "pads")?.unwrap_or_default();
        let padded = self.integers(3, "axes")?;
        let padded = padded.unwrap_or_else(|| (0..rank as i64).collect());
        let mut pads = vec![(0, 0); rank];
        for (index, axis) in padded.iter().enumerate() {
            let axis = if *axis < 0 { axis + rank as i64 } else { *axis };
            let side = |at: usize| given.get(at).and_then(|&pad| usize::try_from(pad).ok());
            let sides = (side(index), side(index + padded.len()));
            match (
                usize::try_from(axis).ok().and_then(|axis| pads.get_mut(axis)),
                sides,
            ) {
                (Some(pad), (Some(before), Some(after))) => *pad = (before, after),
                _ => {
                    return Err(self.error("its pads are not two numbers of at least 0 for each of its axes"));
                }
            }
        }
        Ok(Operator::Pad { pads, value })
    }

    pub(super) fn exponent(&self) -> Result<f32, Error> {
        self.single(1)?.ok_or_else(|| {
            self.error("its exponent is not one constant number, which alone can be trained through")
        })
    }

    /// `Max` or `Min`; of a value and one number it is a limit.
    pub(super) fn extreme(&self, function: Combine) -> Result<Operator, Error> {
        Ok(match (self.node.input.len(), self.single(1)?) {
            (1, _) => Operator::Same,
            (2, Some(limit)) => Operator::Map(match function {
                Combine::Largest => Map::Clamp {
                    low: limit,
                    high: f32::INFINITY,
                },
                _ => Map::Clamp {
                    low: f32::NEG_INFINITY,
                    high: limit,
                },
            }),
            _ => Operator::Combine(function),
        })
    }

    /// The one number that an input always is; `None` where it is something else.
    fn single(&self, index: usize) -> Result<Option<f32>, Error> {
        let Some(tensor) = self.known(index).filter(|tensor| tensor.dims.len() < 2) else {
            return Ok(None);
        };
        let numbers = match tensor.element_type()? {
            DataType::Int64 | DataType::Int32 => {
                let integers = tensor.integers()?.into_iter();
                integers.map(|value| value as f32).collect()
            }
            _ => tensor.floats()?,
        };
        match numbers[..] {
            [number] => Ok(Some(number)),
            _ => Ok(None),
        }
    }
}
