//! Studies whose jobs race, run without a pause, or are scored in part, by the command a user types.

#![allow(clippy::unwrap_used)]

mod place;

use std::path::Path;

use edgefront_protocol::pack::{Pack, PictureShape};
use edgefront_protocol::results::{Record, Results};
use place::Place;

fn results(place: &Place, args: &str) -> Results {
    let args: Vec<&str> = args.split(' ').collect();
    let output = place.run(&args);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A folder with a study of two variants on a fast and a slow runtime.
fn race() -> Place {
    let place = Place::new();
    let study = "model = 'tiny.onnx'\nvariants = ['fp32', 'prune50']\nruntimes = ['null:delay=1ms', 'null:delay=20ms']\n\
                 [plan]\nmin_runs = 40\nmin_time = '0s'\nwarmup_time = '0s'\nmax_load = 1000000\n";
    place.write("race.toml", study.as_bytes());
    place.write("whole.toml", format!("{study}racing = false\n").as_bytes());
    place
}

#[test]
fn a_beaten_variant_is_stopped_unless_racing_is_off() {
    let place = race();
    let results = results(&place, "run race.toml --out raced --json");
    let stopped: Vec<(String, String)> = results
        .records
        .iter()
        .filter_map(|record| Some((record.configuration(), record.stopped.as_ref()?.by.clone())))
        .collect();
    let [(slow, by)] = &stopped[..] else {
        panic!("{stopped:?}");
    };
    assert!(slow.starts_with("prune50/null/cpu+delay=20ms"), "{slow}");
    assert!(by.contains("/null/cpu+delay=1ms/"), "{by}");
    assert_eq!(results.records.len(), 4);
    let shown = String::from_utf8(
        place
            .run(&["frontier", "raced", "--x", "latency_p50", "--y", "size"])
            .stdout,
    )
    .unwrap();
    assert!(shown.contains("stopped after "), "{shown}");
    let whole = self::results(&place, "run whole.toml --out whole --json");
    assert!(whole.records.iter().all(|record| record.stopped.is_none()));
}

#[test]
fn a_sustained_run_stands_beside_the_rounds() {
    let place = Place::new();
    let args = "bench tiny.onnx --runtime null:delay=1ms --sustained 4s --min-time 100ms --max-load 1000000 --out out --json";
    let results = results(&place, args);
    let told: Vec<String> = results.records.iter().map(Record::configuration).collect();
    assert_eq!(
        told,
        [
            "tiny/null/cpu+delay=1ms/t1/b1",
            "tiny/null/cpu+delay=1ms/t1/b1/sustained4s"
        ]
    );
    let sustained = results.records[1].sustained.as_ref().unwrap();
    let counted: Vec<bool> = sustained.windows.iter().map(|window| window.counted).collect();
    assert_eq!(counted, [false, false, true, true]);
    // Two windows of a second, of runs of a millisecond or, on a busy machine, more.
    assert!(results.records[1].latency_ms.samples > 100);
    let selected = String::from_utf8(place.run(&["select", "out"]).stdout).unwrap();
    assert!(selected.contains("its sustained run stands for it"), "{selected}");
}

#[test]
fn a_part_of_the_pack_is_enough_where_the_answers_are_the_models() {
    let place = Place::new();
    let picture = PictureShape {
        channels: 3,
        height: 8,
        width: 8,
    };
    let values: Vec<f32> = (0..600 * picture.volume())
        .map(|i| (i % 101) as f32 / 101.0)
        .collect();
    let pack = Pack::from_floats(600, picture, &values).unwrap();
    let pack = pack
        .with_labels((0..600).map(|picture| picture % 10).collect())
        .unwrap();
    place.write("val.safetensors", &pack.encode());
    let plan = "--runtimes tract --variants fp32 --min-runs 20 --min-time 0s --rounds 2 --no-cache --json";
    let whole = results(
        &place,
        &format!("optimize tiny.onnx --val val.safetensors {plan} --out whole"),
    );
    let part = results(
        &place,
        &format!("optimize tiny.onnx --val val.safetensors {plan} --out part --accuracy-within 10%"),
    );
    let [whole, part] = [whole, part].map(|results| results.records[0].accuracy.clone().unwrap());
    assert_eq!(
        (whole.samples, whole.pack_samples, whole.top1_drop),
        (600, None, Some(0.0))
    );
    assert!(part.samples < 300 && part.pack_samples == Some(600), "{part:?}");
    // The model's own on the whole pack, which the variant is.
    assert_eq!(part.top1.to_bits(), whole.top1.to_bits());
    let [low, high] = part.top1_drop_ci95.unwrap();
    assert!(low >= -0.1 && high <= 0.1, "{low} {high}");
    assert_eq!(whole.recall.len(), 10);
    assert!(whole.worst_output.unwrap().difference < 1e-4);
}

#[test]
fn a_margin_without_a_model_to_compare_with_is_refused() {
    let place = Place::new();
    let said = place.said(&[
        "bench",
        "tiny.onnx",
        "--runtime",
        "null",
        "--accuracy-within",
        "1%",
    ]);
    assert!(said.starts_with("exit 2\n"), "{said}");
    assert!(said.contains("measure without --accuracy-within"), "{said}");
    let said = place.said(&["bench", "tiny.onnx", "--accuracy-within", "1"]);
    assert!(said.contains("write it as 0.5%"), "{said}");
}

#[test]
fn a_margin_where_the_model_does_not_run_is_refused_before_anything_is_written() {
    let place = Place::new();
    let args = "optimize tiny.onnx --val val.safetensors --variants fp32 --runtimes null --accuracy-within 10% --out out";
    let args: Vec<&str> = args.split(' ').collect();
    // Without a place for temporary files no runtime can be given the model.
    let said = place.said_with(&[("TMPDIR", Path::new("nowhere"))], &args);
    assert!(said.starts_with("exit 1\n"), "{said}");
    assert!(
        said.contains("--accuracy-within needs what the model answers on this machine: cannot make"),
        "{said}"
    );
    assert!(
        !said.contains("--resume") && !place.path("out").exists(),
        "{said}"
    );
}
