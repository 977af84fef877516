//! Groups of operators, each a small model with a dynamic batch, against what ONNX's own evaluator gives.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use edgefront_runtimes::Tensor;
use serde::Deserialize;

use super::support::refusals;
use super::target::{self, Refused};

/// How far a value may be from its reference, where references reach 1; in proportion where they reach further.
const TOLERANCE: f32 = 1e-4;

#[derive(Deserialize)]
struct Case {
    inputs: Vec<Vec<usize>>,
    outputs: Vec<Output>,
}

#[derive(Deserialize)]
struct Output {
    shape: Vec<usize>,
    values: Vec<f32>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/operators")
}

fn cases() -> BTreeMap<String, Case> {
    let text = std::fs::read_to_string(folder().join("references.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Names of the groups.
pub(crate) fn names() -> Vec<String> {
    cases().into_keys().collect()
}

/// What is wrong with an output, if anything is.
fn fault(expected: &Output, found: &Tensor) -> Option<String> {
    if found.shape() != expected.shape {
        return Some(format!("{:?} instead of {:?}", found.shape(), expected.shape));
    }
    let Some(values) = found.as_f32() else {
        return Some(format!("{} instead of f32", found.data_type()));
    };
    let reach = expected
        .values
        .iter()
        .fold(1.0_f32, |reach, value| reach.max(value.abs()));
    // What is no number differs too.
    let agrees = |(a, b): (&f32, &f32)| (a - b).abs() <= TOLERANCE * reach;
    let wrong = values
        .iter()
        .zip(&expected.values)
        .filter(|&pair| !agrees(pair))
        .count();
    (wrong > 0).then(|| format!("{wrong} of {} values differ", values.len()))
}

/// Whether a runtime gives the references of every group, but for those that it is said to refuse.
pub(crate) fn conforms(target: &str) {
    let dir = tempfile::tempdir().unwrap();
    let refusals = refusals(target);
    let mut wrong = Vec::new();
    for (name, case) in cases() {
        let file = dir.path().join(format!("{name}.onnx"));
        std::fs::copy(folder().join(format!("{name}.onnx")), &file).unwrap();
        let inputs = case.inputs.iter().enumerate();
        let inputs: Vec<Tensor> = inputs
            .map(|(index, shape)| target::wave(shape, 811 * index))
            .collect();
        match (target::run(target, &file, &inputs), refusals.get(&name)) {
            (Ok(outputs), None) => {
                assert_eq!(outputs.len(), case.outputs.len(), "{name}: number of outputs");
                let pairs = case.outputs.iter().zip(&outputs);
                wrong
                    .extend(pairs.filter_map(|(expected, found)| {
                        Some(format!("{name}: {}", fault(expected, found)?))
                    }));
            }
            (Err(Refused(why)), Some(words)) if why.contains(words.as_str()) => {}
            (Err(Refused(why)), _) => wrong.push(format!("{name}: {why}")),
            (Ok(_), Some(_)) => wrong.push(format!("{name}: listed as refused, and it runs")),
        }
    }
    assert!(wrong.is_empty(), "{target}:\n{}", wrong.join("\n"));
}

#[test]
fn zeros_and_other_shapes_are_faults() {
    let cases = cases();
    let expected = &cases["conv"].outputs[0];
    let zeros = Tensor::zeros(edgefront_runtimes::DataType::F32, expected.shape.clone()).unwrap();
    assert!(fault(expected, &zeros).unwrap().contains("values differ"));
    let flat = Tensor::zeros(edgefront_runtimes::DataType::F32, vec![expected.values.len()]).unwrap();
    assert!(fault(expected, &flat).unwrap().contains("instead of"));
}
