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
