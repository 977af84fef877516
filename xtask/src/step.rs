//! Running one program as one step, its output shown as it comes and read for summaries.

use std::io::{BufRead as _, BufReader, Read};
use std::process::{Command, Stdio};

use anyhow::Context as _;

use crate::count::Count;

/// `cargo` with `arguments`: the one that runs this program.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments);
    command
}

/// Runs `command` as one check.
pub(crate) fn check(title: &str, command: &mut Command) -> anyhow::Result<Count> {
    announce(title);
    let status = command
        .status()
        .with_context(|| format!("cannot start {}", command.get_program().display()))?;
    if !status.success() {
        println!("!! {title}: failed");
    }
    Ok(Count::of(status.success()))
}

/// Runs a test runner and sums up its summaries. A runner that fails without a failed test, because its
/// tests do not compile, is one failure.
pub(crate) fn tests(title: &str, command: &mut Command) -> anyhow::Result<Count> {
    announce(title);
    let program = command.get_program().to_owned();
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", program.display()))?;
    let stderr = child.stderr.take().expect("stderr is piped");
    let stdout = child.stdout.take().expect("stdout is piped");
    let errors = std::thread::spawn(move || show_and_count(stderr));
    let mut count = show_and_count(stdout);
    count += errors.join().expect("reading lines does not panic");
    let status = child
        .wait()
        .with_context(|| format!("cannot wait for {}", program.display()))?;
    if !status.success() && count.failed == 0 {
        println!("!! {title}: failed with {status}");
        count.failed = 1;
    }
    Ok(count)
}

fn announce(title: &str) {
    println!("== {title}");
}

fn show_and_count(output: impl Read) -> Count {
    let mut count = Count::default();
    let mut lines = BufReader::new(output);
    let mut line = Vec::new();
    while matches!(lines.read_until(b'\n', &mut line), Ok(1..)) {
        let text = String::from_utf8_lossy(&line);
        print!("{text}");
        count += Count::from_line(&text).unwrap_or_default();
        line.clear();
    }
    count
}
