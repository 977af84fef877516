use edgefront_runtimes::DataType as Kind;

use super::{lines, operators};
use crate::check::check;
use crate::graph::build::Builder;
use crate::model::Model;
use crate::passes::fp16::{Options, fp16};
use crate::proto::{AttributeProto, DataType};
use crate::testing::{Noise, batch_norm, difference, int, ints, noise_tensor, run_on};

const SHAPE: [usize; 4] = [1, 4, 6, 6];

/// One network for each operator that a runtime might lack in half precision.
fn networks() -> Vec<(&'static str, Model)> {
    let unary = [
        "Relu",
        "LeakyRelu",
        "Sigmoid",
        "HardSigmoid",
        "HardSwish",
        "Tanh",
        "Elu",
        "Softplus",
        "Exp",
        "Erf",
        "Softmax",
        "GlobalAveragePool",
        "GlobalMaxPool",
        "Flatten",
        "Abs",
        "Neg",
        "Identity",
    ];
    let mut networks: Vec<(&str, Model)> = unary
        .into_iter()
        .map(|operator| (operator, around(|b, _, x| b.op(operator, &[x], &[]))))
        .collect();
    let window = [ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2])];
    networks.push(("MaxPool", around(|b, _, x| b.op("MaxPool", &[x], &window))));
    networks.push((
        "AveragePool",
        around(|b, _, x| b.op("AveragePool", &[x], &window)),
    ));
    networks.push(("LRN", around(|b, _, x| b.op("LRN", &[x], &[int("size", 3)]))));
    networks.push((
        "ReduceMean",
        around(|b, _, x| b.op("ReduceMean", &[x], &[ints("axes", &[2, 3])])),
    ));
    networks.push((
        "BatchNormalization",
        around(|b, noise, x| batch_norm(b, noise, x, 4)),
    ));
    networks.push((
        "Clip",
        around(|b, _, x| {
            let (low, high) = (b.floats(&[], &[0.0]), b.floats(&[], &[0.5]));
            b.op("Clip", &[x, &low, &high], &[])
        }),
    ));
    networks.push((
        "PRelu",
        around(|b, _, x| {
            let slope = b.floats(&[4, 1, 1], &[0.1, 0.2, 0.3, 0.4]);
            b.op("PRelu", &[x, &slope], &[])
        }),
    ));
    for operator in ["Add", "Sub", "Mul", "Div", "Max", "Min"] {
        networks.push((
            operator,
            around(|b, _, x| {
                let other = b.floats(&[4, 1, 1], &[0.25, -0.25, 0.5, 0.75]);
                b.op(operator, &[x, &other], &[])
            }),
        ));
    }
    networks.push((
        "Resize",
        around(|b, _, x| {
            let scales = b.floats(&[4], &[1.0, 1.0, 2.0, 2.0]);
            let mode = AttributeProto::from_text("mode", "nearest");
            let nearest = AttributeProto::from_text("nearest_mode", "floor");
            let transform = AttributeProto::from_text("coordinate_transformation_mode", "asymmetric");
            b.op("Resize", &[x, "", &scales], &[mode, nearest, transform])
        }),
    ));
    networks.push((
        "ConvTranspose",
        around(|b, noise, x| {
            let weights = noise.take(4 * 2 * 9);
            let w = b.floats(&[4, 2, 3, 3], &weights);
            b.op("ConvTranspose", &[x, &w], &[])
        }),
    ));
    for (operator, alpha) in [("Gemm", 1.0), ("Gemm with a factor", 0.5)] {
        networks.push((
            operator,
            around(|b, noise, x| {
                let x = b.op("Flatten", &[x], &[]);
                let weights = noise.take(144 * 3);
                let w = b.floats(&[144, 3], &weights);
                let bias = noise.take(3);
                let bias = b.floats(&[3], &bias);
                b.op(
                    "Gemm",
                    &[&x, &w, &bias],
                    &[AttributeProto::from_float("alpha", alpha)],
                )
            }),
        ));
    }
    networks
}

/// A convolution, then what `build` adds.
fn around(build: impl FnOnce(&mut Builder, &mut Noise, &str) -> String) -> Model {
    let mut b = Builder::new(17);
    let mut noise = Noise(4);
    let x = b.input("x", &["batch", "4", "6", "6"]);
    let weights: Vec<f32> = noise.take(4 * 4).iter().map(|weight| weight / 2.0).collect();
    let w = b.floats(&[4, 4, 1, 1], &weights);
    let y = b.op("Conv", &[&x, &w], &[]);
    let y = build(&mut b, &mut noise, &y);
    b.finish(&[&y])
}

fn assert_close_on(runtime: &str) {
    for (operator, model) in networks() {
        let (halved, _) =
            fp16(&model, &Options::default()).unwrap_or_else(|error| panic!("{operator}: {error}"));
        let inputs = [noise_tensor(&SHAPE)];
        let before = run_on("tract", &model, &inputs).swap_remove(0);
        let after = run_on(runtime, &halved, &inputs).swap_remove(0);
        assert_eq!(after.data_type(), Kind::F32, "{operator}");
        let difference = difference(&before, &after);
        assert!(difference < 5e-3, "{operator}: {difference}");
        assert!(
            difference > 0.0,
            "{operator}: it was not computed in half precision"
        );
    }
}

#[test]
fn every_operator_runs_on_tract() {
    assert_close_on("tract");
}

#[test]
fn every_operator_runs_on_ort() {
    assert_close_on("ort");
}

#[test]
fn inputs_and_outputs_stay_float32_and_weights_halve() {
    let model = around(|b, _, x| {
        let y = b.op("Relu", &[x], &[]);
        b.op("Add", &[&y, x], &[])
    });
    let (halved, report) = fp16(&model, &Options::default()).unwrap();
    assert_eq!(operators(&halved), ["Cast", "Conv", "Relu", "Add", "Cast"]);
    let summary = check(&halved).unwrap();
    assert_eq!(summary.inputs[0].data_type, "float32");
    assert_eq!(summary.outputs[0].data_type, "float32");
    assert_eq!(summary.outputs[0].name, "v2");
    let weights = &halved.graph().initializer[0];
    assert_eq!(weights.element_type().unwrap(), DataType::Float16);
    assert_eq!(report.count_applied(), 3);
}

#[test]
fn a_model_in_half_precision_has_nothing_left_to_convert() {
    for (name, model) in networks() {
        let (half, _) = fp16(&model, &Options::default()).unwrap();
        let (again, report) = fp16(&half, &Options::default()).unwrap();
        assert_eq!(report.count_applied(), 0, "{name}: {report:?}");
        assert_eq!(again.encode(), half.encode(), "{name}");
    }
}

#[test]
fn bounds_out_of_range_saturate_and_are_reported() {
    let model = around(|b, _, x| {
        let low = b.floats(&[], &[-1e9]);
        let high = b.floats(&[], &[f32::INFINITY]);
        b.op("Clip", &[x, &low, &high], &[])
    });
    let (halved, report) = fp16(&model, &Options::default()).unwrap();
    let floats: Vec<f32> = halved.graph().initializer[1..]
        .iter()
        .flat_map(|tensor| tensor.floats().unwrap())
        .collect();
    assert_eq!(floats, [-65504.0, f32::INFINITY]);
    insta::assert_snapshot!(lines(&report), @r"
    +conv_0: computes in half precision
    +clip_1: computes in half precision; 1 of its constants saturate, being beyond 65504
    ");
}

#[test]
fn a_node_whose_weights_are_out_of_range_stays_in_float() {
    let model = around(|b, _, x| {
        let mut weights = [0.5; 16];
        weights[3] = 1e30;
        let w = b.floats(&[4, 4, 1, 1], &weights);
        let y = b.op("Conv", &[x, &w], &[]);
        b.op("Sigmoid", &[&y], &[])
    });
    let (halved, report) = fp16(&model, &Options::default()).unwrap();
    assert_eq!(
        operators(&halved),
        ["Cast", "Conv", "Cast", "Conv", "Cast", "Sigmoid", "Cast"]
    );
    insta::assert_snapshot!(lines(&report), @r"
    +conv_0: computes in half precision
    -conv_1: kept in float32: `w1` holds 1e30, beyond half precision's 65504
    +sigmoid_2: computes in half precision
    ");
    let inputs = [noise_tensor(&SHAPE)];
    let before = run_on("tract", &model, &inputs).swap_remove(0);
    let after = run_on("tract", &halved, &inputs).swap_remove(0);
    assert!(difference(&before, &after) < 5e-3);
}

#[test]
fn kept_operators_stand_between_casts() {
    let model = around(|b, _, x| {
        let y = b.op("LRN", &[x], &[int("size", 3)]);
        b.op("Relu", &[&y], &[])
    });
    let (halved, report) = fp16(&model, &Options::default()).unwrap();
    assert_eq!(
        operators(&halved),
        ["Cast", "Conv", "Cast", "LRN", "Cast", "Relu", "Cast"]
    );
    insta::assert_snapshot!(lines(&report), @r"
    +conv_0: computes in half precision
    -lrn_1: kept in float32: not every runtime has it in half precision
    +relu_2: computes in half precision
    ");
}

/// ONNX has no half-precision form of these at this opset, so that no runtime would load them.
#[test]
fn operators_of_float32_alone_stay_in_it() {
    let celu = around(|b, _, x| b.op("Celu", &[x], &[]));
    let stored = around(|b, _, x| {
        let scale = b.floats(&[], &[0.1]);
        let y = b.op("QuantizeLinear", &[x, &scale], &[]);
        b.op("DequantizeLinear", &[&y, &scale], &[])
    });
    for (model, kept) in [(celu, "Celu"), (stored, "QuantizeLinear")] {
        let (halved, report) = fp16(&model, &Options::default()).unwrap();
        let position = operators(&halved).iter().position(|operator| *operator == kept);
        assert_eq!(operators(&halved)[position.unwrap() - 1], "Cast");
        assert!(lines(&report).contains("kept in float32"), "{}", lines(&report));
    }
}

#[test]
fn what_the_user_keeps_stays_in_float() {
    let model = around(|b, _, x| {
        let y = b.op("Exp", &[x], &[]);
        b.op("Relu", &[&y], &[])
    });
    let exp = model
        .graph()
        .node
        .iter()
        .find(|node| node.is("Exp"))
        .unwrap()
        .label();
    for keep in ["Exp", &exp] {
        let options = Options {
            keep: vec![keep.to_owned()],
        };
        let (halved, report) = fp16(&model, &options).unwrap();
        assert!(lines(&report).contains(&format!("-{exp}: kept in float32, as asked for")));
        let around_exp = operators(&halved)
            .windows(3)
            .any(|three| three == ["Cast", "Exp", "Cast"]);
        assert!(around_exp, "{:?}", operators(&halved));
    }
    let options = Options {
        keep: vec!["Exb".to_owned()],
    };
    assert_eq!(
        fp16(&model, &options).unwrap_err().to_string(),
        "fp16: no node and no operator of the model is called `Exb`; keep one that is there"
    );
}
