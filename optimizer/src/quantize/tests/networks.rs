//! Small networks of the kinds that are quantized most, and pictures for them.

use edgefront_runtimes::{Data, Tensor};

use crate::calibrate::Samples;
use crate::graph::build::Builder;
use crate::model::Model;
use crate::proto::AttributeProto;

/// Numbers that look random and are the same on every run.
#[derive(Clone)]
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        // The sum of two uniform numbers, so that small ones are more frequent.
        let uniform = |bits: u64| (bits & 0xffff) as f32 / 65_536.0 - 0.5;
        2.0 * (uniform(self.0 >> 20) + uniform(self.0 >> 40))
    }

    fn take(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.next()).collect()
    }
}

/// Noise of one shape.
pub(super) struct Pictures {
    pub(super) count: usize,
    pub(super) shape: Vec<usize>,
}

impl Samples for Pictures {
    fn len(&self) -> usize {
        self.count
    }

    fn sample(&self, index: usize) -> std::io::Result<Vec<Tensor>> {
        let values = Noise(index as u64 + 1).take(self.shape.iter().product());
        Ok(vec![Tensor::new(self.shape.clone(), Data::F32(values)).unwrap()])
    }
}

pub(super) const PICTURES: fn(usize) -> Pictures = |count| Pictures {
    count,
    shape: vec![1, 3, 8, 8],
};

/// Convolutional networks layer by layer.
pub(super) struct Network {
    pub(super) b: Builder,
    noise: Noise,
}

impl Network {
    pub(super) fn new(opset: i64) -> (Self, String) {
        let mut b = Builder::new(opset);
        let input = b.input("x", &["batch", "3", "8", "8"]);
        (Self { b, noise: Noise(7) }, input)
    }

    /// A number below `count`.
    pub(super) fn pick(&mut self, count: usize) -> usize {
        (self.noise.next().abs() * 1e6) as usize % count
    }

    pub(super) fn conv(&mut self, x: &str, [outputs, inputs, size]: [usize; 3], groups: usize) -> String {
        let fan_in = inputs * size * size;
        let spread = (3.0 / fan_in as f32).sqrt();
        let weights: Vec<f32> = self
            .noise
            .take(outputs * fan_in)
            .iter()
            .map(|w| w * spread)
            .collect();
        let weights = self.b.floats(&[outputs, inputs, size, size], &weights);
        let bias = self.noise.take(outputs);
        let bias = self.b.floats(&[outputs], &bias);
        let pad = (size / 2) as i64;
        let attributes = [
            AttributeProto::from_ints("pads", &[pad; 4]),
            AttributeProto::from_int("group", groups as i64),
        ];
        self.b.op("Conv", &[x, &weights, &bias], &attributes)
    }

    pub(super) fn relu6(&mut self, x: &str) -> String {
        let (low, high) = (self.b.floats(&[], &[0.0]), self.b.floats(&[], &[6.0]));
        self.b.op("Clip", &[x, &low, &high], &[])
    }

    pub(super) fn classify(&mut self, x: &str, channels: usize) -> String {
        let pooled = self.b.op("GlobalAveragePool", &[x], &[]);
        let flat = self.b.op("Flatten", &[&pooled], &[]);
        let weights = self.noise.take(4 * channels);
        let (weights, bias) = (
            self.b.floats(&[4, channels], &weights),
            self.b.floats(&[4], &[0.5, -0.5, 0.0, 0.1]),
        );
        self.b.op(
            "Gemm",
            &[&flat, &weights, &bias],
            &[AttributeProto::from_int("transB", 1)],
        )
    }
}

/// Two residual blocks, one of them with a convolution on its shortcut, as in ResNet.
pub(in crate::quantize) fn resnet() -> Model {
    let (mut n, x) = Network::new(17);
    let stem = n.conv(&x, [8, 3, 3], 1);
    let stem = n.b.op("Relu", &[&stem], &[]);
    let attributes = [
        AttributeProto::from_ints("kernel_shape", &[2, 2]),
        AttributeProto::from_ints("strides", &[2, 2]),
    ];
    let mut block = n.b.op("MaxPool", &[&stem], &attributes);
    for (inputs, outputs) in [(8, 8), (8, 16)] {
        let a = n.conv(&block, [outputs, inputs, 3], 1);
        let a = n.b.op("Relu", &[&a], &[]);
        let a = n.conv(&a, [outputs, outputs, 3], 1);
        let shortcut = if inputs == outputs {
            block.clone()
        } else {
            n.conv(&block, [outputs, inputs, 1], 1)
        };
        let sum = n.b.op("Add", &[&a, &shortcut], &[]);
        block = n.b.op("Relu", &[&sum], &[]);
    }
    let y = n.classify(&block, 16);
    n.b.finish(&[&y])
}

/// Inverted residual blocks with depthwise convolutions and `ReLU6`, as in MobileNetV2.
pub(in crate::quantize) fn mobilenet() -> Model {
    let (mut n, x) = Network::new(17);
    let stem = n.conv(&x, [8, 3, 3], 1);
    let mut block = n.relu6(&stem);
    block = n.conv(&block, [8, 8, 1], 1);
    for _ in 0..2 {
        let wide = n.conv(&block, [24, 8, 1], 1);
        let wide = n.relu6(&wide);
        let deep = n.conv(&wide, [24, 1, 3], 24);
        let deep = n.relu6(&deep);
        let narrow = n.conv(&deep, [8, 24, 1], 1);
        block = n.b.op("Add", &[&block, &narrow], &[]);
    }
    let last = n.conv(&block, [16, 8, 1], 1);
    let last = n.relu6(&last);
    let y = n.classify(&last, 16);
    n.b.finish(&[&y])
}

/// Inverted residual blocks with squeeze-excite and `HardSwish`, as in `MobileNetV3`.
pub(in crate::quantize) fn mobilenet_v3() -> Model {
    let (mut n, x) = Network::new(17);
    let stem = n.conv(&x, [8, 3, 3], 1);
    let mut block = n.b.op("HardSwish", &[&stem], &[]);
    for _ in 0..2 {
        let wide = n.conv(&block, [24, 8, 1], 1);
        let wide = n.b.op("HardSwish", &[&wide], &[]);
        let deep = n.conv(&wide, [24, 1, 3], 24);
        let deep = n.b.op("HardSwish", &[&deep], &[]);
        let pooled = n.b.op("GlobalAveragePool", &[&deep], &[]);
        let squeezed = n.conv(&pooled, [8, 24, 1], 1);
        let squeezed = n.b.op("Relu", &[&squeezed], &[]);
        let gate = n.conv(&squeezed, [24, 8, 1], 1);
        let slope = AttributeProto::from_float("alpha", 1.0 / 6.0);
        let gate = n.b.op("HardSigmoid", &[&gate], &[slope]);
        let gated = n.b.op("Mul", &[&gate, &deep], &[]);
        let narrow = n.conv(&gated, [8, 24, 1], 1);
        block = n.b.op("Add", &[&block, &narrow], &[]);
    }
    let y = n.classify(&block, 8);
    n.b.finish(&[&y])
}

/// A network of the operators that most networks have few of.
/// Attention whose weights are a softmax of what a convolution computes, of the given kind.
pub(super) fn attention(softmax: &str) -> Model {
    let (mut n, x) = Network::new(17);
    let scores = n.conv(&x, [6, 3, 3], 1);
    let shares =
        n.b.op(softmax, &[&scores], &[AttributeProto::from_int("axis", -1)]);
    let values = n.conv(&x, [6, 3, 3], 1);
    let y = n.b.op("MatMul", &[&shares, &values], &[]);
    let y = n.conv(&y, [4, 6, 1], 1);
    n.b.finish(&[&y])
}

pub(super) fn rarities() -> Model {
    let (mut n, x) = Network::new(17);
    let y = n.conv(&x, [4, 3, 3], 1);
    let pads = n.b.ints(&[0, 0, 1, 1, 0, 0, 1, 1]);
    let y = n.b.op("Pad", &[&y, &pads], &[]);
    let y =
        n.b.op("LeakyRelu", &[&y], &[AttributeProto::from_float("alpha", 0.1)]);
    let (scale, shift) = (
        n.b.floats(&[4, 1, 1], &[0.5, 1.5, -1.0, 2.0]),
        n.b.floats(&[], &[0.25]),
    );
    let y = n.b.op("Mul", &[&y, &scale], &[]);
    let y = n.b.op("Add", &[&shift, &y], &[]);
    let weights = n.b.floats(
        &[4, 2, 2, 2],
        &[0.3, -0.2, 0.1, 0.4, -0.5, 0.6, 0.2, 0.1].repeat(4),
    );
    let bias = n.b.floats(&[2], &[0.1, -0.1]);
    let strides = [AttributeProto::from_ints("strides", &[2, 2])];
    let up = n.b.op("ConvTranspose", &[&y, &weights, &bias], &strides);
    let scales = n.b.floats(&[4], &[1.0, 1.0, 2.0, 2.0]);
    let larger = n.b.op(
        "Resize",
        &[&y, "", &scales],
        &[AttributeProto::from_text("mode", "nearest")],
    );
    let y =
        n.b.op("Concat", &[&up, &larger], &[AttributeProto::from_int("axis", 1)]);
    let gate = n.b.op("Sigmoid", &[&y], &[]);
    let y = n.b.op("Mul", &[&y, &gate], &[]);
    let turned = n.b.op(
        "Transpose",
        &[&y],
        &[AttributeProto::from_ints("perm", &[0, 1, 3, 2])],
    );
    let y = n.b.op("MatMul", &[&y, &turned], &[]);
    let y = n.conv(&y, [8, 6, 1], 1);
    let axes = AttributeProto::from_ints("axes", &[2, 3]);
    let y = n.b.op(
        "ReduceMean",
        &[&y],
        &[axes, AttributeProto::from_int("keepdims", 1)],
    );
    let y = n.classify(&y, 8);
    n.b.finish(&[&y])
}
