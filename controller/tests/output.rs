//! What the commands that read results print: to a terminal, to a program, to a pipe that is closed.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

/// A folder with results files, in which the commands run.
struct Place(tempfile::TempDir);

fn record(variant: &str, p50: f64, top1: f64) -> Value {
    json!({
        "device": "local", "variant": variant, "runtime": "tract", "provider": "cpu",
        "runtime_version": "0.23.9", "threads": 1, "batch": 1,
        "artifact": {"sha256": "ab".repeat(32), "bytes": 1_000_000, "format": "onnx"},
        "latency_ms": {"p50": p50, "p90": null, "p95": null, "p99": null, "p999": null, "mean": p50,
            "min": p50, "max": p50, "samples": 9, "p50_ci95": null, "p99_certified": false},
        "throughput_ips": 1000.0 / p50,
        "accuracy": {"top1": top1, "top5": 1.0, "samples": 100, "top1_ci95": [0.0, 1.0],
            "top5_ci95": [0.0, 1.0], "agreement_fp32": null},
        "energy": null, "memory": {"peak_rss_mb": null}, "load_ms": 1.0,
        "conditions": {"governor": null, "max_temp_c": null, "throttled": null, "valid": true, "notes": []},
        "pareto": true, "dominated_by": []
    })
}

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        let records = [record("fp32", 2.0, 0.9), record("fp16", 1.0, 0.8)];
        place.write("day.json", "day", &records);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, file: &str, study: &str, records: &[Value]) {
        let results = json!({
            "schema": "edgefront.results/1", "study": study, "records": records, "failed": []
        });
        fs::write(self.path(file), results.to_string()).unwrap();
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_edgefront"));
        command.args(args).current_dir(self.0.path());
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn an_objective_that_nothing_measured_is_named_and_nothing_is_written() {
    let place = Place::new();
    let output = place.run(&["frontier", "day.json", "--x", "power", "-o", "picture"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty() && !place.path("picture").exists());
    assert_eq!(
        stderr(&output),
        "error: there is no frontier: mean power was not measured in 2 of 2 records; \
         choose other objectives with --x and --y\n"
    );
}

#[test]
fn records_without_an_objective_are_counted() {
    let place = Place::new();
    let mut metered = record("metered", 3.0, 0.7);
    metered["energy"] = json!({"mj_per_inference": 2.0, "mean_w": 4.0, "idle_w": null, "meter": "ina3221",
        "rail": null, "scope": "module", "estimated": false});
    place.write("some.json", "some", &[record("fp32", 2.0, 0.9), metered]);
    let output = place.run(&["frontier", "some.json", "--x", "power"]);
    assert_eq!(output.status.code(), Some(0));
    let said = stderr(&output);
    assert!(said.contains("1 of 2 records are left out"), "{said}");
    assert!(said.contains("mean power was not measured"), "{said}");
}

#[test]
fn merged_studies_are_named_and_their_accuracies_warned_of() {
    let place = Place::new();
    place.write("night.json", "night", &[record("fp32", 3.0, 0.7)]);
    let output = place.run(&["frontier", "day.json", "night.json"]);
    let table = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(
        table.contains("night/fp32") && table.contains("day/fp32"),
        "{table}"
    );
    let warning =
        "warning: accuracies of different studies (day + night) are comparable only on the same data\n";
    assert_eq!(stderr(&output), warning);
    assert_eq!(stderr(&place.run(&["select", "day.json", "night.json"])), warning);

    let by_size = [
        "frontier",
        "day.json",
        "night.json",
        "--x",
        "size",
        "--y",
        "latency_p50",
    ];
    assert_eq!(stderr(&place.run(&by_size)), "");
    assert_eq!(stderr(&place.run(&["frontier", "day.json", "day.json"])), "");
}

/// A record with rounds that took turns with those of any other of these.
fn with_rounds(variant: &str, p50: f64) -> Value {
    let mut record = record(variant, p50, 0.9);
    record["accuracy"]["top1_ci95"] = json!([0.825_632, 0.944_772]);
    let round = |at: u32| {
        let p50 = p50 * (1.0 + f64::from(at % 3) / 100.0);
        json!({"p50": p50, "mean": p50, "runs": 9, "position": 0, "process": at, "started": 1000 * at})
    };
    record["latency_ms"]["rounds"] = (0..5).map(round).collect();
    record
}

#[test]
fn a_comparison_is_printed_for_people_and_for_programs() {
    let place = Place::new();
    place.write(
        "new.json",
        "new",
        &[with_rounds("fp32", 2.0), with_rounds("fp16", 1.0)],
    );
    let args = ["compare", "new.json", "new.json", "--a", "fp32", "--b", "fp16"];
    let output = place.run(&args);
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), String::new()));
    insta::assert_snapshot!(String::from_utf8(output.stdout).unwrap());

    let output = place.run(&[&args[..], &["--json"]].concat());
    let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
    let comparison = &printed["comparisons"][0];
    assert_eq!(printed["b"], "new.json");
    assert_eq!(comparison["verdict"], "faster");
    assert_eq!(comparison["paired"], true);
    assert!(
        (comparison["ratio"].as_f64().unwrap() - 0.5).abs() < 1e-9,
        "{comparison}"
    );
}

#[test]
fn what_cannot_be_compared_is_told_with_what_there_is() {
    let place = Place::new();
    place.write(
        "new.json",
        "new",
        &[with_rounds("fp32", 2.0), with_rounds("fp16", 1.0)],
    );
    for (args, code, words) in [
        (
            ["new.json", "new.json", "--a", "fp32", "--b", "int4"].as_slice(),
            2,
            "error: new.json has no measurement of `int4`; it has fp16/tract, fp32/tract\n",
        ),
        (
            &["day.json", "new.json"],
            1,
            "error: fp32/tract/cpu/t1/b1 on local: day.json holds fewer than two rounds of it; measure it again, an \
             older version kept none\n",
        ),
        (
            &["new.json", "none.json"],
            1,
            "error: cannot read none.json: not there; check the path: No such file or directory (os error 2)\n",
        ),
    ] {
        let output = place.run(&[&["compare"], args].concat());
        assert_eq!(
            (stderr(&output).as_str(), output.status.code()),
            (words, Some(code))
        );
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn results_without_a_measurement_are_said_to_be_empty() {
    let place = Place::new();
    place.write("none.json", "none", &[]);
    for command in ["frontier", "select"] {
        let output = place.run(&[command, "none.json"]);
        assert_eq!(output.status.code(), Some(1), "{command}");
        assert_eq!(
            stderr(&output),
            "error: the results hold no measurement\n",
            "{command}"
        );
    }
}

/// What a device says goes to the terminal as text.
#[test]
fn control_characters_are_written_out() {
    let place = Place::new();
    let mut noted = record("fp32", 2.0, 0.9);
    noted["conditions"]["notes"] = json!(["warm\u{1b}[2J\u{7f}"]);
    let failed = json!({"device": "local", "variant": "int8", "runtime": "tract", "stage": "load",
        "error": "no\u{1b}]0;mine\u{7} operator\u{9b}2J"});
    let results = json!({
        "schema": "edgefront.results/1", "study": "loud", "records": [noted], "failed": [failed]
    });
    fs::write(place.path("loud.json"), results.to_string()).unwrap();
    for command in ["frontier", "select"] {
        let output = place.run(&[command, "loud.json"]);
        let said = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
        assert!(!said.contains(|c: char| c.is_control() && c != '\n'), "{said:?}");
        for text in [r"warm\u001b[2J\u007f", r"no\u001b]0;mine\u0007 operator\u009b2J"] {
            assert!(said.contains(text), "{command}: {said}");
        }
        let output = place.run(&[command, "loud.json", "--json"]);
        let read: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(
            read["records"][0]["conditions"]["notes"],
            json!(["warm\u{1b}[2J\u{7f}"])
        );
    }
}

/// Results with a device that was lost and a variant that failed.
fn with_failures(place: &Place) {
    let results = json!({
        "schema": "edgefront.results/1", "study": "lost", "records": [record("fp32", 2.0, 0.9),
            record("fp16", 1.0, 0.8)],
        "failed": [
            {"device": "local", "variant": "int8", "runtime": "tract", "stage": "load", "error": "no operator"},
            {"device": "pi", "variant": "", "runtime": "", "stage": "device", "error": "the device is not there"},
        ]
    });
    fs::write(place.path("lost.json"), results.to_string()).unwrap();
}

#[test]
fn select_keeps_what_failed_and_says_why_the_others_were_not_chosen() {
    let place = Place::new();
    with_failures(&place);
    let output = place.run(&["select", "lost.json", "--max-p50-ms", "1.5"]);
    assert_eq!(output.status.code(), Some(3));
    insta::assert_snapshot!(String::from_utf8(output.stdout).unwrap());

    let output = place.run(&["select", "lost.json", "--max-p50-ms", "1.5", "--json"]);
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(stderr(&output), "pi: no measurement: the device is not there\n");
    let selected: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(selected["records"].as_array().unwrap().len(), 1);
    assert_eq!(selected["failed"].as_array().unwrap().len(), 2);
    let rejected = &selected["rejected"][0];
    assert_eq!(rejected["configuration"], "fp32/tract/cpu/t1/b1");
    assert_eq!(rejected["reason"], "P50 2 ms is above 1.5 ms");

    assert_eq!(place.run(&["select", "day.json"]).status.code(), Some(0));
    let none = place.run(&["select", "lost.json", "--max-p50-ms", "0.5"]);
    assert_eq!(none.status.code(), Some(1));
}

#[test]
fn frontier_shows_what_failed() {
    let place = Place::new();
    with_failures(&place);
    let output = place.run(&["frontier", "lost.json"]);
    assert_eq!(output.status.code(), Some(0));
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(
        table.contains("pi: no measurement: the device is not there"),
        "{table}"
    );
    assert!(
        table.contains("failed: local int8/tract at load: no operator"),
        "{table}"
    );
}

#[test]
fn machines_of_one_name_are_kept_apart() {
    let place = Place::new();
    for (file, cores, p50) in [("here.json", 2, 2.0), ("there.json", 8, 1.0)] {
        let results = json!({
            "schema": "edgefront.results/1", "study": "day", "records": [record("fp32", p50, 0.9)], "failed": [],
            "devices": [{"id": "local", "cpu": "Example", "cores": cores, "arch": "x86_64", "os": "Linux",
                "memory_bytes": 1}]
        });
        fs::write(place.path(file), results.to_string()).unwrap();
    }
    let output = place.run(&["select", "here.json", "there.json"]);
    assert_eq!(
        stderr(&output),
        "several machines have one name; local (2) is Example, 8 cores, x86_64\n"
    );
    let chosen = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = chosen.lines().collect();
    assert_eq!(
        lines,
        [
            "local: fp32/tract/cpu/t1/b1 (top-1 90 %, P50 2.00 ms, 1 MB)",
            "",
            "local (2): fp32/tract/cpu/t1/b1 (top-1 90 %, P50 1.00 ms, 1 MB)"
        ]
    );
}

#[test]
fn a_report_replaces_only_a_report() {
    let place = Place::new();
    let write = || place.run(&["frontier", "day.json", "-o", "out"]);
    for _ in 0..2 {
        assert_eq!(write().status.code(), Some(0));
    }
    for (file, words) in [
        (
            "notes.txt",
            "error: -o out: holds notes.txt, which is no part of a report",
        ),
        ("edgefront.db", "error: -o out: holds a study's edgefront.db"),
    ] {
        fs::write(place.path("out").join(file), "mine").unwrap();
        let before = fs::read(place.path("out/report.html")).unwrap();
        let refused = write();
        assert_eq!(refused.status.code(), Some(2));
        assert!(stderr(&refused).starts_with(words), "{}", stderr(&refused));
        assert_eq!(fs::read(place.path("out/report.html")).unwrap(), before);
    }
}

#[test]
fn a_figure_that_nothing_can_measure_is_refused() {
    let place = Place::new();
    for p50 in [1e308, -1.0] {
        place.write("odd.json", "odd", &[record("fp32", p50, 0.9)]);
        let output = place.run(&["frontier", "odd.json", "-o", "picture"]);
        assert_eq!(output.status.code(), Some(1));
        let said = stderr(&output);
        assert!(
            said.starts_with("error: odd.json: fp32/tract/cpu/t1/b1 of local: p50 is"),
            "{said}"
        );
        assert!(!place.path("picture").exists());
    }
}

#[test]
fn a_negative_bound_gets_the_bounds_own_words() {
    let place = Place::new();
    for (args, words) in [
        (
            ["select", "day.json", "--max-p99-ms", "-1"],
            "a bound is a number of 0 or more",
        ),
        (
            ["select", "day.json", "--min-top1", "-0.5"],
            "a fraction lies between 0 and 1",
        ),
        (
            ["bench", "tiny.onnx", "--threads", "-1"],
            "'-1' for '--threads <LIST>'",
        ),
    ] {
        let output = place.run(&args);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(words) && !said.contains("tip:"), "{said}");
    }
}

#[test]
fn a_closed_pipe_ends_a_command_quietly() {
    let place = Place::new();
    let commands: [(&[&str], i32); 7] = [
        (&["frontier", "day.json"], 0),
        (&["frontier", "day.json", "--json"], 0),
        (&["select", "day.json"], 0),
        (&["select", "day.json", "--min-top1", "1"], 1),
        (&["completions", "bash"], 0),
        (&["runtimes"], 0),
        (&["frontier", "--help"], 0),
    ];
    for (args, code) in commands {
        let (reader, writer) = std::io::pipe().unwrap();
        // Closed before the command begins, so that its first write fails.
        drop(reader);
        let output = place.command(args).stdout(writer).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{args:?}");
        assert_eq!(stderr(&output), "", "{args:?}");
    }
}

#[test]
fn a_closed_standard_error_is_no_panic() {
    let place = Place::new();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = place.command(&["frontier", "absent.json"]);
    let output = command
        .stderr(writer)
        .env("EDGEFRONT_LOG", "trace")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn logs_in_a_file_have_no_colours() {
    let place = Place::new();
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/models/tiny.onnx");
    let model = model.to_str().unwrap();
    let bench = [
        "bench",
        model,
        "--runtime",
        "null",
        "--batch",
        "1",
        "--min-runs",
        "1",
        "--min-time",
        "1ms",
    ];
    let output = place
        .command(&bench)
        .env("EDGEFRONT_LOG", "debug")
        .output()
        .unwrap();
    let said = stderr(&output);
    assert!(said.contains("DEBUG"), "{said}");
    assert!(!said.contains('\u{1b}'), "{said}");
}

#[test]
fn completions_know_the_commands_for_people_only() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = place.run(&["completions", shell]);
        let script = String::from_utf8(output.stdout).unwrap();
        assert!(
            script.contains("frontier") && script.contains("max-p99-ms"),
            "{shell}"
        );
        assert!(!script.contains("worker"), "{shell}");
    }
    let output = place
        .command(&["completions", "cmd"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
}
