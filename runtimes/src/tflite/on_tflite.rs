//! LiteRT gives what numpy gave for the fixtures, through each of its providers; what it cannot do is an error.

use std::collections::BTreeMap;
use std::fs;

use serde::Deserialize;

use super::*;

/// What `make_tflite.py` computed.
#[derive(Deserialize)]
struct Values {
    inputs: Vec<Vec<f64>>,
    output: Vec<f64>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/models")
}

fn values(name: &str) -> Values {
    let text = fs::read_to_string(folder().join("tflite.json")).unwrap();
    let mut all: BTreeMap<String, Values> = serde_json::from_str(&text).unwrap();
    all.remove(name).unwrap()
}

fn options(provider: &str, batch: usize) -> Options {
    Options {
        provider: provider.to_owned(),
        threads: 1,
        inputs: Vec::new(),
        batch,
        spin: true,
        profile: false,
    }
}

fn load(file: &Path, options: &Options) -> Result<Box<dyn Model>, Error> {
    Tflite::new(&Search::default()).load(file, options)
}

fn fixture(name: &str, options: &Options) -> Result<Box<dyn Model>, Error> {
    load(&folder().join(name), options)
}

fn words<T>(result: Result<T, Error>) -> String {
    result.err().unwrap().to_string()
}

fn tensor(data_type: DataType, shape: &[usize], values: &[f64]) -> Tensor {
    let data = match data_type {
        DataType::F32 => Data::F32(values.iter().map(|&value| value as f32).collect()),
        DataType::I32 => Data::I32(values.iter().map(|&value| value as i32).collect()),
        DataType::I8 => Data::I8(values.iter().map(|&value| value as i8).collect()),
        other => panic!("no fixture takes {other}"),
    };
    Tensor::new(shape.to_vec(), data).unwrap()
}

fn run(model: &dyn Model, values: &Values) -> Box<dyn Session> {
    let ports = model.inputs().iter().zip(&values.inputs);
    let inputs: Vec<Tensor> = ports
        .map(|(port, values)| tensor(port.data_type, &port.shape, values))
        .collect();
    let mut session = model.session().unwrap();
    session.bind(&inputs).unwrap();
    session.run().unwrap();
    session
}

#[test]
fn floats_are_those_of_numpy_for_an_open_batch() {
    let values = values("small");
    for provider in ["cpu", "xnnpack", "builtin"] {
        let model = fixture("small.tflite", &options(provider, 2)).unwrap();
        assert_eq!(model.provider(), provider);
        assert_eq!(model.remark(), None);
        assert_eq!(model.inputs()[0].shape, [2, 8, 8, 3]);
        assert_eq!(model.outputs(), ["scores"]);
        let mut session = run(&*model, &values);
        let floats = session.floats(0).unwrap();
        assert_eq!(floats.shape, [2, 10]);
        for (&found, expected) in floats.values.iter().zip(&values.output) {
            assert!((f64::from(found) - expected).abs() < 1e-5, "{found} {expected}");
        }
        assert_eq!(session.floats(1), None);
        let lent = session.floats(0).unwrap().values.to_vec();
        assert_eq!(session.fetch().unwrap()[0].as_f32().unwrap(), lent);
    }
}

#[test]
fn integers_are_those_of_numpy_channel_by_channel() {
    let values = values("small_int8");
    for provider in ["xnnpack", "builtin"] {
        let model = fixture("small_int8.tflite", &options(provider, 1)).unwrap();
        let mut session = run(&*model, &values);
        assert_eq!(session.floats(0), None, "it gives integers");
        let outputs = session.fetch().unwrap();
        assert_eq!(outputs[0].shape(), [1, 8, 8, 4]);
        let Data::I8(found) = outputs[0].data() else {
            panic!("{}", outputs[0].data_type());
        };
        for (&found, expected) in found.iter().zip(&values.output) {
            assert!((f64::from(found) - expected).abs() <= 1.0, "{found} {expected}");
        }
    }
}

#[test]
fn what_xnnpack_does_not_take_is_said_or_refused() {
    let values = values("gather");
    let model = fixture("gather.tflite", &options("cpu", 2)).unwrap();
    let remark = "XNNPACK does not take every operator of it; LiteRT's own kernels compute the others";
    assert_eq!(model.remark(), Some(remark));
    let mut session = run(&*model, &values);
    let expected = tensor(DataType::F32, &[3, 4], &values.output);
    assert_eq!(session.fetch().unwrap(), [expected]);
    let refused = fixture("gather.tflite", &options("xnnpack", 2));
    assert!(matches!(refused, Err(Error::Provider { .. })));
    assert!(words(refused).contains("it does not take every operator of "));
}

#[test]
fn sessions_of_one_model_keep_their_own_tensors() {
    let model = fixture("small.tflite", &options("cpu", 1)).unwrap();
    let values = values("small");
    let (first, second) = values.inputs[0].split_at(192);
    let picture = |values: &[f64]| tensor(DataType::F32, &[1, 8, 8, 3], values);
    let (mut a, mut b) = (model.session().unwrap(), model.session().unwrap());
    assert_eq!(a.floats(0), None, "it has not run");
    assert_eq!(a.fetch().unwrap(), []);
    a.bind(&[picture(first)]).unwrap();
    b.bind(&[picture(second)]).unwrap();
    a.run().unwrap();
    b.run().unwrap();
    for (session, expected) in [(&a, &values.output[..10]), (&b, &values.output[10..])] {
        let found = session.floats(0).unwrap().values;
        for (&found, expected) in found.iter().zip(expected) {
            assert!((f64::from(found) - expected).abs() < 1e-5, "{found} {expected}");
        }
    }
    drop(model);
    a.run().unwrap();
}

/// The layers of a fixture. Their times are whole microseconds, of which these have none.
fn layers(name: &str, provider: &str, batch: usize) -> Vec<String> {
    let profiled = Options {
        profile: true,
        ..options(provider, batch)
    };
    let model = fixture(&format!("{name}.tflite"), &profiled).unwrap();
    let mut session = run(&*model, &values(name));
    let layers = session.profile(5).unwrap().unwrap();
    layers.into_iter().map(|layer| layer.name).collect()
}

#[test]
fn the_time_of_each_operator_is_told_whoever_computes_it() {
    let names = layers("small", "builtin", 2);
    assert_eq!(names, ["CONV_2D:0", "MEAN:1", "FULLY_CONNECTED:2"]);
    let names = layers("small", "xnnpack", 2);
    let expected = [
        "Convolution (NHWC, F32) IGEMM:0",
        "Mean (ND) Reduce2:1",
        "Static Reshape (NC):2",
        "Fully Connected (NC, F32) GEMM:3",
    ];
    assert_eq!(names, expected);
    let names = layers("gather", "cpu", 2);
    assert!(names.contains(&"GATHER:0".to_owned()), "{names:?}");
}

#[test]
fn layers_are_not_told_by_a_model_that_was_loaded_without_them() {
    let model = fixture("small.tflite", &options("cpu", 2)).unwrap();
    assert!(run(&*model, &values("small")).profile(1).is_none());
}

#[test]
fn an_operator_of_a_later_version_is_no_model_of_zeros() {
    let error = words(fixture("newer.tflite", &options("cpu", 1)));
    assert!(error.contains("LiteRT did not make it ready to run"), "{error}");
}

#[test]
fn what_was_asked_for_and_is_not_there_is_an_error() {
    let error = words(fixture("small.tflite", &options("gpu", 1)));
    let expected = "runtime `tflite` cannot use provider `gpu`: it has cpu, xnnpack, builtin";
    assert_eq!(error, expected);
    let error = words(fixture("small_int8.tflite", &options("cpu", 2)));
    assert!(error.contains("with a fixed batch, 2 is asked for"), "{error}");
    let none = Options {
        threads: 0,
        ..options("cpu", 1)
    };
    assert!(words(fixture("small.tflite", &none)).contains("0 threads are asked for"));
    let model = fixture("small.tflite", &options("cpu", 1)).unwrap();
    let turned = tensor(DataType::F32, &[1, 3, 8, 8], &[0.0; 192]);
    let error = model.session().unwrap().bind(&[turned]).unwrap_err().to_string();
    assert_eq!(error, "input 0: expected f32 [1, 8, 8, 3], got f32 [1, 3, 8, 8]");
}

#[test]
fn a_damaged_file_is_refused_by_name() {
    let whole = fs::read(folder().join("small.tflite")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("m.tflite");
    for part in 0..32 {
        fs::write(&file, &whole[..whole.len() * part / 32]).unwrap();
        let error = load(&file, &options("cpu", 1)).err().unwrap();
        assert!(matches!(error, Error::Load { .. }), "{error}");
        assert!(!error.to_string().contains('\n'), "{error}");
    }
    let error = words(fixture("tiny.onnx", &options("cpu", 1)));
    assert!(error.ends_with("it is no TensorFlow Lite model"), "{error}");
    let error = words(fixture("absent.tflite", &options("cpu", 1)));
    assert!(
        error.ends_with("No such file or directory (os error 2)"),
        "{error}"
    );
}
