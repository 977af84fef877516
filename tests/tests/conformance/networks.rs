//! Whole networks: each runtime must give the stored reference outputs, in FP32 and in the variants that the
//! optimizer makes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use edgefront_optimizer::calibrate::Samples;
use edgefront_optimizer::quantize::ActivationType;
use edgefront_optimizer::recipe::Step;
use edgefront_optimizer::{Model, recipe};
use edgefront_runtimes::{Data, Error, Options, Registry, Search, Tensor};
use serde::Deserialize;

use super::target::{self, Refused};

const NETWORKS: [&str; 3] = ["mobilenet_v2", "resnet18", "tiny"];

#[derive(Deserialize)]
struct Reference {
    input: Vec<usize>,
    output: Vec<f32>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/models")
}

fn reference(network: &str) -> Reference {
    let text = std::fs::read_to_string(folder().join("references.json")).unwrap();
    let mut all: BTreeMap<String, Reference> = serde_json::from_str(&text).unwrap();
    all.remove(network).unwrap()
}

/// Noisy waves of several phases, to choose ranges by.
struct Waves(Vec<usize>);

impl Samples for Waves {
    fn len(&self) -> usize {
        8
    }

    fn sample(&self, index: usize) -> std::io::Result<Vec<Tensor>> {
        let mut shape = self.0.clone();
        shape[0] = 1;
        let elements = shape.iter().product();
        let values = (0..elements).map(|i: usize| ((i + index * 811) * 7919 % 2003) as f32 / 1024.0 - 1.0);
        Ok(vec![Tensor::new(shape, Data::F32(values.collect())).unwrap()])
    }
}

/// The signal of the reference over what differs from it, in decibels.
fn signal_to_noise(reference: &[f32], output: &[f32]) -> f64 {
    assert_eq!(reference.len(), output.len());
    let power = |values: &mut dyn Iterator<Item = f32>| values.map(|v| f64::from(v).powi(2)).sum::<f64>();
    let signal = power(&mut reference.iter().copied());
    let noise = power(&mut reference.iter().zip(output).map(|(a, b)| a - b));
    10.0 * (signal / noise.max(f64::MIN_POSITIVE)).log10()
}

/// What zero in the middle costs: half of the steps lie unused where values are never negative.
const SYMMETRIC: f64 = 6.0;

/// Variants, the activations of quantized ones, and how close to FP32 they must come, in decibels. Runtimes round
/// integers otherwise, which on these networks of random weights moves one picture by decibels.
const VARIANTS: [(&str, ActivationType, f64); 6] = [
    ("fp32", ActivationType::U8, 100.0),
    ("fp16", ActivationType::U8, 40.0),
    ("ptq-int8", ActivationType::U8, 14.0),
    ("ptq-int8", ActivationType::S8, 12.0),
    ("ptq-int8-pc", ActivationType::U8, 18.0),
    ("ptq-int8-pc", ActivationType::S8, 18.0),
];

/// Whether a target takes integers as TensorRT does: signed, with zero in the middle and biases in float.
fn is_tensorrt(target: &str) -> bool {
    target.split(':').any(|word| word == "tensorrt")
}

/// As [`VARIANTS`] for TVM, which compiles each for seconds, and sums half-precision products in half precision.
const TVM_VARIANTS: [(&str, ActivationType, f64); 3] = [
    ("fp32", ActivationType::U8, 100.0),
    ("fp16", ActivationType::U8, 30.0),
    ("ptq-int8-pc", ActivationType::U8, 18.0),
];

fn variants(target: &str) -> &'static [(&'static str, ActivationType, f64)] {
    match target {
        "tvm" => &TVM_VARIANTS,
        _ => &VARIANTS,
    }
}

fn variant(network: &str, name: &str, activations: ActivationType, target: &str, file: &Path) {
    let path = folder().join(format!("{network}.onnx"));
    let model = Model::read(&path).unwrap();
    // Calibrated on tract, which is always there, so that both runtimes are given the same file.
    let registry = Registry::new(&Search::default());
    let calibration = Waves(reference(network).input);
    let context = recipe::Context {
        calibration: Some(&calibration),
        training: None,
        runtimes: &registry,
        threads: 1,
        device: edgefront_optimizer::train::Device::Cpu,
        activations,
        progress: &|_| {},
    };
    let mut recipe = recipe::named(name).unwrap();
    for step in &mut recipe.steps {
        if let Step::Quantize(options) = step {
            options.symmetric = is_tensorrt(target);
            options.float_biases = is_tensorrt(target);
        }
    }
    let (variant, _) = recipe::apply(model, &recipe, &context).unwrap();
    std::fs::write(file, variant.encode()).unwrap();
}

/// Tract divides a matrix product, and each operation on many elements, among its threads; how many there are changes no
/// bit. The input is so large that it does divide them.
pub(crate) fn threads_of_tract_change_nothing() {
    for network in ["mobilenet_v2", "resnet18"] {
        let path = folder().join(format!("{network}.onnx"));
        let [_, channels, rows, columns] = reference(network).input[..] else {
            panic!("pictures have four axes");
        };
        let input = [target::wave(&[16, channels, rows, columns], 0)];
        let alone = target::run_on(1, "tract", &path, &input).unwrap();
        for threads in [2, 3, 8] {
            let together = target::run_on(threads, "tract", &path, &input).unwrap();
            assert_eq!(together, alone, "{network} on {threads} threads");
        }
    }
}

/// Whether a runtime gives the references of every network and variant.
pub(crate) fn conforms(target: &str) {
    let dir = tempfile::tempdir().unwrap();
    let mut wrong = Vec::new();
    for network in NETWORKS {
        let expected = reference(network);
        let input = target::wave(&expected.input, 0);
        for &(name, activations, decibels) in variants(target) {
            if is_tensorrt(target) && name.starts_with("ptq") && activations == ActivationType::U8 {
                continue;
            }
            let decibels = if is_tensorrt(target) && name.starts_with("ptq") {
                decibels - SYMMETRIC
            } else {
                decibels
            };
            let what = format!("{network} {name} {activations:?}");
            let file = dir.path().join("variant.onnx");
            variant(network, name, activations, target, &file);
            match target::run(target, &file, std::slice::from_ref(&input)) {
                Ok(outputs) => {
                    let output = outputs[0].as_f32().expect("the networks give f32");
                    let found = signal_to_noise(&expected.output, output);
                    if found.is_nan() || found < decibels {
                        wrong.push(format!("{what}: {found:.1} dB of {decibels}"));
                    }
                }
                Err(Refused(why)) => wrong.push(format!("{what}: {why}")),
            }
        }
    }
    assert!(wrong.is_empty(), "{target}:\n{}", wrong.join("\n"));
}

#[test]
fn zeros_do_not_conform() {
    let expected = reference("tiny");
    let zeros = vec![0.0; expected.output.len()];
    assert!(signal_to_noise(&expected.output, &zeros) < 1.0);
}

/// A provider that a runtime does not have is an error, and so are inputs of another shape.
#[test]
fn nothing_falls_back_on_ort() {
    let registry = Registry::new(&Search::default());
    let file = folder().join("tiny.onnx");
    for runtime in ["tract", "ort"] {
        let options = Options {
            provider: "cuda".to_owned(),
            threads: 1,
            inputs: Vec::new(),
            batch: 1,
            spin: true,
            profile: false,
        };
        let runtime = registry.get(runtime).unwrap();
        let refused = runtime.load(&file, &options).err();
        assert!(
            matches!(refused, Some(Error::Provider { .. })),
            "{}",
            runtime.name()
        );
        let options = Options {
            provider: "cpu".to_owned(),
            ..options
        };
        let model = runtime.load(&file, &options).unwrap();
        let bound = model.session().unwrap().bind(&[target::wave(&[1, 3, 9, 9], 0)]);
        assert!(matches!(bound, Err(Error::Input { .. })), "{}", runtime.name());
    }
}
