//! Following channels through the graph: which slots of which constants are the same channel.
//!
//! Only what is exact counts: where a channel leaves, all others must compute what they did if all weights of
//! that channel are zero. Operators that mix channels otherwise, as normalizations over them do, keep theirs.

mod elementwise;
mod layers;
mod layout;
mod reshape;

use std::collections::{HashMap, HashSet};

use super::slots::{Place, Slot, Slots};
use crate::cost;
use crate::error::Error;
use crate::graph::{Graph, NodeId};
use crate::proto::{DataType, NodeProto, TensorProto};
use crate::shape::{Dim, Values};

/// The slots along an axis of a value; `None` where no channels lie along it.
pub(super) type Axis = Option<Vec<Slot>>;

/// A value with its slots, an entry an axis.
#[derive(Debug, Clone)]
struct Followed {
    axes: Vec<Axis>,
    shape: Vec<Dim>,
}

/// The axes of each output of a node, or why its inputs' channels must stay.
type Outcome = Result<Vec<Vec<Axis>>, String>;

/// What else changes in a node when channels leave.
#[derive(Debug)]
pub(super) enum Mend {
    /// The attribute `group` is the number of these.
    Group { node: NodeId, channels: Vec<Slot> },
    /// Elements of an input are the extents of these axes; where it is left out, it must be given.
    Extents {
        node: NodeId,
        input: usize,
        axes: Vec<Axis>,
    },
}

/// Multiplications that become fewer with each of these axes.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) macs: u64,
    pub(super) axes: Vec<Vec<Slot>>,
}

/// All channels of a model.
#[derive(Debug)]
pub(super) struct Channels {
    pub(super) slots: Slots,
    /// Names of the tensors that places count.
    pub(super) tensors: Vec<String>,
    /// By value.
    pub(super) axes: HashMap<String, Vec<Axis>>,
    pub(super) mends: Vec<Mend>,
    /// `None` where an axis is dynamic.
    pub(super) work: Option<Vec<Work>>,
}

/// Follows all channels; `values` are those of batch 1.
pub(super) fn follow(graph: &Graph, values: &Values) -> Result<Channels, Error> {
    let mut follower = Follower {
        graph,
        values,
        channels: Channels {
            slots: Slots::default(),
            tensors: Vec::new(),
            axes: HashMap::new(),
            mends: Vec::new(),
            work: Some(Vec::new()),
        },
    };
    follower.constants()?;
    for id in graph.ids() {
        follower.node(id);
    }
    for output in graph.outputs() {
        let reason = format!("they reach output `{}`", output.name());
        for axis in follower.axes_of(output.name()).into_iter().flatten() {
            follower.channels.slots.keep(&axis, &reason);
        }
    }
    Ok(follower.channels)
}

struct Follower<'a> {
    graph: &'a Graph,
    values: &'a Values,
    channels: Channels,
}

impl<'a> Follower<'a> {
    /// Gives every axis of every float32 constant its slots.
    fn constants(&mut self) -> Result<(), Error> {
        let inputs: HashSet<&str> = self.graph.inputs().iter().map(|input| input.name()).collect();
        for tensor in self.graph.initializers() {
            // What a caller may override is no constant.
            if tensor.element_type()? == DataType::Float && !inputs.contains(tensor.name()) {
                self.constant(tensor)?;
            }
        }
        Ok(())
    }

    fn constant(&mut self, tensor: &TensorProto) -> Result<(), Error> {
        let number = self.channels.tensors.len();
        self.channels.tensors.push(tensor.name().to_owned());
        let slots = &mut self.channels.slots;
        let along = |(axis, extent): (usize, usize)| {
            let place = |index| Place {
                tensor: number,
                axis,
                index,
            };
            Some((0..extent).map(|index| slots.add(Some(place(index)))).collect())
        };
        let axes = tensor.shape()?.into_iter().enumerate().map(along).collect();
        self.channels.axes.insert(tensor.name().to_owned(), axes);
        Ok(())
    }

    fn node(&mut self, id: NodeId) {
        let node = self.graph.node(id);
        let outcome = if node.is_standard() {
            self.rule(id, node)
        } else {
            Err("channels are not followed through its operator".to_owned())
        };
        match outcome {
            Ok(outputs) => {
                let named = node.output.iter().cloned().zip(outputs);
                self.channels.axes.extend(named);
            }
            Err(why) => {
                let reason = reason(node, &why);
                for name in &node.input {
                    for axis in self.axes_of(name).into_iter().flatten() {
                        self.channels.slots.keep(&axis, &reason);
                    }
                }
            }
        }
        self.count_work(node);
    }

    fn rule(&mut self, id: NodeId, node: &'a NodeProto) -> Outcome {
        match node.op_type() {
            "Conv" => self.conv(id, node),
            "ConvTranspose" => self.conv_transpose(id, node),
            "Gemm" => self.gemm(node),
            "MatMul" => self.matmul(node),
            "Abs" | "Cast" | "Ceil" | "Celu" | "Clip" | "Cos" | "Dropout" | "Elu" | "Erf" | "Exp"
            | "Floor" | "Gelu" | "HardSigmoid" | "HardSwish" | "Identity" | "LeakyRelu" | "Log" | "Mish"
            | "Neg" | "Not" | "Reciprocal" | "Relu" | "Round" | "Selu" | "Sigmoid" | "Sign" | "Sin"
            | "Softplus" | "Softsign" | "Sqrt" | "Tanh" | "ThresholdedRelu" => self.unary(node),
            "Add" | "Sub" | "Mul" | "Div" | "Max" | "Min" | "Mean" | "Sum" | "Pow" | "PRelu" | "Where"
            | "And" | "Or" | "Xor" | "Equal" | "Greater" | "GreaterOrEqual" | "Less" | "LessOrEqual" => {
                self.elementwise(node)
            }
            "BatchNormalization" | "InstanceNormalization" => self.normalization(node),
            "LRN" => self.response_normalization(node),
            "LayerNormalization" => self.layer_normalization(node),
            "Softmax" | "LogSoftmax" | "Hardmax" | "LpNormalization" => self.softmax(node),
            "AveragePool" | "MaxPool" | "LpPool" | "GlobalAveragePool" | "GlobalMaxPool" | "GlobalLpPool" => {
                self.pool(node)
            }
            "ReduceL1" | "ReduceL2" | "ReduceMax" | "ReduceMean" | "ReduceMin" | "ReduceProd"
            | "ReduceSum" | "ReduceSumSquare" => self.reduce(node),
            "Concat" => self.concat(node),
            "Split" => self.split(id, node),
            "Slice" => self.slice(node),
            "Gather" => self.gather(node),
            "Transpose" => self.transpose(node),
            "Pad" => self.pad(node),
            "Resize" => self.resize(id, node),
            "Flatten" | "Squeeze" | "Unsqueeze" => self.reshape(node),
            "Reshape" => self.reshape_to(id, node),
            "Shape" => self.extents(node),
            _ => Err("channels are not followed through its operator".to_owned()),
        }
    }

    /// The axes of a value by name, none where nothing is known of it.
    fn axes_of(&self, name: &str) -> Vec<Axis> {
        if let Some(axes) = self.channels.axes.get(name) {
            return axes.clone();
        }
        let shape = self.values.get(name).and_then(|value| value.shape.as_ref());
        vec![None; shape.map_or(0, Vec::len)]
    }

    /// Input `index` of a node.
    fn input(&self, node: &NodeProto, index: usize) -> Result<Followed, String> {
        let name = node
            .input_name(index)
            .ok_or_else(|| format!("input {index} is missing"))?;
        self.value(name)
    }

    fn value(&self, name: &str) -> Result<Followed, String> {
        let shape = self.values.get(name).and_then(|value| value.shape.clone());
        let shape = shape.ok_or_else(|| format!("the shape of `{name}` is not known"))?;
        let axes = self.axes_of(name);
        if axes.len() == shape.len() {
            Ok(Followed { axes, shape })
        } else {
            Err(format!("the axes of `{name}` are not known"))
        }
    }

    /// The shape of a node's first output.
    fn output_shape(&self, node: &NodeProto) -> Result<Vec<Dim>, String> {
        let name = node.output.first().ok_or("it has no output")?;
        self.value(name).map(|value| value.shape)
    }

    /// The integers of a constant input.
    fn integers(&self, node: &NodeProto, index: usize) -> Option<Vec<i64>> {
        self.graph.initializer(node.input_name(index)?)?.integers().ok()
    }

    /// Makes the channels of two axes the same, one by one. Those that meet an axis without channels, or one of
    /// another number, stay.
    fn join(&mut self, node: &NodeProto, a: &Axis, b: &Axis) {
        match (a, b) {
            (Some(a), Some(b)) if a.len() == b.len() => {
                for (&a, &b) in a.iter().zip(b) {
                    self.channels.slots.join(a, b);
                }
            }
            _ => {
                self.keep(node, a, "it joins them with what has a fixed size");
                self.keep(node, b, "it joins them with what has a fixed size");
            }
        }
    }

    /// Makes the channels of an axis stay.
    fn keep(&mut self, node: &NodeProto, axis: &Axis, why: &str) {
        if let Some(axis) = axis {
            self.channels.slots.keep(axis, &reason(node, why));
        }
    }

    /// Notes the multiplications of a node and what makes them fewer.
    fn count_work(&mut self, node: &NodeProto) {
        let macs = cost::macs_of(node, self.values);
        let axes: Vec<Axis> = match node.op_type() {
            "Conv" | "ConvTranspose" => self.axes_of(node.input_name(1).unwrap_or_default()),
            "Gemm" | "MatMul" => {
                let output = node.output.first().map_or("", String::as_str);
                let mut axes = self.axes_of(output);
                let inner = self.axes_of(node.input_name(0).unwrap_or_default());
                let transposed = node.int("transA").unwrap_or(0) != 0;
                let inner = if transposed { inner.first() } else { inner.last() };
                axes.extend(inner.cloned());
                axes
            }
            _ => return,
        };
        self.channels.work = self.channels.work.take().zip(macs).map(|(mut work, macs)| {
            let axes = axes.into_iter().flatten().collect();
            work.push(Work { macs, axes });
            work
        });
    }
}

fn reason(node: &NodeProto, why: &str) -> String {
    format!("they reach `{}` ({}): {why}", node.label(), node.op_type())
}

/// An axis counted from the front.
fn axis(index: i64, rank: usize) -> Result<usize, String> {
    let from_front = if index < 0 { index + rank as i64 } else { index };
    usize::try_from(from_front)
        .ok()
        .filter(|&axis| axis < rank)
        .ok_or_else(|| format!("axis {index} does not exist among {rank}"))
}
