//! QDQ graphs: the pairs turn into the quantization of tensors.

use super::parsed::{INT8, Parsed, converted};
use crate::graph::build::Builder;
use crate::proto::TensorProto;
use crate::testing::{int, ints};

const ADD: i32 = 0;
const CONV: i32 = 3;
const DEPTHWISE: i32 = 4;
const DEQUANTIZE: i32 = 6;
const DENSE: i32 = 9;
const LOGISTIC: i32 = 14;
const MUL: i32 = 18;
const RESHAPE: i32 = 22;
const CONCATENATION: i32 = 2;
const MEAN: i32 = 40;
const QUANTIZE: i32 = 114;
const HARD_SWISH: i32 = 117;

/// Stores a value with this scale and zero point, and reads it.
fn pair<T: crate::Element>(b: &mut Builder, x: &str, scale: f32, zero_point: T) -> String {
    let count = b.proto_mut().initializer.len();
    let scale = b.initializer(TensorProto::scalar(&format!("scale{count}"), scale));
    let zero_point = b.initializer(TensorProto::scalar(&format!("zero{count}"), zero_point));
    let stored = b.op("QuantizeLinear", &[x, &scale, &zero_point], &[]);
    b.op("DequantizeLinear", &[&stored, &scale, &zero_point], &[])
}

/// A quantized constant with a scale for each index of its first axis.
fn weights<T: crate::Element + Default>(
    b: &mut Builder,
    shape: &[usize],
    values: &[T],
    scales: &[f32],
) -> String {
    let count = b.proto_mut().initializer.len();
    let stored = b.initializer(TensorProto::of(&format!("stored{count}"), shape, values));
    let scale = b.initializer(TensorProto::of(&format!("scale{count}"), &[scales.len()], scales));
    let zeros = vec![T::default(); scales.len()];
    let zero = b.initializer(TensorProto::of(&format!("zero{count}"), &[scales.len()], &zeros));
    b.op("DequantizeLinear", &[&stored, &scale, &zero], &[int("axis", 0)])
}

fn convolution(group: i64) -> Parsed {
    let mut b = Builder::new(17);
    let x = b.input("x", &["1", "2", "4", "4"]);
    let x = pair(&mut b, &x, 0.5, 128_u8);
    let inputs = 2 / group as usize;
    let integers: Vec<i8> = (0..2 * inputs as i8 * 9).collect();
    let kernel = weights(&mut b, &[2, inputs, 3, 3], &integers, &[0.25, 0.125]);
    let bias = weights(&mut b, &[2], &[7_i32, -9], &[0.125, 0.0625]);
    let y = b.op(
        "Conv",
        &[&x, &kernel, &bias],
        &[ints("pads", &[1; 4]), int("group", group)],
    );
    let y = pair(&mut b, &y, 0.75, 3_u8);
    converted(&b.finish(&[&y]), false)
}

#[test]
fn a_convolution_computes_in_signed_integers_with_its_own_scales() {
    let file = convolution(1);
    assert_eq!(file.codes(), [QUANTIZE, CONV, DEQUANTIZE]);
    let (picture, kernel, bias) = (
        file.input_of(CONV, 0),
        file.input_of(CONV, 1),
        file.input_of(CONV, 2),
    );
    assert_eq!(
        (picture.kind, picture.zero_points.as_slice()),
        (INT8, [0].as_slice())
    );
    assert_eq!(
        (kernel.shape.as_slice(), kernel.axis),
        ([2, 3, 3, 2].as_slice(), 0)
    );
    assert_eq!(kernel.scales, [0.25, 0.125]);
    // Row 0, column 1 of input 1, read by output 1.
    assert_eq!(kernel.data[18 + 2 + 1], 18 + 9 + 1);
    assert_eq!(bias.scales, [0.125, 0.0625]);
    assert_eq!(bias.data, [7, 0, 0, 0, 247, 255, 255, 255]);
    assert_eq!(file.output_of(CONV).zero_points, [-125]);
}

#[test]
fn depthwise_scales_lie_along_the_last_axis() {
    let file = convolution(2);
    assert_eq!(file.codes(), [QUANTIZE, DEPTHWISE, DEQUANTIZE]);
    let kernel = file.input_of(DEPTHWISE, 1);
    assert_eq!(
        (kernel.shape.as_slice(), kernel.axis),
        ([1, 3, 3, 2].as_slice(), 3)
    );
}

#[test]
fn a_row_stays_in_integers_as_the_picture_of_one_line_that_it_is() {
    let mut b = Builder::new(17);
    let x = b.input("x", &["1", "2", "1"]);
    let x = pair(&mut b, &x, 0.5, 128_u8);
    let kernel = weights(&mut b, &[2, 2, 3], &(0..12).collect::<Vec<i8>>(), &[0.25, 0.125]);
    let y = b.op("Conv", &[&x, &kernel], &[ints("pads", &[1; 2])]);
    let y = pair(&mut b, &y, 0.75, 3_u8);
    let file = converted(&b.finish(&[&y]), false);
    // No element of a row of one column moves.
    assert_eq!(
        file.codes(),
        [QUANTIZE, RESHAPE, RESHAPE, CONV, RESHAPE, DEQUANTIZE, RESHAPE]
    );
    let kernel = file.input_of(CONV, 1);
    assert_eq!(
        (kernel.kind, kernel.shape.as_slice()),
        (INT8, [2, 1, 3, 2].as_slice())
    );
    assert_eq!(
        (kernel.axis, kernel.scales.as_slice()),
        (0, [0.25, 0.125].as_slice())
    );
    // Column 1 of input 1, read by output 1.
    assert_eq!(kernel.data[6 + 2 + 1], 6 + 3 + 1);
    assert_eq!(file.output_of(CONV).scales, [0.75]);
}

#[test]
fn a_product_that_is_not_stored_in_integers_computes_in_float() {
    let mut b = Builder::new(17);
    let x = b.input("x", &["1", "2"]);
    let x = pair(&mut b, &x, 0.5, 0_i8);
    let kernel = weights(&mut b, &[3, 2], &[1_i8, 2, 3, 4, 5, 6], &[0.5, 0.25, 0.125]);
    let y = b.op("Gemm", &[&x, &kernel], &[int("transB", 1)]);
    let file = converted(&b.finish(&[&y]), false);
    assert_eq!(file.codes(), [QUANTIZE, DEQUANTIZE, DENSE]);
    assert_eq!(
        file.input_of(DENSE, 1).floats(),
        [0.5, 1.0, 0.75, 1.0, 0.625, 0.75]
    );
}

#[test]
fn parts_of_other_scales_are_converted_before_they_are_joined() {
    let mut b = Builder::new(17);
    let x = b.input("x", &["1", "2", "4", "4"]);
    let z = b.input("z", &["1", "2", "4", "4"]);
    let (x, z) = (pair(&mut b, &x, 0.5, 0_i8), pair(&mut b, &z, 0.25, 0_i8));
    let y = b.op("Concat", &[&x, &z], &[int("axis", 1)]);
    let y = pair(&mut b, &y, 0.5, 0_i8);
    let file = converted(&b.finish(&[&y]), false);
    assert_eq!(
        file.codes(),
        [QUANTIZE, QUANTIZE, QUANTIZE, CONCATENATION, DEQUANTIZE]
    );
    let join = &file.operators[3];
    let scales = join
        .inputs
        .iter()
        .map(|&part| file.tensors[part as usize].scales[0]);
    assert!(scales.eq([0.5, 0.5]));
}

#[test]
fn a_table_of_results_has_its_own_scale() {
    let sigmoid = |extent: &str| {
        let mut b = Builder::new(17);
        let x = b.input("x", &["1", "2", extent, "64"]);
        let x = pair(&mut b, &x, 0.5, 0_i8);
        let y = b.op("Sigmoid", &[&x], &[]);
        let y = pair(&mut b, &y, 1.0 / 255.0, -128_i8);
        converted(&b.finish(&[&y]), false)
    };
    let large = sigmoid("64");
    assert_eq!(large.codes(), [QUANTIZE, LOGISTIC, QUANTIZE, DEQUANTIZE]);
    assert_eq!(large.output_of(LOGISTIC).scales, [1.0 / 256.0]);
    // A few numbers are rounded once.
    let small = sigmoid("1");
    assert_eq!(
        small.codes(),
        [QUANTIZE, DEQUANTIZE, LOGISTIC, QUANTIZE, DEQUANTIZE]
    );
}

/// `x * HardSigmoid(x)` as the quantizer writes it: integers that are stored with one scale and read with another.
fn swish(b: &mut Builder, x: &str) -> String {
    let idle = b.op(
        "LeakyRelu",
        &[x],
        &[crate::proto::AttributeProto::from_float("alpha", 1.0)],
    );
    let stored = b.initializer(TensorProto::scalar("stored_scale", 6.0_f32 / 255.0));
    let read = b.initializer(TensorProto::scalar("read_scale", 1.0_f32 / 255.0));
    let stored_zero = b.initializer(TensorProto::scalar("stored_zero", 0_i8));
    let read_zero = b.initializer(TensorProto::scalar("read_zero", -128_i8));
    let integers = b.op("QuantizeLinear", &[&idle, &stored, &stored_zero], &[]);
    let gate = b.op("DequantizeLinear", &[&integers, &read, &read_zero], &[]);
    let product = b.op("Mul", &[x, &gate], &[]);
    pair(b, &product, 0.04, -100_i8)
}

#[test]
fn a_gate_is_a_sum_in_sixths_that_the_layer_behind_it_takes_back() {
    let mut b = Builder::new(17);
    let x = b.input("x", &["1", "2", "4", "4"]);
    let x = pair(&mut b, &x, 0.05, 0_i8);
    let y = swish(&mut b, &x);
    let kernel = weights(&mut b, &[2, 2, 1, 1], &[1_i8, 2, 3, 4], &[0.6, 0.3]);
    let y = b.op("Conv", &[&y, &kernel], &[]);
    let y = pair(&mut b, &y, 0.5, 0_i8);
    let file = converted(&b.finish(&[&y]), false);
    assert_eq!(file.codes(), [QUANTIZE, ADD, MUL, CONV, DEQUANTIZE]);
    let close = |found: f32, wanted: f32| (found / wanted - 1.0).abs() < 1e-6;
    let (sum, product) = (file.output_of(ADD), file.output_of(MUL));
    assert!(close(sum.scales[0], 6.0 / 255.0) && sum.zero_points == [-128]);
    assert!(close(product.scales[0], 6.0 * 0.04) && product.zero_points == [-100]);
    assert!(close(file.input_of(CONV, 1).scales[0], 0.1));
    // The addend, 128 steps of the stored gate.
    let addend = file.input_of(ADD, 1);
    assert!(close(addend.scales[0] * 127.0, 128.0 * 6.0 / 255.0) && addend.data == [127]);
}

#[test]
fn a_gate_whose_product_is_returned_is_a_hard_swish() {
    let mut b = Builder::new(17);
    let x = b.input("x", &["1", "2", "4", "4"]);
    let x = pair(&mut b, &x, 0.05, 0_i8);
    let y = swish(&mut b, &x);
    let file = converted(&b.finish(&[&y]), false);
    assert_eq!(file.codes(), [QUANTIZE, HARD_SWISH, DEQUANTIZE]);
}

#[test]
fn a_stored_mean_is_flat_at_once() {
    let mut b = Builder::new(17);
    let x = b.input("x", &["1", "2", "4", "4"]);
    let x = pair(&mut b, &x, 0.05, 0_i8);
    let mean = b.op("GlobalAveragePool", &[&x], &[]);
    let mean = pair(&mut b, &mean, 0.02, 0_i8);
    let flat = b.op("Flatten", &[&mean], &[]);
    let flat = pair(&mut b, &flat, 0.02, 0_i8);
    let kernel = weights(&mut b, &[3, 2], &[1_i8, 2, 3, 4, 5, 6], &[0.5, 0.25, 0.125]);
    let y = b.op("Gemm", &[&flat, &kernel], &[int("transB", 1)]);
    let y = pair(&mut b, &y, 0.5, 0_i8);
    let file = converted(&b.finish(&[&y]), false);
    assert_eq!(file.codes(), [QUANTIZE, MEAN, DENSE, DEQUANTIZE]);
}
