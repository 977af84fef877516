//! Pruning: single weights, patterns of weights, or whole channels.

mod channels;
mod options;
mod weights;

pub use options::{MULTIPLE, Method, Options, Pattern, Scope};

use super::finish;
use crate::cost::Cost;
use crate::error::Error;
use crate::graph::Graph;
use crate::model::Model;
use crate::report::{Change, PassReport};

/// Name of the pass.
pub const NAME: &str = "prune";

/// Prunes a model. Biases stay but for those of channels that leave. This changes what the model computes; how
/// much is for validation to tell.
pub fn prune(model: &Model, method: &Method) -> Result<(Model, PassReport), Error> {
    method.check()?;
    let before = Cost::of(model)?;
    let mut graph = Graph::new(model.clone())?;
    let mut report = PassReport::new(NAME);
    match *method {
        Method::Weights { amount, scope } => {
            weights::smallest(&mut graph, &mut report, amount, scope)?;
        }
        Method::Pattern(pattern) => weights::pattern(&mut graph, &mut report, pattern)?,
        Method::Channels {
            amount,
            scope,
            multiple,
        } => {
            channels::prune(model, &mut graph, &mut report, amount, scope, multiple)?;
        }
    }
    let pruned = finish(NAME, graph)?;
    let after = Cost::of(&pruned)?;
    report.cost = Some(Change { before, after });
    Ok((pruned, report))
}

fn refused(reason: impl Into<String>) -> Error {
    Error::Refused {
        pass: NAME.to_owned(),
        reason: reason.into(),
    }
}
