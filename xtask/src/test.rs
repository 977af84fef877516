//! `cargo xtask test`: every check of the repository, in the order in which failures are cheapest to find.

use std::process::{Command, ExitCode, Stdio};

use anyhow::Context as _;

use crate::board;
use crate::count::Count;
use crate::cross;
use crate::filter;
use crate::prerequisites::{self, Missing};
use crate::step;

/// Runs all and prints the sum as the last line.
pub(crate) fn run(all: bool) -> anyhow::Result<ExitCode> {
    let mut total = static_checks(all)?;
    // One build of every target: the tests and the programs that they start then share one set of features.
    let built = step::check(
        "build",
        &mut step::cargo(&["build", "--workspace", "--all-targets"]),
    )?;
    if built.failed == 0 {
        let mut missing = set_up(all)?;
        total += agent_for_qemu(&mut missing)?;
        total += tests(all, &missing)?;
        total += step::tests(
            "documentation tests",
            &mut step::cargo(&["test", "--workspace", "--doc", "--no-fail-fast"]),
        )?;
        if all {
            total += agents_for_boards();
        }
        total += verdict_on(&missing, std::env::var("CI").is_ok_and(|ci| ci == "true"));
    } else {
        total += built;
    }
    println!("{total}");
    Ok(if total.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn static_checks(all: bool) -> anyhow::Result<Count> {
    let mut count = step::check("format", &mut step::cargo(&["fmt", "--all", "--check"]))?;
    let clippy = [
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "--deny",
        "warnings",
    ];
    count += step::check("clippy", &mut step::cargo(&clippy))?;
    let mut docs = step::cargo(&["doc", "--workspace", "--no-deps"]);
    count += step::check("docs", docs.env("RUSTDOCFLAGS", "--deny warnings"))?;
    count += step::check("fuzz targets", &mut step::cargo(&FUZZ_CHECK))?;
    if all {
        // As if for its documentation: a build that runs downloads an LLVM for `cuda`.
        let mut gpu = step::cargo(&GPU_CHECK);
        count += step::check("training on a GPU", gpu.env("DOCS_RS", "1"))?;
    }
    Ok(count)
}

/// In a folder of its own, for what is built for documentation is not what runs.
const GPU_CHECK: [&str; 11] = [
    "clippy",
    "--package",
    "edgefront-optimizer",
    "--all-targets",
    "--features",
    "cuda,wgpu",
    "--target-dir",
    "target/gpu",
    "--",
    "--deny",
    "warnings",
];

/// Without their default feature the fuzz targets need no C++ compiler; in the shared folder they reuse what
/// clippy has checked.
const FUZZ_CHECK: [&str; 6] = [
    "check",
    "--no-default-features",
    "--manifest-path",
    "fuzz/Cargo.toml",
    "--target-dir",
    "target",
];

fn set_up(all: bool) -> anyhow::Result<Vec<Missing>> {
    let edgefront = std::env::current_exe()
        .context("cannot find this program")?
        .with_file_name("edgefront");
    let mut missing = vec![
        prerequisites::mosquitto(),
        prerequisites::runtime(&edgefront, "ort"),
        prerequisites::runtime(&edgefront, "openvino"),
        prerequisites::runtime(&edgefront, "tflite"),
        prerequisites::tvm(&edgefront, all),
        prerequisites::python(),
        prerequisites::qemu(),
        prerequisites::aarch64_runtimes(&edgefront),
    ];
    if all {
        missing.push(board::set_up());
    }
    Ok(missing.into_iter().flatten().collect())
}

/// Builds the agent that the tests run under qemu, if the machine can compile for its processor.
fn agent_for_qemu(missing: &mut Vec<Missing>) -> anyhow::Result<Count> {
    if missing.iter().any(|missing| missing.word == "qemu") {
        return Ok(Count::default());
    }
    match cross::Tools::set_up(cross::AARCH64) {
        Ok(tools) => cross::program(cross::AARCH64, "emulated", &[], "", &tools).map(|(count, _)| count),
        Err(error) => {
            missing.push(Missing {
                word: "qemu",
                mend: error.to_string(),
                // No package of Debian's brings a standard library for the compiler that is here.
                everywhere: false,
            });
            Ok(Count::default())
        }
    }
}

/// The agents that ship, against their budgets.
fn agents_for_boards() -> Count {
    let kept = cross::check(cross::AARCH64, &cross::BUILDS);
    let kept = kept.unwrap_or_else(|error| {
        println!("!! {error:#}");
        false
    });
    Count::of(kept)
}

fn tests(all: bool, missing: &[Missing]) -> anyhow::Result<Count> {
    let words: Vec<&str> = missing.iter().map(|missing| missing.word).collect();
    if has_nextest() {
        return step::tests("tests", &mut nextest(all, &words));
    }
    step::tests("tests", &mut libtest(all, &words)?)
}

fn has_nextest() -> bool {
    let version = step::cargo(&["nextest", "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    version.is_ok_and(|status| status.success())
}

fn nextest(all: bool, without: &[&str]) -> Command {
    let mut command = step::cargo(&["nextest", "run", "--workspace", "--no-fail-fast"]);
    if all {
        command.args(["--run-ignored", "all"]);
    }
    if !without.is_empty() {
        command.args(["--filterset", &filter::nextest_without(without)]);
    }
    command
}

const LIBTEST: [&str; 6] = [
    "test",
    "--workspace",
    "--no-fail-fast",
    "--lib",
    "--bins",
    "--tests",
];

/// What a machine without nextest runs. libtest skips by substring, so the names are looked up first.
fn libtest(all: bool, without: &[&str]) -> anyhow::Result<Command> {
    let mut command = step::cargo(&LIBTEST);
    // It knows no groups of tests: so that those with devices and brokers run alone, all do.
    command.args(["--", "--test-threads=1"]);
    if all {
        command.arg("--include-ignored");
    }
    if !without.is_empty() {
        let listing = step::cargo(&LIBTEST)
            .args(["--", "--list", "--format", "terse"])
            .output()
            .context("cannot start cargo")?;
        let listing = String::from_utf8_lossy(&listing.stdout);
        let tests = listing.lines().filter_map(|line| line.strip_suffix(": test"));
        for test in tests.filter(|test| without.iter().any(|word| filter::names(test, word))) {
            command.args(["--skip", test]);
        }
    }
    Ok(command)
}

/// Names what is missing. In continuous integration what every machine can have is a failure, because nobody reads what
/// was skipped.
fn verdict_on(missing: &[Missing], ci: bool) -> Count {
    for Missing { word, mend, .. } in missing {
        println!("!! missing: {word}; its tests were skipped. To run them: {mend}");
    }
    let failures = missing.iter().filter(|missing| ci && missing.everywhere);
    Count {
        failed: failures.count() as u64,
        ..Count::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing_ort(everywhere: bool) -> [Missing; 1] {
        [Missing {
            word: "ort",
            mend: "install it".to_owned(),
            everywhere,
        }]
    }

    #[test]
    fn a_missing_prerequisite_fails_only_in_continuous_integration() {
        assert_eq!(
            verdict_on(&missing_ort(true), true),
            Count {
                failed: 1,
                ..Count::default()
            }
        );
        assert_eq!(verdict_on(&missing_ort(true), false), Count::default());
        assert_eq!(verdict_on(&missing_ort(false), true), Count::default());
        assert_eq!(verdict_on(&[], true), Count::default());
    }
}
