//! Equalization across layers (Nagel et al., *Data-Free Quantization Through Weight Equalization and Bias
//! Correction*, ICCV 2019).
//!
//! A positive factor on a channel of a value, put into the weights that make it and taken out of those that read
//! it, does not change what the network computes as long as all between is homogeneous: `Relu`, pooling, residual
//! `Add`. The factor that makes the channel's largest weights on both sides equal lets one scale serve all
//! channels. Values that are joined by such nodes form one group with common factors.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::layout::{BIAS, WEIGHTS};
use crate::error::Error;
use crate::graph::{Graph, NodeId};
use crate::model::Model;
use crate::proto::{DataType, NodeProto, TensorProto};
use crate::shape;

/// Sweeps over all groups; factors settle much earlier.
const SWEEPS: usize = 20;

/// Factors beyond it are cut off: such a channel is as good as dead.
const LARGEST_FACTOR: f32 = 1e3;

/// The model with equalized weights, and the convolutions that changed.
pub(super) fn equalize(model: &Model) -> Result<(Model, HashSet<String>), Error> {
    let mut graph = Graph::new(model.clone())?;
    let mut layers = Layers::of(&graph)?;
    let groups = groups(&graph, &layers, &channels(model));
    for _ in 0..SWEEPS {
        let mut furthest = 1.0_f32;
        for group in &groups {
            furthest = furthest.max(layers.equalize(group));
        }
        if furthest < 1.001 {
            break;
        }
    }
    let changed: HashSet<NodeId> = groups
        .iter()
        .flat_map(|group| group.makers.iter().chain(&group.readers))
        .copied()
        .collect();
    let labels = changed.iter().map(|&id| graph.node(id).label()).collect();
    for id in changed {
        layers.0.remove(&id).expect("it is in a group").store(&mut graph);
    }
    Ok((graph.finish()?, labels))
}

/// Channels of all values that have a batch, channels and any number of further axes.
fn channels(model: &Model) -> HashMap<String, usize> {
    let (values, _) = shape::infer_all(model, &BTreeMap::new());
    let of_value = |(name, value): (&str, &shape::Value)| match value.shape.as_deref() {
        Some([_, channels, _, ..]) if value.data_type == DataType::Float => {
            Some((name.to_owned(), channels.extent()?))
        }
        _ => None,
    };
    values.iter().filter_map(of_value).collect()
}

/// Convolutions around one group of values.
struct Group {
    channels: usize,
    /// They make values of the group.
    makers: Vec<NodeId>,
    /// They read values of the group.
    readers: Vec<NodeId>,
}

/// The groups whose channels may be scaled.
fn groups(graph: &Graph, layers: &Layers, channels: &HashMap<String, usize>) -> Vec<Group> {
    let mut joined = Joined::default();
    let mut fixed: Vec<String> = graph
        .inputs()
        .iter()
        .chain(graph.outputs())
        .map(|info| info.name().to_owned())
        .collect();
    for (id, node) in graph.nodes() {
        let inputs = node
            .input
            .iter()
            .filter(|input| graph.initializer(input).is_none());
        let touched: Vec<&String> = inputs
            .chain(&node.output)
            .filter(|value| !value.is_empty())
            .collect();
        let homogeneous = homogeneous(graph, node);
        match homogeneous.as_slice() {
            _ if layers.0.contains_key(&id) => {}
            [first, others @ ..]
                if others
                    .iter()
                    .all(|other| channels.get(other) == channels.get(first)) =>
            {
                for other in others {
                    joined.join(first, other);
                }
                fixed.extend(
                    touched
                        .iter()
                        .filter(|value| !homogeneous.contains(value))
                        .map(|value| (*value).clone()),
                );
            }
            _ => fixed.extend(touched.into_iter().cloned()),
        }
    }
    let fixed: HashSet<String> = fixed.iter().map(|value| joined.root(value)).collect();
    let mut groups: BTreeMap<String, Group> = BTreeMap::new();
    for (&id, layer) in &layers.0 {
        let node = graph.node(id);
        for (value, makes) in [(&node.input[0], false), (&node.output[0], true)] {
            let root = joined.root(value);
            let Some(&count) = channels.get(value) else {
                continue;
            };
            let expected = if makes { layer.outputs } else { layer.inputs };
            if fixed.contains(&root) || count != expected {
                continue;
            }
            let group = groups.entry(root).or_insert_with(|| Group {
                channels: count,
                makers: Vec::new(),
                readers: Vec::new(),
            });
            if makes {
                &mut group.makers
            } else {
                &mut group.readers
            }
            .push(id);
        }
    }
    groups
        .into_values()
        .filter(|group| !group.makers.is_empty() && !group.readers.is_empty())
        .collect()
}

/// The values of a node that scale together, channel by channel; none where they do not.
fn homogeneous(graph: &Graph, node: &NodeProto) -> Vec<String> {
    let output = node.output[0].clone();
    match node.op_type() {
        "Relu" | "LeakyRelu" | "MaxPool" | "AveragePool" | "GlobalAveragePool" if node.output.len() == 1 => {
            vec![node.input[0].clone(), output]
        }
        "Add" if node.input.iter().all(|input| graph.initializer(input).is_none()) => {
            vec![node.input[0].clone(), node.input[1].clone(), output]
        }
        "Mul" => {
            // The gate of a squeeze-excite block has a scale of its own.
            let is_gate = |input: &&String| {
                graph
                    .producer(input)
                    .is_some_and(|id| matches!(graph.node(id).op_type(), "Sigmoid" | "HardSigmoid"))
            };
            let scaled: Vec<String> = node
                .input
                .iter()
                .filter(|input| !is_gate(input))
                .cloned()
                .collect();
            match scaled.as_slice() {
                [only] if graph.initializer(only).is_none() => vec![only.clone(), output],
                _ => Vec::new(),
            }
        }
        _ => Vec::new(),
    }
}

/// Values that are joined, by union-find.
#[derive(Default)]
struct Joined(HashMap<String, String>);

impl Joined {
    fn root(&self, value: &str) -> String {
        let mut root = value;
        while let Some(next) = self.0.get(root) {
            root = next;
        }
        root.to_owned()
    }

    fn join(&mut self, a: &str, b: &str) {
        let (a, b) = (self.root(a), self.root(b));
        if a != b {
            self.0.insert(a, b);
        }
    }
}

/// Convolutions with weights of their own, by node.
struct Layers(BTreeMap<NodeId, Layer>);

/// A convolution: weights are `[outputs, inputs, kernel]`, or `[channels, 1, kernel]` where it is depthwise.
struct Layer {
    outputs: usize,
    inputs: usize,
    depthwise: bool,
    shape: Vec<usize>,
    names: (String, Option<String>),
    weights: Vec<f32>,
    bias: Vec<f32>,
}

impl Layers {
    fn of(graph: &Graph) -> Result<Self, Error> {
        let mut layers = BTreeMap::new();
        for (id, node) in graph.nodes().filter(|(_, node)| node.is("Conv")) {
            if let Some(layer) = Layer::of(graph, id, node)? {
                layers.insert(id, layer);
            }
        }
        Ok(Self(layers))
    }

    /// Scales the channels of a group and returns the factor that is furthest from 1.
    fn equalize(&mut self, group: &Group) -> f32 {
        let largest = |nodes: &[NodeId], made: bool| {
            let mut largest = vec![0.0_f32; group.channels];
            for id in nodes {
                self.0[id].each_channel(made, |channel, weight| {
                    largest[channel] = largest[channel].max(weight.abs());
                });
            }
            largest
        };
        let (made, read) = (largest(&group.makers, true), largest(&group.readers, false));
        let factors: Vec<f32> = made
            .iter()
            .zip(&read)
            .map(|(made, read)| {
                let factor = (read / made).sqrt();
                if factor.is_finite() && factor > 0.0 {
                    factor.clamp(1.0 / LARGEST_FACTOR, LARGEST_FACTOR)
                } else {
                    1.0
                }
            })
            .collect();
        for (nodes, made) in [(&group.makers, true), (&group.readers, false)] {
            for id in nodes {
                self.0.get_mut(id).expect("it is a layer").scale(made, &factors);
            }
        }
        factors
            .iter()
            .fold(1.0, |furthest, &factor| furthest.max(factor.max(1.0 / factor)))
    }
}

impl Layer {
    fn of(graph: &Graph, id: NodeId, node: &NodeProto) -> Result<Option<Self>, Error> {
        let own = |index: usize| {
            let tensor = graph.constant_input(id, index)?;
            let alone = graph.consumers(tensor.name()).len() == 1 && !graph.is_output(tensor.name());
            let is_float = tensor.element_type().ok()? == DataType::Float;
            (alone && is_float).then_some(tensor)
        };
        let Some(weights) = own(WEIGHTS) else {
            return Ok(None);
        };
        let shape = weights.shape()?;
        let [outputs, inputs, ..] = *shape.as_slice() else {
            return Ok(None);
        };
        let groups = node.int("group").unwrap_or(1);
        let depthwise = groups == outputs as i64 && inputs == 1;
        let bias = match (node.input_name(BIAS), own(BIAS)) {
            (None, _) => None,
            (_, Some(bias)) => Some(bias),
            (Some(_), None) => return Ok(None),
        };
        if groups != 1 && !depthwise {
            return Ok(None);
        }
        Ok(Some(Self {
            outputs,
            inputs: if depthwise { outputs } else { inputs },
            depthwise,
            names: (weights.name().to_owned(), bias.map(|bias| bias.name().to_owned())),
            weights: weights.values()?,
            bias: match bias {
                Some(bias) => bias.values()?,
                None => Vec::new(),
            },
            shape,
        }))
    }

    /// The channel that a weight makes or reads.
    fn channel(&self, made: bool, element: usize) -> usize {
        let kernel: usize = self.shape[2..].iter().product();
        let row = element / kernel.max(1);
        match (made, self.depthwise) {
            (_, true) => row,
            (true, false) => row / self.inputs,
            (false, false) => row % self.inputs,
        }
    }

    fn each_channel(&self, made: bool, mut see: impl FnMut(usize, f32)) {
        for (element, &weight) in self.weights.iter().enumerate() {
            see(self.channel(made, element), weight);
        }
    }

    /// Multiplies what makes a channel by its factor, or divides what reads it.
    fn scale(&mut self, made: bool, factors: &[f32]) {
        for element in 0..self.weights.len() {
            let factor = factors[self.channel(made, element)];
            self.weights[element] *= if made { factor } else { 1.0 / factor };
        }
        if made {
            for (bias, factor) in self.bias.iter_mut().zip(factors) {
                *bias *= factor;
            }
        }
    }

    fn store(self, graph: &mut Graph) {
        graph.add_initializer(TensorProto::of(&self.names.0, &self.shape, &self.weights));
        if let Some(name) = &self.names.1 {
            graph.add_initializer(TensorProto::of(name, &[self.bias.len()], &self.bias));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::quantize::tests::networks::{mobilenet, mobilenet_v3, resnet};
    use crate::testing::{difference, run};

    /// The model with the channels of each group multiplied by factors between 1/16 and 16, and divided by them where
    /// they are read.
    fn unevenly(model: &Model, seed: u64) -> Model {
        let mut graph = Graph::new(model.clone()).unwrap();
        let mut layers = Layers::of(&graph).unwrap();
        let mut noise = crate::testing::Noise(seed);
        for group in groups(&graph, &layers, &channels(model)) {
            let factors = noise.between(group.channels, -4.0, 4.0);
            let factors: Vec<f32> = factors.iter().map(|exponent| exponent.exp2()).collect();
            for (nodes, made) in [(&group.makers, true), (&group.readers, false)] {
                for id in nodes {
                    layers.0.get_mut(id).unwrap().scale(made, &factors);
                }
            }
        }
        for (_, layer) in layers.0 {
            layer.store(&mut graph);
        }
        graph.finish().unwrap()
    }

    /// How far results of one network with other factors may be apart. A factor moves a channel's values and their
    /// rounding errors alike, so what differs is what single precision loses in one network: a rounding (2^-24) or two in
    /// each of at most 14 layers, 2e-6. The largest of 900 was 3e-7; a factor that is wrong by as little as ends the
    /// sweeps moves results by 1e-3.
    ///
    /// Convolutions that no group holds keep their weights. Larger ones would be tested for their condition alone: with
    /// values of thousands before a gate, weights that differ by half of their last bit moved results by 6e-4.
    const ROUNDING: f32 = 1e-5;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

        #[test]
        fn the_network_computes_the_same(seed: u64) {
            for model in [resnet(), mobilenet(), mobilenet_v3()] {
                let uneven = unevenly(&model, seed);
                let (even, changed) = equalize(&uneven).unwrap();
                prop_assert!(!changed.is_empty());
                let shape = [2, 3, 8, 8];
                let wanted = run(&model, &shape);
                for found in [run(&uneven, &shape), run(&even, &shape)] {
                    let difference = difference(&wanted, &found);
                    prop_assert!(difference < ROUNDING, "{difference}");
                }
            }
        }
    }

    #[test]
    fn both_sides_of_a_channel_end_equal() {
        let (even, _) = equalize(&unevenly(&resnet(), 3)).unwrap();
        let graph = Graph::new(even.clone()).unwrap();
        let layers = Layers::of(&graph).unwrap();
        let groups = groups(&graph, &layers, &channels(&even));
        assert!(!groups.is_empty());
        let mut again = Layers::of(&graph).unwrap();
        for group in &groups {
            assert!(again.equalize(group) < 1.01);
        }
    }

    #[test]
    fn dead_channels_stay_as_they_are() {
        let mut proto = resnet().into_proto();
        for tensor in &mut proto.graph.as_mut().unwrap().initializer {
            if tensor.dims.len() == 4 {
                let zeros = vec![0.0_f32; tensor.count().unwrap()];
                *tensor = TensorProto::of(tensor.name(), &tensor.shape().unwrap(), &zeros);
            }
        }
        let model = Model::from_proto(proto);
        assert_eq!(
            equalize(&model).unwrap().0.graph().initializer,
            model.graph().initializer
        );
    }
}
