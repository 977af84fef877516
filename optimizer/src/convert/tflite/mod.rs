//! ONNX to TFLite, the format of LiteRT.
//!
//! The model is brought into a form with fixed shapes, constants and folded normalizations; `lower` then turns
//! node by node into kernels' calls, and `file` writes them as the tables of `schema`. Pictures lie
//! `[N, H, W, C]` throughout: each value knows where its axes lie (`axes`), so that transpositions are left only
//! where something cannot be computed otherwise.
//!
//! The model's inputs and outputs of four axes lie `[N, H, W, C]` too. The file says so itself: its metadata
//! `edgefront.axes` hold, as JSON, the name of each input and output in the ONNX model and for each axis of the
//! tensor the axis of the ONNX value, `{"inputs": [{"name": "x", "axes": [0, 2, 3, 1]}], "outputs": [...]}`.

mod axes;
mod blocks;
mod composed;
mod file;
mod fixed;
mod flat;
mod gates;
mod heads;
mod lower;
mod padding;
mod pooled;
mod program;
mod quantization;
#[cfg(test)]
mod reading;
mod schema;
#[cfg(test)]
mod tests;
mod unit;

use std::collections::BTreeMap;
use std::path::Path;

use crate::error::Error;
use crate::graph::Graph;
use crate::model::Model;
use crate::passes;
use crate::proto::DataType;
use crate::report::PassReport;
use crate::shape;

/// Name of the conversion among the passes.
pub const NAME: &str = "tflite";

/// What to do besides.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// Shape of each input in the model's own order of axes; empty for the model's own, with an open batch of 1.
    pub shapes: Vec<Vec<usize>>,
    /// Store weights in half precision, as they are anyway where the model has them so; kernels get them as float32.
    pub half: bool,
}

/// A converted model.
#[derive(Debug, Clone)]
pub struct Converted {
    /// The file.
    pub bytes: Vec<u8>,
    /// What each pass did, the conversion last: a node that it skipped computes in float32 although its neighbours
    /// compute in integers.
    pub passes: Vec<PassReport>,
}

impl Converted {
    /// Writes the file so that at no moment a part of it is at `path`.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        edgefront_files::replace(path, &self.bytes).map_err(|source| Error::Write {
            path: path.to_owned(),
            source,
        })
    }
}

/// Converts a valid model. A node that cannot be converted is an error that names it.
pub fn convert(model: &Model, options: &Options) -> Result<Converted, Error> {
    let model = fixed::fix(model.clone(), &options.shapes)?;
    let (model, prepared) = passes::prepare(&model)?;
    let (model, folded) = passes::fold_batch_norm(&model)?;
    let values = shape::infer(&model, &BTreeMap::new())?;
    let mut graph = Graph::new(model)?;
    composed::rewrite(&mut graph, &values);
    gates::rewrite(&mut graph)?;
    pooled::flatten(&mut graph, &values)?;
    heads::reorder(&mut graph, &values)?;
    blocks::reorder(&mut graph)?;
    let model = graph.finish()?;
    let values = shape::infer(&model, &BTreeMap::new())?;
    let graph = Graph::new(model)?;
    let half = options.half || has_halves(&graph);
    let (mut program, report) = lower::lower(&graph, &values, half)?;
    program.remove_unused();
    let bytes = file::bytes(program).ok_or_else(|| Error::Refused {
        pass: NAME.to_owned(),
        reason: "the weights exceed 2 GiB, the most that a TFLite file holds; quantize them first".to_owned(),
    })?;
    Ok(Converted {
        bytes,
        passes: vec![prepared, folded, report],
    })
}

/// Whether the model stores weights in half precision.
fn has_halves(graph: &Graph) -> bool {
    let mut constants = graph.initializers();
    constants.any(|tensor| tensor.dims.len() > 1 && matches!(tensor.element_type(), Ok(DataType::Float16)))
}
