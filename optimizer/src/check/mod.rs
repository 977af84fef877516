//! Whether a model is valid, and whether the optimizer knows all that is in it.

mod finite;
mod schema;
mod structure;
mod summary;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use finite::{not_a_number, not_finite};
pub use summary::{Port, Summary};

use crate::error::Error;
use crate::model::Model;
use crate::proto::NodeProto;
use crate::shape;

/// Versions of the standard operator set that the optimizer knows.
pub const OPSETS: std::ops::RangeInclusive<i64> = 7..=23;

/// Checks everything and describes the model. The error lists all findings, each with the node or value.
pub fn check(model: &Model) -> Result<Summary, Error> {
    let mut findings = structure::findings(model);
    let (values, errors) = shape::infer_all(model, &BTreeMap::new());
    for error in errors {
        let finding = error.to_string();
        if !findings.contains(&finding) {
            findings.push(finding);
        }
    }
    if findings.is_empty() {
        Ok(summary::summarize(model, &values))
    } else {
        Err(Error::Invalid(findings))
    }
}

/// Whether the optimizer knows the node's operator.
pub fn knows_operator(node: &NodeProto) -> bool {
    shape::operator(node).is_some()
}
