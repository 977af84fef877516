//! Fine-tuning, distillation and quantization-aware training of classifiers.
//!
//! A model becomes a list of steps over [burn](https://burn.dev)'s tensors, whose tape gives the gradients. What is
//! trained are the model's own constants, which go back to where they were: the result is the same graph with other
//! weights, which every runtime loads as before.
//!
//! A model in QDQ form is trained as such: each `QuantizeLinear` rounds, and lets gradients through; weights are
//! rounded to their integers at every step, while the float that is behind them moves; the scales of activations are
//! trained too. So what is trained is, but for the order of sums, what an integer runtime computes.

mod attributes;
mod batch;
mod checkpoint;
mod composed;
mod cpu;
mod curves;
mod descent;
mod device;
mod differentiable;
mod elementwise;
mod fit;
mod kernels;
mod loss;
mod movement;
mod normalization;
mod operator;
mod options;
mod parameter;
mod pick;
mod program;
mod reader;
mod reduction;
mod run;
mod tape;
mod value;
mod window;

use std::collections::HashSet;

use burn_flex::{Flex, FlexDevice};

use crate::calibrate::Samples;
use crate::check::not_finite;
use crate::error::Error;
use crate::graph::Graph;
use crate::model::Model;
use crate::passes::{finish, fold_batch_norm};
use crate::quantize;
use crate::recipe::{self, Context};
use crate::report::PassReport;

pub use checkpoint::Checkpoint;
use checkpoint::Origin;
pub use device::{Device, Unavailable};
pub use fit::Progress;
pub use options::{Augment, Distil, Options, RATE, RATE_IN_INTEGERS};

use device::Found;
use fit::Fit;
use kernels::Kernels;
use operator::Operator;
use parameter::Parameter;
use program::{Operand, Program, Step, refused};

const DIVERGED: &str = "the weights are not finite any more; use a smaller learning rate";

/// Name of the pass in reports and errors.
pub const NAME: &str = "train";

/// What training may have beside the samples of its [`Context`].
#[derive(Default)]
pub struct Extras<'a> {
    /// Samples on which the accuracy is measured after each epoch.
    pub validation: Option<&'a dyn Samples>,
    /// Whose answers to learn from, where the options ask for it.
    pub teacher: Option<&'a Model>,
    /// Where the state is kept after each epoch.
    pub checkpoint: Option<Checkpoint<'a>>,
}

/// Trains a valid model that is prepared for passes on the training samples of the context.
///
/// # Errors
/// Where options are out of range, where there are no samples or they do not fit the model, where the model has
/// an operator that cannot be trained through or is no classifier, where the loss overflows, and where the device
/// cannot be had or fails.
pub fn train(
    model: &Model,
    options: &Options,
    context: &Context,
    extras: &Extras,
) -> Result<(Model, PassReport), Error> {
    options.check()?;
    if quantize::is_half(model) {
        return Err(refused(
            "the model is in half precision; give the float32 model that it was made from",
        ));
    }
    let device = context.device.find()?;
    let data = context
        .training
        .ok_or_else(|| refused("it needs labelled samples; give some with `--train`"))?;
    let teacher = match (options.distil, extras.teacher) {
        (None, _) => None,
        (Some(_), Some(teacher)) => Some(
            Program::of(teacher, None)
                .map_err(|error| refused(format!("the teacher cannot teach: {error}")))?,
        ),
        (Some(_), None) => return Err(refused("distillation needs a teacher; give one with `--teacher`")),
    };
    let quantized = options.qat.as_ref();
    let quantized = quantized
        .map(|options| quantize::quantize(model, options, context))
        .transpose()?;
    let normalized = if options.normalize && quantized.is_none() {
        normalization::insert(model)?
    } else {
        None
    };
    if normalized.is_some() && options.batch.min(data.len()) == 1 {
        return Err(refused(
            "a step of one sample says nothing of the spread that batch normalizations need; train with `batch` 2 or more, better 32",
        ));
    }
    let (start, float) = match (&quantized, &normalized) {
        (Some((quantized, _)), _) => (quantized, Some(model)),
        (None, Some(normalized)) => (normalized, None),
        (None, None) => (model, None),
    };
    let kept = match &extras.checkpoint {
        Some(checkpoint) => {
            let models = [Some(start), float, extras.teacher];
            Some((*checkpoint, Origin::of(models, data)?))
        }
        None => None,
    };
    let task = Task {
        program: Program::of(start, float)?,
        teacher,
        data,
        options,
        context,
        validation: extras.validation,
        kept,
        adopts_statistics: normalized.is_some(),
    };
    let fitted = match device {
        Found::Cpu => task.fit::<Flex>(&FlexDevice)?,
        #[cfg(any(feature = "cuda", feature = "wgpu"))]
        Found::Gpu(device) => task.fit::<burn_cubecl::Cube>(&device)?,
    };

    let mut graph = Graph::new(start.clone())?;
    parameter::write_back(&mut graph, &fitted.parameters);
    let mut trained = finish(NAME, graph)?;
    if normalized.is_some() {
        (trained, _) = fold_batch_norm(&trained)?;
    }
    if not_finite(&trained).is_some() && not_finite(model).is_none() {
        return Err(refused(DIVERGED));
    }
    Ok((trained, report(model, &fitted)))
}

/// What is to be trained, on whichever backend.
struct Task<'a> {
    program: Program,
    teacher: Option<Program>,
    data: &'a dyn Samples,
    options: &'a Options,
    context: &'a Context<'a>,
    validation: Option<&'a dyn Samples>,
    /// Where the state is kept, and what training begins with.
    kept: Option<(Checkpoint<'a>, Origin)>,
    /// Whether batch normalizations begin with the statistics of what they see.
    adopts_statistics: bool,
}

/// What training has made.
struct Fitted {
    /// The steps that it went through.
    steps: Vec<Step>,
    parameters: Vec<Parameter>,
    /// How many elements of each stayed zero.
    masked: Vec<usize>,
}

impl Task<'_> {
    fn fit<B: Kernels>(self, device: &B::Device) -> Result<Fitted, Error> {
        let Self {
            program,
            teacher,
            data,
            options,
            context,
            validation,
            kept,
            adopts_statistics,
        } = self;
        let mut fit = Fit::<B>::new(program, teacher, data, options, context.threads, device)?;
        if let Some(validation) = validation {
            fit.check_labels(validation, "validation")?;
        }
        if adopts_statistics {
            fit.adopt_statistics()?;
        }
        let progress = |progress| (context.progress)(recipe::Progress::Training(progress));
        let done = match &kept {
            Some((checkpoint, origin)) => checkpoint.begin(&mut fit, origin, options)?,
            None => 0,
        };
        for epoch in done..options.epochs {
            let reached = fit.epoch(epoch, &progress)?;
            if adopts_statistics {
                fit.renew_statistics()?;
            }
            if let Some((checkpoint, origin)) = &kept {
                checkpoint.write(&fit, epoch + 1, origin, options)?;
            }
            if let Some(validation) = validation {
                let accuracy = fit.accuracy(validation)?;
                progress(Progress {
                    validation: Some(accuracy),
                    ..reached
                });
            }
        }
        let parameters = fit.parameters()?;
        Ok(Fitted {
            steps: fit.program().steps.clone(),
            masked: (0..parameters.len()).map(|index| fit.masked(index)).collect(),
            parameters,
        })
    }
}

/// What was trained, node by node, of the nodes that the model has or gets.
fn report(model: &Model, fitted: &Fitted) -> PassReport {
    let labels: HashSet<String> = model.graph().node.iter().map(|node| node.label()).collect();
    let mut report = PassReport::new(NAME);
    for step in &fitted.steps {
        if !labels.contains(&step.label) && step.operator != Operator::Quantize {
            continue;
        }
        let parameters = step.inputs.iter().flatten().filter_map(|input| match input {
            Operand::Parameter(index) => Some(*index),
            _ => None,
        });
        let parameters: Vec<usize> = parameters.collect();
        let zeros: usize = parameters.iter().map(|&index| fitted.masked[index]).sum();
        let what = match step.operator {
            _ if parameters.is_empty() => continue,
            Operator::Quantize => "its scale was trained".to_owned(),
            _ if zeros > 0 => format!("trained; {zeros} pruned weights stayed zero"),
            _ => "trained".to_owned(),
        };
        report.applied(step.label.clone(), what);
    }
    report
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::items_after_statements)]
mod tests;
