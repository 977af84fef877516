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
        method: Method::Minmax,
        per_channel: false,
        ..quantize::Options::default()
    };
    let per_channel = quantize::Options::default();
    let mixed = quantize::Options {
        max_drop: Some(MIXED_DROP),
        ..quantize::Options::default()
    };
    let tune = train::Options::default();
    let aware = train::Options {
        qat: Some(quantize::Options::default()),
        ..train::Options::default()
    };
    let taught = train::Options {
        distil: Some(train::Distil::default()),
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
        "prune50-ft" => vec![fold, weights, Step::Train(tune)],
        "prune50-int8" => vec![fold, weights, Step::Quantize(per_channel)],
        "channel30" => vec![fold, channels],
        "channel30-ft" => vec![fold, channels, Step::Train(tune)],
        "channel30-int8" => vec![fold, channels, Step::Train(tune), Step::Quantize(per_channel)],
        _ => return None,
    };
    Some(Recipe {
        name: name.to_owned(),
        steps,
    })
}
