//! `cargo xtask compare-quantizers`, `compare-training`, `compare-tflite` and `compare-runtimes`: Edgefront beside the
//! Python tools of the field. The comparisons are Python programs, because one of the two is. `runtimes-table` puts
//! runtimes side by side, `overhead` Edgefront beside a bare loop.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, ensure};

use crate::step;

/// The Python environment and the results of the quantizers; a change of the requirements makes it anew.
const QUANTIZERS: &str = "target/quantizers";
const TRAINING: &str = "target/training";
const REQUIREMENTS: &str = "xtask/python/requirements.txt";
const RUNTIMES: &str = "target/runtimes";
const RUNTIMES_REQUIREMENTS: &str = "xtask/python/requirements-runtimes.txt";
const TFLITE: &str = "target/tflite";
const TFLITE_REQUIREMENTS: &str = "xtask/python/requirements-tflite.txt";

/// ONNX Runtime's own quantizer and Edgefront's, with the user's `arguments`.
pub(crate) fn quantizers(arguments: &[&str]) -> anyhow::Result<ExitCode> {
    let folder = Path::new(QUANTIZERS);
    let python = if asks_for_help(arguments) {
        PathBuf::from("python3")
    } else {
        environment(folder, REQUIREMENTS)?
    };
    compare(
        &python,
        "xtask/python/compare_quantizers.py",
        folder,
        arguments,
        None,
    )
}

/// ONNX Runtime and LiteRT's interpreter on the same model, with the user's `arguments`.
pub(crate) fn tflite(arguments: &[&str]) -> anyhow::Result<ExitCode> {
    let folder = Path::new(TFLITE);
    let python = environment(folder, TFLITE_REQUIREMENTS)?;
    compare(&python, "xtask/python/compare_tflite.py", folder, arguments, None)
}

/// All runtimes of this machine on the same models, with the user's `arguments`.
pub(crate) fn table(arguments: &[&str]) -> anyhow::Result<ExitCode> {
    let program = "xtask/python/runtimes_table.py";
    compare(
        Path::new("python3"),
        program,
        Path::new(RUNTIMES),
        arguments,
        None,
    )
}

/// `edgefront bench` and each runtime's own tool on the same models, with the user's `arguments`.
pub(crate) fn runtimes(arguments: &[&str]) -> anyhow::Result<ExitCode> {
    let folder = Path::new(RUNTIMES);
    let python = if asks_for_help(arguments) {
        PathBuf::from("python3")
    } else {
        environment(folder, RUNTIMES_REQUIREMENTS)?
    };
    compare(
        &python,
        "xtask/python/compare_runtimes.py",
        folder,
        arguments,
        None,
    )
}

/// `edgefront bench` and a bare loop on the same library, with the user's `arguments`.
pub(crate) fn overhead(arguments: &[&str]) -> anyhow::Result<ExitCode> {
    if !asks_for_help(arguments) {
        let programs = ["--bin", "edgefront", "--example", "bare_ort"];
        let mut build = vec!["build", "--release", "--workspace"];
        build.extend(programs);
        must(&mut step::cargo(&build))?;
    }
    let mut program = Command::new("python3");
    program.arg("xtask/python/overhead.py").args(arguments);
    let status = program.status().context("cannot start python3")?;
    Ok(ExitCode::from(
        u8::try_from(status.code().unwrap_or(1)).unwrap_or(1),
    ))
}

/// Training by PyTorch and by Edgefront, with the user's `arguments`. PyTorch is the user's, since what its
/// packages bring along differs by gigabytes.
pub(crate) fn training(arguments: &[&str]) -> anyhow::Result<ExitCode> {
    let python = std::env::var_os("PYTHON").map_or_else(|| PathBuf::from("python3"), PathBuf::from);
    compare(
        &python,
        "xtask/python/compare_training.py",
        Path::new(TRAINING),
        arguments,
        feature_of(arguments),
    )
}

/// The feature of the program that the device which is asked for needs; the processor needs none.
fn feature_of<'a>(arguments: &[&'a str]) -> Option<&'a str> {
    let mut pairs = arguments.windows(2);
    let apart = pairs.find(|pair| pair[0] == "--device").map(|pair| pair[1]);
    let joined = || {
        arguments
            .iter()
            .find_map(|argument| argument.strip_prefix("--device="))
    };
    apart.or_else(joined).filter(|device| *device != "cpu")
}

fn asks_for_help(arguments: &[&str]) -> bool {
    arguments
        .iter()
        .any(|argument| ["-h", "--help"].contains(argument))
}

/// Runs the Python program, with a fresh build of Edgefront and perhaps a feature of it.
fn compare(
    python: &Path,
    program: &str,
    folder: &Path,
    arguments: &[&str],
    feature: Option<&str>,
) -> anyhow::Result<ExitCode> {
    if !asks_for_help(arguments) {
        let mut build = vec!["build", "--release", "--package", "edgefront"];
        build.extend(feature.into_iter().flat_map(|feature| ["--features", feature]));
        must(&mut step::cargo(&build))?;
    }
    let mut compare = Command::new(python);
    compare
        .arg(program)
        .args(["--edgefront", "target/release/edgefront", "--out"]);
    compare.arg(folder.join("out")).args(arguments);
    let status = compare
        .status()
        .with_context(|| format!("cannot start {}", python.display()))?;
    Ok(ExitCode::from(
        u8::try_from(status.code().unwrap_or(1)).unwrap_or(1),
    ))
}

/// The interpreter of a virtual environment that holds what is required.
fn environment(folder: &Path, requirements: &str) -> anyhow::Result<PathBuf> {
    let (venv, stamp) = (folder.join("venv"), folder.join("requirements.txt"));
    let python = venv.join("bin/python");
    let required = std::fs::read(requirements).with_context(|| requirements.to_owned())?;
    if python.exists() && std::fs::read(&stamp).is_ok_and(|installed| installed == required) {
        return Ok(python);
    }
    must(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv))?;
    let install = ["-m", "pip", "install", "--quiet", "--requirement", requirements];
    must(Command::new(&python).args(install))?;
    std::fs::write(&stamp, required).with_context(|| stamp.display().to_string())?;
    Ok(python)
}

fn must(command: &mut Command) -> anyhow::Result<()> {
    let named = format!("{command:?}");
    let status = command
        .status()
        .with_context(|| format!("cannot start {named}"))?;
    ensure!(status.success(), "{named} failed");
    Ok(())
}
