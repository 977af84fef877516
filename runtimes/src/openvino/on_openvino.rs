//! OpenVINO gives what other runtimes give and what the file says; what it does not do as asked is an error.

mod onnx;

use std::fs;

use super::*;
use crate::port::tests::options;
use onnx::{DOUBLE, FLOAT, FLOAT16, INT8, INT64, OPEN, UINT8, constant, external, input, node, output};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/models")
}

fn runtime() -> OpenVino {
    OpenVino::new(&Search::default())
}

fn load(fields: &[Vec<u8>], options: &Options) -> Result<Box<dyn Model>, Error> {
    let dir = tempfile::tempdir().unwrap();
    // Without an ending, as artifacts lie in an agent's store.
    let file = dir.path().join("model");
    fs::write(&file, onnx::model(fields)).unwrap();
    runtime().load(&file, options)
}

fn words<T>(result: Result<T, Error>) -> String {
    let error = result.err().unwrap().to_string();
    assert!(!error.contains('\n'), "{error}");
    error
}

fn floats(shape: &[usize], values: &[f32]) -> Tensor {
    Tensor::new(shape.to_vec(), Data::F32(values.to_vec())).unwrap()
}

fn run(model: &dyn Model, inputs: &[Tensor]) -> Vec<Tensor> {
    let mut session = model.session().unwrap();
    session.bind(inputs).unwrap();
    session.run().unwrap();
    session.fetch().unwrap()
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// The picture of the stored references, exact in `f32`.
fn wave(shape: &[usize]) -> Tensor {
    let elements: usize = shape.iter().product();
    let values: Vec<f32> = (0..elements)
        .map(|index| (index * 7919 % 2003) as f32 / 1024.0 - 1.0)
        .collect();
    floats(shape, &values)
}

/// The largest difference of the first outputs, in parts of the largest value.
fn difference(a: &[Tensor], b: &[Tensor]) -> f32 {
    let (a, b) = (a[0].as_f32().unwrap(), b[0].as_f32().unwrap());
    assert_eq!(a.len(), b.len());
    let largest = a.iter().fold(0.0f32, |most, value| most.max(value.abs()));
    let pairs = a.iter().zip(b);
    pairs.fold(0.0f32, |most, (a, b)| most.max((a - b).abs())) / largest
}

#[cfg(feature = "tract")]
#[test]
fn networks_give_what_tract_gives() {
    let tract = crate::tract::Tract;
    for (network, threads) in [("mobilenet_v2", 1), ("resnet18", 1), ("tiny", 1), ("tiny", 2)] {
        let file = folder().join(format!("{network}.onnx"));
        let options = Options {
            batch: 2,
            threads,
            ..options()
        };
        // A machine of one core has not two threads.
        if threads > std::thread::available_parallelism().unwrap().get() {
            continue;
        }
        let (ours, theirs) = (
            runtime().load(&file, &options).unwrap(),
            tract.load(&file, &options).unwrap(),
        );
        assert_eq!(ours.inputs(), theirs.inputs());
        assert_eq!(ours.outputs(), theirs.outputs());
        assert_eq!((ours.provider(), ours.remark()), ("cpu", None));
        let picture = [wave(&ours.inputs()[0].shape)];
        let difference = difference(&run(&*theirs, &picture), &run(&*ours, &picture));
        assert!(difference < 1e-5, "{network}: {difference}");
    }
}

#[test]
fn integers_between_q_and_dq_give_what_arithmetic_gives() {
    let scales = [0.5f32, 0.25, 2.0];
    let weights = [1i8, -128, 127, 3, -4, 5, -6, 7, -8, 9, 10, -11];
    let model = load(
        &[
            input("x", FLOAT, &[OPEN, 4]),
            constant("scale", FLOAT, &[], &bytes(&[0.125])),
            constant("zero", UINT8, &[], &[100]),
            constant("w", INT8, &[4, 3], &weights.map(|weight| weight as u8)),
            constant("scales", FLOAT, &[3], &bytes(&scales)),
            constant("zeros", INT8, &[3], &[0; 3]),
            node("QuantizeLinear", &["x", "scale", "zero"], &["q"], &[]),
            node("DequantizeLinear", &["q", "scale", "zero"], &["d"], &[]),
            node(
                "DequantizeLinear",
                &["w", "scales", "zeros"],
                &["v"],
                &[("axis", 1)],
            ),
            node("MatMul", &["d", "v"], &["y"], &[]),
            output("y", FLOAT, &[OPEN, 3]),
        ],
        &options(),
    )
    .unwrap();
    // The last lies beyond what 8 bits hold at this scale: (255 - 100) / 8.
    let steps = [8.0f32, -12.5, 0.25, 19.375];
    let mut given = steps;
    given[3] = 1000.0;
    let found = run(&*model, &[floats(&[1, 4], &given)]);
    let expected: Vec<f32> = (0..3)
        .map(|column| {
            let products = steps.iter().zip(weights.chunks(3));
            scales[column]
                * products
                    .map(|(step, row)| step * f32::from(row[column]))
                    .sum::<f32>()
        })
        .collect();
    for (found, expected) in found[0].as_f32().unwrap().iter().zip(&expected) {
        assert!((found - expected).abs() < 1e-3, "{found} {expected}");
    }
}

#[test]
fn inputs_and_outputs_keep_their_names_and_places() {
    let model = load(
        &[
            input("z", FLOAT, &[OPEN, 2]),
            input("unused", FLOAT, &[7]),
            input("a", FLOAT, &[2]),
            node("Sub", &["z", "a"], &["r"], &[]),
            node("Identity", &["r"], &["second"], &[]),
            node("Neg", &["r"], &["first"], &[]),
            output("second", FLOAT, &[OPEN, 2]),
            output("first", FLOAT, &[OPEN, 2]),
            output("r", FLOAT, &[OPEN, 2]),
        ],
        &Options {
            batch: 3,
            ..options()
        },
    )
    .unwrap();
    let names: Vec<_> = model.inputs().iter().map(|port| port.name.as_str()).collect();
    assert_eq!(names, ["z", "unused", "a"]);
    assert_eq!(model.inputs()[0].shape, [3, 2]);
    assert_eq!(model.outputs(), ["second", "first", "r"]);
    let found = run(
        &*model,
        &[
            floats(&[3, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
            floats(&[7], &[0.0; 7]),
            floats(&[2], &[10.0, 20.0]),
        ],
    );
    let difference = [-9.0, -18.0, -7.0, -16.0, -5.0, -14.0];
    let expected = floats(&[3, 2], &difference);
    let negated = floats(&[3, 2], &difference.map(|value| -value));
    assert_eq!(found, [expected.clone(), negated, expected]);
}

#[test]
fn every_type_goes_in_and_comes_out_as_it_is() {
    let all = [
        (FLOAT, Data::F32(vec![1.5, f32::MIN_POSITIVE, -3e38])),
        (
            FLOAT16,
            Data::F16([0.1, -65504.0, 6e-8].map(f16::from_f32).to_vec()),
        ),
        (INT64, Data::I64(vec![1, -5, 1 << 30])),
        (6, Data::I32(vec![i32::MIN, 16_777_217, i32::MAX])),
        (INT8, Data::I8(vec![-128, 0, 127])),
        (UINT8, Data::U8(vec![0, 128, 255])),
        (9, Data::Bool(vec![true, false, true])),
    ];
    for (element, data) in all {
        let fields = [
            input("x", element, &[OPEN, 3]),
            node("Concat", &["x", "x"], &["y"], &[("axis", 0)]),
            output("y", element, &[OPEN, 3]),
        ];
        let model = load(&fields, &options()).unwrap();
        let given = Tensor::new(vec![1, 3], data).unwrap();
        assert_eq!(model.inputs()[0].data_type, given.data_type());
        let mut session = model.session().unwrap();
        assert_eq!(session.fetch().unwrap(), [], "it has not run");
        assert_eq!(session.floats(0), None, "it has not run");
        session.bind(std::slice::from_ref(&given)).unwrap();
        session.run().unwrap();
        let found = session.fetch().unwrap();
        let expected = match given.data() {
            Data::F32(values) => Data::F32(values.repeat(2)),
            Data::F16(values) => Data::F16(values.repeat(2)),
            Data::I64(values) => Data::I64(values.repeat(2)),
            Data::I32(values) => Data::I32(values.repeat(2)),
            Data::I8(values) => Data::I8(values.repeat(2)),
            Data::U8(values) => Data::U8(values.repeat(2)),
            Data::Bool(values) => Data::Bool(values.repeat(2)),
        };
        assert_eq!(found, [Tensor::new(vec![2, 3], expected).unwrap()]);
        assert_eq!(
            session.floats(0),
            found[0].floats(),
            "what is lent is what is fetched"
        );
        assert_eq!(session.floats(1), None);
        // Of halves and long integers a reader is told.
        let is_told = [FLOAT16, INT64].contains(&element);
        assert_eq!(model.remark().is_some(), is_told, "{:?}", model.remark());
    }
}

#[test]
fn scalars_and_outputs_without_a_size_are_taken() {
    let fields = [
        input("x", FLOAT, &[]),
        input("list", FLOAT, &[4]),
        node("Add", &["x", "x"], &["y"], &[]),
        node("NonZero", &["list"], &["places"], &[]),
        output("y", FLOAT, &[]),
        output("places", INT64, &[1, OPEN]),
    ];
    let model = load(&fields, &options()).unwrap();
    let mut session = model.session().unwrap();
    for (list, places) in [([0.0, 1.0, 0.0, 1.0], vec![1, 3]), ([0.0; 4], vec![])] {
        session.bind(&[floats(&[], &[2.5]), floats(&[4], &list)]).unwrap();
        session.run().unwrap();
        let shape = vec![1, places.len()];
        let places = Tensor::new(shape, Data::I64(places)).unwrap();
        assert_eq!(session.fetch().unwrap(), [floats(&[], &[5.0]), places]);
    }
}

#[test]
fn sessions_of_one_model_keep_their_own_tensors() {
    let fields = [
        input("x", FLOAT, &[OPEN, 2]),
        node("Neg", &["x"], &["y"], &[]),
        output("y", FLOAT, &[OPEN, 2]),
    ];
    let model = load(&fields, &options()).unwrap();
    let (mut a, mut b) = (model.session().unwrap(), model.session().unwrap());
    a.bind(&[floats(&[1, 2], &[1.0, 2.0])]).unwrap();
    b.bind(&[floats(&[1, 2], &[3.0, 4.0])]).unwrap();
    a.run().unwrap();
    b.run().unwrap();
    assert_eq!(a.floats(0).unwrap().values, [-1.0, -2.0]);
    drop(model);
    b.run().unwrap();
    assert_eq!(b.floats(0).unwrap().values, [-3.0, -4.0]);
    let wrong = words(b.bind(&[floats(&[2, 1], &[0.0; 2])]));
    assert_eq!(wrong, "input 0: expected f32 [1, 2], got f32 [2, 1]");
}

#[test]
fn weights_in_another_file_are_found_beside_the_model_or_missed() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("model.onnx");
    let fields = [
        input("x", FLOAT, &[OPEN, 2]),
        external("w", FLOAT, &[2, 2], "weights.bin"),
        node("MatMul", &["x", "w"], &["y"], &[]),
        output("y", FLOAT, &[OPEN, 2]),
    ];
    fs::write(&file, onnx::model(&fields)).unwrap();
    let error = words(runtime().load(&file, &options()));
    assert!(error.contains("weights.bin"), "{error}");
    fs::write(dir.path().join("weights.bin"), bytes(&[1.0, 2.0, 3.0, 4.0])).unwrap();
    let model = runtime().load(&file, &options()).unwrap();
    let found = run(&*model, &[floats(&[1, 2], &[1.0, 10.0])]);
    assert_eq!(found, [floats(&[1, 2], &[31.0, 42.0])]);
}

#[test]
fn floats_are_narrowed_only_where_that_is_asked_for() {
    let file = folder().join("resnet18.onnx");
    let asked = |provider: &str| {
        let options = Options {
            provider: provider.to_owned(),
            ..options()
        };
        runtime().load(&file, &options)
    };
    let single = asked("cpu").unwrap();
    let picture = [wave(&single.inputs()[0].shape)];
    let expected = run(&*single, &picture);
    let providers = runtime().probe().unwrap().providers;
    assert_eq!(providers[0], "cpu");
    for (provider, remark) in [
        ("bf16", "floats are computed in bf16"),
        ("f16", "floats are computed in half precision"),
    ] {
        if !providers.iter().any(|known| known == provider) {
            let error = words(asked(provider));
            assert!(
                error.ends_with(&format!("does not compute in {provider}")),
                "{error}"
            );
            continue;
        }
        let narrow = asked(provider).unwrap();
        assert_eq!((narrow.provider(), narrow.remark()), (provider, Some(remark)));
        let difference = difference(&expected, &run(&*narrow, &picture));
        assert!((1e-5..0.1).contains(&difference), "{provider}: {difference}");
    }
}

#[test]
fn halves_that_are_computed_are_told_from_halves_that_are_stored() {
    let half = bytes_of_halves(&[1.0, 2.0]);
    let stored = [
        input("x", FLOAT, &[OPEN, 2]),
        constant("h", FLOAT16, &[2], &half),
        node("Cast", &["h"], &["w"], &[("to", FLOAT)]),
        node("Mul", &["x", "w"], &["y"], &[]),
        output("y", FLOAT, &[OPEN, 2]),
    ];
    assert_eq!(load(&stored, &options()).unwrap().remark(), None);
    let computed = [
        input("x", FLOAT, &[OPEN, 2]),
        constant("h", FLOAT16, &[2], &half),
        node("Cast", &["x"], &["c"], &[("to", FLOAT16)]),
        node("Mul", &["c", "h"], &["m"], &[]),
        node("Cast", &["m"], &["y"], &[("to", FLOAT)]),
        output("y", FLOAT, &[OPEN, 2]),
    ];
    let model = load(&computed, &options()).unwrap();
    assert_eq!(
        model.remark(),
        Some("half-precision values are computed in single precision")
    );
}

fn bytes_of_halves(values: &[f32]) -> Vec<u8> {
    let halves = values.iter().map(|&value| f16::from_f32(value));
    halves.flat_map(f16::to_le_bytes).collect()
}

#[test]
fn what_was_asked_for_and_is_not_there_is_an_error() {
    let tiny = folder().join("tiny.onnx");
    let with = |options: Options| words(runtime().load(&tiny, &options));
    let gpu = Options {
        provider: "gpu".to_owned(),
        ..options()
    };
    assert_eq!(
        with(gpu),
        "runtime `openvino` cannot use provider `gpu`: it has cpu, bf16, f16"
    );
    let none = Options {
        threads: 0,
        ..options()
    };
    assert!(with(none).contains("0 threads are asked for"));
    let many = with(Options {
        threads: 1024,
        ..options()
    });
    assert!(
        many.contains("INFERENCE_NUM_THREADS 1024 is asked for, and "),
        "{many}"
    );
    assert!(many.ends_with(" took effect on this machine"), "{many}");
    let error = words(runtime().load(&folder().join("absent.onnx"), &options()));
    assert!(error.contains("absent.onnx"), "{error}");
    let fixed = [
        input("x", FLOAT, &[1, 2]),
        node("Neg", &["x"], &["y"], &[]),
        output("y", FLOAT, &[1, 2]),
    ];
    let two = Options {
        batch: 2,
        ..options()
    };
    assert!(words(load(&fixed, &two)).contains("with a fixed batch, 2 is asked for"));
}

#[test]
fn what_openvino_does_not_know_is_refused_in_its_words() {
    for (operator, known) in [("my.own.Foo", "my.own.Foo"), ("Foo", "Foo")] {
        let fields = [
            input("x", FLOAT, &[1, 2]),
            node(operator, &["x"], &["y"], &[]),
            output("y", FLOAT, &[1, 2]),
        ];
        let error = words(load(&fields, &options()));
        let expected = format!("No conversion rule found for operations: {known}");
        assert!(error.contains(&expected), "{error}");
        assert!(!error.contains("Exception from"), "{error}");
    }
    let doubles = [
        input("x", DOUBLE, &[1, 2]),
        node("Neg", &["x"], &["y"], &[]),
        output("y", DOUBLE, &[1, 2]),
    ];
    let error = words(load(&doubles, &options()));
    assert!(error.ends_with("input `x` is of an unsupported type"), "{error}");
}

#[test]
fn a_damaged_file_is_an_error_of_one_line_or_runs() {
    let whole = fs::read(folder().join("tiny.onnx")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("m.onnx");
    let mut refused = 0;
    let mut attempt = |content: &[u8]| {
        fs::write(&file, content).unwrap();
        match runtime().load(&file, &options()) {
            Ok(model) => {
                let inputs = model
                    .inputs()
                    .iter()
                    .map(|port| Tensor::zeros(port.data_type, port.shape.clone()));
                let inputs: Option<Vec<_>> = inputs.collect();
                let mut session = model.session().unwrap();
                session.bind(&inputs.unwrap()).unwrap();
                // Whether it can be run is the library's to say.
                drop(session.run());
            }
            Err(error) => {
                assert!(matches!(error, Error::Load { .. }), "{error}");
                assert!(!error.to_string().contains('\n'), "{error}");
                refused += 1;
            }
        }
    };
    for part in 0..32 {
        attempt(&whole[..whole.len() * part / 32]);
    }
    for place in (0..whole.len()).step_by(11) {
        let mut altered = whole.clone();
        altered[place] ^= 1 << (place % 8);
        attempt(&altered);
    }
    assert!(refused > 32, "{refused}");
}

#[test]
fn opening_keeps_the_library_and_probing_does_not() {
    // Other tests of this process may have opened it.
    let was_loaded = LOADED.is_made();
    let probed = runtime().probe().unwrap();
    assert_eq!(LOADED.is_made(), was_loaded);
    assert_eq!(runtime().open().unwrap(), probed);
    assert!(LOADED.is_made());
    let folder = probed.library.unwrap();
    let folder = folder.parent().unwrap().file_name().unwrap().to_str().unwrap();
    if let Some(installed) = folder.strip_prefix("openvino-") {
        assert_eq!(probed.version, installed);
    }
}

#[test]
fn a_library_without_its_parts_says_what_is_the_matter() {
    let whole = runtime().library().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let library = dir.path().join(whole.file_name().unwrap());
    fs::copy(&whole, &library).unwrap();
    let runtime = OpenVino::new(&Search {
        runtime_path: Some(library.clone()),
    });
    let alone = words(runtime.probe());
    let expected = format!(
        "runtime `openvino` cannot be used: cannot load {}: libopenvino.so",
        library.display()
    );
    assert!(alone.starts_with(&expected), "{alone}");
    // All but the device of the CPU.
    for part in parts(&whole) {
        let name = part.file_name().unwrap();
        if !name.to_str().unwrap().contains("_cpu_plugin") && name != library.file_name().unwrap() {
            std::os::unix::fs::symlink(&part, dir.path().join(name)).unwrap();
        }
    }
    let without_cpu = words(runtime.probe());
    assert!(
        without_cpu.contains("does not load its device for the CPU"),
        "{without_cpu}"
    );
    let core = dir.path().join("libopenvino_cut.so.1");
    fs::write(&core, &fs::read(&whole).unwrap()[..100_000]).unwrap();
    let cut = words(runtime.probe());
    assert!(
        cut.contains("libopenvino_cut.so.1 is damaged: it is shorter than"),
        "{cut}"
    );
}

#[test]
fn the_time_of_each_node_is_told() {
    let file = folder().join("resnet18.onnx");
    // OpenVINO tells only of nodes that take a microsecond in the mean, which one picture is too small for.
    let profiled = Options {
        batch: 64,
        profile: true,
        ..options()
    };
    let model = runtime().load(&file, &profiled).unwrap();
    let inputs: Vec<Tensor> = model.inputs().iter().map(|port| wave(&port.shape)).collect();
    let mut session = model.session().unwrap();
    session.bind(&inputs).unwrap();
    let layers = session.profile(5).unwrap().unwrap();
    let convolutions = layers.iter().filter(|layer| layer.operator == "Convolution");
    assert_eq!(convolutions.count(), 20, "{layers:?}");
    assert!(layers.iter().any(|layer| !layer.time.is_zero()), "{layers:?}");
    let model = runtime().load(&file, &options()).unwrap();
    assert!(model.session().unwrap().profile(5).is_none());
}
