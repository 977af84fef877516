//! What several test modules share: small networks and running them.

#![allow(clippy::unwrap_used)]

use edgefront_runtimes::{Data, Options, Registry, Search, Tensor};

use crate::graph::build::Builder;
use crate::model::Model;
use crate::proto::AttributeProto;

/// Numbers between -1 and 1 that look random and are the same on every run.
#[derive(Debug, Clone)]
pub(crate) struct Noise(pub(crate) u64);

impl Noise {
    pub(crate) fn next(&mut self) -> f32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
    }

    pub(crate) fn take(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.next()).collect()
    }

    /// Numbers between `low` and `high`.
    pub(crate) fn between(&mut self, count: usize, low: f32, high: f32) -> Vec<f32> {
        let middle = f32::midpoint(low, high);
        self.take(count)
            .into_iter()
            .map(|value| middle + value * (high - middle))
            .collect()
    }
}

pub(crate) fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto::from_ints(name, values)
}

pub(crate) fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto::from_int(name, value)
}

/// Batch normalization of `channels` with parameters from `noise`.
pub(crate) fn batch_norm(b: &mut Builder, noise: &mut Noise, x: &str, channels: usize) -> String {
    let scale = noise.between(channels, 0.5, 1.5);
    let scale = b.floats(&[channels], &scale);
    let bias = noise.take(channels);
    let bias = b.floats(&[channels], &bias);
    let mean = noise.take(channels);
    let mean = b.floats(&[channels], &mean);
    let variance = noise.between(channels, 0.5, 2.0);
    let variance = b.floats(&[channels], &variance);
    b.op("BatchNormalization", &[x, &scale, &bias, &mean, &variance], &[])
}

/// The outputs of a model on these inputs, by a runtime.
pub(crate) fn run_on(runtime: &str, model: &Model, inputs: &[Tensor]) -> Vec<Tensor> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.onnx");
    model.write(&path).unwrap();
    let options = Options {
        provider: "cpu".to_owned(),
        threads: 1,
        inputs: inputs.iter().map(|input| input.shape().to_vec()).collect(),
        batch: 1,
        spin: false,
        profile: false,
    };
    let registry = Registry::new(&Search::default());
    let loaded = registry.get(runtime).unwrap().load(&path, &options).unwrap();
    let mut session = loaded.session().unwrap();
    session.bind(inputs).unwrap();
    session.run().unwrap();
    session.fetch().unwrap()
}

/// The first output on noise of this shape, by tract.
pub(crate) fn run(model: &Model, shape: &[usize]) -> Tensor {
    run_on("tract", model, &[noise_tensor(shape)]).swap_remove(0)
}

pub(crate) fn noise_tensor(shape: &[usize]) -> Tensor {
    let values = Noise(5).take(shape.iter().product());
    Tensor::new(shape.to_vec(), Data::F32(values)).unwrap()
}

pub(crate) fn floats(tensor: &Tensor) -> &[f32] {
    let Data::F32(values) = tensor.data() else {
        panic!("expected float32");
    };
    values
}

/// The largest difference between two tensors, as a fraction of the largest magnitude.
pub(crate) fn difference(a: &Tensor, b: &Tensor) -> f32 {
    assert_eq!(a.shape(), b.shape());
    let scale = floats(a).iter().fold(1e-6_f32, |max, value| max.max(value.abs()));
    let pairs = floats(a).iter().zip(floats(b));
    pairs.fold(0.0_f32, |max, (a, b)| max.max((a - b).abs())) / scale
}
