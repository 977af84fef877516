//! Files of other formats than ONNX, and the runtimes that load them.

use edgefront_optimizer::recipe::named;
use edgefront_protocol::Device;

use super::plan::choose_runtimes;
use super::*;
use crate::store::fixture;

/// A study of the model as it is alone.
fn of(model: &str) -> Study {
    Study {
        variants: vec![named("fp32").unwrap()],
        ..Study::new("test", model)
    }
}

fn tflite() -> Study {
    of("m.tflite")
}

fn refused(study: &Study) -> String {
    study.validate().unwrap_err().to_string()
}

#[test]
fn a_runtime_of_another_format_is_refused() {
    let asking = |runtime: &str, model: &str| Study {
        runtimes: Some(vec![runtime.to_owned()]),
        ..of(model)
    };
    let refusal = refused(&asking("ort", "m.tflite"));
    assert_eq!(
        refusal,
        "runtimes: ort loads .onnx and m.tflite is of another format"
    );
    asking("null", "m.tflite").validate().unwrap();
    let converted = asking("tflite:builtin", "m.onnx");
    converted.validate().unwrap();
    assert_eq!(
        converted.converting_runtimes(),
        [("tflite:builtin", Format::Tflite)]
    );
    assert_eq!(asking("ort", "m.onnx").converting_runtimes(), []);
    assert_eq!(asking("tflite", "m.tflite").converting_runtimes(), []);
}

#[test]
fn what_no_pass_reads_is_measured_as_it_stands() {
    tflite().validate().unwrap();
    let data = Study {
        validation: Some("val.npz".into()),
        ..tflite()
    };
    let passes = Study {
        variants: vec![named("fp16").unwrap()],
        ..tflite()
    };
    for study in [data, passes] {
        assert!(refused(&study).starts_with("m.tflite is measured as it stands: "));
    }
}

/// A device whose LiteRT has two providers.
fn device() -> Device {
    let mut device = fixture::device("pi");
    device.runtimes.push(edgefront_protocol::RuntimeStatus {
        name: "tflite".into(),
        state: edgefront_protocol::RuntimeState::Ready {
            version: "2.3.0".into(),
            providers: vec!["cpu".into(), "builtin".into()],
        },
    });
    device
}

#[test]
fn the_default_runtimes_are_those_of_the_format() {
    assert_eq!(choose_runtimes(&tflite(), &device()).ready, ["tflite"]);
    let choice = choose_runtimes(&tflite(), &fixture::device("pi"));
    assert_eq!(choice.failed[0].error, "it does not have the runtime tflite");
}

#[test]
fn a_provider_is_one_that_the_device_has() {
    let study = Study {
        runtimes: Some(vec![
            "tflite:builtin".into(),
            "tflite:gpu".into(),
            "tflite:cpu+set=on".into(),
        ]),
        ..tflite()
    };
    let choice = choose_runtimes(&study, &device());
    assert_eq!(choice.ready, ["tflite:builtin", "tflite:cpu+set=on"]);
    let why = "its tflite has no provider gpu, but cpu, builtin";
    assert_eq!(choice.failed[0].error, why);
}

#[test]
fn a_runtime_that_is_named_in_two_ways_is_refused() {
    let study = Study {
        runtimes: Some(vec!["tflite".into(), "tflite:cpu".into()]),
        ..tflite()
    };
    assert_eq!(
        refused(&study),
        "runtimes: `tflite` and `tflite:cpu` are the same"
    );
}

#[test]
fn a_setting_that_spells_out_a_default_is_no_other_configuration() {
    assert_eq!(
        runtime_and_provider("ort:cpu+arena=on"),
        runtime_and_provider("ort")
    );
    let study = Study {
        runtimes: Some(vec!["ort".into(), "ort:cpu+arena=on+spin=on".into()]),
        ..of("m.onnx")
    };
    assert_eq!(
        refused(&study),
        "runtimes: `ort` and `ort:cpu+arena=on+spin=on` are the same"
    );
}

#[test]
fn one_compiled_file_is_measured_under_one_name() {
    let study = Study {
        runtimes: Some(vec!["tvm".into(), "ort".into(), "tvm:untuned".into()]),
        ..of("m.onnx")
    };
    let why = refused(&study);
    assert!(
        why.starts_with("runtimes: `tvm` and `tvm:untuned` are the same code"),
        "{why}"
    );
}

#[test]
fn code_of_tvm_that_is_to_be_untuned_is_not_searched_for() {
    let trials = |runtime: &str| {
        let study = Study {
            runtimes: Some(vec!["ort".into(), runtime.into()]),
            tvm_trials: 200,
            ..of("m.onnx")
        };
        study.search_trials()
    };
    assert_eq!((trials("tvm"), trials("tvm:untuned")), (200, 0));
}
