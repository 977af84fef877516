#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use super::*;
use crate::graph::build::{Builder, value_info};
use crate::proto::{AttributeProto, TensorProto, node};
use crate::testing::{int, ints};

/// The shape of what `build` returns, on an input `x` of this shape.
fn shape_at(opset: i64, input: &[&str], build: impl FnOnce(&mut Builder) -> String) -> String {
    let mut b = Builder::new(opset);
    b.input("x", input);
    let y = build(&mut b);
    match infer(&b.finish(&[]), &BTreeMap::new()) {
        Ok(values) => match &values.get(&y).unwrap().shape {
            Some(shape) => dim::display(shape),
            None => "unknown".to_owned(),
        },
        Err(error) => error.to_string(),
    }
}

fn shape(input: &[&str], build: impl FnOnce(&mut Builder) -> String) -> String {
    shape_at(17, input, build)
}

fn conv(weights: &[usize], attributes: &[AttributeProto]) -> String {
    shape(&["n", "4", "9", "8"], |b| {
        let w = b.floats(weights, &vec![0.0; weights.iter().product()]);
        b.op("Conv", &["x", &w], attributes)
    })
}

#[test]
fn convolutions() {
    assert_eq!(conv(&[6, 4, 3, 3], &[]), "[n, 6, 7, 6]");
    assert_eq!(
        conv(
            &[6, 4, 3, 3],
            &[ints("pads", &[1, 1, 1, 1]), ints("strides", &[2, 2])]
        ),
        "[n, 6, 5, 4]"
    );
    assert_eq!(conv(&[6, 4, 3, 3], &[ints("dilations", &[2, 3])]), "[n, 6, 5, 2]");
    assert_eq!(conv(&[4, 1, 1, 1], &[int("group", 4)]), "[n, 4, 9, 8]");
    let same = AttributeProto::from_text("auto_pad", "SAME_UPPER");
    assert_eq!(
        conv(&[6, 4, 3, 3], &[same, ints("strides", &[2, 2])]),
        "[n, 6, 5, 4]"
    );
    assert_eq!(
        conv(&[6, 4, 11, 3], &[]),
        "node `conv_0` (Conv): the kernel of 11 is larger than the padded input of 9"
    );
    assert_eq!(
        conv(&[6, 3, 3, 3], &[]),
        "node `conv_0` (Conv): channels of the input: 4, of the weights: 3"
    );
    assert_eq!(
        conv(&[6, 4, 3, 3], &[ints("strides", &[0, 1])]),
        "node `conv_0` (Conv): `strides` has an entry of 0"
    );
    assert_eq!(
        conv(&[6, 4, 3, 3], &[ints("pads", &[1, 1])]),
        "node `conv_0` (Conv): `pads` has 2 entries, 4 expected"
    );
}

#[test]
fn transposed_convolutions() {
    let grow = |attributes: &[AttributeProto]| {
        shape(&["n", "4", "5", "5"], |b| {
            let w = b.floats(&[4, 3, 3, 3], &[0.0; 108]);
            b.op("ConvTranspose", &["x", &w], attributes)
        })
    };
    assert_eq!(grow(&[]), "[n, 3, 7, 7]");
    let attributes = [
        ints("strides", &[2, 2]),
        ints("pads", &[1, 1, 1, 1]),
        ints("output_padding", &[1, 1]),
    ];
    assert_eq!(grow(&attributes), "[n, 3, 10, 10]");
    assert_eq!(grow(&[int("group", 2)]), "[n, 6, 7, 7]");
}

#[test]
fn pools() {
    let pool =
        |attributes: &[AttributeProto]| shape(&["n", "4", "7", "8"], |b| b.op("MaxPool", &["x"], attributes));
    let kernel = ints("kernel_shape", &[2, 2]);
    assert_eq!(pool(&[kernel.clone(), ints("strides", &[2, 2])]), "[n, 4, 3, 4]");
    assert_eq!(
        pool(&[kernel.clone(), ints("strides", &[2, 2]), int("ceil_mode", 1)]),
        "[n, 4, 4, 4]"
    );
    assert_eq!(pool(&[]), "node `maxpool_0` (MaxPool): `kernel_shape` is missing");
    assert_eq!(
        shape(&["n", "4", "7", "8"], |b| b.op("GlobalAveragePool", &["x"], &[])),
        "[n, 4, 1, 1]"
    );
}

#[test]
fn broadcasting() {
    let add = |other: &[&str]| {
        shape(&["n", "4", "1"], |b| {
            b.input("z", other);
            b.op("Add", &["x", "z"], &[])
        })
    };
    assert_eq!(add(&["4", "5"]), "[n, 4, 5]");
    assert_eq!(add(&["n", "1", "7"]), "[n, 4, 7]");
    assert_eq!(add(&["m", "1", "7"]), "[?, 4, 7]");
    assert_eq!(add(&["8", "1", "7"]), "[8, 4, 7]");
    assert_eq!(
        add(&["3", "1"]),
        "node `add_0` (Add): shapes [n, 4, 1] and [3, 1] do not broadcast"
    );
}

#[test]
fn matrix_products() {
    let product = |input: &[&str], weights: &[usize], operator: &str, attributes: &[AttributeProto]| {
        shape(input, |b| {
            let w = b.floats(weights, &vec![0.0; weights.iter().product()]);
            b.op(operator, &["x", &w], attributes)
        })
    };
    assert_eq!(product(&["n", "4"], &[4, 7], "Gemm", &[]), "[n, 7]");
    assert_eq!(
        product(&["n", "4"], &[7, 4], "Gemm", &[int("transB", 1)]),
        "[n, 7]"
    );
    assert_eq!(product(&["n", "5", "4"], &[4, 7], "MatMul", &[]), "[n, 5, 7]");
    assert_eq!(product(&["n", "5", "4"], &[4], "MatMul", &[]), "[n, 5]");
    assert_eq!(
        product(&["n", "4"], &[5, 7], "Gemm", &[]),
        "node `gemm_0` (Gemm): [n, 4] x [5, 7]: the inner axes 4 and 5 differ"
    );
}

#[test]
fn shapes_are_followed_through_computations() {
    let flattened = shape(&["n", "4", "3", "3"], |b| {
        let s = b.op("Shape", &["x"], &[]);
        let zero = b.ints(&[0]);
        let batch = b.op("Gather", &[&s, &zero], &[]);
        let rest = b.ints(&[-1]);
        let target = b.op("Concat", &[&batch, &rest], &[int("axis", 0)]);
        b.op("Reshape", &["x", &target], &[])
    });
    assert_eq!(flattened, "[n, 36]");
    let shuffled = shape(&["n", "4", "3", "3"], |b| {
        let s = b.op("Shape", &["x"], &[]);
        let (one, two, zero, end) = (b.ints(&[1]), b.ints(&[2]), b.ints(&[0]), b.ints(&[i64::MAX]));
        let channels = b.op("Slice", &[&s, &one, &two, &zero], &[]);
        let half = b.op("Div", &[&channels, &two], &[]);
        let space = b.op("Slice", &[&s, &two, &end, &zero], &[]);
        let batch = b.op("Slice", &[&s, &zero, &one], &[]);
        let target = b.op("Concat", &[&batch, &two, &half, &space], &[int("axis", 0)]);
        b.op("Reshape", &["x", &target], &[])
    });
    assert_eq!(shuffled, "[n, 2, 2, 3, 3]");
    // `token.expand(n, -1, -1)` of a vision transformer.
    let expanded = shape(&["n", "4", "3"], |b| {
        let (s, zero) = (b.op("Shape", &["x"], &[]), b.ints(&[0]));
        let batch = b.op("Gather", &[&s, &zero], &[]);
        let (open, ones) = (b.ints(&[-1, -1]), b.ints(&[1, 1, 1]));
        let target = b.op("Concat", &[&batch, &open], &[int("axis", 0)]);
        let minus = b.ints(&[-1]);
        let is_open = b.op("Equal", &[&target, &minus], &[]);
        let target = b.op("Where", &[&is_open, &ones, &target], &[]);
        let token = b.floats(&[1, 1, 3], &[0.0; 3]);
        b.op("Expand", &[&token, &target], &[])
    });
    assert_eq!(expanded, "[n, 1, 3]");
}

#[test]
fn reshapes() {
    let to = |target: &[i64]| {
        shape(&["n", "4", "3"], |b| {
            let t = b.ints(target);
            b.op("Reshape", &["x", &t], &[])
        })
    };
    assert_eq!(to(&[0, -1]), "[n, 12]");
    assert_eq!(to(&[-1, 12]), "[n, 12]");
    assert_eq!(to(&[-1, 4]), "[?, 4]");
    assert_eq!(to(&[0, 2, -1]), "[n, 2, 6]");
    assert_eq!(
        to(&[0, 5, -1]),
        "node `reshape_0` (Reshape): [n, 4, 3] cannot be reshaped to [n, 5, 1]"
    );
    assert_eq!(
        to(&[-1, -1]),
        "node `reshape_0` (Reshape): two axes of the target are -1"
    );
    let fixed = shape(&["2", "6"], |b| {
        let t = b.ints(&[5]);
        b.op("Reshape", &["x", &t], &[])
    });
    assert_eq!(
        fixed,
        "node `reshape_0` (Reshape): [2, 6] cannot be reshaped to [5]"
    );
}

#[test]
fn layout() {
    let of = |operator: &str, inputs: &[&[i64]], attributes: &[AttributeProto]| {
        shape(&["n", "4", "6", "1"], |b| {
            let constants: Vec<String> = inputs.iter().map(|values| b.ints(values)).collect();
            let names: Vec<&str> = std::iter::once("x")
                .chain(constants.iter().map(String::as_str))
                .collect();
            b.op(operator, &names, attributes)
        })
    };
    assert_eq!(of("Flatten", &[], &[]), "[n, 24]");
    assert_eq!(of("Flatten", &[], &[int("axis", 2)]), "[?, 6]");
    assert_eq!(
        of("Transpose", &[], &[ints("perm", &[0, 2, 3, 1])]),
        "[n, 6, 1, 4]"
    );
    assert_eq!(of("Transpose", &[], &[]), "[1, 6, 4, n]");
    assert_eq!(of("Squeeze", &[&[-1]], &[]), "[n, 4, 6]");
    assert_eq!(
        of("Squeeze", &[&[1]], &[]),
        "node `squeeze_0` (Squeeze): axis 1 has extent 4, not 1"
    );
    assert_eq!(of("Unsqueeze", &[&[0, 2]], &[]), "[1, n, 1, 4, 6, 1]");
    assert_eq!(of("Pad", &[&[0, 0, 1, 0, 0, 0, 2, 3]], &[]), "[n, 4, 9, 4]");
    assert_eq!(of("Slice", &[&[1], &[-1], &[2]], &[]), "[n, 4, 4, 1]");
    assert_eq!(
        of("Slice", &[&[-1], &[i64::MIN], &[2], &[-2]], &[]),
        "[n, 4, 3, 1]"
    );
    assert_eq!(of("Expand", &[&[1, 1, 1, 5]], &[]), "[n, 4, 6, 5]");
    assert_eq!(of("Tile", &[&[1, 2, 1, 3]], &[]), "[n, 8, 6, 3]");
    assert_eq!(
        of("ReduceMean", &[], &[ints("axes", &[2, 3]), int("keepdims", 0)]),
        "[n, 4]"
    );
    assert_eq!(of("ReduceSum", &[&[2]], &[]), "[n, 4, 1, 1]");
    assert_eq!(
        of("ArgMax", &[], &[int("axis", 1), int("keepdims", 0)]),
        "[n, 6, 1]"
    );
    assert_eq!(of("Gather", &[&[0, 1]], &[int("axis", 2)]), "[n, 4, 2, 1]");
    assert_eq!(of("SpaceToDepth", &[], &[int("blocksize", 1)]), "[n, 4, 6, 1]");
    assert_eq!(of("DepthToSpace", &[], &[int("blocksize", 2)]), "[n, 1, 12, 2]");
    assert_eq!(
        of("Concat", &[], &[int("axis", 9)]),
        "node `concat_0` (Concat): axis 9 does not exist among 4"
    );
}

#[test]
fn older_versions_have_attributes_in_place_of_inputs() {
    let of = |opset, operator: &str, attributes: &[AttributeProto]| {
        shape_at(opset, &["n", "4", "6", "1"], |b| {
            b.op(operator, &["x"], attributes)
        })
    };
    assert_eq!(of(9, "Squeeze", &[ints("axes", &[3])]), "[n, 4, 6]");
    assert_eq!(of(9, "Unsqueeze", &[ints("axes", &[0])]), "[1, n, 4, 6, 1]");
    assert_eq!(
        of(9, "Pad", &[ints("pads", &[0, 0, 1, 0, 0, 0, 1, 0])]),
        "[n, 4, 8, 1]"
    );
    let slice = [ints("starts", &[1]), ints("ends", &[3]), ints("axes", &[1])];
    assert_eq!(of(9, "Slice", &slice), "[n, 2, 6, 1]");
}

#[test]
fn splits() {
    let mut b = Builder::new(17);
    b.input("x", &["n", "7"]);
    let parts = b.ints(&[3, 4]);
    let mut split = node("Split", "s", &["x", &parts], &["a", "b"]);
    split.set_attribute(int("axis", 1));
    b.node(split);
    let values = infer(&b.finish(&[]), &BTreeMap::new()).unwrap();
    assert_eq!(
        dim::display(values.get("a").unwrap().shape.as_ref().unwrap()),
        "[n, 3]"
    );
    assert_eq!(
        dim::display(values.get("b").unwrap().shape.as_ref().unwrap()),
        "[n, 4]"
    );
}

#[test]
fn types_are_inferred_and_must_agree() {
    let mut b = Builder::new(17);
    b.input("x", &["n", "4"]);
    let scale = b.initializer(TensorProto::scalar("scale", 0.5_f32));
    let zero = b.initializer(TensorProto::scalar("zero", 3_u8));
    let q = b.op("QuantizeLinear", &["x", &scale, &zero], &[]);
    let d = b.op("DequantizeLinear", &[&q, &scale, &zero], &[]);
    let same = b.op("Equal", &["x", &d], &[]);
    let half = b.op("Cast", &["x"], &[int("to", DataType::Float16 as i64)]);
    let wrong = b.op("Add", &["x", &half], &[]);
    let (values, errors) = infer_all(&b.finish(&[]), &BTreeMap::new());
    let kind = |name: &str| values.get(name).unwrap().data_type;
    assert_eq!(kind(&q), DataType::Uint8);
    assert_eq!(kind(&d), DataType::Float);
    assert_eq!(kind(&same), DataType::Bool);
    assert_eq!(kind(&half), DataType::Float16);
    assert!(values.get(&wrong).is_none());
    assert_eq!(
        errors[0].to_string(),
        "node `add_4` (Add): input 0 is float32 and input 1 is float16; they must be the same"
    );
}

#[test]
fn bindings_give_extents_to_dynamic_axes() {
    let mut b = Builder::new(17);
    b.input("x", &["batch", "4"]);
    b.proto_mut()
        .input
        .push(value_info("z", DataType::Float, Some(&["", "4"])));
    let y = b.op("Relu", &["x"], &[]);
    let w = b.op("Relu", &["z"], &[]);
    let bindings = BTreeMap::from([("batch".to_owned(), 8), ("z.0".to_owned(), 2)]);
    let values = infer(&b.finish(&[]), &bindings).unwrap();
    assert_eq!(values.get(&y).unwrap().extents(), Some(vec![8, 4]));
    assert_eq!(values.get(&w).unwrap().extents(), Some(vec![2, 4]));
}

#[test]
fn what_the_model_declares_refines_and_must_not_contradict() {
    let declared = |extents: &[&str]| {
        let mut b = Builder::new(17);
        b.input("x", &["n", "4"]);
        b.input("z", &["m", "4"]);
        let y = b.op("Add", &["x", "z"], &[]);
        b.proto_mut()
            .value_info
            .push(value_info(&y, DataType::Float, Some(extents)));
        infer(&b.finish(&[]), &BTreeMap::new())
            .map(|values| dim::display(values.get(&y).unwrap().shape.as_ref().unwrap()))
    };
    assert_eq!(declared(&["k", "4"]).unwrap(), "[k, 4]");
    assert_eq!(declared(&["3", "4"]).unwrap(), "[3, 4]");
    assert_eq!(
        declared(&["k", "5"]).unwrap_err().to_string(),
        "node `add_0` (Add): the model declares `v0` otherwise: [k, 5], but it is [?, 4]"
    );
    assert!(declared(&["4"]).is_err());
}
