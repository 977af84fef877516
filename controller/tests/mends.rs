//! What cannot be is refused before the work, in one line that names the thing and says what to do.

#![allow(clippy::unwrap_used)]

mod place;

use std::fs;
use std::process::Command;

use edgefront_optimizer::graph::build::Builder;
use edgefront_optimizer::proto::{DataLocation, TensorProto, onnx};

use place::{Place, pictures};

/// What each of these commands says.
fn all_said<const N: usize>(place: &Place, commands: [&str; N]) -> String {
    let said = commands.map(|command| place.said(&command.split(' ').collect::<Vec<_>>()));
    said.join("\n")
}

/// A model of pictures of 8x8 that answers with the features of each place; where `classifies`, with its mean of
/// each of them, too.
fn features(classifies: bool) -> Vec<u8> {
    let mut b = Builder::new(17);
    let x = b.input("x", &["batch", "3", "8", "8"]);
    let weights = b.floats(&[10, 3, 3, 3], &[0.1; 270]);
    let features = b.op("Conv", &[&x, &weights], &[]);
    let pooled = b.op("GlobalAveragePool", &[&features], &[]);
    let scores = b.op("Flatten", &[&pooled], &[]);
    let outputs: &[&str] = if classifies {
        &[&features, &scores]
    } else {
        &[&features]
    };
    b.finish(outputs).encode()
}

#[test]
fn a_model_that_is_no_classifier() {
    let place = Place::new();
    place.write("features.onnx", &features(false));
    place.write("two.onnx", &features(true));
    place.write(
        "study.toml",
        b"model = 'features.onnx'\nvalidation = 'val.safetensors'\nvariants = ['fp32']\n",
    );
    insta::assert_snapshot!(all_said(
        &place,
        [
            "optimize features.onnx --val val.safetensors --variants fp32",
            "optimize two.onnx --val val.safetensors --variants fp32",
            "run study.toml",
            "train features.onnx -o out.onnx --train val.safetensors",
            "quantize features.onnx -o out.onnx --calib val.safetensors --max-drop 0.01",
            "quantize two.onnx -o out.onnx --calib val.safetensors --max-drop 0.01",
        ]
    ));
}

#[test]
fn what_is_not_there() {
    let place = Place::new();
    fs::create_dir_all(place.path("photos/cat")).unwrap();
    let photo = image::RgbImage::new(8, 8);
    photo.save(place.path("photos/cat/1.png")).unwrap();
    insta::assert_snapshot!(all_said(
        &place,
        [
            "frontier no.json",
            "select no.json --max-p50-ms 3",
            "run no.toml",
            "optimize tiny.onnx --val photos --variants fp32 --preprocess no.toml",
            "agent --config no.toml",
            "check no.onnx",
        ]
    ));
}

#[test]
fn what_is_something_else() {
    let place = Place::new();
    fs::create_dir(place.path("folder")).unwrap();
    place.write("garbage.safetensors", b"this is no pack at all");
    let good = fs::read(place.path("val.safetensors")).unwrap();
    place.write("cut.safetensors", &good[..good.len() - 9]);
    let header = br#"{"__metadata__":{"edgefront.pack":"{\"major\":1,\"minor\":0}"},"images":{"dtype":"U8","shape":[0,8,8,3],"data_offsets":[0,0]}}"#;
    let length = (header.len() as u64).to_le_bytes();
    place.write("empty.safetensors", &[&length[..], header].concat());
    place.write("results.json", b"[1, 2]");
    insta::assert_snapshot!(all_said(
        &place,
        [
            "check folder",
            "run folder",
            "agent --config folder",
            "quantize tiny.onnx -o out.onnx --calib garbage.safetensors",
            "quantize tiny.onnx -o out.onnx --calib cut.safetensors",
            "quantize tiny.onnx -o out.onnx --calib empty.safetensors",
            "pack garbage.safetensors -o out.safetensors",
            "pack val.safetensors -o out.safetensors",
            "frontier results.json",
        ]
    ));
}

#[test]
fn weights_that_are_not_beside_the_model() {
    let place = Place::new();
    let mut b = Builder::new(17);
    let x = b.input("x", &["2"]);
    let mut weights = TensorProto::of("w", &[2], &[0.0_f32; 2]);
    weights.raw_data = None;
    weights.data_location = Some(DataLocation::External.into());
    let entry = onnx::StringStringEntryProto {
        key: Some("location".to_owned()),
        value: Some("weights.bin".to_owned()),
    };
    weights.external_data = vec![entry.into()];
    b.initializer(weights);
    let y = b.op("Add", &[&x, "w"], &[]);
    place.write("model.onnx", &b.finish(&[&y]).encode());
    insta::assert_snapshot!(place.said(&["check", "model.onnx"]));
}

#[test]
fn an_output_that_is_a_link_to_nothing() {
    let place = Place::new();
    for link in ["out.onnx", "out.safetensors", "out"] {
        std::os::unix::fs::symlink("absent/place", place.path(link)).unwrap();
    }
    insta::assert_snapshot!(all_said(
        &place,
        [
            "prune tiny.onnx -o out.onnx --amount 0.5",
            "pack val.safetensors -o out.safetensors",
            "optimize tiny.onnx --val val.safetensors --variants fp32 --out out",
        ]
    ));
}

/// As on a full disk: no file may become larger than a kilobyte.
#[test]
fn an_output_that_finds_no_room() {
    let place = Place::new();
    let command = "trap '' XFSZ; ulimit -f 1; exec \"$0\" prune tiny.onnx -o out.onnx --amount 0.5";
    let output = Command::new("bash")
        .args(["-c", command, env!("CARGO_BIN_EXE_edgefront")])
        .current_dir(place.path(""))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "error: cannot write out.onnx: File too large (os error 27)\n"
    );
    assert!(!place.path("out.onnx").exists());
}

#[test]
fn figures_of_a_recipe_that_are_out_of_range() {
    let place = Place::new();
    let wrong = [
        "{ pass = 'quantize', samples = 0 }",
        "{ pass = 'quantize', method = 'percentile', percentile = 20 }",
        "{ pass = 'quantize', max_drop = 2 }",
        "{ pass = 'prune', amount = 2.0 }",
        "{ pass = 'prune', amount = 0.5, structured = true, multiple = 0 }",
        "{ pass = 'train', epochs = 0 }",
        "{ pass = 'train', qat = { samples = 0 } }",
        "{ pass = 'quantize-weights', bits = 4, block = 3 }",
    ];
    let said = wrong.map(|step| {
        let data = "calibration = 'val.safetensors'\ntraining = 'val.safetensors'";
        let variant = format!("[[variants]]\nname = 'own'\nsteps = [{step}]");
        let study = format!("model = 'tiny.onnx'\n{data}\n\n{variant}\n");
        place.write("study.toml", study.as_bytes());
        place.said(&["run", "study.toml"])
    });
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn times_in_which_nothing_can_be_measured() {
    let place = Place::new();
    place.write("agent.toml", b"run_timeout = '0s'\n");
    insta::assert_snapshot!(all_said(
        &place,
        [
            "bench tiny.onnx --max-time 0s",
            "bench tiny.onnx --max-time 0s --min-time 0s",
            "agent --config agent.toml",
        ]
    ));
}

#[test]
fn a_device_that_is_to_be_in_some_state() {
    let place = Place::new();
    insta::assert_snapshot!(all_said(
        &place,
        [
            "bench tiny.onnx --governor performance",
            "bench tiny.onnx --governor turbo",
            "bench tiny.onnx --cool-to cold",
            "bench tiny.onnx --cool-limit 1m",
        ]
    ));
}

#[test]
fn variants_that_lack_data() {
    let place = Place::new();
    insta::assert_snapshot!(all_said(
        &place,
        [
            "optimize tiny.onnx --val val.safetensors --variants qat-int8",
            "optimize tiny.onnx --val val.safetensors --variants fp32,ptq-int8,prune50-ft",
            "optimize tiny.onnx --val val.safetensors --variants fp32,channel30-int8 --calib val.safetensors",
        ]
    ));
}

#[test]
fn labels_that_the_model_does_not_know() {
    let place = Place::new();
    let labels = pictures(8).with_labels(vec![0, 1, 12, 2]).unwrap();
    place.write("wrong.safetensors", &labels.encode());
    place.write("bare.safetensors", &pictures(8).encode());
    for class in 0..11 {
        let folder = place.path(&format!("many/class{class:02}"));
        fs::create_dir_all(&folder).unwrap();
        image::RgbImage::new(8, 8).save(folder.join("1.png")).unwrap();
    }
    insta::assert_snapshot!(all_said(
        &place,
        [
            "train tiny.onnx -o out.onnx --train wrong.safetensors",
            "train tiny.onnx -o out.onnx --train bare.safetensors",
            "train tiny.onnx -o out.onnx --train val.safetensors --val many",
            "optimize tiny.onnx --val many --variants fp32",
        ]
    ));
    let command = "quantize tiny.onnx -o out.onnx --calib wrong.safetensors --max-drop 0.5";
    let output = place.run(&command.split(' ').collect::<Vec<_>>());
    assert_eq!(output.status.code(), Some(0));
    insta::assert_snapshot!(String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_teacher_of_other_pictures() {
    let place = Place::new();
    let mut b = Builder::new(17);
    let x = b.input("x", &["batch", "3", "16", "16"]);
    let pooled = b.op("GlobalAveragePool", &[&x], &[]);
    let scores = b.op("Flatten", &[&pooled], &[]);
    place.write("large.onnx", &b.finish(&[&scores]).encode());
    let command = "train tiny.onnx -o out.onnx --train val.safetensors --teacher large.onnx";
    insta::assert_snapshot!(all_said(&place, [command]));
}

#[test]
fn a_percentile_of_another_method() {
    let place = Place::new();
    let command = "quantize tiny.onnx -o out.onnx --calib val.safetensors --percentile 99";
    insta::assert_snapshot!(all_said(&place, [command, &format!("{command} --method minmax")]));
}

#[test]
fn a_file_of_pytorch() {
    let place = Place::new();
    place.write("net.py", b"def build(): ...");
    place.write("weights.pth", b"PK");
    place.write("net.pt2", b"PK");
    insta::assert_snapshot!(all_said(
        &place,
        [
            "check net.py",
            "check net.py:build",
            "prune weights.pth -o out.onnx --amount 0.5",
            "quantize net.pt2 -o out.onnx --calib val.safetensors",
            "optimize weights.pth --val val.safetensors --variants fp32",
        ]
    ));
}
