use proptest::prelude::*;

use super::lines;
use crate::graph::build::Builder;
use crate::model::Model;
use crate::passes::{Sparsity, prune, sparsity};
use crate::testing::Noise;

fn dense(weights: &[f32]) -> Model {
    let mut b = Builder::new(17);
    let x = b.input("x", &["batch", "2"]);
    let w = b.floats(&[2, weights.len() / 2], weights);
    let bias = b.floats(&[weights.len() / 2], &vec![0.001; weights.len() / 2]);
    let y = b.op("Gemm", &[&x, &w, &bias], &[]);
    b.finish(&[&y])
}

fn pruned(weights: &[f32], amount: f64) -> Vec<f32> {
    let (model, _) = prune(&dense(weights), amount).unwrap();
    assert!(
        model.graph().initializer[1]
            .floats()
            .unwrap()
            .iter()
            .all(|&bias| bias != 0.0)
    );
    model.graph().initializer[0].floats().unwrap()
}

#[test]
fn the_smallest_go_and_of_equal_ones_the_first() {
    assert_eq!(pruned(&[3.0, -1.0, 2.0, -4.0], 0.5), [3.0, 0.0, 0.0, -4.0]);
    assert_eq!(pruned(&[1.0, -1.0, 1.0, -1.0], 0.5), [0.0, 0.0, 1.0, -1.0]);
    assert_eq!(pruned(&[3.0, -1.0, 2.0, -4.0], 0.0), [3.0, -1.0, 2.0, -4.0]);
    assert_eq!(pruned(&[3.0, -1.0, 2.0, -4.0], 1.0), [0.0; 4]);
    // What is not a number is larger than all numbers.
    let after = pruned(&[3.0, f32::NAN, 2.0, -4.0], 0.5);
    assert!(after[1].is_nan() && after[2] == 0.0);
}

#[test]
fn an_amount_that_is_no_fraction_is_refused() {
    for amount in [-0.1, 1.1, f64::NAN] {
        let error = prune(&dense(&[1.0, 2.0]), amount).unwrap_err().to_string();
        assert!(
            error.ends_with("it is a fraction of the weights, between 0 and 1"),
            "{error}"
        );
    }
}

#[test]
fn a_model_without_constant_weights_is_refused() {
    let mut b = Builder::new(17);
    let x = b.input("x", &["2", "2"]);
    let y = b.op("MatMul", &[&x, &x], &[]);
    let error = prune(&b.finish(&[&y]), 0.5).unwrap_err().to_string();
    assert_eq!(
        error,
        "prune: no layer has weights that are a float32 constant, so there is nothing to prune"
    );
}

#[test]
fn shared_and_computed_weights_are_reported() {
    let mut b = Builder::new(17);
    let x = b.input("x", &["batch", "2"]);
    let w = b.floats(&[2, 2], &[1.0, 2.0, 3.0, 4.0]);
    let y = b.op("MatMul", &[&x, &w], &[]);
    let y = b.op("MatMul", &[&y, &w], &[]);
    let computed = b.op("Relu", &[&w], &[]);
    let y = b.op("MatMul", &[&y, &computed], &[]);
    let (model, report) = prune(&b.finish(&[&y]), 0.5).unwrap();
    insta::assert_snapshot!(lines(&report), @r"
    +matmul_0: 2 of 4 weights are zero
    -matmul_1: its weights `w0` are shared and already pruned
    -matmul_3: its weights are not a float32 constant
    ");
    assert_eq!(sparsity(&model).unwrap(), Sparsity { weights: 4, zeros: 2 });
}

proptest! {
    #[test]
    fn the_fraction_is_met_and_the_rest_is_untouched(
        count in 1_usize..60,
        amount in 0.0..=1.0,
        seed in any::<u64>(),
    ) {
        let weights = Noise(seed).take(2 * count);
        let after = pruned(&weights, amount);
        let zeros = after.iter().filter(|&&value| value == 0.0).count();
        prop_assert_eq!(zeros, (amount * weights.len() as f64).round() as usize);
        let largest_gone = weights.iter().zip(&after).filter(|(_, after)| **after == 0.0);
        let largest_gone = largest_gone.fold(0.0_f32, |max, (before, _)| max.max(before.abs()));
        for (before, after) in weights.iter().zip(&after).filter(|(_, after)| **after != 0.0) {
            prop_assert_eq!(before.to_bits(), after.to_bits());
            prop_assert!(before.abs() >= largest_gone);
        }
    }
}
