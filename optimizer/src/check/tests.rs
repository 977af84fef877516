use proptest::prelude::*;

use super::*;
use crate::graph::build::{Builder, value_info};
use crate::passes;
use crate::proto::{AttributeProto, AttributeType, DataType, TensorProto, node, onnx};
use crate::testing::{Noise, batch_norm, ints};

fn network() -> Model {
    let mut b = Builder::new(17);
    let mut noise = Noise(3);
    let x = b.input("x", &["batch", "3", "8", "8"]);
    let weights = noise.take(4 * 3 * 9);
    let w = b.floats(&[4, 3, 3, 3], &weights);
    let y = b.op("Conv", &[&x, &w], &[ints("pads", &[1, 1, 1, 1])]);
    let y = batch_norm(&mut b, &mut noise, &y, 4);
    let y = b.op("Relu", &[&y], &[]);
    let shape = b.op("Shape", &[&y], &[]);
    let zero = b.ints(&[0]);
    let batch = b.op("Gather", &[&shape, &zero], &[]);
    let rest = b.ints(&[-1]);
    let target = b.op("Concat", &[&batch, &rest], &[AttributeProto::from_int("axis", 0)]);
    let flat = b.op("Reshape", &[&y, &target], &[]);
    let weights = noise.take(256 * 5);
    let w = b.floats(&[5, 256], &weights);
    let y = b.op("Gemm", &[&flat, &w], &[AttributeProto::from_int("transB", 1)]);
    b.finish(&[&y])
}

/// The findings on a model that `spoil` has made wrong.
fn findings(spoil: impl FnOnce(&mut onnx::GraphProto)) -> String {
    let mut proto = network().into_proto();
    spoil(proto.graph.as_mut().unwrap());
    check(&Model::from_proto(proto)).unwrap_err().to_string()
}

#[test]
fn a_valid_model_is_described() {
    let summary = check(&network()).unwrap();
    insta::assert_json_snapshot!(summary, @r#"
    {
      "ir_version": 8,
      "opset": 17,
      "producer": "edgefront",
      "inputs": [
        {
          "name": "x",
          "data_type": "float32",
          "shape": [
            "batch",
            3,
            8,
            8
          ]
        }
      ],
      "outputs": [
        {
          "name": "v7",
          "data_type": "float32",
          "shape": [
            "batch",
            5
          ]
        }
      ],
      "operators": {
        "BatchNormalization": 1,
        "Concat": 1,
        "Conv": 1,
        "Gather": 1,
        "Gemm": 1,
        "Relu": 1,
        "Reshape": 1,
        "Shape": 1
      },
      "parameters": 1404,
      "macs": 8192
    }
    "#);
}

#[test]
fn each_finding_names_node_or_value() {
    insta::assert_snapshot!(findings(|graph| graph.node.swap(0, 1)), @"the model is not valid: node `batchnormalization_1` reads `v0` before it is produced; sort the nodes topologically");
    insta::assert_snapshot!(findings(|graph| graph.node[2].input[0] = "nowhere".to_owned()), @"the model is not valid: node `relu_2` reads `nowhere`, which nothing produces");
    insta::assert_snapshot!(findings(|graph| graph.node[2].output[0] = "x".to_owned()), @"the model is not valid: node `relu_2` produces `x`, which exists already; node `shape_3` reads `v2`, which nothing produces; node `reshape_6` reads `v2`, which nothing produces");
    insta::assert_snapshot!(findings(|graph| graph.node[2].op_type = Some("NonMaxSuppression".to_owned())), @"the model is not valid: node `relu_2`: operator `NonMaxSuppression` is not supported; express it by others, or leave that part out of the model");
    insta::assert_snapshot!(findings(|graph| graph.node[2].domain = Some("com.example".to_owned())), @"the model is not valid: node `relu_2`: operator `Relu` of domain `com.example` is not supported; export the model with standard operators");
    insta::assert_snapshot!(findings(|graph| {
        graph.node[2].set_attribute(
            onnx::AttributeProto {
                name: Some("body".to_owned()),
                r#type: Some(AttributeType::Graph.into()),
                g: Some(onnx::GraphProto::default().into()),
                ..Default::default()
            }
            .into(),
        );
    }), @"the model is not valid: node `relu_2`: `Relu` holds a subgraph, which is not supported; export the model without control flow");
    insta::assert_snapshot!(findings(|graph| graph.initializer[0].dims[0] = 5), @"the model is not valid: tensor `w0`: shape [5, 3, 3, 3] of float32 needs 540 bytes, the file holds 432; node `batchnormalization_1` (BatchNormalization): input 1 has 4 numbers for 5 channels");
    insta::assert_snapshot!(findings(|graph| graph.initializer[0].dims[0] = i64::MAX), @"the model is not valid: tensor `w0`: the extents exceed the memory of any machine; node `conv_0` (Conv): `v0` would have an axis of 9223372036854775807");
    insta::assert_snapshot!(findings(|graph| graph.initializer[0].data_type = Some(99)), @"the model is not valid: tensor `w0`: unknown element type 99");
    insta::assert_snapshot!(findings(|graph| {
        let twin = graph.initializer[0].clone();
        graph.initializer.push(twin);
    }), @"the model is not valid: two initializers are named `w0`");
    insta::assert_snapshot!(findings(|graph| graph.output[0].name = Some("gone".to_owned())), @"the model is not valid: output `gone` is produced by no node");
    insta::assert_snapshot!(findings(|graph| {
        graph.value_info.push(value_info("v2", DataType::Float, Some(&["batch", "4", "9", "8"])));
    }), @"the model is not valid: node `relu_2` (Relu): the model declares `v2` otherwise: [batch, 4, 9, 8], but it is [batch, 4, 8, 8]");
    insta::assert_snapshot!(findings(|graph| {
        graph.initializer[0] = TensorProto::of("w0", &[4, 2, 3, 3], &[0.0_f32; 72]);
    }), @"the model is not valid: node `conv_0` (Conv): channels of the input: 3, of the weights: 2");
}

#[test]
fn attributes_and_data_are_held_to_the_format() {
    insta::assert_snapshot!(findings(|graph| graph.node[0].set_attribute(AttributeProto::from_int("stride", 2))), @"the model is not valid: node `conv_0`: operator `Conv` has no attribute `stride`");
    insta::assert_snapshot!(findings(|graph| {
        let pads = graph.node[0].attribute[0].clone();
        graph.node[0].attribute.push(pads);
    }), @"the model is not valid: node `conv_0`: two attributes are named `pads`");
    insta::assert_snapshot!(findings(|graph| graph.node[0].attribute[0].f = Some(1.0)), @"the model is not valid: node `conv_0`: attribute `pads` says that it is INTS and holds something else");
    insta::assert_snapshot!(findings(|graph| graph.initializer[0].float_data.push(1.0)), @"the model is not valid: tensor `w0`: its data lies in more than one field; keep one");
    let mut proto = network().into_proto();
    proto.ir_version = Some(3);
    let error = check(&Model::from_proto(proto)).unwrap_err().to_string();
    assert!(
        error.contains("initializer `w0` is no input, which IR version 3 asks for"),
        "{error}"
    );
}

#[test]
fn all_findings_are_listed() {
    let text = findings(|graph| {
        graph.node[1].input[1] = "nowhere".to_owned();
        graph.node[2].op_type = Some("Magic".to_owned());
        graph.output[0].name = Some("gone".to_owned());
    });
    insta::assert_snapshot!(text, @"the model is not valid: node `batchnormalization_1` reads `nowhere`, which nothing produces; node `relu_2`: operator `Magic` is not supported; express it by others, or leave that part out of the model; output `gone` is produced by no node");
}

#[test]
fn thousands_of_findings_are_cut() {
    let text = findings(|graph| {
        let magic = |index| node("Magic", &format!("m{index}"), &["x"], &[&format!("o{index}")]);
        graph.node.extend((0..5000).map(magic));
    });
    assert!(text.ends_with("; and 4980 more"), "{text}");
}

#[test]
fn versions_are_checked() {
    let spoilt = |spoil: fn(&mut onnx::ModelProto)| {
        let mut proto = network().into_proto();
        spoil(&mut proto);
        check(&Model::from_proto(proto)).unwrap_err().to_string()
    };
    insta::assert_snapshot!(spoilt(|model| model.opset_import[0].version = Some(99)), @"the model is not valid: opset 99 is not supported; export the model with an opset from 7 to 23");
    insta::assert_snapshot!(spoilt(|model| model.opset_import.clear()), @"the model is not valid: the model imports no standard operator set");
    insta::assert_snapshot!(spoilt(|model| model.ir_version = Some(99)), @"the model is not valid: IR version 99 is newer than 14, the newest that Edgefront knows; export for an older one");
    insta::assert_snapshot!(spoilt(|model| model.functions.push(onnx::FunctionProto {
        name: Some("block".to_owned()),
        ..Default::default()
    }.into())), @"the model is not valid: local function `block` is not supported; inline it with onnx.inliner");
}

/// What hostile bytes go through in a study.
fn use_all(bytes: &[u8]) {
    let Ok(model) = Model::decode(bytes, None) else {
        return;
    };
    if check(&model).is_err() {
        return;
    }
    let Ok((model, _)) = passes::prepare(&model) else {
        return;
    };
    let _ = passes::fold_batch_norm(&model);
    for method in [
        "amount = 0.5",
        "amount = 0.5\nscope = 'global'",
        "pattern = '2:4'",
        "amount = 0.5\nstructured = true\nmultiple = 1",
        "amount = 0.2\nstructured = true\nscope = 'global'",
    ] {
        let _ = passes::prune(&model, &toml::from_str(method).unwrap());
    }
    let _ = passes::fp16(&model, &passes::fp16::Options::default());
}

proptest! {
    #[test]
    fn a_truncated_model_never_panics(cut in 0.0..1.0) {
        let bytes = network().encode();
        use_all(&bytes[..(cut * bytes.len() as f64) as usize]);
    }

    #[test]
    fn a_damaged_model_never_panics(flips in proptest::collection::vec((0.0..1.0, 0_u8..8), 1..6)) {
        let mut bytes = network().encode();
        for (place, bit) in flips {
            let index = (place * bytes.len() as f64) as usize;
            bytes[index] ^= 1 << bit;
        }
        use_all(&bytes);
    }

    /// Most bytes of a model are weights; this damages what is around them.
    #[test]
    fn odd_attributes_never_panic(
        at in 0_usize..7,
        name in "(axis|axes|pads|strides|dilations|group|kernel_shape|transA|transB|to|allowzero|epsilon)",
        values in proptest::collection::vec(prop_oneof![any::<i64>(), -3_i64..10], 0..6),
    ) {
        let mut proto = network().into_proto();
        let graph = proto.graph.as_mut().unwrap();
        let mut attribute = ints(&name, &values);
        attribute.i = values.first().copied();
        graph.node[at].set_attribute(attribute);
        use_all(&Model::from_proto(proto).encode());
    }

    #[test]
    fn odd_shapes_never_panic(
        which in 0_usize..8,
        dims in proptest::collection::vec(prop_oneof![any::<i64>(), -1_i64..10], 0..5),
        operator in "(Conv|ConvTranspose|MaxPool|Gemm|MatMul|Flatten|Reshape|Slice|Pad|Split|Squeeze|Tile|Expand|Resize|Concat|Gather|ReduceMean|DepthToSpace|Upsample|Softmax|Transpose|ConstantOfShape)",
        opset in 7_i64..=23,
    ) {
        let mut proto = network().into_proto();
        proto.opset_import[0].version = Some(opset);
        let graph = proto.graph.as_mut().unwrap();
        let which = which % graph.initializer.len();
        graph.initializer[which].dims.clone_from(&dims);
        let constant = graph.initializer[which].name().to_owned();
        graph.initializer.push(TensorProto::of("extra", &[dims.len()], &dims));
        graph.node.push(node(&operator, "odd", &["x", &constant, "extra"], &["odd"]));
        graph.node.push(node(&operator, "odder", &["x", "extra", "extra", "extra"], &["odder"]));
        use_all(&Model::from_proto(proto).encode());
    }
}
