//! One list of networks, every runtime: each must give the stored reference outputs, in FP32 and in the
//! variants that the optimizer makes. What a runtime refuses, and why, stands in [`refusals`].

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use edgefront_optimizer::calibrate::Samples;
use edgefront_optimizer::quantize::ActivationType;
use edgefront_optimizer::{Model, recipe};
use edgefront_runtimes::{Data, Error, Options, Registry, Search, Tensor};
use serde::Deserialize;

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

/// The picture of `make_references.py`, exact in `f32`.
fn wave(shape: &[usize]) -> Tensor {
    let elements = shape.iter().product();
    let values = (0..elements).map(|index: usize| (index * 7919 % 2003) as f32 / 1024.0 - 1.0);
    Tensor::new(shape.to_vec(), Data::F32(values.collect())).unwrap()
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

fn run(runtime: &str, file: &Path, input: &Tensor) -> Result<Vec<f32>, Error> {
    let registry = Registry::new(&Search::default());
    let options = Options {
        provider: "cpu".to_owned(),
        threads: 1,
        inputs: Vec::new(),
        batch: input.shape()[0],
        spin: true,
    };
    let model = registry.get(runtime)?.load(file, &options)?;
    assert_eq!(model.provider(), "cpu");
    let mut session = model.session()?;
    session.bind(std::slice::from_ref(input))?;
    session.run()?;
    let outputs = session.fetch()?;
    assert_eq!(outputs.len(), model.outputs().len());
    assert_eq!(
        session.floats(0),
        outputs[0].floats(),
        "what is lent is what is fetched"
    );
    assert_eq!(session.floats(outputs.len()), None);
    Ok(outputs[0].as_f32().expect("the networks give f32").to_vec())
}

/// The signal of the reference over what differs from it, in decibels.
fn signal_to_noise(reference: &[f32], output: &[f32]) -> f64 {
    assert_eq!(reference.len(), output.len());
    let power = |values: &mut dyn Iterator<Item = f32>| values.map(|v| f64::from(v).powi(2)).sum::<f64>();
    let signal = power(&mut reference.iter().copied());
    let noise = power(&mut reference.iter().zip(output).map(|(a, b)| a - b));
    10.0 * (signal / noise.max(f64::MIN_POSITIVE)).log10()
}

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

/// What a runtime refuses to load, and a word of its reason.
fn refusals(runtime: &str) -> &'static [(&'static str, &'static str)] {
    match runtime {
        "ort" | "openvino" | "tract" => &[],
        other => panic!("no list of refusals for {other}"),
    }
}

fn variant(network: &str, name: &str, activations: ActivationType, file: &Path) {
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
    let recipe = recipe::named(name).unwrap();
    let (variant, _) = recipe::apply(model, &recipe, &context).unwrap();
    std::fs::write(file, variant.encode()).unwrap();
}

fn conforms(runtime: &str) {
    let dir = tempfile::tempdir().unwrap();
    let mut wrong = Vec::new();
    for network in NETWORKS {
        let expected = reference(network);
        for (name, activations, decibels) in VARIANTS {
            let what = format!("{network} {name} {activations:?}");
            let file = dir.path().join("variant.onnx");
            variant(network, name, activations, &file);
            let refusal = refusals(runtime)
                .iter()
                .find(|(refused, _)| what.starts_with(refused));
            match (run(runtime, &file, &wave(&expected.input)), refusal) {
                (Ok(output), None) => {
                    let found = signal_to_noise(&expected.output, &output);
                    if found.is_nan() || found < decibels {
                        wrong.push(format!("{what}: {found:.1} dB of {decibels}"));
                    }
                }
                (Err(error), Some((_, word))) if error.to_string().contains(word) => {}
                (Err(error), _) => wrong.push(format!("{what}: {error}")),
                (Ok(_), Some(_)) => wrong.push(format!("{what}: listed as refused, and it runs")),
            }
        }
    }
    assert!(wrong.is_empty(), "{runtime}:\n{}", wrong.join("\n"));
}

#[test]
fn tract_conforms() {
    conforms("tract");
}

#[test]
fn ort_conforms() {
    conforms("ort");
}

#[test]
fn openvino_conforms() {
    conforms("openvino");
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
        };
        let refused = registry.get(runtime).unwrap().load(&file, &options).err();
        assert!(matches!(refused, Some(Error::Provider { .. })), "{runtime}");
        let wrong = run(runtime, &file, &wave(&[1, 3, 9, 9]));
        assert!(matches!(wrong, Err(Error::Input { .. })), "{runtime}: {wrong:?}");
    }
}
