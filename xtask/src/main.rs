//! Developer commands: `cargo xtask test` runs every check, `cargo xtask fixtures` renews the golden files, `cargo xtask
//! cross` builds the agent for boards, `cargo xtask compare-quantizers` and `compare-training` measure the optimizer
//! beside ONNX Runtime's tools and PyTorch, `compare-runtimes` measures what measures beside the runtimes' own tools, and
//! `overhead` beside a bare loop.
#![allow(clippy::print_stdout, reason = "its words are its purpose")]

mod board;
mod compare;
mod conformance;
mod count;
mod cross;
mod filter;
mod prerequisites;
mod step;
mod test;

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;

/// Written by hand: a parser crate would be compiled a second time, before the first check can start.
const USAGE: &str = "\
Developer commands of Edgefront.

Usage:
  cargo xtask test [--all]   Set up what the tests need and run every check: format, clippy, docs, tests.
                             The last line is `N passed, N failed, N skipped`. Tests whose prerequisite
                             cannot be installed are skipped, with its name; with CI=true that is a failure.
                             --all runs the long tests too, those marked `#[ignore]`.
  cargo xtask conformance    Fetch the Python package `onnx` and hold the optimizer to its networks and operator
                             cases: a table of both. Needs ONNX Runtime's library and Python with pip.
  cargo xtask cross ARCH... [--without-tract]
                             Build the agent for aarch64 or armv7, with tract and without, into target/cross/ARCH;
                             fails where one is larger than its budget or needs more than glibc 2.28. Needs rustup,
                             and pip or zig. About 20 minutes on two cores.
  cargo xtask fixtures       Write the golden files anew from what the code makes today; look at the diff
                             before you commit it.
  cargo xtask compare-quantizers MODEL --calib DATA --val DATA [--help]
                             Quantize a classifier with ONNX Runtime's own tools and with Edgefront, in turns:
                             seconds, peak memory, top-1, SQNR and latency of each. Needs Python with pip.
  cargo xtask compare-training NETWORK --train DATA [--help]
                             Train a torchvision network by PyTorch and by Edgefront, in turns: pictures a second
                             of each. Needs torch and torchvision in python3, or in the Python that PYTHON names.
  cargo xtask compare-tflite MODEL [--help]
                             Convert a model to TFLite and run both, in ONNX Runtime and in LiteRT's interpreter:
                             differences of the outputs, kernels and latency. Needs Python with pip.
  cargo xtask runtimes-table MODEL... --val DATA --calib DATA [--help]
                             Measure the networks in FP32 and INT8 on every runtime that is installed: one table
                             of accuracy, latency, throughput, size and energy. Needs Python.
  cargo xtask compare-runtimes MODEL... [--help]
                             Measure models by `edgefront bench` and by each runtime's own tool, in turns: medians
                             and their ratio. Needs Python with pip.
  cargo xtask overhead MODEL --shape SHAPE --library LIB [--help]
                             Measure a model by `edgefront bench` and by a bare loop on the same library of ONNX
                             Runtime, in turns: medians and their ratio. Needs Python.";

fn main() -> anyhow::Result<ExitCode> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask lies in the workspace");
    std::env::set_current_dir(root).with_context(|| format!("cannot enter {}", root.display()))?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["test"] => test::run(false),
        ["test", "--all"] => test::run(true),
        ["cross", ref rest @ ..] => Ok(cross::run(rest)?.unwrap_or_else(wrong_usage)),
        ["conformance"] => conformance::run(),
        ["fixtures"] => fixtures(),
        ["compare-quantizers", ref rest @ ..] => compare::quantizers(rest),
        ["compare-training", ref rest @ ..] => compare::training(rest),
        ["compare-tflite", ref rest @ ..] => compare::tflite(rest),
        ["runtimes-table", ref rest @ ..] => compare::table(rest),
        ["compare-runtimes", ref rest @ ..] => compare::runtimes(rest),
        ["overhead", ref rest @ ..] => compare::overhead(rest),
        ["--help" | "-h" | "help"] => {
            println!("{USAGE}");
            Ok(ExitCode::SUCCESS)
        }
        _ => Ok(wrong_usage()),
    }
}

fn wrong_usage() -> ExitCode {
    eprintln!("{USAGE}");
    ExitCode::from(2)
}

fn fixtures() -> anyhow::Result<ExitCode> {
    let renewed = step::cargo(&[
        "test",
        "--package",
        "edgefront-protocol",
        "--test",
        "wire",
        "golden",
    ])
    .env("EDGEFRONT_RENEW_FIXTURES", "1")
    .status()
    .context("cannot start cargo")?;
    Ok(if renewed.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
