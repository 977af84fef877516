//! The runtime `tensorrt` from the command line to the report, on a test double of `trtexec`: no machine of this project has
//! `TensorRT`. It shows that the flags, files and engines are handled as the tool's public source has them, and nothing of
//! any GPU.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use edgefront_protocol::{Pack, PictureShape};
use edgefront_tests::jobs::tiny;
use edgefront_tests::program;
use serde_json::Value;
use tempfile::TempDir;

/// A machine with the test double, and folders of its own.
struct Machine {
    folder: TempDir,
    version: &'static str,
    gpu: &'static str,
    /// The largest batch for which an engine can be built.
    largest: usize,
}

impl Machine {
    fn new(version: &'static str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("tmp")).unwrap();
        Self {
            folder,
            version,
            gpu: "Orin/8.7/16",
            largest: usize::MAX,
        }
    }

    fn edgefront(&self, arguments: &[&str]) -> Output {
        let output = Command::new(program::path("edgefront"))
            .args(arguments)
            .current_dir(self.folder.path())
            .env("TRTEXEC_PATH", program::path("trtexec-test-double"))
            .env("XDG_CACHE_HOME", self.folder.path().join("cache"))
            .env("TMPDIR", self.folder.path().join("tmp"))
            .env("TEST_DOUBLE_LOG", self.folder.path().join("log"))
            .env("TEST_DOUBLE_TENSORRT", self.version)
            .env("TEST_DOUBLE_GPU", self.gpu)
            .env("TEST_DOUBLE_LARGEST", self.largest.to_string())
            .output();
        output.unwrap()
    }

    /// Measures the tiny model and gives the one record.
    fn bench(&self, runtime: &str) -> Value {
        self.bench_with(runtime, &[])
    }

    fn bench_with(&self, runtime: &str, more: &[&str]) -> Value {
        let model = tiny();
        let bench = [
            "bench",
            model.to_str().unwrap(),
            "--runtime",
            runtime,
            "--min-time",
            "20ms",
            "--rounds",
            "2",
            "--json",
        ];
        let output = self.edgefront(&[&bench, more].concat());
        let results: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(output.status.success(), "{results}");
        results["records"][0].clone()
    }

    /// The command lines that the double was given since it was asked last.
    fn calls(&self) -> Vec<String> {
        let log = self.folder.path().join("log");
        let text = std::fs::read_to_string(&log).unwrap();
        std::fs::remove_file(log).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    fn engines(&self) -> Vec<PathBuf> {
        let folder = self.folder.path().join("cache/edgefront/engines/tensorrt");
        let entries = std::fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }
}

fn notes(record: &Value) -> String {
    record["conditions"]["notes"].to_string()
}

fn builds(calls: &[String]) -> Vec<&String> {
    calls.iter().filter(|call| call.contains("--onnx=")).collect()
}

#[test]
fn layers_are_those_of_its_engine() {
    let record = Machine::new("100300").bench_with("tensorrt", &["--layers"]);
    let layers = record["layers"].as_array().unwrap();
    assert!(!layers.is_empty());
    assert!(layers.iter().all(|layer| layer["ms"] == 0.01), "{layers:?}");
}

#[test]
fn latency_is_what_its_own_tool_measured() {
    let machine = Machine::new("100300");
    let record = machine.bench("tensorrt");
    let text = |key: &str| record[key].as_str().unwrap();
    assert_eq!((text("runtime"), text("provider")), ("tensorrt", "gpu"));
    assert_eq!(text("runtime_version"), "10.3.0");
    let latency = |key: &str| record["latency_ms"][key].as_f64().unwrap();
    assert!((latency("min") - 0.52).abs() < 1e-4 && (latency("max") - 0.524).abs() < 1e-4);
    assert!(latency("samples") >= 200.0);
    assert!(notes(&record).contains("timed by TensorRT's trtexec"), "{record}");
    assert!(
        record["memory"]["peak_rss_mb"].is_null(),
        "the engine is in another process: {record}"
    );

    let left = std::fs::read_dir(machine.folder.path().join("tmp")).unwrap();
    assert_eq!(left.count(), 0, "the worker was killed and leaves nothing");

    let calls = machine.calls();
    let [build] = builds(&calls)[..] else {
        panic!("{calls:?}");
    };
    for flag in [
        "--skipInference",
        "--noTF32",
        "--stronglyTyped",
        "--minShapes=",
        "--maxShapes=",
    ] {
        assert!(build.contains(flag), "{build}");
    }
    let timed: Vec<_> = calls
        .iter()
        .filter(|call| call.contains("--exportTimes="))
        .collect();
    assert!(timed.len() >= 3, "a warm-up and two rounds: {calls:?}");
    for call in timed {
        for flag in [
            "--exposeDMA",
            "--useSpinWait",
            "--loadInputs=",
            "--warmUp=200",
            "--shapes=",
        ] {
            assert!(call.contains(flag), "{call}");
        }
    }
}

#[test]
fn an_engine_is_for_one_gpu_and_version_and_whole() {
    let mut machine = Machine::new("100300");
    machine.bench("tensorrt");
    assert_eq!(builds(&machine.calls()).len(), 1);
    machine.bench("tensorrt");
    assert_eq!(builds(&machine.calls()).len(), 0, "it is there");

    machine.gpu = "Orin/8.7/8";
    machine.bench("tensorrt");
    machine.version = "101602";
    machine.bench("tensorrt");
    machine.bench("tensorrt:fp16");
    assert_eq!(
        builds(&machine.calls()).len(),
        3,
        "another GPU, version and precision"
    );
    assert_eq!(machine.engines().len(), 4);

    for folder in machine.engines() {
        std::fs::write(folder.join("model.engine"), "cut off").unwrap();
    }
    let record = machine.bench("tensorrt");
    assert!(notes(&record).contains("is damaged and made way"), "{record}");
    assert_eq!(builds(&machine.calls()).len(), 1);
}

#[test]
fn old_and_new_versions_get_the_flags_that_they_take() {
    let machine = Machine::new("8502");
    assert_eq!(machine.bench("tensorrt")["runtime_version"], "8.5.2");
    let calls = machine.calls();
    assert!(builds(&calls)[0].contains("--buildOnly"), "{calls:?}");
    let machine = Machine::new("110100");
    let record = machine.bench("tensorrt");
    assert_eq!(record["runtime_version"], "11.1.0");
    let calls = machine.calls();
    assert!(
        calls.iter().any(|call| call.contains("--includeDataTransfers")),
        "{calls:?}"
    );
}

/// The program, its GPU or its version may not serve; each is said.
#[test]
fn what_does_not_serve_is_said_with_the_mend() {
    let said = |machine: &Machine, arguments: &[&str]| {
        let output = machine.edgefront(arguments);
        assert!(!output.status.success());
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    let model = tiny();
    let bench = ["bench", model.to_str().unwrap(), "--runtime", "tensorrt"];
    let old = said(&Machine::new("8412"), &bench);
    assert!(
        old.contains("it is of TensorRT 8.4.12, 8.5 or newer is needed"),
        "{old}"
    );
    let mut machine = Machine::new("100300");
    let removed = said(&machine, &["runtimes", "install", "tensorrt"]);
    assert!(removed.contains("JetPack"), "{removed}");
    machine.gpu = "//";
    let no_gpu = said(&machine, &bench);
    assert!(no_gpu.contains("it finds no GPU"), "{no_gpu}");
}

/// 150 labelled pictures, more than two of the batches that data sets are scored in.
fn pack(folder: &Path) -> PathBuf {
    let picture = PictureShape {
        channels: 3,
        height: 8,
        width: 8,
    };
    let values: Vec<f32> = (0..150 * picture.volume())
        .map(|i| (i * 7919 % 2003) as f32 / 1024.0 - 1.0)
        .collect();
    let labels = (0..150).map(|index| index % 10).collect();
    let pack = Pack::from_floats(150, picture, &values)
        .unwrap()
        .with_labels(labels)
        .unwrap();
    let path = folder.join("val.safetensors");
    std::fs::write(&path, pack.encode()).unwrap();
    path
}

/// A latency that was measured is not lost for an engine that only makes scoring faster.
#[test]
fn without_an_engine_for_large_batches_the_timed_one_scores() {
    let machine = Machine {
        largest: 30,
        ..Machine::new("100300")
    };
    let (model, pack) = (tiny(), pack(machine.folder.path()));
    let output = machine.edgefront(&[
        "optimize",
        model.to_str().unwrap(),
        "--val",
        pack.to_str().unwrap(),
        "--variants",
        "fp32",
        "--runtimes",
        "tensorrt",
        "--batch",
        "30",
        "--min-time",
        "20ms",
        "--rounds",
        "2",
        "--json",
    ]);
    let results: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(output.status.success(), "{results}");
    let record = &results["records"][0];
    assert_eq!(record["accuracy"]["samples"], 150);
    assert!(record["latency_ms"]["p50"].as_f64().unwrap() > 0.0);
    let note = "scored 30 at a time, as it is timed, since larger batches failed: for 64 pictures at once: ";
    assert!(notes(record).contains(note), "{record}");
    assert!(notes(record).contains("OutOfMemory"), "{record}");
    let calls = machine.calls();
    let scored = calls
        .iter()
        .filter(|call| call.contains("--exportOutput=") && call.contains("--loadInputs="));
    assert_eq!(scored.count(), 5, "150 pictures: {calls:?}");
}

#[test]
fn a_data_set_is_scored_in_large_batches_with_the_answers_of_tract() {
    let machine = Machine::new("100300");
    let (model, pack) = (tiny(), pack(machine.folder.path()));
    let output = machine.edgefront(&[
        "optimize",
        model.to_str().unwrap(),
        "--val",
        pack.to_str().unwrap(),
        "--variants",
        "fp32",
        "--runtimes",
        "tract,tensorrt",
        "--min-time",
        "20ms",
        "--rounds",
        "2",
        "--json",
    ]);
    let results: Value = serde_json::from_slice(&output.stdout).unwrap();
    let records = results["records"].as_array().unwrap();
    assert_eq!(records.len(), 2, "{results}");
    let accuracy = |record: &Value| ["top1", "top5", "samples"].map(|key| record["accuracy"][key].clone());
    assert_eq!(accuracy(&records[0]), accuracy(&records[1]));
    assert_eq!(records[1]["accuracy"]["samples"], 150);
    let calls = machine.calls();
    let scored = calls
        .iter()
        .filter(|call| call.contains("--shapes=") && call.contains("64x3x8x8"));
    assert_eq!(scored.count(), 3, "150 pictures: {calls:?}");
    assert_eq!(builds(&calls).len(), 2, "one engine to time, one to score");
}

/// `TensorRT` refuses the integers that are fastest on a processor, so it gets others; both are told apart.
#[test]
fn tensorrt_gets_its_own_form_of_integers_in_a_study() {
    let machine = Machine::new("100300");
    let (model, pack) = (tiny(), pack(machine.folder.path()));
    let output = machine.edgefront(&[
        "optimize",
        model.to_str().unwrap(),
        "--val",
        pack.to_str().unwrap(),
        "--calib",
        pack.to_str().unwrap(),
        "--variants",
        "fp32,ptq-int8-pc",
        "--runtimes",
        "tract,tensorrt",
        "--min-time",
        "20ms",
        "--rounds",
        "2",
        "--json",
    ]);
    let results: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(output.status.success(), "{results}");
    assert_eq!(results["failed"], Value::Array(Vec::new()));
    let records = results["records"].as_array().unwrap();
    let of = |variant: &str, runtime: &str| {
        let mut records = records.iter();
        let found = records.find(|record| record["variant"] == variant && record["runtime"] == runtime);
        found.unwrap_or_else(|| panic!("{variant} on {runtime}: {results}"))
    };
    let digest = |record: &Value| record["artifact"]["sha256"].clone();
    assert_eq!(digest(of("fp32", "tract")), digest(of("fp32", "tensorrt")));
    let [plain, own] = ["tract", "tensorrt"].map(|runtime| of("ptq-int8-pc", runtime));
    assert_ne!(
        digest(plain),
        digest(own),
        "tract's has u8 on x86, and 32-bit biases"
    );
    let form = "in the form that TensorRT takes";
    assert!(
        notes(own).contains(form) && !notes(plain).contains(form),
        "{results}"
    );
    assert!(!notes(of("fp32", "tensorrt")).contains(form), "{results}");
    let listed = results["variants"].as_array().unwrap();
    let listed: Vec<_> = listed
        .iter()
        .filter(|entry| entry["variant"] == "ptq-int8-pc")
        .collect();
    assert_eq!(listed.len(), 2, "each file says how it was made: {results}");
    let said = |record: &Value| {
        let entry = listed.iter().find(|entry| entry["sha256"] == digest(record));
        entry.unwrap()["passes"].to_string()
    };
    assert!(
        said(own).contains("s8 activations with zero in the middle"),
        "{}",
        said(own)
    );
    assert!(
        !said(plain).contains("with zero in the middle"),
        "{}",
        said(plain)
    );
}
