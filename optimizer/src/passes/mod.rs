//! Passes over a model: each takes a valid one, returns another, and reports what it did to each node.

mod fold_batch_norm;
pub mod fp16;
mod prepare;
pub mod prune;
mod quantize_dynamic;
pub mod quantize_weights;
#[cfg(test)]
mod tests;

pub use fold_batch_norm::fold_batch_norm;
pub use fp16::fp16;
pub use prepare::prepare;
pub use prune::prune;
pub use quantize_dynamic::{NAME as QUANTIZE_DYNAMIC, quantize_dynamic};
pub use quantize_weights::quantize_weights;

use crate::check::check;
use crate::error::Error;
use crate::graph::Graph;
use crate::model::Model;

/// Puts the graph together and checks it, so that a defect of a pass never reaches a file.
pub(crate) fn finish(pass: &str, graph: Graph) -> Result<Model, Error> {
    let broke = |source| Error::Pass {
        pass: pass.to_owned(),
        source: Box::new(source),
    };
    let model = graph.finish().map_err(broke)?;
    check(&model).map_err(broke)?;
    Ok(model)
}
