use super::{lines, operators};
use crate::graph::build::Builder;
use crate::passes::fold_batch_norm;
use crate::proto::AttributeProto;
use crate::testing::{Noise, batch_norm, difference, int, run};

#[test]
fn dense_layers_take_it_with_their_beta() {
    for transposed in [0, 1] {
        let mut b = Builder::new(17);
        let mut noise = Noise(9);
        let x = b.input("x", &["batch", "6"]);
        let weights = noise.take(6 * 4);
        let shape = if transposed == 1 { [4, 6] } else { [6, 4] };
        let w = b.floats(&shape, &weights);
        let bias = noise.take(4);
        let bias = b.floats(&[4], &bias);
        let beta = AttributeProto::from_float("beta", 0.5);
        let y = b.op("Gemm", &[&x, &w, &bias], &[int("transB", transposed), beta]);
        let y = batch_norm(&mut b, &mut noise, &y, 4);
        let model = b.finish(&[&y]);
        let (folded, report) = fold_batch_norm(&model).unwrap();
        assert_eq!(lines(&report), "+batchnormalization_1: folded into `gemm_0`\n");
        assert_eq!(operators(&folded), ["Gemm"]);
        assert_eq!(folded.graph().initializer.len(), 2);
        assert!(difference(&run(&model, &[3, 6]), &run(&folded, &[3, 6])) < 1e-5);
    }
}

#[test]
fn layers_that_share_weights_do_not_share_the_folded_ones() {
    let mut b = Builder::new(17);
    let mut noise = Noise(9);
    let x = b.input("x", &["batch", "4", "5", "5"]);
    let weights = noise.take(4 * 4);
    let w = b.floats(&[4, 4, 1, 1], &weights);
    let y = b.op("Conv", &[&x, &w], &[]);
    let y = batch_norm(&mut b, &mut noise, &y, 4);
    let y = b.op("Conv", &[&y, &w], &[]);
    let y = batch_norm(&mut b, &mut noise, &y, 4);
    let model = b.finish(&[&y]);
    let (folded, report) = fold_batch_norm(&model).unwrap();
    assert_eq!(report.count_applied(), 2);
    assert!(difference(&run(&model, &[1, 4, 5, 5]), &run(&folded, &[1, 4, 5, 5])) < 1e-5);
}

#[test]
fn what_cannot_be_folded_says_why() {
    let mut b = Builder::new(17);
    let mut noise = Noise(9);
    let x = b.input("x", &["batch", "4", "5", "5"]);
    let first = batch_norm(&mut b, &mut noise, &x, 4);
    let pooled = b.op("GlobalAveragePool", &[&first], &[]);
    let second = batch_norm(&mut b, &mut noise, &pooled, 4);
    let w = b.floats(&[4, 4, 1, 1], &[0.5; 16]);
    let shared = b.op("Conv", &[&second, &w], &[]);
    let third = batch_norm(&mut b, &mut noise, &shared, 4);
    let computed = b.op("Relu", &[&w], &[]);
    let fourth = b.op("Conv", &[&third, &computed], &[]);
    let fourth = batch_norm(&mut b, &mut noise, &fourth, 4);
    let model = b.finish(&[&fourth, &shared]);
    let (same, report) = fold_batch_norm(&model).unwrap();
    assert_eq!(same, model);
    insta::assert_snapshot!(lines(&report), @r"
    -batchnormalization_0: no layer is before it
    -batchnormalization_2: `globalaveragepool_1` before it is a GlobalAveragePool
    -batchnormalization_4: the output of `conv_3` is also read elsewhere
    -batchnormalization_7: the weights before it are not float32 constants
    ");
}

/// As models come from Caffe2: the scale and shift of a normalization are nodes of their own.
#[test]
fn factors_and_offsets_of_channels_fold_too() {
    let mut b = Builder::new(17);
    let mut noise = Noise(9);
    let x = b.input("x", &["batch", "4", "5", "5"]);
    let mut constants = noise.take(16).into_iter();
    let mut scaled = |b: &mut Builder, y: &str| {
        let four: Vec<f32> = constants.by_ref().take(4).collect();
        let factors = b.floats(&[4, 1, 1], &four);
        let four: Vec<f32> = constants.by_ref().take(4).collect();
        let offsets = b.floats(&[1, 4, 1, 1], &four);
        let y = b.op("Mul", &[y, &factors], &[]);
        b.op("Add", &[&offsets, &y], &[])
    };
    let y = batch_norm(&mut b, &mut noise, &x, 4);
    let y = scaled(&mut b, &y);
    let w = b.floats(&[4, 4, 1, 1], &[0.5; 16]);
    let y = b.op("Conv", &[&y, &w], &[]);
    let y = batch_norm(&mut b, &mut noise, &y, 4);
    let y = scaled(&mut b, &y);
    let three = b.floats(&[], &[3.0]);
    let y = b.op("Add", &[&y, &three], &[]);
    let model = b.finish(&[&y]);
    let (folded, report) = fold_batch_norm(&model).unwrap();
    insta::assert_snapshot!(lines(&report), @r"
    -batchnormalization_0: no layer is before it
    +mul_1: folded into `batchnormalization_0`
    +add_2: folded into `batchnormalization_0`
    +batchnormalization_4: folded into `conv_3`
    +mul_5: folded into `conv_3`
    +add_6: folded into `conv_3`
    -add_7: its 1 channels are not those of the weights
    ");
    assert_eq!(operators(&folded), ["BatchNormalization", "Conv", "Add"]);
    assert!(difference(&run(&model, &[2, 4, 5, 5]), &run(&folded, &[2, 4, 5, 5])) < 1e-5);
}
