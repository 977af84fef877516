use std::fs;

use edgefront_optimizer::sensitivity::{Layer, Measure, Sensitivity};
use edgefront_optimizer::{Model, NodeReport};
use edgefront_protocol::pack::{Pack, PictureShape};

use super::*;
use crate::ui::one_line;

/// Runs the command on the fixture `tiny.onnx` and pictures of `side`, and returns the output's path.
fn quantize(dir: &Path, side: usize) -> (anyhow::Result<Exit>, PathBuf) {
    let picture = PictureShape {
        channels: 3,
        height: side,
        width: side,
    };
    let values: Vec<f32> = (0..4 * picture.volume()).map(|i| (i % 7) as f32 / 7.0).collect();
    let pack = Pack::from_floats(4, picture, &values).unwrap();
    let calib = dir.join("calib.safetensors");
    fs::write(&calib, pack.encode()).unwrap();
    let output = dir.join("int8.onnx");
    let args = Args {
        model: Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/models/tiny.onnx"),
        output: output.clone(),
        calib,
        method: None,
        per_channel: true,
        percentile: None,
        activations: ActivationsName::U8,
        symmetric: false,
        float_biases: false,
        reduce_range: false,
        equalize: true,
        bias_correction: true,
        rounding: RoundingName::Adaptive,
        samples: Some(3),
        exclude: Vec::new(),
        max_drop: None,
        min_sqnr: None,
        preprocess: None,
        runtime: RuntimeArgs::default(),
    };
    (run(args, &Ui::new(true)), output)
}

#[test]
fn writes_a_valid_model_that_computes_in_integers() {
    let dir = tempfile::tempdir().unwrap();
    let (exit, output) = quantize(dir.path(), 8);
    assert_eq!(exit.unwrap(), Exit::Done);
    let summary = check::check(&Model::read(&output).unwrap()).unwrap();
    let count = |operator: &str| summary.operators.get(operator).copied().unwrap_or(0);
    assert!(
        count("QuantizeLinear") > 0 && count("DequantizeLinear") > 0,
        "{summary:?}"
    );
    assert_eq!(count("Relu"), 0);
}

#[test]
fn pictures_of_another_size_are_an_error_and_leave_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (exit, output) = quantize(dir.path(), 9);
    let error = one_line(&exit.unwrap_err());
    assert!(
        error.contains("pictures are 3x9x9 and 3x8x8 are wanted"),
        "{error}"
    );
    assert!(!output.exists());
}

#[test]
fn says_what_stayed_in_float_for_a_floor_once() {
    let node = |node: &str, applied, why: &str| NodeReport {
        node: node.to_owned(),
        applied,
        why: why.to_owned(),
    };
    let layer = |node: &str, noise, in_float| Layer {
        node: node.to_owned(),
        noise,
        in_float,
    };
    let outcome = Outcome {
        model: "model.onnx".into(),
        output: "int8.onnx".into(),
        bytes_before: 6_120_000,
        bytes_after: 2_170_000,
        passes: vec![PassReport {
            pass: "quantize".to_owned(),
            nodes: vec![
                node(
                    "conv",
                    false,
                    "it stays in float for the accuracy; alone in integers ...",
                ),
                node("add", false, "it stays in float with the layer before it"),
                node("gemm", true, "u8 activations"),
            ],
            cost: None,
            choice: None,
            sensitivity: Some(Sensitivity {
                measure: Measure::Agreement,
                samples: 200,
                max_drop: None,
                min_sqnr_db: Some(24.0),
                drop_all_quantized: 0.015,
                drop: 0.01,
                sqnr_db_all_quantized: Some(21.92),
                sqnr_db: Some(24.58),
                layers: vec![layer("conv", 1.1e-3, true), layer("gemm", 2e-4, false)],
            }),
        }],
    };
    insta::assert_snapshot!(outcome.describe(80), @"
    int8.onnx: 6.1 MB -> 2.2 MB, 35 % of its size
    1 of 3 nodes are quantized
    left in float, it stays in float with the layer before it: add
    layer  SQNR dB alone  decision
    ──────────────────────────────
    conv            29.6  float
    gemm            37.0  int8
    predictions that change on 200 samples:
    1.50 % with all layers in integers, 1.00 % with 1 of 2 in float
    output SQNR on them (at least 24.0 dB):
    21.9 dB with all layers in integers, 24.6 dB with 1 of 2 in float
    ");
}

#[test]
fn says_sizes_and_what_stayed_in_float() {
    let node = |node: &str, applied, why: &str| NodeReport {
        node: node.to_owned(),
        applied,
        why: why.to_owned(),
    };
    let trial = |method, sqnr_db| Trial { method, sqnr_db };
    let sigmoid = "operator `Sigmoid` has no integer form";
    let mut nodes = vec![
        node("conv", true, "u8 activations"),
        node("softmax", false, "another reason"),
    ];
    nodes.extend((0..6).map(|i| node(&format!("sigmoid_{i}"), false, sigmoid)));
    let outcome = Outcome {
        model: "model.onnx".into(),
        output: "int8.onnx".into(),
        bytes_before: 44_700_000,
        bytes_after: 11_300_000,
        passes: vec![PassReport {
            pass: "quantize".to_owned(),
            nodes,
            cost: None,
            sensitivity: None,
            choice: Some(Choice {
                method: Method::Minmax,
                samples: 32,
                trials: vec![trial(Method::Mse, Some(27.71)), trial(Method::Minmax, Some(36.5))],
            }),
        }],
    };
    insta::assert_snapshot!(outcome.describe(80), @r"
    int8.onnx: 44.7 MB -> 11.3 MB, 25 % of its size
    1 of 8 nodes are quantized
    left in float, another reason: softmax
    left in float, operator `Sigmoid` has no integer form: sigmoid_0, sigmoid_1, sigmoid_2, sigmoid_3 and 2 more
    ranges by minmax; output SQNR on 32 samples: mse 27.7 dB, minmax 36.5 dB
    ");
}
