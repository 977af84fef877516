//! What the report says, and how counts are rounded.

use super::{by_layer, channels, pruned};
use crate::graph::Graph;
use crate::graph::build::Builder;
use crate::model::Model;
use crate::passes::finish;
use crate::passes::prune::{Scope, prune};
use crate::passes::tests::lines;
use crate::proto::TensorProto;
use crate::testing::{Noise, batch_norm, int, ints};

fn conv(b: &mut Builder, x: &str, shape: [usize; 4], group: i64) -> String {
    let values = Noise(shape[0] as u64).take(shape.iter().product());
    let w = b.floats(&shape, &values);
    let pad = (shape[3] / 2) as i64;
    b.op("Conv", &[x, &w], &[ints("pads", &[pad; 4]), int("group", group)])
}

/// An inverted residual block between a stem and a classifier.
fn mobile() -> Model {
    let mut b = Builder::new(17);
    let x = b.input("x", &["batch", "3", "8", "8"]);
    let stem = conv(&mut b, &x, [20, 3, 3, 3], 1);
    let y = conv(&mut b, &stem, [48, 20, 1, 1], 1);
    let y = batch_norm(&mut b, &mut Noise(1), &y, 48);
    let y = conv(&mut b, &y, [48, 1, 3, 3], 48);
    let y = b.op("Relu", &[&y], &[]);
    let y = conv(&mut b, &y, [20, 48, 1, 1], 1);
    let y = b.op("Add", &[&stem, &y], &[]);
    let y = b.op("GlobalAveragePool", &[&y], &[]);
    let y = b.op("Flatten", &[&y], &[]);
    let w = b.floats(&[10, 20], &Noise(3).take(200));
    let y = b.op("Gemm", &[&y, &w], &[int("transB", 1)]);
    b.finish(&[&y])
}

#[test]
fn what_cannot_be_ranked_or_rounded_is_refused() {
    let refused = |model: &Model, multiple| prune(model, &by_layer(0.3, multiple)).unwrap_err().to_string();
    assert_eq!(refused(&mobile(), 0), "prune: `multiple` is 0; it is at least 1");
    let mut graph = Graph::new(mobile()).unwrap();
    let stem = graph.initializer("w0").unwrap().clone();
    let mut values = stem.floats().unwrap();
    values[7] = f32::NAN;
    graph.add_initializer(TensorProto::of("w0", &stem.shape().unwrap(), &values));
    let model = finish("test", graph).unwrap();
    assert_eq!(
        refused(&model, 8),
        "tensor `w0`: it holds NaN, by which no channel can be ranked; repair the model"
    );
}

#[test]
fn nodes_that_were_cut_are_answered() {
    let whole = mobile().proto().clone();
    for index in 0..mobile().graph().node.len() {
        for outputs in [false, true] {
            let mut cut = whole.clone();
            let node = &mut cut.graph.as_mut().unwrap().node[index];
            if outputs {
                node.output.clear();
            } else {
                node.input.clear();
            }
            // Either answer will do; a panic would not.
            let _ = prune(&Model::from_proto(cut), &by_layer(0.3, 8));
        }
    }
}

#[test]
fn kept_channels_are_rounded_up() {
    let report = |amount, multiple| lines(&pruned(&mobile(), &by_layer(amount, multiple)).1);
    insta::assert_snapshot!(report(0.3, 8), @r"
    +conv_0: 16 of 20 output channels stay
    +conv_1: 40 of 48 output channels stay, 16 of 20 input channels stay
    +conv_3: 40 of 48 output channels stay
    +conv_5: 16 of 20 output channels stay, 40 of 48 input channels stay
    +gemm_9: 16 of 20 input channels stay, its 10 output channels stay: they reach output `v9`
    ");
    insta::assert_snapshot!(report(0.3, 1), @r"
    +conv_0: 14 of 20 output channels stay
    +conv_1: 34 of 48 output channels stay, 14 of 20 input channels stay
    +conv_3: 34 of 48 output channels stay
    +conv_5: 14 of 20 output channels stay, 34 of 48 input channels stay
    +gemm_9: 14 of 20 input channels stay, its 10 output channels stay: they reach output `v9`
    ");
    insta::assert_snapshot!(report(1.0, 16), @r"
    +conv_0: 16 of 20 output channels stay
    +conv_1: 16 of 48 output channels stay, 16 of 20 input channels stay
    +conv_3: 16 of 48 output channels stay
    +conv_5: 16 of 20 output channels stay, 16 of 48 input channels stay
    +gemm_9: 16 of 20 input channels stay, its 10 output channels stay: they reach output `v9`
    ");
    insta::assert_snapshot!(report(0.1, 16), @r"
    -conv_0: its 20 output channels stay: so few are to leave that rounding keeps them
    -conv_1: its 48 output channels stay: so few are to leave that rounding keeps them
    -conv_3: its 48 output channels stay: so few are to leave that rounding keeps them
    -conv_5: its 20 output channels stay: so few are to leave that rounding keeps them
    -gemm_9: its 10 output channels stay: they reach output `v9`
    ");
}

/// What is divided by a number of channels would be divided by another.
#[test]
fn channels_stay_whose_number_is_computed_with() {
    for (picked, stays) in [(0, false), (1, true)] {
        let mut b = Builder::new(17);
        let x = b.input("x", &["batch", "3", "8", "8"]);
        let y = conv(&mut b, &x, [32, 3, 1, 1], 1);
        let (shape, index) = (b.op("Shape", &[&y], &[]), b.ints(&[picked]));
        let extent = b.op("Gather", &[&shape, &index], &[]);
        let extent = b.op("Cast", &[&extent], &[int("to", 1)]);
        let y = b.op("Div", &[&y, &extent], &[]);
        let y = conv(&mut b, &y, [8, 32, 1, 1], 1);
        let text = match prune(&b.finish(&[&y]), &by_layer(0.5, 8)) {
            Ok((_, report)) => lines(&report),
            Err(error) => error.to_string(),
        };
        assert_eq!(text.contains("their number is computed with"), stays, "{text}");
    }
}

#[test]
fn groups_stay_alike() {
    let mut b = Builder::new(17);
    let x = b.input("x", &["batch", "3", "8", "8"]);
    let y = conv(&mut b, &x, [32, 3, 1, 1], 1);
    let y = conv(&mut b, &y, [64, 8, 3, 3], 4);
    let y = conv(&mut b, &y, [8, 64, 1, 1], 1);
    let (model, report) = pruned(&b.finish(&[&y]), &by_layer(0.5, 8));
    insta::assert_snapshot!(lines(&report), @r"
    -conv_0: its 32 output channels stay: so few are to leave that rounding keeps them
    +conv_1: 32 of 64 output channels stay
    +conv_2: 32 of 64 input channels stay, its 8 output channels stay: they reach output `v2`
    ");
    assert_eq!(model.graph().node[1].int("group"), Some(4));
}

#[test]
fn outputs_leave_where_inputs_must_stay() {
    let mut b = Builder::new(17);
    let x = b.input("x", &["batch", "8", "8", "8"]);
    let y = conv(&mut b, &x, [16, 4, 1, 1], 2);
    let y = b.op("LRN", &[&y], &[int("size", 5)]);
    let y = conv(&mut b, &y, [32, 8, 1, 1], 2);
    let y = conv(&mut b, &y, [8, 32, 1, 1], 1);
    let (_, report) = pruned(&b.finish(&[&y]), &by_layer(0.5, 8));
    insta::assert_snapshot!(lines(&report), @r"
    -conv_0: its 16 output channels stay: they reach `lrn_1` (LRN): it normalizes over neighbouring channels
    +conv_2: 16 of 32 output channels stay
    +conv_3: 16 of 32 input channels stay, its 8 output channels stay: they reach output `v3`
    ");
}

#[test]
fn channels_that_cannot_be_followed_stay_and_the_report_says_why() {
    let mut b = Builder::new(17);
    let x = b.input("x", &["batch", "3", "8", "8"]);
    let y = conv(&mut b, &x, [16, 3, 1, 1], 1);
    let y = b.op("LRN", &[&y], &[int("size", 5)]);
    let y = conv(&mut b, &y, [16, 16, 1, 1], 1);
    let y = b.op("Softmax", &[&y], &[int("axis", 1)]);
    let y = conv(&mut b, &y, [16, 16, 1, 1], 1);
    let y = b.op("DepthToSpace", &[&y], &[int("blocksize", 2)]);
    let y = conv(&mut b, &y, [16, 4, 1, 1], 1);
    let mean = b.op("ReduceMean", &[&y], &[ints("axes", &[1])]);
    let y = b.op("Mul", &[&y, &mean], &[]);
    let y = conv(&mut b, &y, [12, 16, 1, 1], 1);
    let mixed = b.ints(&[0, 16, 12, 16]);
    let y = b.op("Reshape", &[&y, &mixed], &[]);
    let y = conv(&mut b, &y, [16, 16, 1, 1], 1);
    let skip = b.input("skip", &["batch", "16", "12", "16"]);
    let y = b.op("Add", &[&y, &skip], &[]);
    let y = conv(&mut b, &y, [16, 16, 1, 1], 1);
    let y = conv(&mut b, &y, [16, 16, 1, 1], 1);
    let computed = b.op("Relu", &[&y], &[]);
    let across = b.op("Transpose", &[&computed], &[ints("perm", &[0, 1, 3, 2])]);
    let product = b.op("MatMul", &[&computed, &across], &[]);
    let model = b.finish(&[&y, &product]);
    let (_, report) = pruned(&model, &by_layer(0.5, 8));
    insta::assert_snapshot!(lines(&report), @r"
    -conv_0: its 16 output channels stay: they reach `lrn_1` (LRN): it normalizes over neighbouring channels
    -conv_2: its 16 output channels stay: they reach `softmax_3` (Softmax): it normalizes over them
    -conv_4: its 16 output channels stay: they reach `depthtospace_5` (DepthToSpace): channels are not followed through its operator
    -conv_6: its 16 output channels stay: they reach `reducemean_7` (ReduceMean): it reduces over them
    -conv_9: its 12 output channels stay: they reach `reshape_10` (Reshape): it mixes them with other axes
    -conv_11: its 16 output channels stay: they reach `add_12` (Add): it joins them with what has a fixed size
    +conv_13: 8 of 16 output channels stay
    +conv_14: 8 of 16 input channels stay, its 16 output channels stay: they reach output `v14`
    -matmul_17: its weights are not a float32 constant
    ");
}

#[test]
fn a_model_without_channels_to_take_is_refused() {
    let mut b = Builder::new(17);
    let x = b.input("x", &["batch", "3", "8", "8"]);
    let y = conv(&mut b, &x, [16, 3, 1, 1], 1);
    let error = prune(&b.finish(&[&y]), &by_layer(0.5, 8))
        .unwrap_err()
        .to_string();
    assert_eq!(error, "prune: no channel can leave: they reach output `v0`");

    let mut b = Builder::new(17);
    let x = b.input("x", &["2", "2"]);
    let y = b.op("MatMul", &[&x, &x], &[]);
    let error = prune(&b.finish(&[&y]), &by_layer(0.5, 8))
        .unwrap_err()
        .to_string();
    assert!(error.ends_with("there is nothing to prune"), "{error}");
}

#[test]
fn the_global_scope_says_what_it_cannot_do() {
    let error = prune(&mobile(), &channels(0.99, Scope::Global, 8))
        .unwrap_err()
        .to_string();
    insta::assert_snapshot!(error, @"prune: at most 85.6 % of the multiplications can leave this model, not 99.0 %");

    let mut b = Builder::new(17);
    let x = b.input("x", &["batch", "3", "height", "8"]);
    let y = conv(&mut b, &x, [16, 3, 1, 1], 1);
    let y = conv(&mut b, &y, [16, 16, 1, 1], 1);
    let error = prune(&b.finish(&[&y]), &channels(0.5, Scope::Global, 8))
        .unwrap_err()
        .to_string();
    insta::assert_snapshot!(error, @"prune: the model's multiplications are not known, because an axis is dynamic; prune each layer by the same amount");
}

#[test]
fn declared_shapes_of_what_shrinks_are_forgotten() {
    let mut b = Builder::new(17);
    let x = b.input("x", &["batch", "3", "8", "8"]);
    let y = conv(&mut b, &x, [16, 3, 1, 1], 1);
    let z = conv(&mut b, &y, [16, 16, 1, 1], 1);
    let shape = ["batch", "16", "8", "8"];
    let info =
        |name: &str| crate::graph::build::value_info(name, crate::proto::DataType::Float, Some(&shape));
    b.proto_mut().value_info = vec![info(&y), info(&z)];
    let z = b.op("Relu", &[&z], &[]);
    let (model, _) = pruned(&b.finish(&[&z]), &by_layer(0.5, 8));
    let left: Vec<&str> = model.graph().value_info.iter().map(|info| info.name()).collect();
    assert_eq!(left, ["v1"]);
}

#[test]
fn half_precision_is_refused_rather_than_pruned_wrongly() {
    let (half, _) = crate::passes::fp16(&mobile(), &crate::passes::fp16::Options::default()).unwrap();
    let error = prune(&half, &by_layer(0.5, 8)).unwrap_err().to_string();
    assert!(error.contains("nothing to prune"), "{error}");
}
