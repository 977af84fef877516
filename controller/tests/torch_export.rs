//! `export torch` as far as it goes without PyTorch: `tests/stub` has what its program takes of it.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use edgefront::data::arrays;
use edgefront_optimizer::graph::build::{Builder, value_info};
use edgefront_optimizer::proto::{DataType, node};
use edgefront_runtimes::Data;

const STUB: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/stub");

/// A folder in which the stub exports `stub.onnx`.
struct Place(tempfile::TempDir);

impl Place {
    /// The model is one operator: a row of `table` for each number of `input`, or without a table `input` itself.
    fn new(table: &[f32], input: &[&str]) -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        let mut b = Builder::new(17);
        if table.is_empty() {
            b.input("input", input);
            b.node(node("Identity", "same", &["input"], &["output"]));
        } else {
            let ids = value_info("input", DataType::Int64, Some(input));
            b.proto_mut().input.push(ids);
            let table = b.floats(&[table.len()], table);
            b.node(node("Gather", "rows", &[&table, "input"], &["output"]));
        }
        place.write("stub.onnx", &b.finish(&["output"]).encode());
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).unwrap();
    }

    fn export(&self, source: &str, options: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_edgefront"))
            .args(["export", "torch", source, "-o", "out.onnx"])
            .args(options)
            .current_dir(self.0.path())
            .env("PYTHONPATH", Path::new(STUB))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("EDGEFRONT_LOG", "off")
            .output()
            .unwrap()
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A file whose functions return the module of this `forward`, and what is none.
fn program(forward: &str) -> String {
    format!(
        "import torch
class Net(torch.nn.Module):
    def forward(self, x):
{forward}
def build(): return Net()
def number(): return 7
"
    )
}

#[test]
fn a_branch_by_value_is_told_once_with_python3() {
    let place = Place::new(&[], &["batch", "2"]);
    // The name is like one of PyTorch's own modules, whose lines are not told.
    let branch = "        for _ in range(2):\n            if x: continue\n        return x";
    place.write("torch_net.py", program(branch).as_bytes());
    let output = place.export("torch_net.py:build", &["--shape", "1x2"]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    insta::assert_snapshot!(said(&output), @"warning: torch_net.py:5: Converting a tensor to a Python boolean: its value for the sample, or the branch taken for it, is built into the ONNX model; compute it with tensors, as by torch.where, or see that all inputs take that branch");
}

/// A `.py` whose model is a table of two rows, so that any id but 0 and 1 fails.
const TABLE: &str = "import torch\ndef build(): return torch.Table([0.5, 1.5])\n";

#[test]
fn ids_of_a_shape_are_zeros_and_ones_with_python3() {
    let place = Place::new(&[0.5, 1.5], &["batch", "8"]);
    place.write("net.py", TABLE.as_bytes());
    let output = place.export("net.py:build", &["--shape", "1x8:int64"]);
    assert_eq!((output.status.code(), said(&output)), (Some(0), String::new()));
    let pairs = arrays(&place.path("out.npz")).unwrap();
    let Data::I64(ids) = pairs["input_input"].data() else {
        panic!("ids are whole numbers");
    };
    assert_eq!(ids.len(), 24);
    assert!(ids.contains(&0) && ids.contains(&1), "{ids:?}");
    let output = place.export("net.py:build", &["--shape", "1x8"]);
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn ids_are_cut_for_a_model_of_one_sample_with_python3() {
    let place = Place::new(&[0.5, 1.5], &["1", "8"]);
    place.write("net.py", TABLE.as_bytes());
    let output = place.export("net.py:build", &["--shape", "1x8:int64"]);
    assert_eq!((output.status.code(), said(&output)), (Some(0), String::new()));
}

#[test]
fn ids_of_a_program_are_those_of_its_example_with_python3() {
    // NaN is refused, so only what the example holds will do.
    let known = [f32::NAN, 0.25, f32::NAN, 0.75, 1.0];
    let place = Place::new(&known, &["batch", "3"]);
    place.write("net.pt2", b"[[4, 1, 3]]");
    let output = place.export("net.pt2", &[]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let pairs = arrays(&place.path("out.npz")).unwrap();
    // Each row is another, and the first is not the example itself, which was traced.
    let rows = Data::I64(vec![1, 3, 4, 3, 4, 1, 4, 1, 3]);
    assert_eq!(pairs["input_input"].data(), &rows);
}

#[test]
fn what_is_no_model_and_no_weights_is_one_line_with_python3() {
    let place = Place::new(&[], &["batch", "2"]);
    place.write("net.py", program("        return 7").as_bytes());
    let orders = [
        ("net.py:number", "none"),
        ("net.py:build", "none"),
        ("net.py:build", "net.py"),
        ("net.py:build", "absent.pth"),
    ];
    let lines = orders.map(|(source, weights)| said(&place.export(source, &["--weights", weights])));
    let place = place.0.path().canonicalize().unwrap();
    insta::assert_snapshot!(lines.concat().replace(&place.display().to_string(), "PLACE"), @r"
    error: net.py:number: number of PLACE/net.py returns an int, not a torch.nn.Module
    error: net.py:build: the model returns an int; tensors are wanted
    error: net.py:build: net.py is no state dictionary; write one with torch.save(model.state_dict(), FILE)
    error: net.py:build: cannot read absent.pth: No such file or directory
    ");
}
