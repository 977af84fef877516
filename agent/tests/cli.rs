//! What the `edgefront-agent` program says to people.

#![allow(clippy::unwrap_used)]

use std::process::{Command, Output};

fn agent(args: &[&str]) -> Output {
    let program = env!("CARGO_BIN_EXE_edgefront-agent");
    Command::new(program).args(args).output().unwrap()
}

#[test]
fn help() {
    let output = agent(&["--help"]);
    assert!(output.status.success());
    insta::assert_snapshot!(String::from_utf8(output.stdout).unwrap());
}

#[test]
fn what_is_wrong_is_one_line_and_an_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("agent.toml");
    std::fs::write(&file, "# mine\nbrokr = 'mqtt://pi'\n").unwrap();
    let file = file.to_str().unwrap();
    for (args, code, words) in [
        (
            ["--broker", "localhost"],
            2,
            "error: `localhost` is not a broker address",
        ),
        (
            ["--id", "a/b"],
            2,
            "error: setting `id`: `a/b` is not a valid name",
        ),
        (
            ["--config", "/nowhere.toml"],
            2,
            "error: cannot read /nowhere.toml: ",
        ),
        (
            ["--config", file],
            2,
            ":2: unknown field `brokr`, expected one of `broker`",
        ),
        (
            ["--machine-code", "--broker=mqtt://pi"],
            2,
            "error: setting `machine_code`: lets jobs run programs, so it needs `controllers`, or --controller: ",
        ),
        (
            ["--state", "/proc/nowhere"],
            1,
            "error: cannot create /proc/nowhere/batches: ",
        ),
    ] {
        let output = agent(&args);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(words) && said.lines().count() == 1, "{said}");
    }
}
