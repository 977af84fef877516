//! Mixed precision: which layers stay in float so that a quantized model keeps its accuracy.
//!
//! The *damage* of a layer is what the logits lose when it alone is quantized: the energy of their error in
//! parts of their own. Layers are ranked by it, and as few of the most damaging ones stay in float as the
//! allowed drop needs (`search`). The opposite measure, what is gained when a layer alone stays in float, ranks
//! worse: layers that read one residual stream only help together.

mod floor;
mod logits;
mod search;

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::calibrate::run::Source;
use crate::error::Error;
use crate::model::Model;
use crate::quantize::{self, Calibrated};
use crate::recipe::{Context, Progress};
use crate::report::PassReport;

use floor::Floor;
pub use floor::Measure;
use logits::Logits;

/// Samples that a layer's damage is measured on. Its rank does not change with more, and each layer is a run.
const SAMPLES_OF_DAMAGE: usize = 64;

/// What was measured and decided.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sensitivity {
    /// How drops are counted.
    pub measure: Measure,
    /// Samples that they are counted on.
    pub samples: usize,
    /// The drop that was allowed, a fraction of the samples.
    pub max_drop: f64,
    /// The drop with all layers in integers.
    pub drop_all_quantized: f64,
    /// The drop of what came out.
    pub drop: f64,
    /// All layers, the most damaging first.
    pub layers: Vec<Layer>,
}

/// A layer's damage and what was decided.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Layer {
    /// The node.
    pub node: String,
    /// Energy of the logits' error in parts of their own energy, with this layer alone in integers.
    pub noise: f64,
    /// Whether it stays in float.
    pub in_float: bool,
}

impl Layer {
    /// The logits' signal to quantization noise ratio in decibels, with this layer alone in integers; infinite
    /// where they do not change.
    pub fn sqnr_db(&self) -> f64 {
        -10.0 * self.noise.log10()
    }
}

/// Quantizes a model with as few layers in float as a drop of at most `max_drop` needs, beside those that the
/// options name.
///
/// # Errors
/// As [`quantize::quantize`].
pub(crate) fn quantize(
    model: &Model,
    options: &quantize::Options,
    max_drop: f64,
    context: &Context<'_>,
) -> Result<(Model, PassReport), Error> {
    if !(0.0..=1.0).contains(&max_drop) {
        return Err(refused(format!(
            "a drop of {max_drop} is not a fraction between 0 and 1"
        )));
    }
    let calibrated = quantize::calibrate(model, options, context)?;
    let samples = context.calibration.expect("calibration had samples");
    let total = options
        .samples
        .map_or(samples.len(), |limit| limit.min(samples.len()));
    let source = |total| Source {
        samples,
        total,
        runtimes: context.runtimes,
        threads: context.threads,
    };
    let mut layers = calibrated.layers();
    layers.retain(|layer| !options.float_nodes.contains(layer));
    let bench = Bench {
        calibrated: &calibrated,
        always: &options.float_nodes,
        layers,
    };
    let noises = bench.noises(model, &source(total.min(SAMPLES_OF_DAMAGE)), context.progress)?;
    let mut ranked: Vec<usize> = (0..bench.layers.len()).collect();
    ranked.sort_by(|&one, &other| noises[other].total_cmp(&noises[one]));

    let source = source(total);
    let floor = Floor::new(&Logits::of(model, &source)?, samples);
    let mut known: HashMap<Vec<usize>, f64> = HashMap::new();
    let mut drop = |float: &[usize]| {
        if let Some(drop) = known.get(float) {
            return Ok(*drop);
        }
        let (variant, _) = bench.quantize(float)?;
        let drop = floor.drop(&Logits::of(&variant, &source)?);
        known.insert(float.to_vec(), drop);
        Ok::<_, Error>(drop)
    };
    let drop_all_quantized = drop(&[])?;
    let float = search::fewest_in_float(&ranked, max_drop, &mut drop)?;

    let layer = |&layer: &usize| Layer {
        node: bench.layers[layer].clone(),
        noise: noises[layer],
        in_float: float.contains(&layer),
    };
    let found = Sensitivity {
        measure: floor.measure(),
        samples: total,
        max_drop,
        drop_all_quantized,
        drop: drop(&float)?,
        layers: ranked.iter().map(layer).collect(),
    };
    let (variant, mut report) = bench.quantize(&float)?;
    explain(&mut report, &found);
    report.sensitivity = Some(found);
    Ok((variant, report))
}

/// A calibrated model whose layers are quantized or not, to see what comes of it.
struct Bench<'a> {
    calibrated: &'a Calibrated,
    /// Nodes that are never quantized.
    always: &'a [String],
    /// The others that have weights, in the order of the graph.
    layers: Vec<String>,
}

impl Bench<'_> {
    /// The model with these layers in float.
    fn quantize(&self, float: &[usize]) -> Result<(Model, PassReport), Error> {
        let names = float.iter().map(|&layer| self.layers[layer].clone());
        let names: Vec<String> = self.always.iter().cloned().chain(names).collect();
        self.calibrated.quantize(&names)
    }

    /// The noise of each layer, quantized alone.
    fn noises(
        &self,
        model: &Model,
        source: &Source<'_>,
        progress: &dyn Fn(Progress<'_>),
    ) -> Result<Vec<f64>, Error> {
        let reference = Logits::of(model, source)?;
        let total = self.layers.len();
        let noise = |layer| {
            let others: Vec<usize> = (0..total).filter(|&other| other != layer).collect();
            let (variant, _) = self.quantize(&others)?;
            let noise = Logits::of(&variant, source)?.noise(&reference);
            progress(Progress::Measuring {
                done: layer + 1,
                total,
            });
            Ok(noise)
        };
        (0..total).map(noise).collect()
    }
}

/// Adds its damage to what the report says of each layer.
fn explain(report: &mut PassReport, found: &Sensitivity) {
    for layer in &found.layers {
        let Some(node) = report.nodes.iter_mut().find(|node| node.node == layer.node) else {
            continue;
        };
        let damage = if layer.noise > 0.0 {
            format!(
                "alone in integers it leaves a logit SQNR of {:.1} dB",
                layer.sqnr_db()
            )
        } else {
            "alone in integers it changes no logit".to_owned()
        };
        let decision = if layer.in_float {
            "it stays in float for the accuracy"
        } else {
            &node.why
        };
        node.why = format!("{decision}; {damage}");
    }
}

fn refused(reason: impl Into<String>) -> Error {
    Error::Refused {
        pass: quantize::NAME.to_owned(),
        reason: reason.into(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
