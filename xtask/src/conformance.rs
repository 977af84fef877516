//! `cargo xtask conformance`: the optimizer on the networks and operator cases of the Python package `onnx`.

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, ensure};

use crate::step;

/// The newest releases leave the cases of single operators out, so this one is asked for.
const PACKAGE: &str = "onnx==1.19.1";

/// A wheel is a ZIP archive, and any platform's holds the same test data.
const DOWNLOAD: [&str; 11] = [
    "-m",
    "pip",
    "download",
    "--quiet",
    "--no-deps",
    "--only-binary=:all:",
    "--platform=manylinux2014_x86_64",
    "--python-version=3.11",
    PACKAGE,
    "--dest",
    FOLDER,
];

/// Where the package is kept between runs.
const FOLDER: &str = "target/conformance";

/// Fetches the package, unless it is there, and runs the comparison.
pub(crate) fn run() -> anyhow::Result<ExitCode> {
    let data = Path::new(FOLDER).join("onnx/backend/test/data");
    if !data.is_dir() {
        println!("== fetching {PACKAGE}");
        python(&DOWNLOAD)?;
        let wheel = wheel()?;
        python(&["-m", "zipfile", "--extract", &wheel, FOLDER])?;
    }
    let data = data.to_string_lossy();
    let arguments = [
        "run",
        "--release",
        "--package",
        "edgefront-optimizer",
        "--example",
        "conformance",
        "--",
        &data,
    ];
    let count = step::check("conformance", &mut step::cargo(&arguments))?;
    Ok(if count.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn python(arguments: &[&str]) -> anyhow::Result<()> {
    let status = Command::new("python3")
        .args(arguments)
        .status()
        .context("cannot start python3; install Python with pip")?;
    ensure!(status.success(), "python3 {} failed", arguments.join(" "));
    Ok(())
}

fn wheel() -> anyhow::Result<String> {
    let entries = std::fs::read_dir(FOLDER).with_context(|| format!("cannot read {FOLDER}"))?;
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let wheel = paths
        .into_iter()
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"));
    let wheel = wheel.with_context(|| format!("pip left no wheel in {FOLDER}"))?;
    Ok(wheel.to_string_lossy().into_owned())
}
