//! Mixed precision: which layers stay in float so that a quantized model keeps its accuracy.
//!
//! The *damage* of a layer is what the outputs lose when it alone is quantized, with what is computed of its result
//! before the next layer: the energy of their error in parts of their own. Layers are ranked by their damage in
//! parts of what they cost in float (`price`), and as few of the first ones stay so as the floor needs (`search`).
//! The opposite measure, what is gained when a layer alone stays in float, ranks worse: one change among a hundred
//! roundings moves all the others too.

mod floor;
mod price;
mod search;

use std::collections::HashMap;
use std::iter;

use serde::{Deserialize, Serialize};

use crate::answers::Answers;
use crate::calibrate::run::Source;
use crate::error::Error;
use crate::model::Model;
use crate::quantize::{self, Calibrated, Region};
use crate::recipe::{Context, Progress};
use crate::report::{NodeReport, PassReport};

pub(crate) use floor::decibels;
pub use floor::{Floor, Measure};
use floor::{Kept, Reference};

/// Samples that a layer's damage is measured on. Its rank does not change with more, and each layer is a run.
const SAMPLES_OF_DAMAGE: usize = 64;

/// What was measured and decided. Ratios are in decibels, and `None` where the outputs do not change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sensitivity {
    /// How drops are counted.
    pub measure: Measure,
    /// Samples that drops and ratios are counted on.
    pub samples: usize,
    /// The drop that was allowed, a fraction of the samples.
    pub max_drop: Option<f64>,
    /// The outputs' signal to quantization noise ratio that was asked for.
    pub min_sqnr_db: Option<f64>,
    /// The drop with all layers in integers.
    pub drop_all_quantized: f64,
    /// The drop of what came out.
    pub drop: f64,
    /// The outputs' signal to quantization noise ratio with all layers in integers.
    pub sqnr_db_all_quantized: Option<f64>,
    /// That of what came out.
    pub sqnr_db: Option<f64>,
    /// All layers, those that do most damage for what they cost in float first.
    pub layers: Vec<Layer>,
}

impl Sensitivity {
    /// Whether what came out keeps what it must. With all layers in float it may not, where other passes or nodes
    /// without weights change the answers.
    pub fn reaches_floor(&self) -> bool {
        self.max_drop.is_none_or(|most| self.drop <= most)
            && self
                .min_sqnr_db
                .is_none_or(|least| self.sqnr_db.is_none_or(|ratio| ratio >= least))
    }
}

/// A layer's damage and what was decided.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Layer {
    /// The node.
    pub node: String,
    /// Energy of the outputs' error in parts of their own energy, with this layer alone in integers.
    pub noise: f64,
    /// Whether it stays in float.
    pub in_float: bool,
}

impl Layer {
    /// The outputs' signal to quantization noise ratio in decibels, with this layer alone in integers; infinite
    /// where they do not change.
    pub fn sqnr_db(&self) -> f64 {
        decibels(self.noise)
    }
}

/// Quantizes a model with as few layers in float as the floor needs, beside the nodes that the options name.
///
/// # Errors
/// As [`quantize::quantize`].
pub(crate) fn quantize(
    model: &Model,
    options: &quantize::Options,
    floor: Floor,
    context: &Context<'_>,
) -> Result<(Model, PassReport), Error> {
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
    let total = Answers::holdable(model, &source(total))?;
    let mut regions = calibrated.regions();
    regions.retain(|region| !options.float_nodes.contains(&region.layer));
    let bench = Bench {
        calibrated: &calibrated,
        always: &options.float_nodes,
        regions,
    };
    let noises = bench.noises(model, &source(total.min(SAMPLES_OF_DAMAGE)), context.progress)?;
    let prices = price::prices(model, &bench.regions);
    let worth = |layer: usize| noises[layer] / prices[layer];
    let mut ranked: Vec<usize> = (0..bench.regions.len()).collect();
    ranked.sort_by(|&one, &other| worth(other).total_cmp(&worth(one)));

    let source = source(total);
    let reference = Reference::new(answers_of_worth(model, &source, floor)?, samples);
    let mut known: HashMap<Vec<usize>, Kept> = HashMap::new();
    let mut kept = |float: &[usize]| {
        if let Some(kept) = known.get(float) {
            return Ok(*kept);
        }
        let (variant, _) = bench.quantize(float)?;
        let kept = reference.kept(&Answers::of(&variant, &source)?);
        known.insert(float.to_vec(), kept);
        Ok::<_, Error>(kept)
    };
    let float = search::fewest_in_float(&ranked, |float| Ok::<_, Error>(floor.holds(kept(float)?)))?;

    let (all_quantized, reached) = (kept(&[])?, kept(&float)?);
    let layer = |&layer: &usize| Layer {
        node: bench.regions[layer].layer.clone(),
        noise: noises[layer],
        in_float: float.contains(&layer),
    };
    let found = Sensitivity {
        measure: reference.measure(),
        samples: total,
        max_drop: floor.max_drop,
        min_sqnr_db: floor.min_sqnr,
        drop_all_quantized: all_quantized.drop,
        drop: reached.drop,
        sqnr_db_all_quantized: finite(decibels(all_quantized.noise)),
        sqnr_db: finite(decibels(reached.noise)),
        layers: ranked.iter().map(layer).collect(),
    };
    let (variant, mut report) = bench.quantize(&float)?;
    explain(&mut report, &found, &bench.regions);
    report.sensitivity = Some(found);
    Ok((variant, report))
}

/// The float model's answers, where the floor can be kept of them.
fn answers_of_worth(model: &Model, source: &Source<'_>, floor: Floor) -> Result<Answers, Error> {
    let answers = Answers::of(model, source)?;
    if let Some(output) = answers.not_finite() {
        return Err(refused(format!(
            "output `{output}` is not finite on the samples; repair the model or the data"
        )));
    }
    if answers.are_zero() {
        return Err(refused(
            "the model answers nothing but zeros on the samples, which leaves no accuracy to keep; repair the model or the data",
        ));
    }
    if floor.max_drop.is_some() && answers.predictions().is_none() {
        let found = answers.first().map_or_else(
            || "the model has no output that".to_owned(),
            |(name, shape)| format!("output `{name}` of shape {shape:?}"),
        );
        return Err(refused(format!(
            "{found} holds no predictions to keep, as [batch, classes] would; set a floor of the SQNR instead"
        )));
    }
    Ok(answers)
}

fn finite(decibels: f64) -> Option<f64> {
    Some(decibels).filter(|decibels| decibels.is_finite())
}

/// A calibrated model whose layers are quantized or not, to see what comes of it.
struct Bench<'a> {
    calibrated: &'a Calibrated,
    /// Nodes that are never quantized.
    always: &'a [String],
    /// The others that have weights, with what goes along with them, in the order of the graph.
    regions: Vec<Region>,
}

impl Bench<'_> {
    /// The model with these regions in float.
    fn quantize(&self, float: &[usize]) -> Result<(Model, PassReport), Error> {
        let regions = float.iter().map(|&region| &self.regions[region]);
        let names = regions.flat_map(|region| iter::once(&region.layer).chain(&region.followers));
        let names: Vec<String> = self.always.iter().chain(names).cloned().collect();
        self.calibrated.quantize(&names)
    }

    /// The noise of each layer, quantized alone.
    fn noises(
        &self,
        model: &Model,
        source: &Source<'_>,
        progress: &dyn Fn(Progress<'_>),
    ) -> Result<Vec<f64>, Error> {
        let reference = Answers::of(model, source)?;
        let total = self.regions.len();
        let noise = |layer| {
            let others: Vec<usize> = (0..total).filter(|&other| other != layer).collect();
            let (variant, _) = self.quantize(&others)?;
            let noise = Answers::of(&variant, source)?.noise(&reference);
            progress(Progress::Measuring {
                done: layer + 1,
                total,
            });
            Ok(noise)
        };
        (0..total).map(noise).collect()
    }
}

/// Adds its damage to what the report says of each layer, and says with which layer other nodes stay in float.
fn explain(report: &mut PassReport, found: &Sensitivity, regions: &[Region]) {
    let mut nodes: HashMap<String, &mut NodeReport> = report
        .nodes
        .iter_mut()
        .map(|node| (node.node.clone(), node))
        .collect();
    for layer in &found.layers {
        let damage = if layer.noise > 0.0 {
            format!(
                "alone in integers it leaves an output SQNR of {:.1} dB",
                layer.sqnr_db()
            )
        } else {
            "alone in integers it changes no output".to_owned()
        };
        if let Some(node) = nodes.get_mut(&layer.node) {
            let decision = if layer.in_float {
                "it stays in float for the accuracy"
            } else {
                &node.why
            };
            node.why = format!("{decision}; {damage}");
        }
        let followers = regions
            .iter()
            .filter(|region| layer.in_float && region.layer == layer.node)
            .flat_map(|region| &region.followers);
        for follower in followers {
            if let Some(node) = nodes.get_mut(follower) {
                "it stays in float with the layer before it".clone_into(&mut node.why);
            }
        }
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
