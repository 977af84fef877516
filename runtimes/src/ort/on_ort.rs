use crate::onnx::tests::message;
use crate::protobuf::next;

use super::*;

/// What loading would do first otherwise, within the time that is taken of it.
#[test]
fn opening_makes_the_environment_and_probing_does_not() {
    let runtime = Ort::new(&Search::default());
    // Other tests of this process may have made it.
    let was_made = LOADED.is_made();
    let probed = runtime.probe().unwrap();
    assert_eq!(LOADED.is_made(), was_made);
    assert_eq!(runtime.open().unwrap(), probed);
    assert!(LOADED.is_made());
}

#[test]
fn the_session_itself_says_who_took_its_nodes() {
    let environment = environment(&Ort::new(&Search::default()).library().unwrap()).unwrap();
    let options = port::tests::options();
    let builder = with_provider(environment, Provider::Cpu, None, Settings::default(), &options).unwrap();
    let session = open(builder, &tiny(), Settings::default(), &options).unwrap();
    let assigned = Assignment::of(&session).unwrap();
    assert_eq!(assigned.check(Provider::Cpu), Ok(None));
    assert!(
        assigned
            .check(Provider::Cuda)
            .unwrap_err()
            .contains("took no node")
    );
}

#[test]
fn settings_are_reported_with_the_provider_and_change_no_result() {
    let runtime = Ort::new(&Search::default());
    let outputs = |provider: &str| {
        let model = runtime.load(&tiny(), &asking(provider)).unwrap();
        assert_eq!(model.provider(), provider);
        outputs(&*model)
    };
    let plain = outputs("cpu");
    for setting in [
        "arena=off",
        "spin=off",
        "optimization=disable",
        "optimization=basic",
    ] {
        let set = outputs(&format!("cpu+{setting}"));
        // Kernels that were not fused round otherwise.
        let is_near = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-5;
        assert!(plain.iter().zip(&set).all(is_near), "{setting}: {set:?}");
    }
}

#[test]
fn a_default_that_is_spelled_out_is_reported_as_the_default() {
    let runtime = Ort::new(&Search::default());
    let reported = |provider: &str| {
        let model = runtime.load(&tiny(), &asking(provider)).unwrap();
        model.provider().to_owned()
    };
    assert_eq!(reported("cpu+arena=on"), "cpu");
    assert_eq!(reported("cpu+spin=off+optimization=all"), "cpu+spin=off");
    assert_eq!(runtime.canonical_provider("cpu+arena=maybe"), "cpu+arena=maybe");
}

/// A builder of sessions as loading makes it with these settings.
fn built(written: &str) -> SessionBuilder {
    let environment = environment(&Ort::new(&Search::default()).library().unwrap()).unwrap();
    let (_, settings) = Settings::split(written).unwrap();
    let options = port::tests::options();
    let builder = with_provider(environment, Provider::Cpu, None, settings, &options).unwrap();
    configured(builder, settings, &options).unwrap()
}

/// ONNX Runtime writes the graph that it runs, of which each level makes another.
#[test]
fn levels_of_optimization_reach_the_graph_that_runs() {
    let folder = tempfile::tempdir().unwrap();
    let graph = |model: &Path, level: &str| {
        let file = folder.path().join(level);
        let builder = built(&format!("cpu+optimization={level}"));
        let mut builder = builder.with_optimized_model_path(&file).unwrap();
        builder.commit_from_file(model).unwrap();
        std::fs::read(&file).unwrap()
    };
    let model = folder.path().join("model.onnx");
    std::fs::write(&model, passing_on(FLOAT)).unwrap();
    let nodes = ["disable", "basic"].map(|level| operators(&graph(&model, level)));
    assert_eq!(nodes, [2, 1], "basic takes out what passes on");
    let [basic, extended, all] = ["basic", "extended", "all"].map(|level| graph(&tiny(), level));
    assert!(operators(&basic) > operators(&extended), "extended fuses");
    assert_ne!(extended, all, "all has the processor's layout");
}

/// Without an arena there is nothing that counts.
#[test]
fn the_arena_is_there_or_not() {
    let of = |written: &str| memory(&built(written).commit_from_file(tiny()).unwrap());
    let counted = of("cpu");
    assert!(counted.contains_key("NumArenaExtensions"), "{counted:?}");
    assert_eq!(of("cpu+arena=on"), counted);
    assert_eq!(of("cpu+arena=off"), BTreeMap::new());
}

/// A session does not tell how its threads wait, so what it is made of is asked.
#[test]
fn spinning_is_what_sessions_are_made_with() {
    for (written, expected) in [("cpu", "1"), ("cpu+spin=on", "1"), ("cpu+spin=off", "0")] {
        assert_eq!(entry(&built(written), SPINNING), expected, "{written}");
    }
}

/// A runtime that saves graphs in a folder of the test's own.
fn saving_in(folder: &Path) -> Ort {
    Ort {
        folder: Ok(folder.to_owned()),
        ..Ort::new(&Search::default())
    }
}

fn remark(model: &dyn Model) -> &str {
    model.remark().unwrap()
}

#[test]
fn a_graph_that_was_saved_is_loaded_in_the_place_of_the_model() {
    let folder = tempfile::tempdir().unwrap();
    let (runtime, saved) = (saving_in(folder.path()), asking("cpu+saved=on"));
    runtime.prepare(&tiny(), &saved).unwrap();
    let model = runtime.load(&tiny(), &saved).unwrap();
    assert!(remark(&*model).contains("rewrote and saved it just now"));
    assert_eq!(
        outputs(&*model),
        outputs(&*runtime.load(&tiny(), &asking("cpu")).unwrap())
    );
    let next = saving_in(folder.path());
    let again = next.load(&tiny(), &saved).unwrap();
    assert!(remark(&*again).contains("on this device before"));
    let other = asking("xnnpack+saved=on");
    let error = runtime.prepare(&tiny(), &other).unwrap_err().to_string();
    assert!(error.contains("saved=on is for the provider cpu"), "{error}");
}

#[test]
fn a_saved_graph_that_is_damaged_is_made_anew_and_that_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let saved = asking("cpu+saved=on");
    saving_in(folder.path()).prepare(&tiny(), &saved).unwrap();
    let entry = std::fs::read_dir(folder.path()).unwrap().next().unwrap();
    std::fs::write(entry.unwrap().path().join("model.onnx"), "cut off").unwrap();
    let model = saving_in(folder.path()).load(&tiny(), &saved).unwrap();
    let remark = remark(&*model);
    assert!(
        remark.contains("is damaged and made way for this one"),
        "{remark}"
    );
}

/// Saving a graph asks for no more than loading the model: the types of inputs and outputs are ONNX Runtime's matter.
#[test]
fn a_type_that_is_not_supported_is_named_with_a_saved_graph_and_without() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model.onnx");
    std::fs::write(&model, passing_on(DOUBLE)).unwrap();
    let runtime = saving_in(folder.path());
    for provider in ["cpu", "cpu+saved=on"] {
        let error = runtime.load(&model, &asking(provider)).err().unwrap().to_string();
        assert!(error.contains("input `x` is of the unsupported type"), "{error}");
    }
}

#[test]
fn a_profiled_session_tells_the_time_of_each_layer_once_and_others_tell_none() {
    let runtime = Ort::new(&Search::default());
    let profiled = Options {
        profile: true,
        ..port::tests::options()
    };
    let session = |options: &Options| bound(&*runtime.load(&tiny(), options).unwrap());
    let mut asked = session(&profiled);
    let layers = asked.profile(20).unwrap().unwrap();
    assert!(layers.iter().any(|layer| layer.operator == "Conv"), "{layers:?}");
    assert!(layers.iter().all(|layer| !layer.name.is_empty()));
    assert!(asked.profile(20).unwrap().is_err());
    assert!(session(&port::tests::options()).profile(20).is_none());
}

fn asking(provider: &str) -> Options {
    Options {
        provider: provider.to_owned(),
        ..port::tests::options()
    }
}

/// Number of the nodes of a model.
fn operators(model: &[u8]) -> usize {
    let graph = parts(model, 7)[0];
    parts(graph, 1).len()
}

/// The fields of this number in a message.
fn parts(mut message: &[u8], wanted: u64) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    while let Some((number, length)) = next(&mut message).unwrap() {
        let part = message.split_off(..length as usize).unwrap();
        if number == wanted {
            parts.push(part);
        }
    }
    parts
}

/// `TensorProto.FLOAT` and `DOUBLE`.
const FLOAT: u8 = 1;
const DOUBLE: u8 = 11;

/// A model of two nodes that passes four elements of a type on.
fn passing_on(element: u8) -> Vec<u8> {
    let shape = message(&[(1, &[1 << 3, 4])]);
    let tensor = [&[1 << 3, element], message(&[(2, &shape)]).as_slice()].concat();
    let value = |name: &[u8]| message(&[(1, name), (2, &message(&[(1, &tensor)]))]);
    let node = |from: &[u8], to: &[u8], kind: &[u8]| message(&[(1, from), (2, to), (4, kind)]);
    let graph = message(&[
        (1, &node(b"x", b"between", b"Identity")),
        (1, &node(b"between", b"y", b"Neg")),
        (2, b"passes on"),
        (11, &value(b"x")),
        (12, &value(b"y")),
    ]);
    // Version 8 of the format, and 17 of the operators.
    let rest = message(&[(8, &[2 << 3, 17]), (7, &graph)]);
    [&[1 << 3, 8], rest.as_slice()].concat()
}

/// What is set under a key in what sessions are made of.
#[expect(unsafe_code, reason = "the wrapper has no call for it")]
fn entry(builder: &SessionBuilder, key: &str) -> String {
    use ort::AsPointer as _;

    let key = std::ffi::CString::new(key).unwrap();
    let mut value = [0u8; 8];
    let mut size = value.len();
    // SAFETY: the builder is alive, the key is null-terminated, and the length of the place for the value is told.
    let status = unsafe {
        let place = value.as_mut_ptr().cast();
        (ort::api().GetSessionConfigEntry)(builder.ptr(), key.as_ptr(), place, &raw mut size)
    };
    // SAFETY: the status is the one that the call above gave.
    unsafe { ort::Error::result_from_status(status) }.unwrap();
    let text = std::ffi::CStr::from_bytes_until_nul(&value).unwrap();
    text.to_str().unwrap().to_owned()
}

/// What ONNX Runtime counts of the memory of a session, as keys and values.
#[expect(unsafe_code, reason = "the wrapper has no call for it")]
fn memory(session: &ort::session::Session) -> BTreeMap<String, String> {
    use std::ffi::{CStr, c_char};
    use std::ptr;

    use ort::AsPointer as _;
    use ort::memory::Allocator;

    let place = MemoryInfo::new(
        AllocationDevice::CPU,
        0,
        AllocatorType::Device,
        MemoryType::Default,
    );
    let allocator = Allocator::new(session, place.unwrap()).unwrap();
    let api = ort::api();
    let (mut pairs, mut keys, mut values) = (ptr::null_mut(), ptr::null(), ptr::null());
    let mut count = 0;
    // SAFETY: the allocator is alive; ONNX Runtime writes the pairs or returns an error, and they are given back once,
    // after their null-terminated texts are copied.
    unsafe {
        let status = (api.AllocatorGetStats)(allocator.ptr(), &raw mut pairs);
        ort::Error::result_from_status(status).unwrap();
        (api.GetKeyValuePairs)(pairs, &raw mut keys, &raw mut values, &raw mut count);
        let text = |texts: *const *const c_char, at: usize| {
            CStr::from_ptr(*texts.add(at)).to_string_lossy().into_owned()
        };
        let found = (0..count).map(|at| (text(keys, at), text(values, at))).collect();
        (api.ReleaseKeyValuePairs)(pairs);
        found
    }
}

/// The first output for the same input.
fn bound(model: &dyn Model) -> Box<dyn Session> {
    let port = &model.inputs()[0];
    let count = port.shape.iter().product();
    let input = Tensor::new(port.shape.clone(), Data::F32(vec![0.5; count])).unwrap();
    let mut session = model.session().unwrap();
    session.bind(&[input]).unwrap();
    session
}

fn outputs(model: &dyn Model) -> Vec<f32> {
    let mut session = bound(model);
    session.run().unwrap();
    session.floats(0).unwrap().values.to_vec()
}

fn tiny() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/models/tiny.onnx")
}

/// The library of PyPI was built for the CPU alone.
#[test]
fn a_provider_that_the_library_lacks_is_an_error() {
    let runtime = Ort::new(&Search::default());
    let held = runtime.probe().unwrap().providers;
    assert!(held.contains(&"cpu".to_owned()));
    for name in ["xnnpack", "onednn", "openvino", "cuda", "tensorrt"] {
        if held.iter().any(|own| own == name) {
            continue;
        }
        let options = Options {
            provider: name.to_owned(),
            ..port::tests::options()
        };
        let error = runtime.load(&tiny(), &options).err().unwrap();
        let is_told = matches!(&error, Error::Provider { provider, .. } if provider == name);
        assert!(is_told && !error.to_string().contains('\n'), "{error}");
    }
}
