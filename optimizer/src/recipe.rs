//! A *recipe* is the list of passes that turns the user's model into one variant. The default recipes have
//! names; a study's TOML may hold its own:
//!
//! ```toml
//! [[variants]]
//! name = "pruned30-int8"
//! steps = [
//!     { pass = "fold-batch-norm" },
//!     { pass = "prune", amount = 0.3 },
//!     { pass = "quantize", per_channel = true, method = "entropy" },
//! ]
//! ```

use edgefront_runtimes::Registry;
use serde::{Deserialize, Serialize};

use crate::calibrate::{Method, Samples};
use crate::error::Error;
use crate::model::Model;
use crate::passes::{self, fp16, prune, quantize_weights};
use crate::quantize::{self, ActivationType};
use crate::report::PassReport;
use crate::train;

/// The passes of one variant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Name of the variant in results and file names: `ptq-int8`.
    pub name: String,
    /// The passes in order; none leaves the model's bytes as they are.
    #[serde(default)]
    pub steps: Vec<Step>,
}

/// One pass with its options.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "pass", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Step {
    /// Folds batch normalizations into the convolutions before them.
    FoldBatchNorm {},
    /// Sets weights to zero, or takes whole channels out.
    Prune(prune::Method),
    /// Quantizes to INT8 after training.
    Quantize(quantize::Options),
    /// Trains on labelled samples, and quantizes first where its options say so.
    Train(train::Options),
    /// Stores and computes in half precision.
    Fp16(fp16::Options),
    /// Stores weights alone in 8 or 4 bits.
    QuantizeWeights(quantize_weights::Options),
    /// Quantizes matrix products to INT8, their inputs in each run.
    QuantizeDynamic {},
}

/// Numeric precision of a variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32-bit floating point.
    Fp32,
    /// 16-bit floating point.
    Fp16,
    /// 8-bit integers.
    Int8,
}

/// Names of the recipes that a study uses where it names none.
pub const DEFAULT: [&str; 6] = [
    "fp32",
    "fp16",
    "ptq-int8",
    "ptq-int8-pc",
    "prune50",
    "prune50-int8",
];

/// The recipe of this name: a default one, or `channel30`.
pub fn named(name: &str) -> Option<Recipe> {
    let quantize = |method, per_channel| {
        Step::Quantize(quantize::Options {
            method,
            per_channel,
            ..quantize::Options::default()
        })
    };
    let fold = Step::FoldBatchNorm {};
    let prune = Step::Prune(prune::Method::Weights {
        amount: 0.5,
        scope: prune::Scope::Layer,
    });
    let channels = Step::Prune(prune::Method::Channels {
        amount: 0.3,
        scope: prune::Scope::Layer,
        multiple: prune::MULTIPLE,
    });
    let steps = match name {
        "fp32" => vec![],
        "fp16" => vec![fold, Step::Fp16(fp16::Options::default())],
        "ptq-int8" => vec![fold, quantize(Method::Minmax, false)],
        "ptq-int8-pc" => vec![fold, quantize(Method::Mse, true)],
        "prune50" => vec![fold, prune],
        "prune50-int8" => vec![fold, prune, quantize(Method::Mse, true)],
        "channel30" => vec![fold, channels],
        _ => return None,
    };
    Some(Recipe {
        name: name.to_owned(),
        steps,
    })
}

/// What passes need beside the model.
pub struct Context<'a> {
    /// Samples of the model's input, for recipes that need calibration.
    pub calibration: Option<&'a dyn Samples>,
    /// Labelled samples, for recipes that train.
    pub training: Option<&'a dyn Samples>,
    /// Where to run models.
    pub runtimes: &'a Registry,
    /// Threads for running models, at least 1.
    pub threads: usize,
    /// What `auto` activations are on the target.
    pub activations: ActivationType,
    /// Is told how far the passes are.
    pub progress: &'a dyn Fn(Progress<'_>),
}

/// How far the passes are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Progress<'a> {
    /// A pass begins.
    Pass(&'a str),
    /// `done` of `total` calibration samples have run.
    Calibrating {
        /// Samples that have run.
        done: usize,
        /// Samples to run.
        total: usize,
    },
    /// The damage of `done` of `total` layers is measured.
    Measuring {
        /// Layers that are measured.
        done: usize,
        /// Layers to measure.
        total: usize,
    },
    /// Training goes on.
    Training(train::Progress),
}

/// Makes the variant: prepares the model for the passes, if there are any, and applies them in order. The
/// model must be valid.
pub fn apply(
    model: &Model,
    recipe: &Recipe,
    context: &Context<'_>,
) -> Result<(Model, Vec<PassReport>), Error> {
    let mut variant = model.clone();
    let mut reports = Vec::new();
    if !recipe.steps.is_empty() {
        let (prepared, report) = passes::prepare(&variant)?;
        variant = prepared;
        reports.push(report);
    }
    let original = variant.clone();
    for step in &recipe.steps {
        (context.progress)(Progress::Pass(step.name()));
        let (next, report) = step.apply(&variant, &original, context)?;
        variant = next;
        reports.push(report);
    }
    Ok((variant, reports))
}

impl Step {
    /// Name of the pass, as in a study's TOML.
    pub fn name(&self) -> &'static str {
        match self {
            Self::FoldBatchNorm {} => "fold-batch-norm",
            Self::Prune(_) => prune::NAME,
            Self::Quantize(_) => quantize::NAME,
            Self::Train(_) => train::NAME,
            Self::Fp16(_) => fp16::NAME,
            Self::QuantizeWeights(_) => quantize_weights::NAME,
            Self::QuantizeDynamic {} => passes::QUANTIZE_DYNAMIC,
        }
    }

    /// `original` is what the recipe began with, prepared for passes: who is distilled from.
    fn apply(
        &self,
        model: &Model,
        original: &Model,
        context: &Context<'_>,
    ) -> Result<(Model, PassReport), Error> {
        match self {
            Self::Train(options) => {
                let extras = train::Extras {
                    teacher: Some(original),
                    ..train::Extras::default()
                };
                train::train(model, options, context, &extras)
            }
            Self::Quantize(options) => quantize::quantize(model, options, context),
            Self::FoldBatchNorm {} => passes::fold_batch_norm(model),
            Self::Prune(method) => passes::prune(model, method),
            Self::Fp16(options) => passes::fp16(model, options),
            Self::QuantizeWeights(options) => passes::quantize_weights(model, options),
            Self::QuantizeDynamic {} => passes::quantize_dynamic(model),
        }
    }
}

impl Recipe {
    /// The precision that most of the variant computes in.
    pub fn precision(&self) -> Precision {
        let of_step = |step: &Step| match step {
            Step::Quantize(_) | Step::QuantizeDynamic {} => Some(Precision::Int8),
            Step::Fp16(_) => Some(Precision::Fp16),
            Step::Train(options) => options.qat.as_ref().map(|_| Precision::Int8),
            Step::FoldBatchNorm {} | Step::Prune(_) | Step::QuantizeWeights(_) => None,
        };
        self.steps
            .iter()
            .filter_map(of_step)
            .max()
            .unwrap_or(Precision::Fp32)
    }

    /// Whether a step needs samples of the model's input.
    pub fn needs_calibration(&self) -> bool {
        self.steps.iter().any(|step| match step {
            Step::Quantize(_) => true,
            Step::Train(options) => options.qat.is_some(),
            _ => false,
        })
    }

    /// Whether a step needs labelled samples.
    pub fn needs_training(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::Train(_)))
    }
}

#[cfg(test)]
mod tests {
    use edgefront_runtimes::{Data, Search, Tensor};

    use super::*;
    use crate::graph::build::Builder;

    struct Ones;

    impl Samples for Ones {
        fn len(&self) -> usize {
            3
        }

        fn sample(&self, _: usize) -> Vec<Tensor> {
            vec![Tensor::new(vec![1, 2, 4, 4], Data::F32(vec![1.0; 32])).unwrap()]
        }
    }

    fn small() -> Model {
        let mut b = Builder::new(17);
        let x = b.input("x", &["batch", "2", "4", "4"]);
        let weights = b.floats(&[2, 2, 1, 1], &[1.0, 0.1, -2.0, 0.3]);
        let y = b.op("Conv", &[&x, &weights], &[]);
        let y = b.op("Relu", &[&y], &[]);
        b.finish(&[&y])
    }

    fn apply_with(samples: Option<&dyn Samples>, recipe: &Recipe) -> Result<(Model, Vec<PassReport>), Error> {
        let context = Context {
            calibration: samples,
            training: None,
            runtimes: &Registry::new(&Search::default()),
            threads: 1,
            activations: ActivationType::U8,
            progress: &|_| {},
        };
        apply(&small(), recipe, &context)
    }

    #[test]
    fn every_default_recipe_is_known_and_makes_its_variant() {
        for name in DEFAULT {
            let recipe = named(name).unwrap();
            assert_eq!(recipe.name, name);
            assert_eq!(recipe.needs_calibration(), recipe.precision() == Precision::Int8);
            let (variant, reports) = apply_with(Some(&Ones), &recipe).unwrap();
            assert_eq!(variant == small(), name == "fp32", "{name}");
            assert_eq!(reports.is_empty(), name == "fp32", "{name}");
        }
        assert_eq!(named("int4"), None);
    }

    #[test]
    fn a_recipe_that_needs_samples_says_so() {
        let error = apply_with(None, &named("ptq-int8").unwrap()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "quantize: it needs samples; give some with `--calib`"
        );
    }
}
