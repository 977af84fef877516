use proptest::prelude::*;

use super::lines;
use crate::cost::Cost;
use crate::graph::build::Builder;
use crate::model::Model;
use crate::passes::prune;
use crate::passes::prune::{Method, Options, Pattern, Scope};
use crate::recipe::{Recipe, Step};
use crate::testing::{Noise, int};

fn dense(weights: &[f32]) -> Model {
    let mut b = Builder::new(17);
    let x = b.input("x", &["batch", "2"]);
    let w = b.floats(&[2, weights.len() / 2], weights);
    let bias = b.floats(&[weights.len() / 2], &vec![0.001; weights.len() / 2]);
    let y = b.op("Gemm", &[&x, &w, &bias], &[]);
    b.finish(&[&y])
}

fn by_layer(amount: f64) -> Method {
    Method::Weights {
        amount,
        scope: Scope::Layer,
    }
}

fn pruned(weights: &[f32], amount: f64) -> Vec<f32> {
    let (model, _) = prune(&dense(weights), &by_layer(amount)).unwrap();
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
        let error = prune(&dense(&[1.0, 2.0]), &by_layer(amount))
            .unwrap_err()
            .to_string();
        assert!(error.ends_with("it is a fraction between 0 and 1"), "{error}");
    }
}

#[test]
fn a_model_without_constant_weights_is_refused() {
    let mut b = Builder::new(17);
    let x = b.input("x", &["2", "2"]);
    let y = b.op("MatMul", &[&x, &x], &[]);
    let error = prune(&b.finish(&[&y]), &by_layer(0.5)).unwrap_err().to_string();
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
    let (model, report) = prune(&b.finish(&[&y]), &by_layer(0.5)).unwrap();
    insta::assert_snapshot!(lines(&report), @r"
    +matmul_0: 2 of 4 weights are zero
    -matmul_1: its weights `w0` are shared and already pruned
    -matmul_3: its weights are not a float32 constant
    ");
    let cost = Cost::of(&model).unwrap();
    assert_eq!((cost.weights, cost.zeros), (4, 2));
    let change = report.cost.unwrap();
    assert_eq!((change.before.zeros, change.after), (0, cost));
}

/// Two layers, the first of small weights.
fn uneven(noise: &mut Noise, inner: usize) -> Model {
    let mut b = Builder::new(17);
    let x = b.input("x", &["batch", "4"]);
    let small: Vec<f32> = noise.take(4 * inner).iter().map(|value| value * 0.1).collect();
    let w = b.floats(&[4, inner], &small);
    let y = b.op("MatMul", &[&x, &w], &[]);
    let large = noise.take(inner * 3);
    let w = b.floats(&[inner, 3], &large);
    let y = b.op("MatMul", &[&y, &w], &[]);
    b.finish(&[&y])
}

#[test]
fn the_global_scope_takes_more_from_layers_of_small_weights() {
    let method = Method::Weights {
        amount: 0.4,
        scope: Scope::Global,
    };
    let (model, report) = prune(&uneven(&mut Noise(3), 5), &method).unwrap();
    insta::assert_snapshot!(lines(&report), @r"
    +matmul_0: 13 of 20 weights are zero
    +matmul_1: 1 of 15 weights are zero
    ");
    let cost = Cost::of(&model).unwrap();
    assert_eq!((cost.weights, cost.zeros), (35, 14));
}

#[test]
fn a_pattern_holds_along_the_input_channels_of_every_layer() {
    let mut b = Builder::new(17);
    let mut noise = Noise(4);
    let x = b.input("x", &["batch", "8", "6", "6"]);
    let mut weights = |b: &mut Builder, shape: &[usize]| {
        let values = noise.take(shape.iter().product());
        b.floats(shape, &values)
    };
    let w = weights(&mut b, &[4, 8, 3, 3]);
    let y = b.op("Conv", &[&x, &w], &[]);
    let w = weights(&mut b, &[4, 1, 3, 3]);
    let y = b.op("Conv", &[&y, &w], &[int("group", 4)]);
    let w = weights(&mut b, &[4, 8, 2, 2]);
    let y = b.op("ConvTranspose", &[&y, &w], &[]);
    let y = b.op("GlobalAveragePool", &[&y], &[]);
    let y = b.op("Flatten", &[&y], &[]);
    let w = weights(&mut b, &[12, 8]);
    let y = b.op("Gemm", &[&y, &w], &[int("transB", 1)]);
    let w = weights(&mut b, &[12, 5]);
    let y = b.op("Gemm", &[&y, &w], &[]);
    let model = b.finish(&[&y]);
    let (pruned, report) = prune(&model, &Method::Pattern(Pattern::TWO_OF_FOUR)).unwrap();
    insta::assert_snapshot!(lines(&report), @r"
    +conv_0: 144 of 288 weights are zero
    -conv_1: its number of input channels, 1, cannot be divided by 4
    +convtranspose_2: 64 of 128 weights are zero
    +gemm_5: 48 of 96 weights are zero
    +gemm_6: 30 of 60 weights are zero
    ");
    for (index, axis) in [(0, 1), (2, 0), (3, 1), (4, 0)] {
        let tensor = &pruned.graph().initializer[index];
        let shape = tensor.shape().unwrap();
        let values = tensor.floats().unwrap();
        let stride: usize = shape[axis + 1..].iter().product();
        for (place, _) in values.iter().enumerate() {
            let channel = place / stride % shape[axis];
            if channel.is_multiple_of(4) {
                let run: Vec<f32> = (0..4).map(|step| values[place + step * stride]).collect();
                assert_eq!(run.iter().filter(|&&value| value == 0.0).count(), 2, "{run:?}");
            }
        }
    }
}

#[test]
fn options_become_methods_and_contradictions_are_refused() {
    let read = |text: &str| {
        toml::from_str::<Recipe>(&format!(
            "name = \"own\"\nsteps = [{{ pass = \"prune\", {text} }}]"
        ))
    };
    let method = |text: &str| match read(text).unwrap().steps[..] {
        [Step::Prune(method)] => method,
        ref other => panic!("{other:?}"),
    };
    assert_eq!(method("amount = 0.3"), by_layer(0.3));
    assert_eq!(method("pattern = '2:4'"), Method::Pattern(Pattern::TWO_OF_FOUR));
    assert_eq!(
        method("pattern = '2:4', amount = 0.5"),
        Method::Pattern(Pattern::TWO_OF_FOUR)
    );
    let channels = Method::Channels {
        amount: 0.3,
        scope: Scope::Global,
        multiple: 8,
    };
    assert_eq!(
        method("amount = 0.3, structured = true, scope = 'global'"),
        channels
    );
    for method in [by_layer(0.3), Method::Pattern(Pattern::TWO_OF_FOUR), channels] {
        let options = Options::from(method);
        let text = toml::to_string(&options).unwrap();
        assert_eq!(toml::from_str::<Options>(&text).unwrap(), options);
        assert_eq!(Method::try_from(options).unwrap(), method);
    }
    let wrong = [
        "scope = 'layer'",
        "amount = 0.3, multiple = 16",
        "amount = 2.0",
        "amount = 0.3, structured = true, multiple = 0",
        "amount = 0.3, structured = true, pattern = '2:4'",
        "amount = 0.3, pattern = '2:4'",
        "pattern = '2:4', scope = 'global'",
        "pattern = '4:2'",
        "pattern = 'half'",
        "amount = 0.3, scope = 'model'",
        "amont = 0.3",
    ];
    let last_line = |text: &str| {
        let error = read(text).unwrap_err().to_string();
        format!("{}\n", error.trim().lines().last().unwrap())
    };
    insta::assert_snapshot!(wrong.map(last_line).concat(), @r"
    prune: `amount` is missing, the fraction to prune, such as 0.5
    prune: `multiple` rounds numbers of channels, so it needs `structured`
    prune: the amount is 2; it is a fraction between 0 and 1
    prune: `multiple` is 0; it is at least 1
    prune: `structured` takes whole channels and the pattern 2:4 single weights; choose one
    prune: the pattern 2:4 sets 0.500 of the weights to zero; leave `amount` out
    prune: the pattern 2:4 holds in every layer, so it has no global scope
    prune: `4:2` is no pattern; `2:4` keeps two weights of each four
    prune: `half` is no pattern; `2:4` keeps two weights of each four
    unknown variant `model`, expected `layer` or `global`
    unknown field `amont`, expected one of `amount`, `scope`, `structured`, `pattern`, `multiple`
    ");
}

proptest! {
    #[test]
    fn the_global_scope_reaches_the_amount(
        inner in 1_usize..20,
        amount in 0.0..=1.0,
        seed in any::<u64>(),
    ) {
        let method = Method::Weights { amount, scope: Scope::Global };
        let (model, _) = prune(&uneven(&mut Noise(seed), inner), &method).unwrap();
        let cost = Cost::of(&model).unwrap();
        prop_assert_eq!(cost.zeros, (amount * cost.weights as f64).round() as u64);
    }

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
