//! Two networks of today's kinds, a vision transformer and a detector: every pass takes them, and what it makes
//! runs on ONNX Runtime.

use std::collections::BTreeMap;

use edgefront_runtimes::{Registry, Search, Tensor};

use crate::calibrate::Samples;
use crate::check::check;
use crate::graph::build::Builder;
use crate::model::Model;
use crate::passes::quantize_weights::{self, Bits};
use crate::passes::{fp16, prune};
use crate::proto::{AttributeProto, node};
use crate::quantize::{self, ActivationType};
use crate::recipe::{self, Recipe, Step};
use crate::testing::{Noise, batch_norm, difference, floats, int, ints, noise_tensor, run_on};

/// Builds a network from noise.
struct Net {
    b: Builder,
    noise: Noise,
}

impl Net {
    fn new() -> Self {
        Self {
            b: Builder::new(17),
            noise: Noise(11),
        }
    }

    fn op(&mut self, operator: &str, inputs: &[&str], attributes: &[AttributeProto]) -> String {
        self.b.op(operator, inputs, attributes)
    }

    /// Weights of a size that keeps the signal's.
    fn weights(&mut self, shape: &[usize], fan_in: usize) -> String {
        let bound = (3.0 / fan_in as f32).sqrt();
        let values = self.noise.between(shape.iter().product(), -bound, bound);
        self.b.floats(shape, &values)
    }

    fn dense(&mut self, x: &str, from: usize, to: usize) -> String {
        let weights = self.weights(&[from, to], from);
        let bias = self.weights(&[to], from);
        let y = self.op("MatMul", &[x, &weights], &[]);
        self.op("Add", &[&bias, &y], &[])
    }

    fn layer_norm(&mut self, x: &str) -> String {
        let scale = self.noise.between(WIDTH, 0.5, 1.5);
        let (scale, bias) = (self.b.floats(&[WIDTH], &scale), self.weights(&[WIDTH], WIDTH));
        self.op("LayerNormalization", &[x, &scale, &bias], &[int("axis", -1)])
    }

    fn reshape(&mut self, x: &str, target: &[i64]) -> String {
        let target = self.b.ints(target);
        self.op("Reshape", &[x, &target], &[])
    }

    /// `Conv`, `BatchNormalization` and `x * sigmoid(x)`.
    fn conv(&mut self, x: &str, from: usize, to: usize, stride: i64) -> String {
        let weights = self.weights(&[to, from, 3, 3], from * 9);
        let attributes = [ints("pads", &[1; 4]), ints("strides", &[stride; 2])];
        let y = self.op("Conv", &[x, &weights], &attributes);
        let y = batch_norm(&mut self.b, &mut self.noise, &y, to);
        let gate = self.op("Sigmoid", &[&y], &[]);
        self.op("Mul", &[&y, &gate], &[])
    }
}

/// Width of the transformer, heads and tokens.
const WIDTH: usize = 32;
const HEADS: usize = 2;
const TOKENS: usize = 17;

fn vision_transformer() -> Model {
    let mut n = Net::new();
    let x = n.b.input("x", &["batch", "3", "16", "16"]);
    let patch = n.weights(&[WIDTH, 3, 4, 4], 48);
    let y = n.op("Conv", &[&x, &patch], &[ints("strides", &[4, 4])]);
    let y = n.reshape(&y, &[0, WIDTH as i64, -1]);
    let y = n.op("Transpose", &[&y], &[ints("perm", &[0, 2, 1])]);
    let y = with_class_token(&mut n, &y);
    let positions = n.weights(&[1, TOKENS, WIDTH], 3);
    let mut y = n.op("Add", &[&y, &positions], &[]);
    for _ in 0..2 {
        let normal = n.layer_norm(&y);
        let attended = attention(&mut n, &normal);
        y = n.op("Add", &[&y, &attended], &[]);
        let normal = n.layer_norm(&y);
        let wide = n.dense(&normal, WIDTH, 2 * WIDTH);
        let wide = gelu(&mut n, &wide);
        let narrow = n.dense(&wide, 2 * WIDTH, WIDTH);
        y = n.op("Add", &[&y, &narrow], &[]);
    }
    let y = n.layer_norm(&y);
    let (start, end, axis) = (n.b.ints(&[0]), n.b.ints(&[1]), n.b.ints(&[1]));
    let y = n.op("Slice", &[&y, &start, &end, &axis], &[]);
    let y = n.op("Squeeze", &[&y, &axis], &[]);
    let weights = n.weights(&[5, WIDTH], WIDTH);
    let bias = n.weights(&[5], WIDTH);
    let y = n.op("Gemm", &[&y, &weights, &bias], &[int("transB", 1)]);
    n.b.finish(&[&y])
}

/// As exporters write it: the token is expanded to the batch, which is taken from the shape.
fn with_class_token(n: &mut Net, x: &str) -> String {
    let token = n.weights(&[1, 1, WIDTH], 3);
    let shape = n.op("Shape", &[x], &[]);
    let zero = n.b.ints(&[0]);
    let batch = n.op("Gather", &[&shape, &zero], &[]);
    let rest = n.b.ints(&[1, WIDTH as i64]);
    let target = n.op("Concat", &[&batch, &rest], &[int("axis", 0)]);
    let tokens = n.op("Expand", &[&token, &target], &[]);
    n.op("Concat", &[&tokens, x], &[int("axis", 1)])
}

fn attention(n: &mut Net, x: &str) -> String {
    let head = WIDTH / HEADS;
    let all = n.dense(x, WIDTH, 3 * WIDTH);
    let parts = ["query", "key", "value"].map(|part| format!("{all}_{part}"));
    let outputs: Vec<&str> = parts.iter().map(String::as_str).collect();
    let mut split = node("Split", &format!("{all}_split"), &[&all], &outputs);
    split.set_attribute(int("axis", -1));
    n.b.node(split);
    let [query, key, value] = parts.map(|part| {
        let heads = n.reshape(&part, &[0, 0, HEADS as i64, head as i64]);
        n.op("Transpose", &[&heads], &[ints("perm", &[0, 2, 1, 3])])
    });
    let key = n.op("Transpose", &[&key], &[ints("perm", &[0, 1, 3, 2])]);
    let scores = n.op("MatMul", &[&query, &key], &[]);
    let scale = n.b.floats(&[], &[(head as f32).sqrt()]);
    let scores = n.op("Div", &[&scores, &scale], &[]);
    let scores = n.op("Softmax", &[&scores], &[int("axis", -1)]);
    let mixed = n.op("MatMul", &[&scores, &value], &[]);
    let mixed = n.op("Transpose", &[&mixed], &[ints("perm", &[0, 2, 1, 3])]);
    let mixed = n.reshape(&mixed, &[0, 0, WIDTH as i64]);
    n.dense(&mixed, WIDTH, WIDTH)
}

/// `x / 2 * (1 + erf(x / sqrt(2)))`, as exporters of opsets before 20 write it.
fn gelu(n: &mut Net, x: &str) -> String {
    let root = n.b.floats(&[], &[std::f32::consts::SQRT_2]);
    let (one, half) = (n.b.floats(&[], &[1.0]), n.b.floats(&[], &[0.5]));
    let scaled = n.op("Div", &[x, &root], &[]);
    let erf = n.op("Erf", &[&scaled], &[]);
    let sum = n.op("Add", &[&erf, &one], &[]);
    let product = n.op("Mul", &[x, &sum], &[]);
    n.op("Mul", &[&product, &half], &[])
}

/// A backbone of three scales, a neck that goes up by `Resize` of both kinds, a head on two scales.
fn detector() -> Model {
    let mut n = Net::new();
    let x = n.b.input("x", &["batch", "3", "32", "32"]);
    let stem = n.conv(&x, 3, 8, 2);
    let fine = n.conv(&stem, 8, 16, 2);
    let coarse = n.conv(&fine, 16, 16, 2);
    let up = upsampled(&mut n, &coarse, &fine);
    let joined = n.op("Concat", &[&up, &fine], &[int("axis", 1)]);
    let neck = n.conv(&joined, 32, 16, 1);
    let scales = n.b.floats(&[4], &[1.0, 1.0, 0.5, 0.5]);
    let linear = [
        AttributeProto::from_text("mode", "linear"),
        AttributeProto::from_text("coordinate_transformation_mode", "half_pixel"),
    ];
    let down = n.op("Resize", &[&neck, "", &scales], &linear);
    let joined = n.op("Concat", &[&down, &coarse], &[int("axis", 1)]);
    let deep = n.conv(&joined, 32, 16, 1);
    let heads = [neck, deep].map(|feature| {
        let weights = n.weights(&[7, 16, 1, 1], 16);
        let y = n.op("Conv", &[&feature, &weights], &[]);
        n.reshape(&y, &[0, 7, -1])
    });
    let all = n.op("Concat", &[&heads[0], &heads[1]], &[int("axis", 2)]);
    let (zero, four, end, one) = (n.b.ints(&[0]), n.b.ints(&[4]), n.b.ints(&[7]), n.b.ints(&[1]));
    let boxes = n.op("Slice", &[&all, &zero, &four, &one], &[]);
    let classes = n.op("Slice", &[&all, &four, &end, &one], &[]);
    let classes = n.op("Sigmoid", &[&classes], &[]);
    let y = n.op("Concat", &[&boxes, &classes], &[int("axis", 1)]);
    n.b.finish(&[&y])
}

/// `small` with the height and width of `large`, whatever they are.
fn upsampled(n: &mut Net, small: &str, large: &str) -> String {
    let (zero, two, four) = (n.b.ints(&[0]), n.b.ints(&[2]), n.b.ints(&[4]));
    let shape = n.op("Shape", &[small], &[]);
    let outer = n.op("Slice", &[&shape, &zero, &two], &[]);
    let shape = n.op("Shape", &[large], &[]);
    let inner = n.op("Slice", &[&shape, &two, &four], &[]);
    let sizes = n.op("Concat", &[&outer, &inner], &[int("axis", 0)]);
    let nearest = [
        AttributeProto::from_text("mode", "nearest"),
        AttributeProto::from_text("coordinate_transformation_mode", "asymmetric"),
        AttributeProto::from_text("nearest_mode", "floor"),
    ];
    n.op("Resize", &[small, "", "", &sizes], &nearest)
}

struct Pictures(Vec<usize>);

impl Samples for Pictures {
    fn len(&self) -> usize {
        8
    }

    fn sample(&self, index: usize) -> std::io::Result<Vec<Tensor>> {
        let values = Noise(index as u64).take(self.0.iter().product());
        let data = edgefront_runtimes::Data::F32(values);
        Ok(vec![Tensor::new(self.0.clone(), data).unwrap()])
    }
}

/// All passes, each after folding, with what it may move the output by, as a part of its largest magnitude.
fn recipes() -> Vec<(Step, f32)> {
    let weights = |bits| {
        Step::QuantizeWeights(quantize_weights::Options {
            bits,
            ..quantize_weights::Options::default()
        })
    };
    let quantize = |per_channel| {
        Step::Quantize(quantize::Options {
            per_channel,
            ..quantize::Options::default()
        })
    };
    vec![
        (Step::FoldBatchNorm {}, 1e-4),
        (Step::Fp16(fp16::Options::default()), 0.02),
        (weights(Bits::Eight), 0.05),
        (weights(Bits::Four), 0.6),
        (Step::QuantizeDynamic {}, 0.1),
        (quantize(true), 0.3),
        (quantize(false), 0.3),
        (
            Step::Prune(prune::Method::Weights {
                amount: 0.5,
                scope: prune::Scope::Layer,
            }),
            f32::INFINITY,
        ),
        (
            Step::Prune(prune::Method::Channels {
                amount: 0.5,
                scope: prune::Scope::Layer,
                multiple: prune::MULTIPLE,
            }),
            f32::INFINITY,
        ),
    ]
}

fn every_pass_takes(model: &Model, input: [usize; 4], output: &[usize]) {
    let bindings: BTreeMap<String, usize> = [("batch".to_owned(), input[0])].into();
    let values = crate::shape::infer(model, &bindings).unwrap();
    for node in &model.graph().node {
        for name in &node.output {
            assert!(values.get(name).unwrap().extents().is_some(), "shape of {name}");
        }
    }
    check(model).unwrap();
    let picture = noise_tensor(&input);
    let expected = run_on("ort", model, std::slice::from_ref(&picture)).swap_remove(0);
    assert_eq!(expected.shape(), output);
    let mut one = input.to_vec();
    one[0] = 1;
    let pictures = Pictures(one);
    let context = recipe::Context {
        calibration: Some(&pictures),
        training: None,
        runtimes: &Registry::new(&Search::default()),
        threads: 1,
        device: crate::train::Device::Cpu,
        activations: ActivationType::U8,
        progress: &|_| {},
    };
    for (step, bound) in recipes() {
        let recipe = Recipe {
            name: step.name().to_owned(),
            steps: vec![Step::FoldBatchNorm {}, step.clone()],
        };
        let (variant, _) =
            recipe::apply(model.clone(), &recipe, &context).unwrap_or_else(|e| panic!("{step:?}: {e}"));
        let found = run_on("ort", &variant, std::slice::from_ref(&picture)).swap_remove(0);
        assert!(floats(&found).iter().all(|value| value.is_finite()), "{step:?}");
        let moved = difference(&expected, &found);
        assert!(moved <= bound, "{step:?} moves the output by {moved}");
    }
}

#[test]
fn every_pass_takes_a_vision_transformer_on_ort() {
    every_pass_takes(&vision_transformer(), [2, 3, 16, 16], &[2, 5]);
}

#[test]
fn every_pass_takes_a_detector_on_ort() {
    every_pass_takes(&detector(), [2, 3, 32, 32], &[2, 7, 80]);
}
