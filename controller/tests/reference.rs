//! Models beside reference outputs: `check --reference`, and `export torch` with a Python that only copies.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use edgefront_optimizer::graph::build::Builder;

const MODELS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/models");

/// A folder with a model and what it gives for a picture.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        fs::copy(Path::new(MODELS).join("tiny.onnx"), place.path("tiny.onnx")).unwrap();
        place.write_pairs("pairs.npz", 0.0, "outputs");
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The stored reference of the fixture, its first output moved by `error`.
    fn write_pairs(&self, name: &str, error: f32, outputs: &str) {
        let text = fs::read_to_string(Path::new(MODELS).join("references.json")).unwrap();
        let reference = &serde_json::from_str::<serde_json::Value>(&text).unwrap()["tiny"];
        let shape: Vec<usize> = serde_json::from_value(reference["input"].clone()).unwrap();
        let mut output: Vec<f32> = serde_json::from_value(reference["output"].clone()).unwrap();
        let wave = |index: usize| (index * 7919 % 2003) as f32 / 1024.0 - 1.0;
        let input: Vec<f32> = (0..shape.iter().product()).map(wave).collect();
        output[0] += error;
        let rows = shape[0];
        let classes = output.len() / rows;
        let output = npy("<f4", &[rows, classes], &bytes(&output));
        self.write_npz(
            name,
            &[("inputs", npy("<f4", &shape, &bytes(&input))), (outputs, output)],
        );
    }

    fn write_npz(&self, name: &str, arrays: &[(&str, Vec<u8>)]) {
        let mut archive = zip::ZipWriter::new(fs::File::create(self.path(name)).unwrap());
        for (name, array) in arrays {
            let options = zip::write::SimpleFileOptions::default();
            archive.start_file(format!("{name}.npy"), options).unwrap();
            archive.write_all(array).unwrap();
        }
        archive.finish().unwrap();
    }

    fn run(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_edgefront"))
            .args(args)
            .current_dir(self.0.path())
            .env("EDGEFRONT_LOG", "off")
            .output()
            .unwrap()
    }
}

fn npy(descr: &str, shape: &[usize], elements: &[u8]) -> Vec<u8> {
    let extents: Vec<String> = shape.iter().map(usize::to_string).collect();
    let extents = extents.join(", ");
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({extents},), }}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(elements);
    bytes
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_model_that_gives_its_reference_passes() {
    let place = Place::new();
    let output = place.run(&["check", "tiny.onnx", "--reference", "pairs.npz"]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains(": largest difference "), "{text}");
    let output = place.run(&["check", "tiny.onnx", "--reference", "pairs.npz", "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["reference"]["within"], true);
    assert!(json["reference"]["outputs"][0]["max"].as_f64().unwrap() < 1e-5);
}

#[test]
fn a_difference_beyond_the_tolerance_fails() {
    let place = Place::new();
    place.write_pairs("other.npz", 0.25, "outputs");
    let check = ["check", "tiny.onnx", "--reference", "other.npz"];
    let output = place.run(&check);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains(" differs from its reference by 2.500e-1, more than "));
    let output = place.run(&[&check[..], &["--tolerance", "0.3"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
}

#[test]
fn a_reference_of_nan_fails_whatever_the_tolerance() {
    let place = Place::new();
    place.write_pairs("nan.npz", f32::NAN, "outputs");
    let check = [
        "check",
        "tiny.onnx",
        "--reference",
        "nan.npz",
        "--tolerance",
        "inf",
    ];
    let output = place.run(&check);
    assert_eq!(output.status.code(), Some(1));
    let line = said(&output);
    assert!(
        line.contains(" holds NaN (1 of 20 values), which proves nothing; "),
        "{line}"
    );
    assert_eq!(line.lines().count(), 1);
}

#[test]
fn a_reference_of_zeros_passes_with_a_warning() {
    let place = Place::new();
    let mut b = Builder::new(17);
    let x = b.input("x", &["batch", "2"]);
    let zero = b.floats(&[1], &[0.0]);
    let y = b.op("Mul", &[&x, &zero], &[]);
    fs::write(place.path("zero.onnx"), b.finish(&[&y]).encode()).unwrap();
    let array = |values: &[f32]| npy("<f4", &[1, 2], &bytes(values));
    let arrays = [("inputs", array(&[1.0, 2.0])), ("outputs", array(&[0.0, 0.0]))];
    place.write_npz("zero.npz", &arrays);
    let output = place.run(&["check", "zero.onnx", "--reference", "zero.npz"]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(said(&output).starts_with("warning: the reference of output `v0` holds no number but 0, "));
}

#[test]
fn pairs_that_do_not_fit_are_one_line() {
    let place = Place::new();
    place.write_pairs("named.npz", 0.0, "output_nothing");
    let output = place.run(&["check", "tiny.onnx", "--reference", "named.npz"]);
    assert_eq!(output.status.code(), Some(1));
    let line = said(&output);
    assert!(
        line.starts_with("error: named.npz: has no array `output_"),
        "{line}"
    );
    assert_eq!(line.lines().count(), 1);
    let output = place.run(&["check", "tiny.onnx", "--tolerance", "1e-3"]);
    assert_eq!(output.status.code(), Some(2));
}

#[cfg(unix)]
#[test]
fn an_exported_model_is_compared_with_its_framework() {
    use std::os::unix::fs::PermissionsExt as _;

    let place = Place::new();
    let script = r#"#!/bin/sh
model=$(printf %s "$3" | sed 's/.*"model":"\([^"]*\)".*/\1/')
pairs=$(printf %s "$3" | sed 's/.*"pairs":"\([^"]*\)".*/\1/')
cp tiny.onnx "$model" && cp pairs.npz "$pairs" && echo '{"fixed_batch": true}'
"#;
    let python = place.path("python");
    fs::write(&python, script).unwrap();
    fs::set_permissions(&python, fs::Permissions::from_mode(0o755)).unwrap();
    let export = [
        "export", "torch", "resnet18", "-o", "r.onnx", "--python", "./python",
    ];
    let output = place.run(&export);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(said(&output).contains("resnet18 takes the batch of its example alone"));
    assert!(place.path("r.onnx").is_file() && place.path("r.npz").is_file());
    for (name, error) in [("outputs", 0.25), ("output_nothing", 0.0)] {
        place.write_pairs("pairs.npz", error, name);
        let output = place.run(&export);
        assert_eq!(output.status.code(), Some(1));
        let line = said(&output);
        let line = line.lines().last().unwrap();
        let kept = "r.onnx and r.npz were kept for a look and are not to be used";
        assert!(line.starts_with("error: ") && line.contains(kept), "{line}");
    }
}

#[test]
fn without_python_it_says_what_to_install() {
    let place = Place::new();
    let output = place.run(&[
        "export", "torch", "resnet18", "-o", "r.onnx", "--python", "no-such",
    ]);
    assert_eq!(output.status.code(), Some(1));
    let line = said(&output);
    assert!(line.starts_with("error: cannot start `no-such`: "), "{line}");
    assert_eq!(line.matches("os error").count(), 1, "{line}");
    assert!(!place.path("r.onnx").exists());
}
