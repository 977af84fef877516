//! Weights in few bits, and matrix products that quantize their inputs in each run.

use proptest::prelude::*;

use super::{lines, operators};
use crate::graph::build::Builder;
use crate::model::Model;
use crate::passes::quantize_weights::{Bits, Options, quantize_weights};
use crate::passes::{prepare, quantize_dynamic};
use crate::proto::DataType;
use crate::testing::{Noise, difference, int, noise_tensor, run, run_on};

/// A convolution, a product whose inner axis is no multiple of a block, and a dense layer.
fn network() -> Model {
    let mut b = Builder::new(17);
    let mut noise = Noise(21);
    let x = b.input("x", &["batch", "3", "6", "6"]);
    let mut weights = |b: &mut Builder, shape: &[usize]| {
        let values = noise.take(shape.iter().product());
        b.floats(shape, &values)
    };
    let w = weights(&mut b, &[4, 3, 3, 3]);
    let y = b.op("Conv", &[&x, &w], &[]);
    let y = b.op("Flatten", &[&y], &[]);
    let w = weights(&mut b, &[64, 40]);
    let y = b.op("MatMul", &[&y, &w], &[]);
    let y = b.op("ReduceMean", &[&y], &[crate::testing::ints("axes", &[1])]);
    let row = weights(&mut b, &[1, 40]);
    let y = b.op("Mul", &[&y, &row], &[]);
    let (w, bias) = (weights(&mut b, &[5, 40]), weights(&mut b, &[5]));
    let y = b.op("Gemm", &[&y, &w, &bias], &[int("transB", 1)]);
    let w = weights(&mut b, &[5, 6]);
    let y = b.op("MatMul", &[&y, &w], &[]);
    prepare(&b.finish(&[&y])).unwrap().0
}

fn four(block: usize) -> Options {
    Options {
        bits: Bits::Four,
        block,
    }
}

#[test]
fn weights_of_eight_bits_are_read_through_their_scales() {
    let model = network();
    let (small, report) = quantize_weights(&model, &Options::default()).unwrap();
    assert_eq!(report.count_applied(), 4);
    assert_eq!(small.opset(), model.opset());
    assert!(small.encode().len() * 2 < model.encode().len());
    assert!(difference(&run(&model, &[2, 3, 6, 6]), &run(&small, &[2, 3, 6, 6])) < 0.02);
}

#[test]
fn weights_of_four_bits_come_in_blocks_on_ort() {
    let model = network();
    let (small, report) = quantize_weights(&model, &four(32)).unwrap();
    insta::assert_snapshot!(lines(&report), @r"
    -conv_0: a Conv has no 4-bit form
    +matmul_2: s4 weights, a scale for each 32 input channels
    +gemm_5: s4 weights, a scale for each 32 input channels
    -matmul_6: its 5 input channels are less than a block of 32
    ");
    assert_eq!(small.opset(), Some(21));
    let stored = small.graph().initializer.iter();
    let of_four_bits = stored.filter(|tensor| tensor.data_type == Some(DataType::Int4.into()));
    assert_eq!(of_four_bits.count(), 2);
    let picture = [noise_tensor(&[2, 3, 6, 6])];
    let (before, after) = (run_on("ort", &model, &picture), run_on("ort", &small, &picture));
    assert!(difference(&before[0], &after[0]) < 0.3);
}

#[test]
fn products_take_the_range_of_each_run() {
    let model = network();
    let (integer, report) = quantize_dynamic(&model).unwrap();
    assert_eq!(report.count_applied(), 3);
    let made = operators(&integer);
    let count = |operator| made.iter().filter(|found| **found == operator).count();
    assert_eq!(
        (
            count("DynamicQuantizeLinear"),
            count("MatMulInteger"),
            count("MatMul")
        ),
        (3, 3, 0)
    );
    assert!(difference(&run(&model, &[2, 3, 6, 6]), &run(&integer, &[2, 3, 6, 6])) < 0.05);
}

#[test]
fn what_has_no_form_in_few_bits_is_refused_or_kept() {
    let mut b = Builder::new(17);
    let x = b.input("x", &["batch", "2"]);
    let w = b.floats(&[2, 2], &[1.0, f32::NAN, 0.0, 0.0]);
    let y = b.op("MatMul", &[&x, &w], &[]);
    let broken = b.finish(&[&y]);
    let said = "tensor `w0`: it holds NaN, which cannot be quantized; repair the model";
    assert_eq!(quantize_dynamic(&broken).unwrap_err().to_string(), said);
    let error = quantize_weights(&broken, &Options::default()).unwrap_err();
    assert_eq!(error.to_string(), said);
    let error = quantize_weights(&broken, &four(20)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "quantize-weights: a block of 20 is not a power of two of at least 16"
    );
}

proptest! {
    #[test]
    fn every_weight_comes_back_within_half_a_step(
        values in prop::collection::vec(-4_f32..4.0, 40 * 3), eight: bool, transposed: bool,
    ) {
        let mut b = Builder::new(17);
        let x = b.input("x", &["batch", "40"]);
        let shape = if transposed { [3, 40] } else { [40, 3] };
        let w = b.floats(&shape, &values);
        let y = b.op("Gemm", &[&x, &w], &[int("transB", i64::from(transposed))]);
        let options = if eight { Options::default() } else { four(16) };
        let (small, _) = quantize_weights(&b.finish(&[&y]), &options).unwrap();
        let find = |end: &str| {
            small.graph().initializer.iter().find(|tensor| tensor.name().ends_with(end)).unwrap()
        };
        let steps = find("_scale").floats().unwrap();
        let stored: Vec<i64> = if eight {
            find("_quantized").integers().unwrap()
        } else {
            let raw = find("_quantized").raw_data.clone().unwrap();
            let nibble = |byte: u8| i64::from((byte << 4).cast_signed() >> 4);
            raw.iter().flat_map(|&byte| [nibble(byte), nibble(byte >> 4)]).collect()
        };
        for (at, value) in values.iter().enumerate() {
            let (input, output) = if transposed { (at % 40, at / 40) } else { (at / 3, at % 3) };
            let step = steps[match (eight, transposed) {
                (true, _) => output,
                (false, true) => output * 3 + input / 16,
                (false, false) => input / 16 * 3 + output,
            }];
            prop_assert!((stored[at] as f32 * step - value).abs() <= step * 0.501);
        }
    }
}
