use super::*;

/// What loading would do first otherwise, within the time that is taken of it.
#[test]
fn opening_makes_the_environment_and_probing_does_not() {
    let runtime = Ort::new(&Search::default());
    // Other tests of this process may have made it.
    let was_made = LOADED.get().is_some();
    let probed = runtime.probe().unwrap();
    assert_eq!(LOADED.get().is_some(), was_made);
    assert_eq!(runtime.open().unwrap(), probed);
    assert!(LOADED.get().is_some());
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
        let options = Options {
            provider: provider.to_owned(),
            ..port::tests::options()
        };
        let model = runtime.load(&tiny(), &options).unwrap();
        assert_eq!(model.provider(), provider);
        outputs(&*model)
    };
    let plain = outputs("cpu");
    for setting in [
        "arena=off",
        "spin=off",
        "optimization=disable",
        "optimization=all",
    ] {
        let set = outputs(&format!("cpu+{setting}"));
        // Kernels that were not fused round otherwise.
        let is_near = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-5;
        assert!(plain.iter().zip(&set).all(is_near), "{setting}: {set:?}");
    }
}

#[test]
fn a_graph_that_was_saved_is_loaded_in_the_place_of_the_model() {
    let runtime = Ort::new(&Search::default());
    let options = |provider: &str| Options {
        provider: provider.to_owned(),
        ..port::tests::options()
    };
    let saved = options("cpu+saved=on");
    runtime.prepare(&tiny(), &saved).unwrap();
    let model = runtime.load(&tiny(), &saved).unwrap();
    let remark = model.remark().unwrap();
    assert!(remark.contains("rewrote and saved it"), "{remark}");
    assert_eq!(
        outputs(&*model),
        outputs(&*runtime.load(&tiny(), &options("cpu")).unwrap())
    );
    let other = options("xnnpack+saved=on");
    let error = runtime.prepare(&tiny(), &other).unwrap_err().to_string();
    assert!(error.contains("saved=on is for the provider cpu"), "{error}");
}

/// The first output for the same input.
fn outputs(model: &dyn Model) -> Vec<f32> {
    let port = &model.inputs()[0];
    let count = port.shape.iter().product();
    let input = Tensor::new(port.shape.clone(), Data::F32(vec![0.5; count])).unwrap();
    let mut session = model.session().unwrap();
    session.bind(&[input]).unwrap();
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
