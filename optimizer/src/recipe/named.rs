//! The recipes that have names.

use super::{Recipe, Step};
use crate::calibrate::Method;
use crate::passes::{fp16, prune};
use crate::{quantize, train};

/// Names of the recipes that a study uses where it names none.
pub const DEFAULT: [&str; 6] = [
    "fp32",
    "fp16",
    "ptq-int8",
    "ptq-int8-pc",
    "prune50",
    "prune50-int8",
];

/// Names of the others, which take longer, need training data, or change the model more.
pub const FURTHER: [&str; 7] = [
    "mixed-int8",
    "qat-int8",
    "distil-int8",
    "prune50-ft",
    "channel30",
    "channel30-ft",
    "channel30-int8",
];

/// The largest drop of the top-1 accuracy that `mixed-int8` allows.
const MIXED_DROP: f64 = 0.005;

/// The least signal to quantization noise ratio of the logits that it allows, in decibels. Networks that quantize
/// well have more; others lose certainty long before few pictures tell of it.
const MIXED_SQNR: f64 = 24.0;

/// Few pictures are seen often, so they vary. They are not mirrored: that may make another class of them.
const SHIFTED: train::Augment = train::Augment {
    flip: false,
    shift: 4,
};

/// Nearly all is learnt from the answers of the model itself before it was made smaller, which varied pictures
/// have too.
///
/// Source: Beyer et al., "Knowledge distillation: A good teacher is patient and consistent", 2022.
const PATIENT: train::Distil = train::Distil {
    alpha: 0.9,
    temperature: 4.0,
};

/// Labels alone teach a model little that it does not know from its training in float, and larger steps lead it away
/// from what it knows: `docs/training.md` has figures.
const RATE_FROM_LABELS: f32 = 0.000_03;

/// The recipe of this name.
pub fn named(name: &str) -> Option<Recipe> {
    let fold = Step::FoldBatchNorm {};
    let weights = Step::Prune(prune::Method::Weights {
        amount: 0.5,
        scope: prune::Scope::Layer,
    });
    let channels = Step::Prune(prune::Method::Channels {
        amount: 0.3,
        scope: prune::Scope::Layer,
        multiple: prune::MULTIPLE,
    });
    let per_tensor = quantize::Options {
        method: Some(Method::Minmax),
        per_channel: false,
        ..quantize::Options::default()
    };
    let per_channel = quantize::Options::default();
    let mixed = quantize::Options {
        max_drop: Some(MIXED_DROP),
        min_sqnr: Some(MIXED_SQNR),
        ..quantize::Options::default()
    };
    let recover = train::Options {
        epochs: 12,
        batch: 32,
        learning_rate: Some(0.03),
        augment: SHIFTED,
        distil: Some(PATIENT),
        ..train::Options::default()
    };
    let aware = train::Options {
        batch: 32,
        learning_rate: Some(RATE_FROM_LABELS),
        augment: SHIFTED,
        qat: Some(quantize::Options::default()),
        ..train::Options::default()
    };
    let taught = train::Options {
        learning_rate: None,
        distil: Some(PATIENT),
        ..aware.clone()
    };
    let steps = match name {
        "fp32" => vec![],
        "fp16" => vec![fold, Step::Fp16(fp16::Options::default())],
        "ptq-int8" => vec![fold, Step::Quantize(per_tensor)],
        "ptq-int8-pc" => vec![fold, Step::Quantize(per_channel)],
        "mixed-int8" => vec![fold, Step::Quantize(mixed)],
        "qat-int8" => vec![fold, Step::Train(aware)],
        "distil-int8" => vec![fold, Step::Train(taught)],
        "prune50" => vec![fold, weights],
        "prune50-ft" => vec![fold, weights, Step::Train(recover)],
        "prune50-int8" => vec![fold, weights, Step::Quantize(per_channel)],
        "channel30" => vec![fold, channels],
        "channel30-ft" => vec![fold, channels, Step::Train(recover)],
        "channel30-int8" => vec![fold, channels, Step::Train(recover), Step::Quantize(per_channel)],
        _ => return None,
    };
    Some(Recipe {
        name: name.to_owned(),
        steps,
    })
}
