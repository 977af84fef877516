//! Training as a whole, on networks small enough for a build without optimization.

mod agreement;
mod differentiation;
mod fitting;
#[cfg(any(feature = "cuda", feature = "wgpu"))]
mod gpu;
mod networks;
mod quantized;

use burn_backend::TensorMetadata as _;
use edgefront_runtimes::{Data, Registry, Tensor};

use super::*;
use crate::graph::build::Builder;
use crate::proto::AttributeProto;
use crate::quantize::ActivationType;
use crate::recipe;
use crate::testing::{Noise, batch_norm, int, ints};

/// Pictures `[1, 2, 6, 6]` of two classes: those of the second have a bright spot on the left.
struct Spots(usize);

impl Samples for Spots {
    fn len(&self) -> usize {
        self.0
    }

    fn sample(&self, index: usize) -> std::io::Result<Vec<Tensor>> {
        let mut values = Noise(index as u64).take(72);
        if index % 2 == 1 {
            values[(index * 5) % 4 * 6 + 6] += 3.0;
        }
        Ok(vec![Tensor::new(vec![1, 2, 6, 6], Data::F32(values)).unwrap()])
    }

    fn class(&self, index: usize) -> Option<usize> {
        Some(index % 2)
    }
}

/// A residual network for [`Spots`], with batch normalization if that is wanted.
fn network(normalized: bool) -> Model {
    let mut noise = Noise(3);
    let mut b = Builder::new(17);
    let x = b.input("x", &["batch", "2", "6", "6"]);
    let mut conv = |b: &mut Builder, x: &str, shape: [usize; 4], attributes: &[AttributeProto]| {
        let count = shape.iter().product();
        let weights = noise.take(count);
        let weights = b.floats(
            &shape,
            &weights.iter().map(|weight| weight * 0.5).collect::<Vec<_>>(),
        );
        let bias = noise.take(shape[0]);
        let bias = b.floats(&[shape[0]], &bias);
        let made = b.op("Conv", &[x, &weights, &bias], attributes);
        let made = if normalized {
            batch_norm(b, &mut noise, &made, shape[0])
        } else {
            made
        };
        b.op("Relu", &[&made], &[])
    };
    let pads = ints("pads", &[1; 4]);
    let wide = conv(
        &mut b,
        &x,
        [4, 2, 3, 3],
        &[pads.clone(), ints("strides", &[2, 2])],
    );
    let deep = conv(&mut b, &wide, [4, 1, 3, 3], &[pads, int("group", 4)]);
    let sum = b.op("Add", &[&wide, &deep], &[]);
    let last = conv(&mut b, &sum, [6, 4, 1, 1], &[]);
    let pooled = b.op("GlobalAveragePool", &[&last], &[]);
    let flat = b.op("Flatten", &[&pooled], &[]);
    let weights = b.floats(&[2, 6], &Noise(9).take(12));
    let bias = b.floats(&[2], &[0.1, -0.1]);
    let logits = b.op("Gemm", &[&flat, &weights, &bias], &[int("transB", 1)]);
    b.finish(&[&logits])
}

fn short() -> Options {
    Options {
        epochs: 4,
        batch: 8,
        learning_rate: Some(0.05),
        ..Options::default()
    }
}

fn train_on(
    model: &Model,
    data: &dyn Samples,
    options: &Options,
    extras: &Extras,
) -> (Result<(Model, PassReport), Error>, Vec<Progress>) {
    train_at(Device::Cpu, model, data, options, extras)
}

fn train_at(
    device: Device,
    model: &Model,
    data: &dyn Samples,
    options: &Options,
    extras: &Extras,
) -> (Result<(Model, PassReport), Error>, Vec<Progress>) {
    let seen = std::cell::RefCell::new(Vec::new());
    let context = Context {
        calibration: Some(&Spots(16)),
        training: Some(data),
        // No library is needed.
        runtimes: &Registry::built_in(),
        threads: 1,
        device,
        activations: ActivationType::U8,
        progress: &|progress| {
            if let recipe::Progress::Training(progress) = progress {
                seen.borrow_mut().push(progress);
            }
        },
    };
    let made = train(model, options, &context, extras);
    (made, seen.into_inner())
}

/// The loss over the last epoch.
fn last_loss(progress: &[Progress]) -> f64 {
    progress.last().unwrap().loss
}
