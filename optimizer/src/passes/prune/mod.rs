//! Pruning: single weights, patterns of weights, or whole channels.

mod channels;
mod options;
mod weights;

pub use options::{MULTIPLE, Method, Options, Pattern, Scope};

use options::ZERO_MULTIPLE;

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
    let before = Cost::of(model)?;
    let mut graph = Graph::new(model.clone())?;
    let mut report = PassReport::new(NAME);
    match *method {
        Method::Weights { amount, scope } => {
            check_amount(amount)?;
            weights::smallest(&mut graph, &mut report, amount, scope)?;
        }
        Method::Pattern(pattern) => weights::pattern(&mut graph, &mut report, pattern)?,
        Method::Channels {
            amount,
            scope,
            multiple,
        } => {
            check_amount(amount)?;
            if multiple == 0 {
                return Err(refused(ZERO_MULTIPLE));
            }
            channels::prune(model, &mut graph, &mut report, amount, scope, multiple)?;
        }
    }
    let pruned = finish(NAME, graph)?;
    let after = Cost::of(&pruned)?;
    report.cost = Some(Change { before, after });
    Ok((pruned, report))
}

fn check_amount(amount: f64) -> Result<(), Error> {
    if (0.0..=1.0).contains(&amount) {
        return Ok(());
    }
    Err(refused(format!(
        "the amount is {amount}; it is a fraction between 0 and 1"
    )))
}

fn refused(reason: impl Into<String>) -> Error {
    Error::Refused {
        pass: NAME.to_owned(),
        reason: reason.into(),
    }
}
