//! A program computes what a runtime does, and its gradients are its slopes.

use burn_backend::AutodiffBackend as _;
use burn_backend::ops::FloatTensorOps as _;
use burn_backend::tensor::FloatTensor;
use proptest::prelude::*;

use super::networks::{networks, recent};
use super::*;
use crate::testing::{floats, run_on};
use crate::train::run::{Loaded, Mode, Outcome, Run, answer};
use crate::train::tape::{Tape, Taped};

fn evaluate<B: Tape>(
    loaded: &Loaded<B::Plain>,
    leaves: &[FloatTensor<B>],
    input: &FloatTensor<B::Plain>,
) -> Outcome<B> {
    let shapes = loaded.program.shapes(&[input_shape()]).unwrap();
    Run::new(loaded, &shapes, leaves, Mode::Infer).run(vec![input.clone()])
}

fn input_shape() -> Vec<usize> {
    vec![2, 4, 6, 6]
}

fn input() -> Vec<f32> {
    Noise(11).take(288)
}

fn load<B: Kernels>(model: &Model, device: &B::Device) -> Loaded<B> {
    Loaded::new(Program::of(model, None).unwrap(), device)
}

/// Within `tolerance` of what a runtime answers.
pub(super) fn answers_as_the_runtime_does<B: Kernels>(device: &B::Device, tolerance: f32) {
    answers_as::<B>("tract", networks(), device, tolerance);
}

fn answers_as<B: Kernels>(
    runtime: &str,
    networks: Vec<(&'static str, Model)>,
    device: &B::Device,
    tolerance: f32,
) {
    for (name, model) in networks {
        let loaded = load::<B>(&model, device);
        let given = B::upload(input(), input_shape(), device);
        let own = answer(&evaluate::<B>(&loaded, &loaded.parameters(), &given)).unwrap();
        let given = Tensor::new(input_shape(), Data::F32(input())).unwrap();
        let theirs = run_on(runtime, &model, &[given]).swap_remove(0);
        let difference = own.iter().zip(floats(&theirs));
        let difference = difference.fold(0.0_f32, |most, (a, b)| most.max((a - b).abs()));
        assert!(difference < tolerance, "{name}: {difference}");
    }
}

#[test]
fn a_program_answers_as_the_runtime_does() {
    answers_as_the_runtime_does::<Flex>(&FlexDevice, 1e-4);
}

#[test]
fn ort_answers_as_a_program_does() {
    let all = [networks(), recent()].concat();
    answers_as::<Flex>("ort", all, &FlexDevice, 1e-4);
}

/// The sum of the answer's elements times noise, whose gradient is that noise.
fn objective(logits: &[f32]) -> f64 {
    let slope = Noise(5).take(logits.len());
    logits.iter().zip(&slope).map(|(a, b)| f64::from(a * b)).sum()
}

/// The gradients of the objective by all parameters.
fn gradients<B: Kernels>(loaded: &Loaded<B>, input: &FloatTensor<B>) -> Vec<Vec<f32>> {
    let leaves: Vec<FloatTensor<Taped<B>>> = loaded
        .parameters()
        .into_iter()
        .map(|values| Taped::<B>::float_set_require_grad(Taped::<B>::constant(values), true))
        .collect();
    let outcome = evaluate::<Taped<B>>(loaded, &leaves, input);
    let slope = B::upload(Noise(5).take(6), [2, 3], &loaded.device);
    let slope = Taped::<B>::constant(slope);
    let root = Taped::<B>::float_sum(Taped::<B>::float_mul(outcome.answer, slope));
    let mut gradients = Taped::<B>::backward(root);
    let of = |leaf| Taped::<B>::grad_remove(leaf, &mut gradients).expect("every parameter has a gradient");
    let found: Vec<FloatTensor<B>> = leaves.iter().map(of).collect();
    found
        .iter()
        .map(|gradient| B::download(gradient).unwrap())
        .collect()
}

/// The gradients of each network by name.
#[cfg(any(feature = "cuda", feature = "wgpu"))]
pub(super) fn gradients_of_all<B: Kernels>(device: &B::Device) -> Vec<(&'static str, Vec<Vec<f32>>)> {
    let of = |(name, model): (&'static str, Model)| {
        let given = B::upload(input(), input_shape(), device);
        (name, gradients(&load::<B>(&model, device), &given))
    };
    networks().into_iter().map(of).collect()
}

#[test]
fn gradients_are_slopes_along_themselves() {
    for (name, model) in networks().into_iter().chain(recent()) {
        let loaded = load::<Flex>(&model, &FlexDevice);
        let given = Flex::upload(input(), input_shape(), &FlexDevice);
        for (index, gradient) in gradients(&loaded, &given).iter().enumerate() {
            let square: f64 = gradient.iter().map(|value| f64::from(value * value)).sum();
            let step = 2e-3 / square.sqrt() as f32;
            let moved = |by: f32| {
                let start = &loaded.program.parameters[index].values;
                let pairs = start.iter().zip(gradient);
                let values = pairs.map(|(value, gradient)| value + by * gradient).collect();
                let mut parameters = loaded.parameters();
                parameters[index] = loaded.parameter(index, values);
                objective(&answer(&evaluate::<Flex>(&loaded, &parameters, &given)).unwrap())
            };
            let found = (moved(step) - moved(-step)) / f64::from(2.0 * step);
            assert!(
                (found / square - 1.0).abs() < 0.02,
                "{name}, parameter {index}: {found} and {square}"
            );
        }
    }
}

proptest! {
    #[test]
    fn batch_normalization_follows_its_slope(seed: u64) {
        let mut noise = Noise(seed);
        let (x, scale, shift) = (noise.take(24), noise.between(2, 0.5, 1.5), noise.take(2));
        let slope = noise.take(24);
        let of = |x: &[f32], scale: &[f32], shift: &[f32]| -> f64 {
            let made = cpu::normalize::forward(x, 12, scale, shift, 1e-3);
            made.output.iter().zip(&slope).map(|(a, b)| f64::from(a * b)).sum()
        };
        let made = cpu::normalize::forward(&x, 12, &scale, &shift, 1e-3);
        let statistics = (&made.mean[..], &made.variance[..]);
        let gradients = cpu::normalize::backward(&x, &slope, 12, &scale, statistics, 1e-3);
        let all = [x, scale, shift];
        for (which, gradient) in [gradients.input, gradients.scale, gradients.shift].iter().enumerate() {
            for at in 0..gradient.len().min(4) {
                let moved = |by: f32| {
                    let mut all = all.clone();
                    all[which][at] += by;
                    of(&all[0], &all[1], &all[2])
                };
                let found = (moved(1e-2) - moved(-1e-2)) / 2e-2;
                prop_assert!((found as f32 - gradient[at]).abs() < 2e-2 * (1.0 + gradient[at].abs()));
            }
        }
    }
}
