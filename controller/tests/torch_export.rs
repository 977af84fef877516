//! `export torch` as far as it goes without PyTorch: `tests/stub` has what its program takes of it.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use edgefront_optimizer::graph::build::{Builder, value_info};
use edgefront_optimizer::proto::{DataType, node};

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
    insta::assert_snapshot!(said(&output), @"");
}
