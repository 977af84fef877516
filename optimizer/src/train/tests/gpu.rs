//! GPUs compute and learn what the processor does. Where there is none, the tests say so and pass.

use burn_cubecl::{Cube, CubeDevice};

use super::differentiation::{answers_as_the_runtime_does, gradients_of_all};
use super::*;

/// Tensor cores round what they multiply, to 10 bits or fewer.
const ROUNDED: f32 = 2e-2;

/// Calls `test` with each kind of GPU that this build and this machine have.
fn on_gpus(test: impl Fn(Device, &CubeDevice)) {
    for device in [Device::Cuda(0), Device::Wgpu(0)] {
        match device.find() {
            Ok(Found::Gpu(found)) => test(device, &found),
            Ok(Found::Cpu) => unreachable!("a GPU was asked for"),
            Err(why) => println!("skipped: {why}"),
        }
    }
}

#[test]
fn a_gpu_answers_as_the_runtime_does() {
    on_gpus(|_, device| answers_as_the_runtime_does::<Cube>(device, ROUNDED));
}

#[test]
fn gradients_are_those_of_the_processor() {
    let own = gradients_of_all::<Flex>(&FlexDevice);
    on_gpus(|device, found| {
        for ((name, own), (_, theirs)) in own.iter().zip(gradients_of_all::<Cube>(found)) {
            for (index, (own, theirs)) in own.iter().zip(theirs).enumerate() {
                let most = own.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
                let differs = own.iter().zip(&theirs).map(|(a, b)| (a - b).abs());
                let differs = differs.fold(0.0_f32, f32::max);
                assert!(
                    differs <= ROUNDED * most,
                    "{device}, {name}, parameter {index}: {own:?} {theirs:?}"
                );
            }
        }
    });
}

#[test]
fn a_network_learns_in_float_and_in_integers() {
    on_gpus(|device, _| {
        for (normalized, qat) in [
            (false, None),
            (true, None),
            (false, Some(quantize::Options::default())),
        ] {
            let model = network(normalized);
            let options = Options {
                epochs: 8,
                distil: qat.is_some().then(Distil::default),
                qat,
                ..short()
            };
            let extras = Extras {
                validation: Some(&Spots(21)),
                teacher: Some(&model),
                ..Extras::default()
            };
            let (made, progress) = train_at(device, &model, &Spots(64), &options, &extras);
            let (trained, _) = made.unwrap();
            let first = progress[0].loss;
            assert!(last_loss(&progress) < first, "{device}: {progress:?}");
            assert!(progress.last().unwrap().validation.unwrap() > 0.9, "{device}");
            assert_ne!(trained, model);
        }
    });
}

#[test]
fn pruned_weights_stay_zero_on_a_gpu() {
    use crate::passes::prune::{Method, Scope, prune};
    let scope = Scope::Layer;
    let pruned = prune(&network(false), &Method::Weights { amount: 0.5, scope })
        .unwrap()
        .0;
    on_gpus(|device, _| {
        let (made, _) = train_at(device, &pruned, &Spots(24), &short(), &Extras::default());
        let (_, report) = made.unwrap();
        assert!(report.nodes.iter().any(|node| node.why.contains("stayed zero")));
    });
}
