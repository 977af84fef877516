//! One list of models, every runtime: each must give the stored reference outputs. What a runtime refuses, and why,
//! stands in `fixtures/refusals.json`, from which the README's support table is made.

#![allow(clippy::unwrap_used)]

mod networks;
mod operators;
mod support;
mod target;

/// A runtime runs what it is said to run, and refuses the rest with the words that are written down.
fn conforms(target: &str) {
    networks::conforms(target);
    operators::conforms(target);
}

#[test]
fn tract_conforms() {
    conforms("tract");
}

#[test]
fn threads_of_tract_change_nothing() {
    networks::threads_of_tract_change_nothing();
}

#[test]
fn ort_conforms() {
    conforms("ort");
}

#[test]
fn openvino_conforms() {
    conforms("openvino");
}

#[test]
fn tflite_conforms() {
    conforms("tflite");
}

#[test]
fn tflite_builtin_conforms() {
    conforms("tflite:builtin");
}

/// The whole way of inputs and outputs through `trtexec`'s files, on its test double: another process of this test, which
/// finds the double and has a cache of its own.
#[test]
fn tensorrt_conforms_on_a_test_double() {
    const INNER: &str = "EDGEFRONT_ON_TEST_DOUBLE";
    if std::env::var_os(INNER).is_some() {
        return conforms("tensorrt");
    }
    let cache = tempfile::tempdir().unwrap();
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "tensorrt_conforms_on_a_test_double"])
        .env(INNER, "1")
        .env(
            "TRTEXEC_PATH",
            edgefront_tests::program::path("trtexec-test-double"),
        )
        .env("XDG_CACHE_HOME", cache.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

// Two tests, for each model is compiled anew by TVM, for seconds.
#[test]
fn tvm_conforms_on_networks() {
    networks::conforms("tvm");
}

#[test]
fn tvm_conforms_on_operators() {
    operators::conforms("tvm");
}

/// The runtime and provider that a variable names, as in `ort:tensorrt`: for boards whose libraries no registry has.
#[cfg(feature = "named-target")]
#[test]
fn the_named_target_conforms() {
    conforms(&std::env::var("EDGEFRONT_TARGET").expect("EDGEFRONT_TARGET names a runtime"));
}
