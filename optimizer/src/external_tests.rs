#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use prost::bytes::Bytes;

use crate::external::move_out;
use crate::graph::build::Builder;
use crate::model::Model;
use crate::proto::{DataLocation, StringStringEntryProto, TensorProto, onnx};

fn entry(key: &str, value: &str) -> StringStringEntryProto {
    onnx::StringStringEntryProto {
        key: Some(key.to_owned()),
        value: Some(value.to_owned()),
    }
    .into()
}

/// A model whose weights, two numbers, are said to lie at `location`.
fn write(dir: &Path, location: &str, offset: u64, length: u64) -> Result<Model, String> {
    let mut b = Builder::new(17);
    let x = b.input("x", &["2"]);
    let mut weights = TensorProto::of("w", &[2], &[0.0_f32; 2]);
    weights.raw_data = None;
    weights.data_location = Some(DataLocation::External.into());
    weights.external_data = vec![
        entry("location", location),
        entry("offset", &offset.to_string()),
        entry("length", &length.to_string()),
    ];
    b.initializer(weights);
    let y = b.op("Add", &[&x, "w"], &[]);
    let path = dir.join("model.onnx");
    fs::write(&path, b.finish(&[&y]).encode()).unwrap();
    let shown = path.display().to_string();
    Model::read(&path).map_err(|error| error.to_string().replace(&shown, "model.onnx"))
}

#[test]
fn weights_beside_the_model_are_read_into_it() {
    let dir = tempfile::tempdir().unwrap();
    let bytes: Vec<u8> = [9.0_f32, 1.5, 2.5]
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    fs::create_dir(dir.path().join("weights")).unwrap();
    fs::write(dir.path().join("weights/w.bin"), bytes).unwrap();
    let model = write(dir.path(), "weights/w.bin", 4, 8).unwrap();
    let (_, files) = Model::read_with_files(&dir.path().join("model.onnx")).unwrap();
    let real = dir.path().canonicalize().unwrap();
    assert_eq!(files, [dir.path().join("model.onnx"), real.join("weights/w.bin")]);
    let weights = &model.graph().initializer[0];
    assert_eq!(weights.floats().unwrap(), [1.5, 2.5]);
    assert!(weights.external_data.is_empty());
    let again = Model::decode(&model.encode(), None).unwrap();
    assert_eq!(again, model);
}

#[test]
fn weights_elsewhere_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let inner = dir.path().join("inner");
    fs::create_dir(&inner).unwrap();
    fs::write(dir.path().join("secret"), [0; 8]).unwrap();
    let mend = "put the file beside the model";
    for location in ["../secret", "/etc/hostname", "a/../../secret"] {
        let error = write(&inner, location, 0, 8).unwrap_err();
        assert_eq!(
            error,
            format!("model.onnx: tensor `w`: external data: `{location}` leaves the model's folder; {mend}")
        );
    }
}

#[cfg(unix)]
#[test]
fn a_link_out_of_the_folder_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let inner = dir.path().join("inner");
    fs::create_dir(&inner).unwrap();
    fs::write(dir.path().join("secret"), [0; 8]).unwrap();
    std::os::unix::fs::symlink(dir.path().join("secret"), inner.join("w.bin")).unwrap();
    let error = write(&inner, "w.bin", 0, 8).unwrap_err();
    assert!(
        error.contains("`w.bin` links out of the model's folder"),
        "{error}"
    );
}

#[test]
fn weights_that_are_not_there_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let error = write(dir.path(), "w.bin", 0, 8).unwrap_err();
    assert!(
        error.contains("tensor `w`: external data: ")
            && error.contains("w.bin: put the file beside the model: "),
        "{error}"
    );
    fs::write(dir.path().join("w.bin"), [0; 8]).unwrap();
    let error = write(dir.path(), "w.bin", 4, 8).unwrap_err();
    assert!(
        error.ends_with("8 bytes at 4 are outside the file's 8; copy it again, or export the model again"),
        "{error}"
    );
    let error = write(dir.path(), "w.bin", 0, u64::MAX).unwrap_err();
    assert!(error.contains("are outside the file's 8"), "{error}");
}

#[test]
fn bytes_without_a_folder_cannot_have_weights_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let _ = write(dir.path(), "w.bin", 0, 8);
    let bytes = Bytes::from(fs::read(dir.path().join("model.onnx")).unwrap());
    let error = Model::decode(&bytes, None).unwrap_err().to_string();
    assert_eq!(
        error,
        "tensor `w`: external data: there is no folder to read it from; read the model from its file"
    );
}

#[test]
fn a_file_that_is_no_model_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.onnx");
    fs::write(&path, "hello").unwrap();
    let error = Model::read(&path).unwrap_err().to_string();
    assert!(
        error.starts_with(&format!("{}: not an ONNX model", path.display())),
        "{error}"
    );
    fs::write(&path, "").unwrap();
    let error = Model::read(&path).unwrap_err().to_string();
    assert!(error.ends_with("it holds no graph"), "{error}");
}

#[test]
fn what_is_moved_out_is_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut b = Builder::new(17);
    let mut value = b.input("x", &["4"]);
    for size in [1, 1023, 1024, 1025, 5000] {
        let weights: Vec<f32> = (0..size).map(|index| index as f32).collect();
        let weights = b.floats(&[size, 1], &weights);
        value = b.op("Mul", &[&value, &weights], &[]);
    }
    let model = b.finish(&[&value]);
    let mut proto = model.proto().clone();
    let graph = proto.graph.as_mut().unwrap();
    move_out(graph, dir.path(), "weights.bin").unwrap();
    let outside = graph
        .initializer
        .iter()
        .filter(|tensor| tensor.raw_data.is_none());
    assert_eq!(outside.count(), 3);
    let path = dir.path().join("model.onnx");
    fs::write(&path, Model::from_proto(proto).encode()).unwrap();
    let (again, files) = Model::read_with_files(&path).unwrap();
    assert_eq!(again, model);
    assert_eq!(files.len(), 2);
}

#[test]
fn weights_in_what_is_no_regular_file_are_not_read() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("w.bin")).unwrap();
    let error = write(dir.path(), "w.bin", 0, 8).unwrap_err();
    assert!(error.contains("is no regular file"), "{error}");
}

#[test]
fn what_is_no_regular_file_is_not_read() {
    let error = Model::read(Path::new("/dev/zero")).unwrap_err().to_string();
    assert!(
        error.ends_with("it is no regular file; copy the model to one"),
        "{error}"
    );
}
