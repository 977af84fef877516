//! Float networks on pictures: which operators there are, and where the axes lie.

use super::parsed::converted;
use crate::convert::tflite::{Options, convert};
use crate::graph::build::Builder;
use crate::model::Model;
use crate::proto::{AttributeProto, TensorProto};
use crate::testing::{Noise, batch_norm, int, ints};

const ADD: i32 = 0;
const CONV: i32 = 3;
const DEPTHWISE: i32 = 4;
const DEPTH_TO_SPACE: i32 = 5;
const DEQUANTIZE: i32 = 6;
const DENSE: i32 = 9;
const MAX_POOL: i32 = 17;
const MUL: i32 = 18;
const RESHAPE: i32 = 22;
const RESIZE_BILINEAR: i32 = 23;
const SOFTMAX: i32 = 25;
const PAD: i32 = 34;
const TRANSPOSE: i32 = 39;
const MEAN: i32 = 40;
const PAD_V2: i32 = 60;
const HARD_SWISH: i32 = 117;
const CONCATENATION: i32 = 2;

fn conv(b: &mut Builder, noise: &mut Noise, x: &str, shape: [usize; 4], stride: i64, group: i64) -> String {
    let weights = noise.take(shape.iter().product());
    let weights = b.floats(&shape, &weights);
    let pad = shape[2] as i64 / 2;
    let attributes = [
        ints("pads", &[pad; 4]),
        ints("strides", &[stride; 2]),
        int("group", group),
    ];
    b.op("Conv", &[x, &weights], &attributes)
}

fn classifier(b: &mut Builder, noise: &mut Noise, x: &str, channels: usize) -> String {
    let weights = noise.take(channels * 5);
    let weights = b.floats(&[5, channels], &weights);
    let bias = b.floats(&[5], &[0.5; 5]);
    b.op("Gemm", &[x, &weights, &bias], &[int("transB", 1)])
}

fn residual() -> Model {
    let (mut b, mut noise) = (Builder::new(17), Noise(3));
    let x = b.input("x", &["batch", "3", "16", "16"]);
    let stem = conv(&mut b, &mut noise, &x, [8, 3, 3, 3], 2, 1);
    let stem = batch_norm(&mut b, &mut noise, &stem, 8);
    let stem = b.op("Relu", &[&stem], &[]);
    let pool = [
        ints("kernel_shape", &[3, 3]),
        ints("strides", &[2, 2]),
        ints("pads", &[1; 4]),
    ];
    let pooled = b.op("MaxPool", &[&stem], &pool);
    let inner = conv(&mut b, &mut noise, &pooled, [8, 8, 3, 3], 1, 1);
    let sum = b.op("Add", &[&inner, &pooled], &[]);
    let sum = b.op("Relu", &[&sum], &[]);
    let mean = b.op("GlobalAveragePool", &[&sum], &[]);
    let flat = b.op("Flatten", &[&mean], &[int("axis", 1)]);
    let logits = classifier(&mut b, &mut noise, &flat, 8);
    let y = b.op("Softmax", &[&logits], &[]);
    b.finish(&[&y])
}

#[test]
fn a_residual_network_has_no_transposition_and_no_activation_of_its_own() {
    let file = converted(&residual(), false);
    assert_eq!(
        file.codes(),
        [PAD, CONV, PAD_V2, MAX_POOL, CONV, ADD, MEAN, DENSE, SOFTMAX]
    );
    assert_eq!(file.input_shape(), [1, 16, 16, 3]);
    assert_eq!(file.output().shape, [1, 5]);
    assert_eq!(
        file.axes,
        r#"{"inputs":[{"axes":[0,2,3,1],"name":"x"}],"outputs":[{"axes":[0,1],"name":"v10"}]}"#
    );
}

#[test]
fn the_same_model_gives_the_same_file() {
    use sha2::Digest as _;
    let bytes = convert(&residual(), &Options::default()).unwrap().bytes;
    let digest = format!("{:x?}", &sha2::Sha256::digest(&bytes)[..8]);
    // A change here is a change of the format of the files: open one in LiteRT before it is accepted.
    insta::assert_snapshot!(digest);
}

#[test]
fn depthwise_weights_lie_with_their_channels_last() {
    let (mut b, mut noise) = (Builder::new(17), Noise(4));
    let x = b.input("x", &["1", "4", "8", "8"]);
    let wide = conv(&mut b, &mut noise, &x, [4, 1, 3, 3], 1, 4);
    let wide = b.op("HardSwish", &[&wide], &[]);
    let low = b.initializer(TensorProto::scalar("low", 0.0_f32));
    let high = b.initializer(TensorProto::scalar("high", 6.0_f32));
    let narrow = conv(&mut b, &mut noise, &wide, [2, 4, 1, 1], 1, 1);
    let y = b.op("Clip", &[&narrow, &low, &high], &[]);
    let model = b.finish(&[&y]);
    let given = model.graph().initializer[0].floats().unwrap();
    let file = converted(&model, false);
    assert_eq!(file.codes(), [DEPTHWISE, HARD_SWISH, CONV]);
    let weights = file.input_of(DEPTHWISE, 1);
    assert_eq!(weights.shape, [1, 3, 3, 4]);
    // Row 1, column 2 of channel 3.
    assert_eq!(
        weights.floats()[(3 + 2) * 4 + 3].to_bits(),
        given[3 * 9 + 3 + 2].to_bits()
    );
    assert_eq!(file.output().shape, [1, 8, 8, 2]);
}

#[test]
fn a_flattened_picture_stays_and_the_weights_behind_it_move() {
    let (mut b, mut noise) = (Builder::new(17), Noise(4));
    let x = b.input("x", &["1", "3", "4", "4"]);
    let maps = conv(&mut b, &mut noise, &x, [2, 3, 3, 3], 1, 1);
    let flat = b.op("Flatten", &[&maps], &[]);
    let y = classifier(&mut b, &mut noise, &flat, 32);
    let model = b.finish(&[&y]);
    let given = model.graph().initializer[1].floats().unwrap();
    let file = converted(&model, false);
    assert_eq!(file.codes(), [CONV, RESHAPE, DENSE]);
    // Channel 1 of pixel 3, read by output 2.
    let weights = file.input_of(DENSE, 1).floats();
    assert_eq!(
        weights[2 * 32 + 3 * 2 + 1].to_bits(),
        given[2 * 32 + 16 + 3].to_bits()
    );
}

#[test]
fn a_shuffle_of_channels_is_one_transposition() {
    let (mut b, mut noise) = (Builder::new(17), Noise(4));
    let x = b.input("x", &["batch", "4", "6", "6"]);
    let maps = conv(&mut b, &mut noise, &x, [4, 4, 3, 3], 1, 1);
    let split = b.ints(&[0, 2, 2, 6, 6]);
    let split = b.op("Reshape", &[&maps, &split], &[]);
    let turned = b.op("Transpose", &[&split], &[ints("perm", &[0, 2, 1, 3, 4])]);
    let whole = b.ints(&[0, 4, 6, 6]);
    let whole = b.op("Reshape", &[&turned, &whole], &[]);
    let y = conv(&mut b, &mut noise, &whole, [4, 4, 3, 3], 1, 1);
    let file = converted(&b.finish(&[&y]), false);
    assert_eq!(file.codes(), [CONV, RESHAPE, TRANSPOSE, RESHAPE, CONV]);
}

#[test]
fn a_detector_concatenates_and_resizes_without_transpositions() {
    let (mut b, mut noise) = (Builder::new(17), Noise(4));
    let x = b.input("x", &["1", "3", "8", "8"]);
    let near = conv(&mut b, &mut noise, &x, [4, 3, 3, 3], 1, 1);
    let far = conv(&mut b, &mut noise, &near, [4, 4, 1, 1], 2, 1);
    let factors = b.floats(&[4], &[1.0, 1.0, 2.0, 2.0]);
    let large = b.op(
        "Resize",
        &[&far, "", &factors],
        &[AttributeProto::from_text("mode", "linear")],
    );
    let joined = b.op("Concat", &[&large, &near], &[int("axis", 1)]);
    let scale = b.floats(&[8, 1, 1], &[0.5; 8]);
    let y = b.op("Mul", &[&joined, &scale], &[]);
    let file = converted(&b.finish(&[&y]), false);
    assert_eq!(file.codes(), [CONV, CONV, RESIZE_BILINEAR, CONCATENATION, MUL]);
    assert_eq!(file.input_of(MUL, 1).shape, [1, 1, 1, 8]);
    assert_eq!(file.output().shape, [1, 8, 8, 8]);
}

#[test]
fn half_precision_is_stored_and_float32_computed() {
    let file = converted(&residual(), true);
    assert!(!file.codes().contains(&TRANSPOSE));
    let stores = file
        .operators
        .iter()
        .filter(|operator| operator.code == DEQUANTIZE);
    // Weights and biases of the first convolution and of the classifier; the second one has no bias.
    assert_eq!(stores.count(), 5);
    let weights = file.input_of(DENSE, 1);
    assert!(weights.data.is_empty() && !weights.is_half());
    let large = file.tensors.iter().filter(|tensor| tensor.data.len() > 64);
    assert!(large.clone().count() > 0 && large.clone().all(super::parsed::Tensor::is_half));
}

fn refusal(model: &Model) -> String {
    convert(model, &Options::default()).unwrap_err().to_string()
}

#[test]
fn what_cannot_be_converted_is_named() {
    let mut b = Builder::new(17);
    let x = b.input("x", &["1", "3", "8", "8"]);
    let y = b.op("Erf", &[&x], &[]);
    let why = refusal(&b.finish(&[&y]));
    assert!(why.contains("erf_0") && why.contains("(Erf)"), "{why}");

    let mut b = Builder::new(17);
    let x = b.input("x", &["1", "4", "8", "8", "8"]);
    let weights = b.floats(&[4, 4, 1, 1, 1], &[0.1; 16]);
    let y = b.op("Conv", &[&x, &weights], &[]);
    let why = refusal(&b.finish(&[&y]));
    assert!(why.contains("conv_0") && why.contains("four axes"), "{why}");

    let mut b = Builder::new(17);
    let x = b.input("x", &["1", "4", "8"]);
    let found = b.op("ArgMax", &[&x], &[int("select_last_index", 1)]);
    let y = b.op("Cast", &[&found], &[int("to", 1)]);
    let why = refusal(&b.finish(&[&y]));
    assert!(why.contains("`select_last_index`"), "{why}");

    let mut b = Builder::new(17);
    let x = b.input("x", &["1", "4", "8"]);
    let found = b.op("ArgMax", &[&x], &[]);
    let same = b.op("Equal", &[&found, &found], &[]);
    let y = b.op("Cast", &[&same], &[int("to", 1)]);
    let why = refusal(&b.finish(&[&y]));
    assert!(why.contains("only floats are converted"), "{why}");

    // The bytes of quantized tensors stand for other numbers in TFLite.
    let mut b = Builder::new(17);
    let x = b.input("x", &["1", "4", "8"]);
    let scale = b.floats(&[], &[0.1]);
    let bytes = b.op("QuantizeLinear", &[&x, &scale], &[]);
    let y = b.op("Cast", &[&bytes], &[int("to", 1)]);
    let why = refusal(&b.finish(&[&y]));
    assert!(why.contains("neither truth values nor indices"), "{why}");

    let mut b = Builder::new(17);
    let x = b.input("x", &["1", "4", "5", "5"]);
    let weights = b.floats(&[4, 3, 3, 3], &[0.1; 108]);
    let shaped = [ints("output_shape", &[10, 10]), ints("strides", &[2, 2])];
    let y = b.op("ConvTranspose", &[&x, &weights], &shaped);
    let why = refusal(&b.finish(&[&y]));
    assert!(why.contains("`output_shape`"), "{why}");

    let mut b = Builder::new(17);
    let x = b.input("x", &["1", "2", "5", "5"]);
    let ones = b.floats(&[2], &[1.0; 2]);
    let training = [int("training_mode", 1)];
    let y = b.op("BatchNormalization", &[&x, &ones, &ones, &ones, &ones], &training);
    let why = refusal(&b.finish(&[&y]));
    assert!(why.contains("training mode"), "{why}");

    let mut b = Builder::new(17);
    let x = b.input("x", &["1", "3", "height", "8"]);
    let y = b.op("Relu", &[&x], &[]);
    let why = refusal(&b.finish(&[&y]));
    assert!(why.contains("axis 2 of input `x`"), "{why}");
}

/// Between layers of rows nothing is transposed, but at the model's borders, where rows lie as in ONNX.
#[test]
fn rows_are_pictures_of_one_line() {
    let layers = |count: usize| {
        let (mut b, mut noise) = (Builder::new(17), Noise(3));
        let mut x = b.input("x", &["1", "4", "16"]);
        for _ in 0..count {
            let weights = noise.take(4 * 4 * 3);
            let weights = b.floats(&[4, 4, 3], &weights);
            x = b.op("Conv", &[&x, &weights], &[ints("pads", &[1, 1])]);
            x = b.op("Relu", &[&x], &[]);
        }
        converted(&b.finish(&[&x]), false)
    };
    let one = layers(1);
    let layer = [RESHAPE, CONV, RESHAPE];
    assert_eq!(one.codes(), [&[TRANSPOSE], &layer[..], &[TRANSPOSE]].concat());
    assert_eq!(one.input_shape(), [1, 4, 16]);
    assert_eq!(one.input_of(CONV, 0).shape, [1, 1, 16, 4]);
    assert_eq!(one.input_of(CONV, 1).shape, [4, 1, 3, 4]);
    assert_eq!(
        layers(2).codes(),
        [&[TRANSPOSE], &layer[..], &layer, &[TRANSPOSE]].concat()
    );
}

#[test]
fn weights_make_the_channels_of_blocks_in_tflites_order() {
    let codes = |shared: bool| {
        let (mut b, mut noise) = (Builder::new(17), Noise(3));
        let x = b.input("x", &["1", "4", "5", "5"]);
        let y = conv(&mut b, &mut noise, &x, [8, 4, 3, 3], 1, 1);
        let mode = AttributeProto::from_text("mode", "CRD");
        let blocks = b.op("DepthToSpace", &[&y], &[int("blocksize", 2), mode]);
        let outputs = [blocks, y];
        let outputs: Vec<&str> = outputs
            .iter()
            .take(1 + usize::from(shared))
            .map(String::as_str)
            .collect();
        converted(&b.finish(&outputs), false).codes()
    };
    assert_eq!(codes(false), [CONV, DEPTH_TO_SPACE]);
    assert_eq!(codes(true), [CONV, RESHAPE, TRANSPOSE, RESHAPE, DEPTH_TO_SPACE]);
}
