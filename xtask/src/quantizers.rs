//! `cargo xtask compare-quantizers`: ONNX Runtime's own quantizer and Edgefront's side by side. The comparison is a
//! Python program, because one of the two is.

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, ensure};

use crate::step;

/// The Python environment and the results; a change of the requirements makes it anew.
const FOLDER: &str = "target/quantizers";
const REQUIREMENTS: &str = "xtask/python/requirements.txt";
const PROGRAM: &str = "xtask/python/compare_quantizers.py";

/// Runs the comparison with the user's `arguments`.
pub(crate) fn run(arguments: &[&str]) -> anyhow::Result<ExitCode> {
    let folder = Path::new(FOLDER);
    let mut compare = if arguments
        .iter()
        .any(|argument| ["-h", "--help"].contains(argument))
    {
        Command::new("python3")
    } else {
        let python = environment(folder)?;
        must(&mut step::cargo(&[
            "build",
            "--release",
            "--package",
            "edgefront",
        ]))?;
        Command::new(python)
    };
    compare
        .arg(PROGRAM)
        .args(["--edgefront", "target/release/edgefront", "--out"]);
    compare.arg(folder.join("out")).args(arguments);
    let status = compare.status().context("cannot start the comparison")?;
    Ok(ExitCode::from(
        u8::try_from(status.code().unwrap_or(1)).unwrap_or(1),
    ))
}

/// The interpreter of a virtual environment that holds what is required.
fn environment(folder: &Path) -> anyhow::Result<std::path::PathBuf> {
    let (venv, stamp) = (folder.join("venv"), folder.join("requirements.txt"));
    let python = venv.join("bin/python");
    let required = std::fs::read(REQUIREMENTS).context(REQUIREMENTS)?;
    if python.exists() && std::fs::read(&stamp).is_ok_and(|installed| installed == required) {
        return Ok(python);
    }
    must(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv))?;
    let install = ["-m", "pip", "install", "--quiet", "--requirement", REQUIREMENTS];
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
