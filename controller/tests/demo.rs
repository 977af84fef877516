//! The demonstration as a newcomer runs it.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use edgefront_protocol::results::Results;

fn demo(out: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_edgefront"));
    command.args(["demo", "--out"]).arg(out);
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

fn results(out: &Path) -> Results {
    serde_json::from_slice(&fs::read(out.join("results.json")).unwrap()).unwrap()
}

/// Variant, runtime, artifact and accuracy of each measurement, in one order.
fn accuracies(results: &Results) -> Vec<String> {
    let line = |record: &edgefront_protocol::results::Record| {
        let accuracy = record.accuracy.as_ref().unwrap();
        format!(
            "{} {} {accuracy:?}",
            record.configuration(),
            record.artifact.sha256
        )
    };
    let mut lines: Vec<String> = results.records.iter().map(line).collect();
    lines.sort();
    lines
}

#[test]
fn two_demonstrations_on_ort_give_the_same_twelve_accuracies() {
    let dir = tempfile::tempdir().unwrap();
    let places = [dir.path().join("a"), dir.path().join("b")];
    // Side by side: only their latencies differ by it.
    let children: Vec<Child> = places.iter().map(|out| demo(out).spawn().unwrap()).collect();
    for child in children {
        let ended = child.wait_with_output().unwrap();
        assert!(
            ended.status.success(),
            "{}",
            String::from_utf8_lossy(&ended.stderr)
        );
    }
    let [first, second] = places.each_ref().map(|out| results(out));
    assert_eq!((first.records.len(), first.failed.len()), (12, 0));
    assert_eq!(accuracies(&first), accuracies(&second));
    for record in &first.records {
        let top1 = record.accuracy.as_ref().unwrap().top1;
        assert!(
            record.variant != "fp32" || (0.85..=0.97).contains(&top1),
            "{top1}"
        );
        assert!(record.latency_ms.p99_certified, "{}", record.configuration());
    }
    assert!(first.records.iter().any(|record| record.pareto));
    for file in [
        "results.csv",
        "pareto.png",
        "pareto.svg",
        "report.html",
        "edgefront.db",
    ] {
        assert!(places[0].join(file).is_file(), "{file}");
    }
    // The same demonstration as it was and finished, so there is nothing left to do.
    let again = demo(&places[0]).arg("--resume").output().unwrap();
    assert!(
        again.status.success(),
        "{}",
        String::from_utf8_lossy(&again.stderr)
    );
    assert_eq!(results(&places[0]), first);
}

#[test]
fn a_directory_with_something_else_is_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("report.html"), "mine").unwrap();
    let ended = demo(dir.path()).output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(2), "{said}");
    assert!(said.contains("replace it with --fresh"), "{said}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    assert_eq!(fs::read(dir.path().join("report.html")).unwrap(), b"mine");
}

#[test]
fn without_pip_the_demonstration_goes_on_with_tract_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let python = dir.path().join("python3");
    fs::write(&python, "#!/bin/sh\necho 'No module named pip' >&2\nexit 1\n").unwrap();
    fs::set_permissions(&python, fs::Permissions::from_mode(0o755)).unwrap();
    let out = dir.path().join("out");
    let ended = demo(&out)
        .env("PATH", dir.path())
        .env("XDG_CACHE_HOME", dir.path().join("cache"))
        .env_remove("ORT_DYLIB_PATH")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{said}");
    assert!(
        said.contains("No module named pip") && said.contains("tract"),
        "{said}"
    );
    let results = results(&out);
    assert_eq!(results.records.len(), 6);
    assert!(results.records.iter().all(|record| record.runtime == "tract"));
}
