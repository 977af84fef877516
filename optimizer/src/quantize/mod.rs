//! Static INT8 quantization after training, in QDQ form.
//!
//! The model stays one of floats in which pairs of `QuantizeLinear` and `DequantizeLinear` say where and how
//! values are stored in 8 bits; runtimes fuse the pairs with the node between them into one integer kernel.
//! Weights are stored as signed bytes, biases in 32 bits.

mod forms;
mod options;
mod params;
mod plan;
mod rewrite;
mod weights;

use crate::calibrate::{self, Calibration};
use crate::error::Error;
use crate::graph::Graph;
use crate::model::Model;
use crate::passes::finish;
use crate::recipe::{Context, Progress};
use crate::report::PassReport;

use forms::Form;
pub use options::{ActivationType, Activations, Options};
use params::Params;
use plan::Plan;

/// Name of the pass in reports and errors.
pub const NAME: &str = "quantize";

/// The oldest opset whose `DequantizeLinear` has scales per channel.
const OLDEST_OPSET: i64 = 13;

/// Quantizes a valid model that is prepared for passes.
///
/// # Errors
/// Where there are no samples or they do not fit the model, where weights or activations are not finite, and
/// where the model is of an opset that cannot express it.
pub fn quantize(model: &Model, options: &Options, context: &Context) -> Result<(Model, PassReport), Error> {
    let samples = context
        .calibration
        .ok_or_else(|| refused("it needs samples; give some with `--calib`"))?;
    let mut graph = Graph::new(model.clone())?;
    if graph.opset() < OLDEST_OPSET {
        let found = graph.opset();
        return Err(refused(format!(
            "the model is of opset {found}, and {OLDEST_OPSET} or newer is needed; export it again"
        )));
    }
    let kind = options.activations.resolve(context.activations);
    let plan = Plan::of(&graph);
    let observed = plan.observed();
    let mut report = PassReport::new(NAME);
    for (id, decision) in &plan.nodes {
        let node = graph.node(*id).label();
        match decision {
            Ok(form) => report.applied(node, describe(*form, options, kind)),
            Err(reason) => report.skipped(node, reason),
        }
    }
    if observed.is_empty() {
        return Err(refused(
            "no node of the model has an integer form; use another pass",
        ));
    }
    let calibration = Calibration {
        samples,
        limit: options.samples,
        method: options.method,
        step: &|range| Params::covering(range, kind).scale,
        runtimes: context.runtimes,
        threads: context.threads,
        progress: &|done, total| (context.progress)(Progress::Calibrating { done, total }),
    };
    let ranges = calibrate::ranges(model, &observed, &calibration)?;
    rewrite::Rewriter::new(&mut graph, &plan, options, &ranges, kind).run()?;
    Ok((finish(NAME, graph)?, report))
}

fn describe(form: Form, options: &Options, kind: ActivationType) -> String {
    let kind = match kind {
        ActivationType::U8 => "u8",
        ActivationType::S8 => "s8",
    };
    match form {
        Form::Convolution(_) | Form::Product(_) => {
            let scales = if options.per_channel {
                "per channel"
            } else {
                "per tensor"
            };
            format!("{kind} activations, s8 weights {scales}")
        }
        Form::Merge | Form::Average => format!("{kind} activations"),
        Form::Select | Form::Move => format!("{kind} activations of one scale"),
        Form::Limit => format!("part of the node before it, {kind} activations"),
    }
}

fn refused(reason: impl Into<String>) -> Error {
    Error::Refused {
        pass: NAME.to_owned(),
        reason: reason.into(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
