//! A pruned model computes what the whole one does with zeros in place of what left.

use proptest::prelude::*;

use super::{by_layer, channels, pruned, zeroed};
use crate::cost::Cost;
use crate::graph::build::Builder;
use crate::model::Model;
use crate::passes::prune::{Method, Scope};
use crate::proto::{AttributeProto, node};
use crate::testing::{Noise, batch_norm, difference, int, ints, noise_tensor, run, run_on};

const SHAPE: [usize; 4] = [2, 3, 8, 8];

/// A part of a network that keeps height and width.
#[derive(Debug, Clone, Copy)]
enum Part {
    Conv(usize),
    ConvTranspose(usize),
    Depthwise {
        each: usize,
    },
    DepthwiseTranspose {
        each: usize,
    },
    Grouped {
        transposed: bool,
    },
    BatchNorm,
    Activation(&'static str),
    Scale,
    PRelu,
    MaxPool,
    Upsample,
    /// Adds what two convolutions make of it.
    Residual,
    /// Appends what a convolution makes of it.
    Dense,
    SqueezeExcite,
    /// The channel shuffle of ShuffleNet.
    Shuffle,
    /// Convolves one half of the channels, in equal parts or given ones.
    Halves {
        given: bool,
    },
    /// Channels last for an addition.
    Transposed,
}

fn part() -> impl Strategy<Value = Part> {
    let activation = prop_oneof![
        Just("Relu"),
        Just("HardSwish"),
        Just("Sigmoid"),
        Just("LeakyRelu")
    ];
    prop_oneof![
        4 => prop_oneof![Just(6_usize), Just(8), Just(12), Just(16)].prop_map(Part::Conv),
        1 => Just(Part::ConvTranspose(8)),
        2 => (1_usize..3).prop_map(|each| Part::Depthwise { each }),
        1 => (1_usize..3).prop_map(|each| Part::DepthwiseTranspose { each }),
        2 => any::<bool>().prop_map(|transposed| Part::Grouped { transposed }),
        2 => Just(Part::BatchNorm),
        2 => activation.prop_map(Part::Activation),
        1 => Just(Part::Scale),
        1 => Just(Part::PRelu),
        1 => Just(Part::MaxPool),
        1 => Just(Part::Upsample),
        2 => Just(Part::Residual),
        2 => Just(Part::Dense),
        2 => Just(Part::SqueezeExcite),
        1 => Just(Part::Shuffle),
        1 => any::<bool>().prop_map(|given| Part::Halves { given }),
        1 => Just(Part::Transposed),
    ]
}

/// A network under construction: its value and how many channels that has.
struct Network {
    b: Builder,
    noise: Noise,
    value: String,
    channels: usize,
}

impl Network {
    fn weights(&mut self, shape: &[usize]) -> String {
        let values = self.noise.take(shape.iter().product());
        self.b.floats(shape, &values)
    }

    fn op(&mut self, operator: &str, inputs: &[&str], attributes: &[AttributeProto]) -> String {
        self.b.op(operator, inputs, attributes)
    }

    /// A convolution with bias; a transposed one has its weights' first two axes the other way round.
    fn conv(&mut self, operator: &str, x: &str, weights: [usize; 4], out: usize, group: usize) -> String {
        let w = self.weights(&weights);
        let bias = self.weights(&[out]);
        let pad = (weights[3] / 2) as i64;
        let attributes = [ints("pads", &[pad; 4]), int("group", group as i64)];
        self.op(operator, &[x, &w, &bias], &attributes)
    }

    fn add(&mut self, part: Part) {
        let (x, c) = (self.value.clone(), self.channels);
        self.value = match part {
            Part::Conv(out) => {
                self.channels = out;
                self.conv("Conv", &x, [out, c, 3, 3], out, 1)
            }
            Part::ConvTranspose(out) => {
                self.channels = out;
                self.conv("ConvTranspose", &x, [c, out, 3, 3], out, 1)
            }
            Part::Depthwise { each } => {
                self.channels = c * each;
                self.conv("Conv", &x, [c * each, 1, 3, 3], c * each, c)
            }
            Part::DepthwiseTranspose { each } => {
                self.channels = c * each;
                self.conv("ConvTranspose", &x, [c, each, 3, 3], c * each, c)
            }
            Part::Grouped { transposed: false } => self.conv("Conv", &x, [c, c / 2, 3, 3], c, 2),
            Part::Grouped { transposed: true } => self.conv("ConvTranspose", &x, [c, c / 2, 3, 3], c, 2),
            Part::BatchNorm => batch_norm(&mut self.b, &mut self.noise, &x, c),
            Part::Activation(operator) => self.op(operator, &[&x], &[]),
            Part::Scale => {
                let scale = self.weights(&[1, c, 1, 1]);
                self.op("Mul", &[&scale, &x], &[])
            }
            Part::PRelu => {
                let slope = self.weights(&[c, 1, 1]);
                self.op("PRelu", &[&x, &slope], &[])
            }
            Part::MaxPool => {
                let attributes = [ints("kernel_shape", &[3, 3]), ints("pads", &[1; 4])];
                self.op("MaxPool", &[&x], &attributes)
            }
            Part::Upsample => self.upsampled(&x),
            Part::Residual => {
                let y = self.conv("Conv", &x, [8, c, 1, 1], 8, 1);
                let y = self.op("Relu", &[&y], &[]);
                let y = self.conv("Conv", &y, [c, 8, 1, 1], c, 1);
                self.op("Add", &[&x, &y], &[])
            }
            Part::Dense => {
                self.channels = c + 8;
                let y = self.conv("Conv", &x, [8, c, 1, 1], 8, 1);
                self.op("Concat", &[&x, &y], &[int("axis", 1)])
            }
            Part::SqueezeExcite => {
                let gate = self.op("GlobalAveragePool", &[&x], &[]);
                let gate = self.conv("Conv", &gate, [8, c, 1, 1], 8, 1);
                let gate = self.op("Relu", &[&gate], &[]);
                let gate = self.conv("Conv", &gate, [c, 8, 1, 1], c, 1);
                let gate = self.op("HardSigmoid", &[&gate], &[]);
                self.op("Mul", &[&gate, &x], &[])
            }
            Part::Shuffle => self.shuffled(&x, c as i64),
            Part::Halves { given } => self.half_convolved(&x, c, given),
            Part::Transposed => {
                let y = self.op("Transpose", &[&x], &[ints("perm", &[0, 2, 3, 1])]);
                let offset = self.weights(&[c]);
                let y = self.op("Add", &[&y, &offset], &[]);
                self.op("Transpose", &[&y], &[ints("perm", &[0, 3, 1, 2])])
            }
        };
    }

    /// Twice as large and half as large again.
    fn upsampled(&mut self, x: &str) -> String {
        let none = self.b.floats(&[0], &[]);
        let sizes = self.b.ints(&[SHAPE[0] as i64, self.channels as i64, 16, 16]);
        let y = self.op(
            "Resize",
            &[x, &none, &none, &sizes],
            &[AttributeProto::from_text("mode", "nearest")],
        );
        let attributes = [ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2])];
        self.op("AveragePool", &[&y], &attributes)
    }

    fn shuffled(&mut self, x: &str, channels: i64) -> String {
        let apart = self.b.ints(&[0, 2, channels / 2, 8, 8]);
        let y = self.op("Reshape", &[x, &apart], &[]);
        let y = self.op("Transpose", &[&y], &[ints("perm", &[0, 2, 1, 3, 4])]);
        let together = self.b.ints(&[-1, channels, 8, 8]);
        self.op("Reshape", &[&y, &together], &[])
    }

    fn half_convolved(&mut self, x: &str, channels: usize, given: bool) -> String {
        let name = format!("split_{x}");
        let (one, other) = (format!("{name}_one"), format!("{name}_other"));
        let half = channels / 2;
        let sizes = given.then(|| self.b.ints(&[half as i64; 2]));
        let inputs: Vec<&str> = std::iter::once(x).chain(sizes.as_deref()).collect();
        let mut split = node("Split", &name, &inputs, &[&one, &other]);
        split.attribute = vec![int("axis", 1)];
        self.b.node(split);
        let one = self.conv("Conv", &one, [half, half, 1, 1], half, 1);
        self.op("Concat", &[&one, &other], &[int("axis", 1)])
    }
}

/// A stem, the parts, and a dense layer over pooled or all positions.
fn network(parts: &[Part], pooled: bool, seed: u64) -> Model {
    let mut b = Builder::new(17);
    let x = b.input("x", &["2", "3", "8", "8"]);
    let mut network = Network {
        b,
        noise: Noise(seed),
        value: x,
        channels: 3,
    };
    network.add(Part::Conv(16));
    for &part in parts {
        network.add(part);
    }
    let (mut y, mut features) = (network.value.clone(), network.channels);
    if pooled {
        y = network.op("GlobalAveragePool", &[&y], &[]);
    } else {
        features *= 64;
    }
    let y = network.op("Flatten", &[&y], &[]);
    let w = network.weights(&[features, 5]);
    let y = network.op("MatMul", &[&y, &w], &[]);
    network.b.finish(&[&y])
}

fn assert_exact(model: &Model, method: &Method, shape: &[usize]) {
    let (smaller, _) = pruned(model, method);
    let expected = run(&zeroed(model, method), shape);
    let distance = difference(&expected, &run(&smaller, shape));
    assert!(distance < 1e-5, "{distance}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_right_slices_leave(
        parts in proptest::collection::vec(part(), 0..7),
        pooled in any::<bool>(),
        amount in 0.0..1.0,
        multiple in 1_usize..9,
        seed in any::<u64>(),
    ) {
        let model = network(&parts, pooled, seed);
        assert_exact(&model, &by_layer(amount, multiple), &SHAPE);
    }

    #[test]
    fn the_global_scope_takes_the_multiplications_it_is_asked_for(
        parts in proptest::collection::vec(part(), 1..7),
        amount in 0.0..0.5,
        seed in any::<u64>(),
    ) {
        let model = network(&parts, true, seed);
        let method = channels(amount, Scope::Global, 1);
        let Ok((smaller, _)) = crate::passes::prune(&model, &method) else {
            // What must stay may be more than half.
            return Ok(());
        };
        let macs = |model| Cost::of(model).unwrap().macs.unwrap() as f64;
        prop_assert!(macs(&smaller) <= (1.0 - amount) * macs(&model) + 1e-6);
        assert_exact(&model, &method, &SHAPE);
    }
}

#[test]
fn a_pruned_network_runs_the_same_on_ort() {
    let parts = [
        Part::BatchNorm,
        Part::Residual,
        Part::Depthwise { each: 1 },
        Part::SqueezeExcite,
        Part::Dense,
        Part::Grouped { transposed: false },
        Part::Shuffle,
        Part::Halves { given: false },
        Part::Upsample,
        Part::ConvTranspose(8),
    ];
    let (smaller, _) = pruned(&network(&parts, false, 5), &by_layer(0.5, 2));
    let on_ort = run_on("ort", &smaller, &[noise_tensor(&SHAPE)]);
    assert!(difference(&run(&smaller, &SHAPE), &on_ort[0]) < 1e-5);
}

/// Attention over 6 positions by 2 heads, and a multilayer perceptron.
#[test]
fn heads_and_hidden_features_of_a_transformer_leave() {
    let mut b = Builder::new(17);
    let mut noise = Noise(8);
    let mut x = b.input("x", &["batch", "6", "8"]);
    let mut dense = |b: &mut Builder, x: &str, from: usize, to: usize| {
        let values = noise.take(from * to);
        let w = b.floats(&[from, to], &values);
        let y = b.op("MatMul", &[x, &w], &[]);
        let bias = noise.take(to);
        let bias = b.floats(&[to], &bias);
        b.op("Add", &[&bias, &y], &[])
    };
    let apart = b.ints(&[0, 6, 2, 16]);
    let mut heads = |b: &mut Builder, perm: &[i64]| {
        let y = dense(b, &x, 8, 32);
        let y = b.op("Reshape", &[&y, &apart], &[]);
        b.op("Transpose", &[&y], &[ints("perm", perm)])
    };
    let query = heads(&mut b, &[0, 2, 1, 3]);
    let key = heads(&mut b, &[0, 2, 3, 1]);
    let value = heads(&mut b, &[0, 2, 1, 3]);
    let scores = b.op("MatMul", &[&query, &key], &[]);
    let scores = b.op("Softmax", &[&scores], &[int("axis", -1)]);
    let y = b.op("MatMul", &[&scores, &value], &[]);
    let y = b.op("Transpose", &[&y], &[ints("perm", &[0, 2, 1, 3])]);
    let together = b.ints(&[0, 6, 32]);
    let y = b.op("Reshape", &[&y, &together], &[]);
    let y = dense(&mut b, &y, 32, 8);
    x = b.op("Add", &[&x, &y], &[]);
    let y = dense(&mut b, &x, 8, 24);
    let y = b.op("Relu", &[&y], &[]);
    let y = dense(&mut b, &y, 24, 8);
    let y = b.op("Add", &[&x, &y], &[]);
    let model = b.finish(&[&y]);
    let method = by_layer(0.5, 4);
    let (_, report) = pruned(&model, &method);
    insta::assert_snapshot!(crate::passes::tests::lines(&report), @r"
    +matmul_0: 16 of 32 output channels stay
    +matmul_4: 16 of 32 output channels stay
    +matmul_8: 16 of 32 output channels stay
    -matmul_12: its weights are not a float32 constant
    -matmul_14: its weights are not a float32 constant
    +matmul_17: 16 of 32 input channels stay, its 8 output channels stay: they reach `add_19` (Add): it joins them with what has a fixed size
    +matmul_20: 12 of 24 output channels stay
    +matmul_23: 12 of 24 input channels stay, its 8 output channels stay: they reach `add_19` (Add): it joins them with what has a fixed size
    ");
    assert_exact(&model, &method, &[3, 6, 8]);
}

#[test]
fn channels_of_zeros_go_first_and_change_nothing() {
    let mut network = Network {
        b: Builder::new(17),
        noise: Noise(2),
        value: String::new(),
        channels: 3,
    };
    network.value = network.b.input("x", &["2", "3", "8", "8"]);
    for part in [Part::Conv(16), Part::Activation("Relu"), Part::Conv(12)] {
        network.add(part);
    }
    let y = network.value.clone();
    let mut proto = network.b;
    // Of the stem's 16 channels these are zero, in its weights, its bias and in the next layer's inputs.
    let dead = [1, 2, 5, 11, 15];
    for (tensor, axis) in [(0, 0), (1, 0), (2, 1)] {
        let tensor = &mut proto.proto_mut().initializer[tensor];
        let (shape, mut values) = (tensor.shape().unwrap(), tensor.floats().unwrap());
        let inner: usize = shape[axis + 1..].iter().product();
        for (index, value) in values.iter_mut().enumerate() {
            if dead.contains(&(index / inner % shape[axis])) {
                *value = 0.0;
            }
        }
        *tensor = crate::proto::TensorProto::of(tensor.name(), &shape, &values);
    }
    let model = proto.finish(&[&y]);
    let (smaller, report) = pruned(&model, &by_layer(5.0 / 16.0, 1));
    insta::assert_snapshot!(crate::passes::tests::lines(&report), @r"
    +conv_0: 11 of 16 output channels stay
    +conv_2: 11 of 16 input channels stay, its 12 output channels stay: they reach output `v2`
    ");
    let stem = smaller.graph().initializer[0].shape().unwrap();
    assert_eq!(stem, [11, 3, 3, 3]);
    assert!(difference(&run(&model, &SHAPE), &run(&smaller, &SHAPE)) < 1e-5);
}
