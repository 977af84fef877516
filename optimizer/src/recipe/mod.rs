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

mod named;

use edgefront_runtimes::Registry;
use serde::{Deserialize, Serialize};

use crate::calibrate::Samples;
use crate::error::Error;
use crate::model::Model;
use crate::passes::{self, fp16, prune, quantize_weights};
use crate::quantize::{self, ActivationType};
use crate::report::PassReport;
use crate::train;

pub use named::{DEFAULT, FURTHER, named};

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
    /// Where to train.
    pub device: train::Device,
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
/// model must be valid. It is taken, so that what passes replace of it does not stay in memory.
///
/// # Errors
/// As [`Recipe::check`], and where a pass cannot do what it is asked for.
pub fn apply(
    model: Model,
    recipe: &Recipe,
    context: &Context<'_>,
) -> Result<(Model, Vec<PassReport>), Error> {
    recipe.check()?;
    let mut variant = model;
    let mut reports = Vec::new();
    if !recipe.steps.is_empty() {
        let (prepared, report) = passes::prepare(&variant)?;
        variant = prepared;
        reports.push(report);
    }
    let original = recipe.needs_training().then(|| variant.clone());
    for step in &recipe.steps {
        (context.progress)(Progress::Pass(step.name()));
        let (next, report) = step.apply(&variant, original.as_ref(), context)?;
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

    /// Refuses options that are out of range.
    fn check(&self) -> Result<(), Error> {
        match self {
            Self::Prune(method) => method.check(),
            Self::Quantize(options) => options.check(),
            Self::Train(options) => options.check(),
            Self::QuantizeWeights(options) => options.check(),
            Self::FoldBatchNorm {} | Self::Fp16(_) | Self::QuantizeDynamic {} => Ok(()),
        }
    }

    /// The precision that the pass makes most of the model compute in, where it changes it.
    fn computes_in(&self) -> Option<Precision> {
        match self {
            Self::Quantize(_) | Self::QuantizeDynamic {} => Some(Precision::Int8),
            Self::Train(options) => options.qat.as_ref().map(|_| Precision::Int8),
            Self::Fp16(_) => Some(Precision::Fp16),
            Self::FoldBatchNorm {} | Self::Prune(_) | Self::QuantizeWeights(_) => None,
        }
    }

    /// How the pass quantizes on samples of the model's input, where it does.
    fn quantization(&self) -> Option<&quantize::Options> {
        match self {
            Self::Quantize(options) => Some(options),
            Self::Train(options) => options.qat.as_ref(),
            _ => None,
        }
    }

    /// Whether weights that were float32 are so after the pass.
    fn keeps_floats(&self) -> bool {
        self.computes_in().is_none() && !matches!(self, Self::QuantizeWeights(_))
    }

    /// Whether the pass can work on what `earlier`, which keeps no floats, leaves.
    fn may_follow(&self, earlier: &Self) -> bool {
        match (self, earlier) {
            (Self::Train(options), Self::Quantize(_) | Self::Train(_)) => options.qat.is_none(),
            (Self::Fp16(_), Self::QuantizeWeights(_)) => true,
            _ => false,
        }
    }

    /// `original` is what the recipe began with, prepared for passes: who is distilled from.
    fn apply(
        &self,
        model: &Model,
        original: Option<&Model>,
        context: &Context<'_>,
    ) -> Result<(Model, PassReport), Error> {
        match self {
            Self::Train(options) => {
                let extras = train::Extras {
                    teacher: original,
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
        let changed = self.steps.iter().filter_map(Step::computes_in);
        changed.max().unwrap_or(Precision::Fp32)
    }

    /// Refuses options that are out of range, and passes in an order that cannot work: few take weights that are no
    /// longer float32.
    pub fn check(&self) -> Result<(), Error> {
        let mut narrowed: Option<&Step> = None;
        for step in &self.steps {
            step.check()?;
            if let Some(earlier) = narrowed
                && !step.may_follow(earlier)
            {
                return Err(Error::Refused {
                    pass: step.name().to_owned(),
                    reason: format!(
                        "it cannot follow `{}`, which leaves no float32 weights; put it before",
                        earlier.name()
                    ),
                });
            }
            if !step.keeps_floats() {
                narrowed = Some(step);
            }
        }
        Ok(())
    }

    /// Whether a step needs samples of the model's input.
    pub fn needs_calibration(&self) -> bool {
        self.steps.iter().any(|step| step.quantization().is_some())
    }

    /// Quantizes in the form that `TensorRT` takes, where the type of the activations is left open.
    pub fn for_tensorrt(&mut self) {
        let options = self.steps.iter_mut().filter_map(|step| match step {
            Step::Quantize(options) => Some(options),
            Step::Train(options) => options.qat.as_mut(),
            _ => None,
        });
        for options in options.filter(|options| options.activations == quantize::Activations::Auto) {
            *options = options.clone().for_tensorrt();
        }
    }

    /// Whether what it makes is quantized in the form that `TensorRT` takes.
    pub fn is_for_tensorrt(&self) -> bool {
        let mut options = self.steps.iter().filter_map(Step::quantization).peekable();
        options.peek().is_some() && options.all(quantize::Options::is_for_tensorrt)
    }

    /// Whether a step makes use of the labels of those samples, where they have any.
    pub fn uses_calibration_labels(&self) -> bool {
        let uses = |step: &Step| matches!(step, Step::Quantize(options) if options.max_drop.is_some());
        self.steps.iter().any(uses)
    }

    /// Whether a step needs labelled samples.
    pub fn needs_training(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::Train(_)))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
