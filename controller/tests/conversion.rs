//! Studies on runtimes that load another format than the model's.

#![allow(clippy::unwrap_used)]

mod place;

use std::fs;

use edgefront_protocol::results::{Record, Results};
use place::Place;

const QUICK: [&str; 16] = [
    "optimize",
    "tiny.onnx",
    "--val",
    "val.safetensors",
    "--calib",
    "calib.safetensors",
    "--min-runs",
    "2",
    "--min-time",
    "1ms",
    "--rounds",
    "1",
    "--no-cache",
    "--batch",
    "1,4",
    "--out",
];

fn study(place: &Place, more: &[&str]) -> (i32, String, Results) {
    let output = place.run(&[&QUICK, more].concat());
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    let results = fs::read(place.path("out/results.json")).unwrap_or_else(|_| panic!("{words}"));
    let results = serde_json::from_slice(&results).unwrap();
    (output.status.code().unwrap(), words, results)
}

fn place() -> Place {
    let place = Place::new();
    place.write("calib.safetensors", &place::pictures(8).encode());
    place
}

/// A file for each batch, the same answers as on the runtime that loads ONNX, and the conversion in the results.
#[test]
fn variants_are_converted_for_tflite() {
    let place = place();
    let runtimes = ["--runtimes", "tract,tflite,tflite:builtin"];
    let more = [&["out", "--variants", "fp32,ptq-int8"], &runtimes[..]].concat();
    let (code, words, results) = study(&place, &more);
    assert_eq!(code, 0, "{words}");
    assert_eq!(results.records.len(), 12);
    let of = |variant: &str, provider: &str, batch: u32| -> &Record {
        let is = |record: &&Record| {
            record.variant == variant
                && format!("{}:{}", record.runtime, record.provider) == provider
                && record.batch == batch
        };
        results.records.iter().find(is).unwrap()
    };
    for variant in ["fp32", "ptq-int8"] {
        for batch in [1, 4] {
            let onnx = of(variant, "tract:cpu", batch);
            assert_eq!(onnx.artifact.format, "onnx");
            for provider in ["tflite:cpu", "tflite:builtin"] {
                let converted = of(variant, provider, batch);
                assert_eq!(converted.artifact.format, "tflite");
                assert_eq!(
                    converted.accuracy.as_ref().unwrap().agreement_fp32,
                    onnx.accuracy.as_ref().unwrap().agreement_fp32,
                    "{variant} {batch}"
                );
                let passes = &results.variants.iter();
                let made = passes
                    .clone()
                    .find(|made| made.sha256 == converted.artifact.sha256);
                assert_eq!(made.unwrap().passes.last().unwrap().pass, "tflite");
            }
        }
        let files = [1, 4].map(|batch| &of(variant, "tflite:cpu", batch).artifact.sha256);
        assert_ne!(files[0], files[1], "a file has one batch");
    }
}

/// What a device does not get for it is a failure of that device.
#[test]
fn a_variant_that_tflite_does_not_take_fails_on_its_device() {
    let place = place();
    let study = r#"
        model = "tiny.onnx"
        variants = [{ name = "dynamic", steps = [{ pass = "quantize-dynamic" }] }]
        runtimes = ["tract", "tflite"]
        [plan]
        min_runs = 2
        min_time = "1ms"
        rounds = 1
    "#;
    place.write("study.toml", study.as_bytes());
    let output = place.run(&["run", "study.toml", "--out", "out", "--json"]);
    let results: Results = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(results.records.len(), 1, "tract runs it");
    let [failed] = results.failed.as_slice() else {
        panic!("{:?}", results.failed);
    };
    assert_eq!(
        (failed.device.as_str(), failed.runtime.as_str()),
        ("local", "tflite")
    );
    assert_eq!(failed.variant, "dynamic");
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(
        words.contains("local: variant dynamic has no .tflite file for 1 at once: "),
        "{words}"
    );
    assert!(failed.error.contains("DynamicQuantizeLinear"), "{}", failed.error);
}

/// Damaged files of a finished study are made again, those of other formats too.
#[test]
fn a_damaged_tflite_file_is_made_again() {
    let place = place();
    let more = ["out", "--variants", "fp32", "--runtimes", "tflite"];
    let (code, words, results) = study(&place, &more);
    assert_eq!(code, 0, "{words}");
    let path = place.path(&format!(
        "out/artifacts/{}.tflite",
        results.records[0].artifact.sha256
    ));
    let whole = fs::read(&path).unwrap();
    fs::write(&path, "damaged").unwrap();
    let (code, words, _) = study(&place, &[&more[..], &["--resume"]].concat());
    assert_eq!(code, 0, "{words}");
    assert!(
        words.contains("made again, for their files were damaged: fp32"),
        "{words}"
    );
    assert_eq!(fs::read(&path).unwrap(), whole);
}
