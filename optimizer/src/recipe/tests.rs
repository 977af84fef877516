use edgefront_runtimes::{Data, Search, Tensor};

use super::*;
use crate::calibrate::Method;
use crate::check::check;
use crate::graph::build::Builder;
use crate::testing::{Noise, ints, run};

/// Pictures of noise in three classes.
struct Pictures;

impl Samples for Pictures {
    fn len(&self) -> usize {
        6
    }

    fn sample(&self, index: usize) -> std::io::Result<Vec<Tensor>> {
        let values = Noise(index as u64 + 1).take(2 * 16);
        Ok(vec![Tensor::new(vec![1, 2, 4, 4], Data::F32(values)).unwrap()])
    }

    fn class(&self, index: usize) -> Option<usize> {
        Some(index % 3)
    }
}

/// Two convolutions and a classifier.
fn small() -> Model {
    let mut noise = Noise(9);
    let mut b = Builder::new(17);
    let mut x = b.input("x", &["batch", "2", "4", "4"]);
    for (inputs, outputs) in [(2, 16), (16, 32)] {
        let weights = noise.take(outputs * inputs * 9);
        let weights = b.floats(&[outputs, inputs, 3, 3], &weights);
        let bias = noise.take(outputs);
        let bias = b.floats(&[outputs], &bias);
        let y = b.op("Conv", &[&x, &weights, &bias], &[ints("pads", &[1; 4])]);
        x = b.op("Relu", &[&y], &[]);
    }
    let pooled = b.op("GlobalAveragePool", &[&x], &[]);
    let flat = b.op("Flatten", &[&pooled], &[]);
    let weights = noise.take(32 * 3);
    let weights = b.floats(&[32, 3], &weights);
    let bias = b.floats(&[3], &[0.1, 0.0, -0.1]);
    let y = b.op("Gemm", &[&flat, &weights, &bias], &[]);
    b.finish(&[&y])
}

fn apply_with(samples: Option<&dyn Samples>, recipe: &Recipe) -> Result<(Model, Vec<PassReport>), Error> {
    let context = Context {
        calibration: samples,
        training: samples,
        runtimes: &Registry::new(&Search::default()),
        threads: 1,
        device: train::Device::Cpu,
        activations: ActivationType::U8,
        progress: &|_| {},
    };
    apply(small(), recipe, &context)
}

/// A recipe of these passes.
fn composed(steps: &str) -> Recipe {
    toml::from_str(&format!("name = 'own'\nsteps = [{steps}]")).unwrap()
}

/// How many operators of a kind the model has.
fn count(model: &Model, operator: &str) -> usize {
    let summary = check(model).unwrap();
    summary.operators.get(operator).copied().unwrap_or(0)
}

const FOLD: &str = "{ pass = 'fold-batch-norm' }";
const WEIGHTS: &str = "{ pass = 'prune', amount = 0.5 }";
const CHANNELS: &str = "{ pass = 'prune', amount = 0.5, structured = true }";
const TRAIN: &str = "{ pass = 'train', epochs = 1, batch = 3 }";
const AWARE: &str = "{ pass = 'train', epochs = 1, batch = 3, qat = { method = 'minmax' } }";
const TAUGHT: &str = "{ pass = 'train', epochs = 1, batch = 3, distil = { alpha = 0.9 } }";
const QUANTIZE: &str = "{ pass = 'quantize' }";
const MIXED: &str = "{ pass = 'quantize', max_drop = 0.2, min_sqnr = 20 }";
const WEIGHTS_ALONE: &str = "{ pass = 'quantize-weights' }";
const DYNAMIC: &str = "{ pass = 'quantize-dynamic' }";
const FP16: &str = "{ pass = 'fp16' }";

#[test]
fn every_named_recipe_makes_its_variant() {
    for name in DEFAULT.into_iter().chain(FURTHER) {
        let recipe = named(name).unwrap();
        assert_eq!(recipe.name, name);
        assert_eq!(recipe.needs_calibration(), name.contains("int8"), "{name}");
        assert_eq!(
            recipe.precision() == Precision::Int8,
            name.contains("int8"),
            "{name}"
        );
        let (variant, reports) = apply_with(Some(&Pictures), &recipe).unwrap();
        assert_eq!(variant == small(), name == "fp32", "{name}");
        assert_eq!(reports.is_empty(), name == "fp32", "{name}");
        assert_eq!(run(&variant, &[1, 2, 4, 4]).shape(), [1, 3], "{name}");
    }
    assert_eq!(named("int4"), None);
}

#[test]
fn passes_compose() {
    for steps in [
        vec![WEIGHTS, QUANTIZE],
        vec![CHANNELS, QUANTIZE],
        vec![CHANNELS, WEIGHTS, MIXED],
        vec![WEIGHTS, TRAIN, QUANTIZE],
        vec![CHANNELS, TRAIN, QUANTIZE],
        vec![CHANNELS, TAUGHT, AWARE],
        vec![WEIGHTS, AWARE],
        vec![TRAIN, WEIGHTS, FP16],
        vec![QUANTIZE, TRAIN],
        vec![CHANNELS, TRAIN, WEIGHTS_ALONE],
        vec![TRAIN, DYNAMIC],
        vec![WEIGHTS_ALONE, FP16],
    ] {
        let steps = steps.join(", ");
        let recipe = composed(&format!("{FOLD}, {steps}"));
        let (variant, reports) =
            apply_with(Some(&Pictures), &recipe).unwrap_or_else(|e| panic!("{steps}: {e}"));
        // One report a step, and that of the preparation.
        assert_eq!(reports.len(), recipe.steps.len() + 1, "{steps}");
        let integers = count(&variant, "QuantizeLinear") + count(&variant, "MatMulInteger");
        assert_eq!(integers > 0, recipe.precision() == Precision::Int8, "{steps}");
        assert_eq!(run(&variant, &[1, 2, 4, 4]).shape(), [1, 3], "{steps}");
    }
}

/// Weights of the layers, those of zero and all.
fn weights(model: &Model) -> (usize, usize) {
    let mut counts = (0, 0);
    for tensor in model
        .graph()
        .initializer
        .iter()
        .filter(|tensor| tensor.dims.len() >= 2)
    {
        let zeros = match tensor.values::<f32>() {
            Ok(values) => values.iter().filter(|&&value| value == 0.0).count(),
            Err(_) => tensor
                .values::<i8>()
                .unwrap()
                .iter()
                .filter(|&&value| value == 0)
                .count(),
        };
        counts = (counts.0 + zeros, counts.1 + tensor.count().unwrap());
    }
    counts
}

#[test]
fn what_is_pruned_stays_pruned() {
    let (_, all) = weights(&small());
    for last in [TRAIN, QUANTIZE, AWARE] {
        let made = |pruned: &str| {
            apply_with(Some(&Pictures), &composed(&format!("{pruned}, {last}")))
                .unwrap()
                .0
        };
        let (zeros, left) = weights(&made(WEIGHTS));
        assert_eq!(left, all, "{last}");
        assert!(zeros * 2 >= all, "{last}: {zeros} of {all}");
        let (_, left) = weights(&made(CHANNELS));
        assert!(left * 3 < all * 2, "{last}: {left} of {all}");
    }
}

#[test]
fn an_order_that_cannot_work_is_refused_before_anything_is_done() {
    for (steps, refusal) in [
        (
            vec![QUANTIZE, WEIGHTS],
            "prune: it cannot follow `quantize`, which leaves no float32 weights; put it before",
        ),
        (
            vec![QUANTIZE, FOLD],
            "fold-batch-norm: it cannot follow `quantize`, which leaves no float32 weights; put it before",
        ),
        (
            vec![QUANTIZE, FP16],
            "fp16: it cannot follow `quantize`, which leaves no float32 weights; put it before",
        ),
        (
            vec![AWARE, QUANTIZE],
            "quantize: it cannot follow `train`, which leaves no float32 weights; put it before",
        ),
        (
            vec![QUANTIZE, TRAIN, AWARE],
            "train: it cannot follow `quantize`, which leaves no float32 weights; put it before",
        ),
        (
            vec![FP16, TRAIN],
            "train: it cannot follow `fp16`, which leaves no float32 weights; put it before",
        ),
        (
            vec![FP16, QUANTIZE],
            "quantize: it cannot follow `fp16`, which leaves no float32 weights; put it before",
        ),
    ] {
        // There are no samples, which would be the next refusal.
        let refused = apply_with(None, &composed(&steps.join(", "))).unwrap_err();
        assert_eq!(refused.to_string(), refusal);
    }
}

#[test]
fn a_recipe_that_needs_data_says_so() {
    let refused = |recipe| apply_with(None, &recipe).unwrap_err().to_string();
    assert_eq!(
        refused(named("ptq-int8").unwrap()),
        "quantize: it needs samples; give some with `--calib`"
    );
    assert_eq!(
        refused(named("prune50-ft").unwrap()),
        "train: it needs labelled samples; give some with `--train`"
    );
}

#[test]
fn options_of_every_pass_are_read() {
    let recipe = composed(&format!(
        "{FOLD}, {CHANNELS}, {TRAIN}, {{ pass = 'quantize', method = 'entropy', per_channel = false }}"
    ));
    let Some(Step::Quantize(options)) = recipe.steps.last() else {
        panic!("{recipe:?}");
    };
    assert_eq!(
        (options.method, options.per_channel),
        (Some(Method::Entropy), false)
    );
    let back: Recipe = toml::from_str(&toml::to_string(&recipe).unwrap()).unwrap();
    assert_eq!(back, recipe);
}
