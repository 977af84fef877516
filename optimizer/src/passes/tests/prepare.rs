use edgefront_runtimes::Tensor;

use super::{lines, operators};
use crate::check::check;
use crate::graph::build::{Builder, value_info};
use crate::model::Model;
use crate::passes::prepare;
use crate::proto::{AttributeProto, DataType, TensorProto, node};
use crate::testing::{difference, int, ints, noise_tensor, run_on};

/// Both models' first outputs on the same noise differ by rounding at most.
fn assert_same(runtime: &str, a: &Model, b: &Model, shape: &[usize]) {
    let run = |model: &Model| -> Tensor { run_on(runtime, model, &[noise_tensor(shape)]).swap_remove(0) };
    let difference = difference(&run(a), &run(b));
    assert!(difference < 1e-5, "{difference}");
}

#[test]
fn constants_become_initializers_and_idle_nodes_go() {
    let mut b = Builder::new(17);
    let x = b.input("x", &["2", "4"]);
    let constant = TensorProto::of("", &[4], &[1.0_f32, 2.0, 3.0, 4.0]);
    let c = b.op("Constant", &[], &[AttributeProto::from_tensor("value", constant)]);
    let half = b.op("Constant", &[], &[AttributeProto::from_float("value_float", 0.5)]);
    let y = b.op("Add", &[&x, &c], &[]);
    let y = b.op("Mul", &[&y, &half], &[]);
    let y = b.op("Dropout", &[&y], &[]);
    let shape = b.op("Shape", &[&y], &[]);
    let y = b.op("Reshape", &[&y, &shape], &[]);
    let y = b.op("Identity", &[&y], &[]);
    let model = b.finish(&[&y]);
    let (prepared, report) = prepare(&model).unwrap();
    assert_eq!(operators(&prepared), ["Add", "Mul", "Reshape"]);
    assert_eq!(prepared.graph().output[0].name(), y);
    insta::assert_snapshot!(lines(&report), @r"
    +constant_0: made an initializer
    +constant_1: made an initializer
    +dropout_4: removed: it does nothing at inference
    +shape_5: computed: it depends on constants only
    +identity_7: removed: it does nothing at inference
    ");
    assert_same("tract", &model, &prepared, &[2, 4]);
    assert_eq!(prepare(&prepared).unwrap().0, prepared);
}

/// What exporters write for `x.reshape(batch * 2, 4, 3)` and back with a dynamic batch.
#[test]
fn targets_of_a_reshape_that_only_the_batch_leaves_open_become_constant() {
    let mut b = Builder::new(17);
    let x = b.input("x", &["batch", "8", "3"]);
    let first = b.ints(&[0]);
    let shape = b.op("Shape", &[&x], &[]);
    let batch = b.op("Gather", &[&shape, &first], &[int("axis", 0)]);
    let two = b.ints(&[2]);
    let parts = b.op("Mul", &[&batch, &two], &[]);
    let rest = b.ints(&[4, 3]);
    let target = b.op("Concat", &[&parts, &rest], &[int("axis", 0)]);
    let y = b.op("Reshape", &[&x, &target], &[]);
    let y = b.op("Relu", &[&y], &[]);
    let rest = b.ints(&[8, 3]);
    let target = b.op("Concat", &[&batch, &rest], &[int("axis", 0)]);
    let y = b.op("Reshape", &[&y, &target], &[int("allowzero", 1)]);
    let swapped = b.op("Transpose", &[&y], &[ints("perm", &[0, 2, 1])]);
    let target = b.op("Shape", &[&swapped], &[]);
    let y = b.op("Reshape", &[&y, &target], &[]);
    let model = b.finish(&[&y]);
    let (prepared, _) = prepare(&model).unwrap();
    assert_eq!(operators(&prepared), ["Reshape", "Relu", "Reshape", "Reshape"]);
    let target = |index: usize| {
        let mut nodes = prepared.graph().node.iter().filter(|node| node.is("Reshape"));
        let name = nodes.nth(index).unwrap().input[1].clone();
        let mut tensors = prepared.graph().initializer.iter();
        tensors
            .find(|tensor| tensor.name() == name)
            .unwrap()
            .integers()
            .unwrap()
    };
    assert_eq!(
        [target(0), target(1), target(2)],
        [[-1, 4, 3], [-1, 8, 3], [0, 3, 8]]
    );
    for batch in [1, 3] {
        assert_same("tract", &model, &prepared, &[batch, 8, 3]);
    }
}

/// Two extents that nobody knows cannot both be left to the runtime.
#[test]
fn a_target_with_more_left_open_stays_computed() {
    let mut b = Builder::new(17);
    let x = b.input("x", &["batch", "c", "h", "w"]);
    let order = b.ints(&[1, 0, 3, 2]);
    let shape = b.op("Shape", &[&x], &[]);
    let target = b.op("Gather", &[&shape, &order], &[]);
    let y = b.op("Reshape", &[&x, &target], &[]);
    let model = b.finish(&[&y]);
    assert_eq!(
        operators(&prepare(&model).unwrap().0),
        ["Shape", "Gather", "Reshape"]
    );
}

#[test]
fn an_identity_that_names_an_output_stays_where_it_must() {
    let mut b = Builder::new(17);
    let x = b.input("x", &["2", "4"]);
    let hidden = b.op("Relu", &[&x], &[]);
    let copy = b.op("Identity", &[&hidden], &[]);
    let echo = b.op("Identity", &[&x], &[]);
    let model = b.finish(&[&hidden, &copy, &echo]);
    let (prepared, _) = prepare(&model).unwrap();
    assert_eq!(prepared, model);
}

#[test]
fn a_dropout_that_trains_or_whose_mask_is_read_stays() {
    let mut b = Builder::new(17);
    b.input("x", &["2", "4"]);
    let yes = onnx_true();
    b.initializer(yes);
    b.node(node("Dropout", "trains", &["x", "", "yes"], &["a"]));
    b.node(node("Dropout", "masks", &["a"], &["y", "mask"]));
    b.proto_mut()
        .output
        .push(value_info("mask", DataType::Bool, None));
    let model = b.finish(&["y"]);
    assert_eq!(operators(&prepare(&model).unwrap().0), ["Dropout", "Dropout"]);
}

fn onnx_true() -> TensorProto {
    let mut yes = TensorProto::of("yes", &[], &[1_u8]);
    yes.data_type = Some(DataType::Bool.into());
    yes
}

/// A network in the style of 2018: IR version 3, opset 9, initializers also listed as inputs.
fn old() -> Model {
    let mut b = Builder::new(9);
    let x = b.input("x", &["1", "4", "6", "6"]);
    b.input("w0", &["4", "4", "3", "3"]);
    let weights: Vec<f32> = (0..144).map(|index| (index % 7) as f32 / 7.0 - 0.4).collect();
    let w = b.floats(&[4, 4, 3, 3], &weights);
    let pads = [
        ints("pads", &[0, 0, 1, 1, 0, 0, 1, 1]),
        AttributeProto::from_text("mode", "constant"),
    ];
    let y = b.op("Pad", &[&x], &pads);
    let y = b.op("Conv", &[&y, &w], &[]);
    let bounds = [
        AttributeProto::from_float("min", -0.5),
        AttributeProto::from_float("max", 1.5),
    ];
    let y = b.op("Clip", &[&y], &bounds);
    let y = b.op("Dropout", &[&y], &[AttributeProto::from_float("ratio", 0.5)]);
    let slice = [ints("starts", &[1]), ints("ends", &[5]), ints("axes", &[2])];
    let y = b.op("Slice", &[&y], &slice);
    let y = b.op("Unsqueeze", &[&y], &[ints("axes", &[0])]);
    let y = b.op("Squeeze", &[&y], &[ints("axes", &[0])]);
    let y = b.op("Softmax", &[&y], &[]);
    let y = b.op("ReduceSum", &[&y], &[ints("axes", &[3]), int("keepdims", 0)]);
    let model = b.finish(&[&y]);
    let mut proto = model.into_proto();
    proto.ir_version = Some(3);
    Model::from_proto(proto)
}

#[test]
fn old_models_are_upgraded() {
    let model = old();
    check(&model).unwrap();
    let (prepared, report) = prepare(&model).unwrap();
    let summary = check(&prepared).unwrap();
    assert_eq!((summary.opset, summary.ir_version), (13, 7));
    assert_eq!(prepared.graph().input.len(), 1);
    insta::assert_snapshot!(lines(&report), @r"
    +pad_0: upgraded from opset 9 to 13
    +clip_2: upgraded from opset 9 to 13
    +dropout_3: upgraded from opset 9 to 13
    +slice_4: upgraded from opset 9 to 13
    +unsqueeze_5: upgraded from opset 9 to 13
    +squeeze_6: upgraded from opset 9 to 13
    +softmax_7: upgraded from opset 9 to 13
    +reducesum_8: upgraded from opset 9 to 13
    +w0: no longer an input: its initializer is its value
    +dropout_3: removed: it does nothing at inference
    +v7_shape: computed: it depends on constants only
    ");
    assert_eq!(
        operators(&prepared),
        [
            "Pad",
            "Conv",
            "Clip",
            "Slice",
            "Unsqueeze",
            "Squeeze",
            "Flatten",
            "Softmax",
            "Reshape",
            "ReduceSum"
        ]
    );
}

#[test]
fn old_models_compute_the_same_on_tract() {
    assert_same("tract", &old(), &prepare(&old()).unwrap().0, &[1, 4, 6, 6]);
}

#[test]
fn old_models_compute_the_same_on_ort() {
    assert_same("ort", &old(), &prepare(&old()).unwrap().0, &[1, 4, 6, 6]);
}

#[test]
fn upsampling_is_resizing_on_ort() {
    let larger = [1.0_f32, 1.0, 2.0, 3.0];
    let smaller = [1.0, 1.0, 0.4, 0.7];
    for (opset, operator, scales) in [
        (9, "Upsample", larger),
        (10, "Resize", larger),
        (10, "Resize", smaller),
    ] {
        let mut b = Builder::new(opset);
        let x = b.input("x", &["1", "2", "3", "3"]);
        let scales = b.op(
            "Constant",
            &[],
            &[AttributeProto::from_tensor(
                "value",
                TensorProto::of("", &[4], &scales),
            )],
        );
        let y = b.op(
            operator,
            &[&x, &scales],
            &[AttributeProto::from_text("mode", "nearest")],
        );
        let model = b.finish(&[&y]);
        let (prepared, _) = prepare(&model).unwrap();
        assert_eq!(operators(&prepared), ["Resize"]);
        assert_same("ort", &model, &prepared, &[1, 2, 3, 3]);
    }
}

#[test]
fn a_resize_that_grows_one_axis_and_shrinks_another_is_not_upgraded() {
    let mut b = Builder::new(10);
    let x = b.input("x", &["1", "2", "3", "3"]);
    let scales = b.floats(&[4], &[1.0, 1.0, 2.0, 0.5]);
    let y = b.op("Resize", &[&x, &scales], &[]);
    let error = prepare(&b.finish(&[&y])).unwrap_err().to_string();
    assert!(error.contains("export the model with opset 13"), "{error}");
}

#[test]
fn pads_that_a_mode_stands_for_are_written_out() {
    for mode in ["SAME_UPPER", "SAME_LOWER", "VALID"] {
        let mut b = Builder::new(17);
        let x = b.input("x", &["1", "2", "9", "10"]);
        let mode = AttributeProto::from_text("auto_pad", mode);
        let weights = b.floats(&[2, 2, 4, 3], &[0.5; 48]);
        let steps = ints("strides", &[2, 3]);
        let y = b.op("Conv", &[&x, &weights], &[mode.clone(), steps]);
        let window = [mode, ints("kernel_shape", &[2, 2])];
        let y = b.op("MaxPool", &[&y], &window);
        let y = b.op("AveragePool", &[&y], &window);
        let model = b.finish(&[&y]);
        let (prepared, _) = prepare(&model).unwrap();
        let is_open = |node: &crate::proto::NodeProto| node.text("auto_pad").is_some();
        assert!(!prepared.graph().node.iter().any(is_open));
        assert_same("tract", &model, &prepared, &[1, 2, 9, 10]);
    }
}

#[test]
fn a_pad_of_some_axes_names_those_of_all() {
    let mut b = Builder::new(18);
    let x = b.input("x", &["1", "2", "3", "3"]);
    let (pads, axes) = (b.ints(&[1, 2, 3, 0]), b.ints(&[-1, 2]));
    let y = b.op("Pad", &[&x, &pads, "", &axes], &[]);
    let model = b.finish(&[&y]);
    let (prepared, _) = prepare(&model).unwrap();
    assert_eq!(
        prepared.graph().node[0].input.get(3).map(String::as_str),
        Some("")
    );
    assert_same("tract", &model, &prepared, &[1, 2, 3, 3]);
    assert_eq!(prepare(&prepared).unwrap().0, prepared);
}

#[test]
fn a_dense_layer_of_two_nodes_becomes_one() {
    let layer = |extents: &[&str], bias: [usize; 2], first: bool| {
        let mut b = Builder::new(17);
        let x = b.input("x", extents);
        let weights = b.floats(
            &[3, 4],
            &[0.5, -1.0, 2.0, 0.25, 1.0, 3.0, -2.0, 0.1, 0.2, 0.3, 0.4, 0.5],
        );
        let constant = b.floats(&bias, &[0.5, -0.5, 1.5, 2.5][..bias[0] * bias[1]]);
        let y = b.op("MatMul", &[&x, &weights], &[]);
        let y = if first {
            b.op("Add", &[&constant, &y], &[])
        } else {
            b.op("Add", &[&y, &constant], &[])
        };
        b.finish(&[&y])
    };
    for first in [false, true] {
        let model = layer(&["batch", "3"], [1, 4], first);
        let (prepared, report) = prepare(&model).unwrap();
        assert_eq!(operators(&prepared), ["Gemm"]);
        assert_eq!(lines(&report).trim(), "+matmul_0: takes `add_1` as its bias");
        assert_same("tract", &model, &prepared, &[2, 3]);
        assert_eq!(prepare(&prepared).unwrap().0, prepared);
    }
    // Products of more axes are no `Gemm`, and a constant a row is no bias.
    for (extents, bias) in [(["2", "batch", "3"].as_slice(), [1, 4]), (&["2", "3"], [2, 1])] {
        let (prepared, _) = prepare(&layer(extents, bias, false)).unwrap();
        assert_eq!(operators(&prepared), ["MatMul", "Add"]);
    }
}

#[test]
fn a_dense_layer_has_no_factors_and_a_bias_of_one_value_a_column() {
    let attributes = |transposed| {
        vec![
            AttributeProto::from_float("alpha", 0.5),
            AttributeProto::from_float("beta", 3.0),
            int("transB", transposed),
        ]
    };
    let biases: [Option<&[usize]>; 6] = [
        None,
        Some(&[]),
        Some(&[1]),
        Some(&[1, 1]),
        Some(&[4]),
        Some(&[1, 4]),
    ];
    for (bias, transposed) in biases.into_iter().zip([0, 1, 0, 1, 0, 1]) {
        let mut b = Builder::new(17);
        let x = b.input("x", &["batch", "3"]);
        let shape = if transposed == 1 { [4, 3] } else { [3, 4] };
        let weights = b.floats(&shape, &(0..12).map(|i| i as f32 / 4.0 - 1.0).collect::<Vec<_>>());
        let mut inputs = vec![x, weights];
        inputs.extend(bias.map(|shape| b.floats(shape, &[0.5, -0.5, 1.5, 2.5][..shape.iter().product()])));
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        let y = b.op("Gemm", &inputs, &attributes(transposed));
        let model = b.finish(&[&y]);
        let (prepared, _) = prepare(&model).unwrap();
        let gemm = &prepared.graph().node[0];
        assert!(gemm.attribute("alpha").is_none() && gemm.attribute("beta").is_none());
        let constants = &prepared.graph().initializer;
        let row = constants
            .iter()
            .find(|tensor| Some(&tensor.name().to_owned()) == gemm.input.get(2));
        assert_eq!(
            row.map(|tensor| tensor.shape().unwrap()),
            bias.map(|_| vec![4]),
            "{bias:?}"
        );
        assert_same("tract", &model, &prepared, &[2, 3]);
        assert_eq!(prepare(&prepared).unwrap().0, prepared);
    }
    // A bias that differs from row to row is none of integer kernels.
    let mut b = Builder::new(17);
    let x = b.input("x", &["2", "3"]);
    let (weights, bias) = (
        b.floats(&[3, 1], &[1.0, 2.0, 3.0]),
        b.floats(&[2, 1], &[1.0, 2.0]),
    );
    let y = b.op("Gemm", &[&x, &weights, &bias], &[]);
    let model = b.finish(&[&y]);
    assert_eq!(prepare(&model).unwrap().0, model);
}

#[test]
fn a_count_of_the_greatest_becomes_an_input() {
    let mut b = Builder::new(9);
    let x = b.input("x", &["1", "5"]);
    let mut top = node("TopK", "top", &[&x], &["values", "indices"]);
    top.attribute = vec![int("k", 2)];
    b.node(top);
    let y = b.op("Relu", &["values"], &[]);
    let model = b.finish(&[&y]);
    let (prepared, _) = prepare(&model).unwrap();
    assert_same("ort", &model, &prepared, &[1, 5]);
}
