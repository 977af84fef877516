//! What bad input gets: one line that names the thing and the mend, a documented exit code, and nothing
//! half-written.

#![allow(clippy::unwrap_used)]

mod place;

use std::fs;
use std::path::Path;
use std::process::Command;

use edgefront_optimizer::graph::build::Builder;

use place::{Place, pictures};

const QUANTIZE: [&str; 6] = [
    "quantize",
    "tiny.onnx",
    "-o",
    "q.onnx",
    "--calib",
    "val.safetensors",
];

const GOOD: [&str; 8] = [
    "optimize",
    "tiny.onnx",
    "--val",
    "val.safetensors",
    "--variants",
    "fp32",
    "--out",
    "out",
];

/// The good command with some arguments in place of others.
fn with<'a>(changes: &[(&str, &'a str)], more: &[&'a str]) -> Vec<&'a str> {
    let change = |arg: &'static str| {
        changes
            .iter()
            .find(|(old, _)| *old == arg)
            .map_or(arg, |(_, new)| new)
    };
    GOOD.map(change).into_iter().chain(more.iter().copied()).collect()
}

/// The model with another operator in place of `Gemm`.
fn with_operator(model: &[u8], operator: [u8; 4]) -> Vec<u8> {
    let mut other = model.to_vec();
    for at in 0..model.len() - 4 {
        if model[at..].starts_with(b"Gemm") {
            other[at..at + 4].copy_from_slice(&operator);
        }
    }
    other
}

/// Names of artifacts are digests of what this version makes.
fn without_digests(said: &str) -> String {
    let is_digest = |word: &&str| word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut text = said.to_owned();
    for digest in said.split(|c: char| !c.is_ascii_alphanumeric()).filter(is_digest) {
        text = text.replace(digest, "DIGEST");
    }
    text
}

#[test]
fn a_missing_model() {
    insta::assert_snapshot!(Place::new().said(&with(&[("tiny.onnx", "no.onnx")], &[])));
}

#[test]
fn a_study_of_what_is_not_there() {
    let place = Place::new();
    let mut said = Vec::new();
    for study in ["model = 'no.onnx'", "model = 'tiny.onnx'\nvalidation = 'no.npz'"] {
        place.write("study.toml", format!("{study}\nvariants = ['fp32']\n").as_bytes());
        said.push(place.said(&["run", "study.toml"]));
    }
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn a_truncated_model() {
    let place = Place::new();
    let bytes = fs::read(place.path("tiny.onnx")).unwrap();
    place.write("cut.onnx", &bytes[..bytes.len() / 2]);
    insta::assert_snapshot!(place.said(&with(&[("tiny.onnx", "cut.onnx")], &[])));
}

#[test]
fn an_unsupported_operator() {
    let place = Place::new();
    let bytes = fs::read(place.path("tiny.onnx")).unwrap();
    place.write("foo.onnx", &with_operator(&bytes, *b"Fold"));
    insta::assert_snapshot!(place.said(&with(&[("tiny.onnx", "foo.onnx"), ("fp32", "fp32,prune50")], &[])));
}

/// Nothing is made of it, so only the runtime knows whether it can run it.
#[test]
fn an_operator_that_the_runtime_does_not_have() {
    let place = Place::new();
    let bytes = fs::read(place.path("tiny.onnx")).unwrap();
    place.write("foo.onnx", &with_operator(&bytes, *b"Fold"));
    // Where ONNX Runtime is not installed, so that tract answers for the workstation, too.
    fs::create_dir(place.path("empty")).unwrap();
    let cache = place.path("empty");
    let study = place.said_with(
        &[("XDG_CACHE_HOME", &cache), ("ORT_DYLIB_PATH", Path::new(""))],
        &with(&[("tiny.onnx", "foo.onnx")], &["--runtimes", "tract"]),
    );
    let bench = place.said(&["bench", "foo.onnx", "--runtime", "tract"]);
    insta::assert_snapshot!(format!("{}\n{bench}", without_digests(&study)));
}

#[test]
fn what_lies_in_the_directory_is_kept() {
    let place = Place::new();
    let quick = ["--runtimes", "tract", "--min-runs", "2", "--min-time", "1ms"];
    let mut said = vec![place.said(&with(&[], &["--resume"]))];
    place.write("file", b"mine");
    said.push(place.said(&with(&[("out", "file")], &[])));
    fs::create_dir(place.path("theirs")).unwrap();
    place.write("theirs/report.html", b"theirs");
    said.push(place.said(&with(&[("out", "theirs")], &quick)));
    // What a full disk leaves of a database.
    place.write("theirs/edgefront.db", b"");
    said.push(place.said(&with(&[("out", "theirs")], &quick)));
    assert_eq!(fs::read(place.path("theirs/report.html")).unwrap(), b"theirs");

    let again = |more: &[&str]| place.run(&with(&[], &[&quick, more].concat()));
    assert_eq!(again(&[]).status.code(), Some(0));
    let same = again(&[]);
    assert_eq!(same.status.code(), Some(0));
    let notice = String::from_utf8_lossy(&same.stderr).into_owned();
    assert!(notice.starts_with("replacing the results in out\n"), "{notice}");
    said.push(place.said(&with(&[], &[&quick[..], &["--seed", "1"]].concat())));
    assert_eq!(again(&["--seed", "1", "--fresh"]).status.code(), Some(0));
    let fresh = place.run(&with(&[("out", "theirs")], &[&quick[..], &["--fresh"]].concat()));
    assert_eq!(fresh.status.code(), Some(0));
    assert_ne!(fs::read(place.path("theirs/report.html")).unwrap(), b"theirs");
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn numbers_that_make_no_sense() {
    let place = Place::new();
    let wrong = [
        ["--batch", "1000000"],
        ["--batch", "4294967295"],
        ["--batch", "0"],
        ["--threads", "1025"],
        ["--threads", "0"],
        ["--rounds", "0"],
        ["--min-runs", "0"],
        ["--max-time", "1s"],
    ];
    let said: Vec<String> = wrong.iter().map(|more| place.said(&with(&[], more))).collect();
    let bench = place.said(&["bench", "tiny.onnx", "--resume"]);
    insta::assert_snapshot!(format!("{}\n{bench}", said.join("\n")));
}

#[test]
fn a_folder_with_fewer_classes_than_the_model() {
    let place = Place::new();
    for class in ["cat", "dog"] {
        fs::create_dir_all(place.path("val").join(class)).unwrap();
        let picture = image::RgbImage::new(8, 8);
        picture.save(place.path("val").join(class).join("1.png")).unwrap();
    }
    let more = ["--runtimes", "tract", "--min-runs", "2", "--min-time", "1ms"];
    let output = place.run(&with(&[("val.safetensors", "val")], &more));
    assert_eq!(output.status.code(), Some(0));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    insta::assert_snapshot!(said.lines().next().unwrap());
}

#[test]
fn data_without_labels() {
    let place = Place::new();
    place.write("bare.safetensors", &pictures(8).encode());
    insta::assert_snapshot!(place.said(&with(&[("val.safetensors", "bare.safetensors")], &[])));
}

#[test]
fn a_label_out_of_range() {
    let place = Place::new();
    let pack = pictures(8).with_labels(vec![0, 1, 10, 2]).unwrap();
    place.write("wrong.safetensors", &pack.encode());
    insta::assert_snapshot!(place.said(&with(&[("val.safetensors", "wrong.safetensors")], &[])));
}

#[test]
fn data_of_a_wrong_shape() {
    let place = Place::new();
    let pack = pictures(4).with_labels(vec![0; 4]).unwrap();
    place.write("small.safetensors", &pack.encode());
    insta::assert_snapshot!(place.said(&with(&[("val.safetensors", "small.safetensors")], &[])));
}

#[test]
fn a_broker_that_is_not_there() {
    // Port 1 is reserved and nobody listens on it.
    let more = ["--broker", "mqtt://127.0.0.1:1", "--devices", "pi"];
    insta::assert_snapshot!(Place::new().said(&with(&[], &more)));
}

#[test]
fn devices_without_a_broker() {
    insta::assert_snapshot!(Place::new().said(&with(&[], &["--devices", "pi"])));
}

#[test]
fn a_runtime_that_is_not_installed() {
    let place = Place::new();
    fs::create_dir(place.path("empty")).unwrap();
    let cache = place.path("empty");
    let said = place.said_with(
        &[("XDG_CACHE_HOME", &cache), ("ORT_DYLIB_PATH", Path::new(""))],
        &with(&[], &["--runtimes", "ort"]),
    );
    insta::assert_snapshot!(without_digests(&said));
}

/// Whoever names a library wants no other one, and not tract, in its place.
#[test]
fn a_library_that_is_named_and_does_not_serve() {
    let place = Place::new();
    place.write(
        "cut.so",
        &fs::read(env!("CARGO_BIN_EXE_edgefront")).unwrap()[..1 << 20],
    );
    let named = |args: &[&str], path| place.said(&[args, &["--runtime-path", path][..]].concat());
    let in_environment = |args: &[&str]| place.said_with(&[("ORT_DYLIB_PATH", Path::new("nowhere"))], args);
    insta::assert_snapshot!(
        [
            named(&QUANTIZE, "nowhere"),
            named(&QUANTIZE, "cut.so"),
            named(&GOOD, "nowhere"),
            named(&["bench", "tiny.onnx"], "nowhere"),
            named(&["check", "tiny.onnx"], "nowhere"),
            named(&["runtimes"], "tiny.onnx"),
            in_environment(&QUANTIZE),
            in_environment(&["demo"]),
        ]
        .join("\n")
    );
}

#[test]
fn a_damaged_library_is_not_replaced_by_another_runtime() {
    let place = Place::new();
    let home = place.path("cache/edgefront/runtimes/ort-9");
    fs::create_dir_all(&home).unwrap();
    fs::write(home.join("libonnxruntime.so.9"), "half").unwrap();
    fs::write(home.join("installed.txt"), format!("{} 8\n", "0".repeat(64))).unwrap();
    let cache = place.path("cache");
    let environment = [
        ("XDG_CACHE_HOME", cache.as_path()),
        ("ORT_DYLIB_PATH", Path::new("")),
    ];
    insta::assert_snapshot!(
        [
            place.said_with(&environment, &QUANTIZE),
            place.said_with(&environment, &["runtimes"])
        ]
        .join("\n")
    );
}

#[test]
fn an_unknown_runtime_and_an_unknown_variant() {
    let place = Place::new();
    let runtime = place.said(&with(&[], &["--runtimes", "onnx"]));
    let variant = place.said(&with(&[("fp32", "fp31")], &[]));
    insta::assert_snapshot!(format!("{runtime}\n{variant}"));
}

#[test]
fn quantized_variants_without_calibration_data() {
    insta::assert_snapshot!(Place::new().said(&with(&[("fp32", "fp32,ptq-int8")], &[])));
}

#[test]
fn trained_variants_without_training_data() {
    insta::assert_snapshot!(Place::new().said(&with(&[("fp32", "fp32,prune50-ft")], &[])));
}

#[test]
fn passes_in_an_order_that_cannot_work() {
    let place = Place::new();
    place.write(
        "study.toml",
        b"model = 'tiny.onnx'\ncalibration = 'val.safetensors'\n\n[[variants]]\nname = 'late'\n\
          steps = [{ pass = 'quantize' }, { pass = 'prune', amount = 0.5 }]\n",
    );
    insta::assert_snapshot!(place.said(&["run", "study.toml"]));
}

#[test]
fn training_data_without_labels() {
    let place = Place::new();
    place.write("train.safetensors", &pictures(8).encode());
    insta::assert_snapshot!(place.said(&with(
        &[("fp32", "channel30-ft")],
        &["--train", "train.safetensors"]
    )));
}

#[test]
fn an_unknown_key_in_a_study() {
    let place = Place::new();
    place.write(
        "study.toml",
        b"model = 'tiny.onnx'\nvariants = ['fp32']\n\n[plan]\nmin_run = 5\n",
    );
    insta::assert_snapshot!(place.said(&["run", "study.toml"]));
}

#[test]
fn a_study_that_is_not_there() {
    insta::assert_snapshot!(Place::new().said(&["run", "study.toml"]));
}

#[test]
fn an_output_that_is_read_or_cannot_be_written() {
    let place = Place::new();
    std::os::unix::fs::symlink("tiny.onnx", place.path("link.onnx")).unwrap();
    place.write("program.pt2", b"of torch.export");
    let read = ["tiny.onnx", "val.safetensors", "program.pt2"].map(|name| place.path(name));
    let before = read.each_ref().map(|path| fs::read(path).unwrap());
    let commands = [
        "prune tiny.onnx -o tiny.onnx --amount 0.5",
        "convert tiny.onnx -o ./tiny.onnx --to fp16",
        "quantize tiny.onnx -o link.onnx --calib val.safetensors",
        "quantize tiny.onnx -o val.safetensors --calib val.safetensors",
        "train tiny.onnx -o val.safetensors --train val.safetensors",
        "train tiny.onnx -o out.onnx --train val.safetensors --checkpoint out.onnx",
        "pack val.safetensors -o val.safetensors",
        "export torch program.pt2 -o program.pt2",
        "export torch program.pt2 -o program.npz",
        "prune tiny.onnx -o absent/out.onnx --amount 0.5",
        "prune tiny.onnx -o . --amount 0.5",
    ];
    let said = commands.map(|command| place.said(&command.split(' ').collect::<Vec<_>>()));
    insta::assert_snapshot!(said.join("\n"));
    assert_eq!(read.map(|path| fs::read(path).unwrap()), before);
}

#[test]
fn weights_that_are_no_numbers() {
    let place = Place::new();
    let mut b = Builder::new(17);
    let x = b.input("x", &["batch", "3", "8", "8"]);
    let w = b.floats(&[4, 3, 1, 1], &[[0.5; 11].as_slice(), &[f32::NAN]].concat());
    let y = b.op("Conv", &[&x, &w], &[]);
    let y = b.op("Relu", &[&y], &[]);
    let y = b.op("GlobalAveragePool", &[&y], &[]);
    let model = b.finish(&[&y]);
    place.write("nan.onnx", &model.encode());
    let finding = format!("constants that are not finite: `{w}` (NaN)");
    for command in [
        "check nan.onnx",
        "prune nan.onnx -o pruned.onnx --amount 0.5",
        "convert nan.onnx -o half.fp16.onnx",
    ] {
        let output = place.run(&command.split(' ').collect::<Vec<_>>());
        assert_eq!(output.status.code(), Some(0), "{command}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            said.starts_with(&format!("warning: nan.onnx: {finding}\n")),
            "{command}: {said}"
        );
    }
}

#[test]
fn a_model_of_no_numbers_is_not_measured() {
    let place = Place::new();
    let study = |value: f32| {
        let mut b = Builder::new(17);
        let x = b.input("x", &["batch", "4"]);
        let w = b.floats(&[4], &[1.0, 2.0, 3.0, value]);
        let y = b.op("Min", &[&x, &w], &[]);
        place.write("model.onnx", &b.finish(&[&y]).encode());
        let bench = "bench model.onnx --runtime tract --min-runs 2 --min-time 1ms --json";
        place.run(&bench.split(' ').collect::<Vec<_>>())
    };
    let refused = study(f32::NAN);
    assert_eq!(refused.status.code(), Some(1));
    insta::assert_snapshot!(String::from_utf8_lossy(&refused.stderr));
    let infinite = study(f32::INFINITY);
    assert_eq!(infinite.status.code(), Some(0));
    let results: serde_json::Value = serde_json::from_slice(&infinite.stdout).unwrap();
    let notes = &results["records"][0]["conditions"]["notes"];
    assert!(
        notes.to_string().contains("constants that are not finite"),
        "{notes}"
    );
}

#[test]
fn a_full_device_on_standard_output() {
    let place = Place::new();
    let output = Command::new(env!("CARGO_BIN_EXE_edgefront"))
        .args(["check", "tiny.onnx"])
        .current_dir(place.0.path())
        .stdout(fs::File::options().write(true).open("/dev/full").unwrap())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "error: cannot write to standard output: No space left on device (os error 28)\n"
    );
}

#[test]
fn a_folder_for_temporary_files_that_is_not_there() {
    let place = Place::new();
    for command in [
        "bench tiny.onnx --runtime tract",
        "quantize tiny.onnx -o out.onnx --calib val.safetensors",
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_edgefront"))
            .args(command.split(' '))
            .current_dir(place.0.path())
            .env("TMPDIR", place.path("absent"))
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{command}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            said.contains(
                "absent; set TMPDIR to a folder that can be written: No such file or directory (os error 2)\n"
            ),
            "{command}: {said}"
        );
    }
}

#[test]
fn a_runtime_that_cannot_be_installed() {
    insta::assert_snapshot!(Place::new().said(&["runtimes", "install", "foo"]));
}
