//! Holds the optimizer to the models and operator cases that the Python package `onnx` ships; `cargo xtask
//! conformance` fetches the package and runs this.
#![allow(clippy::print_stdout, reason = "its tables are its purpose")]

mod light;
mod nodes;

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(folder) = std::env::args().nth(1) else {
        eprintln!("usage: conformance FOLDER, the folder onnx/backend/test/data of the package");
        return ExitCode::from(2);
    };
    let folder = Path::new(&folder);
    let networks = light::run(&folder.join("light"));
    let operators = nodes::run(&folder.join("node"));
    if networks && operators {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// The entries of a folder, sorted.
fn entries(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("the folder is readable").path())
        .collect();
    paths.sort();
    paths
}
