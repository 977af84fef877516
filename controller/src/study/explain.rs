//! How the variants were made, and why those that should be faster than their model are not.
//!
//! A sentence stands on what the passes reported, on what the variant's graph shows ([`Obstacles`]), and on
//! what is known of the runtime; `docs/decisions/runtimes.md` has the figures.

use edgefront_optimizer::PassReport;
use edgefront_optimizer::convert::tflite;
use edgefront_optimizer::cost::Cost;
use edgefront_optimizer::obstacles::{LANES, Obstacles};
use edgefront_optimizer::quantize::{Choice, Trial};
use edgefront_optimizer::sensitivity::{Layer, Measure, Sensitivity};
use edgefront_protocol::results::{
    CostRecord, LayerRecord, NodeRecord, PassRecord, RangesRecord, Record, Results, SensitivityRecord,
    TrialRecord, VariantRecord,
};
use edgefront_protocol::{Digest, Format};
use serde::{Deserialize, Serialize};

use crate::results::scenario_label;

use super::findings::REFERENCE;
use super::form::{FOR_TENSORRT, is_tensorrt};

/// A variant is called slower, or no faster, where its median differs by more than this share: two
/// measurements of the same file differ by less.
const MARGIN: f64 = 0.02;

/// How a variant was made.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Making {
    /// What each pass did.
    pub(super) passes: Vec<PassReport>,
    /// What stands in the way of fast kernels.
    pub(super) obstacles: Obstacles,
    /// Names the constants that hold NaN or infinity, if any do.
    #[serde(default)]
    pub(super) not_finite: Option<String>,
    /// Whether it is quantized in the form that `TensorRT` takes.
    #[serde(default)]
    pub(super) for_tensorrt: bool,
}

/// Adds to the results how their artifacts were made, to each record what is wrong with its constants and whether
/// its integers are in a form of their own, and to each quantized or pruned variant that is no faster than the model what was found to be in the way.
pub(super) fn add(results: &mut Results, makings: &[(Digest, Making)]) {
    let of = |record: &Record| {
        let mut all = makings.iter();
        all.find(|(digest, _)| digest.to_string() == record.artifact.sha256)
            .map(|(_, making)| making)
    };
    let explanations: Vec<Option<String>> = results
        .records
        .iter()
        .map(|record| {
            let reference = reference(record, &results.records)?;
            let arch = results.devices.iter().find(|device| device.id == record.device);
            let case = Case {
                record,
                reference,
                making: of(record)?,
                of_reference: of(reference),
                arch: arch.map_or("", |device| &device.arch),
            };
            case.explanation()
        })
        .collect();
    let mut variants: Vec<VariantRecord> = Vec::new();
    for record in &results.records {
        let known = |v: &VariantRecord| v.variant == record.variant && v.sha256 == record.artifact.sha256;
        if let Some(making) = of(record)
            && !variants.iter().any(known)
        {
            variants.push(making.record(record));
        }
    }
    results.variants = variants;
    for (record, explanation) in results.records.iter_mut().zip(explanations) {
        record.explanation = explanation;
        let making = of(record);
        let finding = making.and_then(|making| making.not_finite.clone());
        record.conditions.notes.extend(finding);
        if is_tensorrt(&record.runtime, &record.provider) && making.is_some_and(|making| making.for_tensorrt)
        {
            record.conditions.notes.push(FOR_TENSORRT.to_owned());
        }
    }
}

/// The model itself, measured as the record was.
fn reference<'a>(record: &Record, records: &'a [Record]) -> Option<&'a Record> {
    records.iter().find(|other| {
        other.variant == REFERENCE
            && record.variant != REFERENCE
            && other.device == record.device
            && other.runtime == record.runtime
            && other.provider == record.provider
            && other.threads == record.threads
            && other.batch == record.batch
            && other.cpus == record.cpus
            && scenario_label(other) == scenario_label(record)
    })
}

impl Making {
    fn record(&self, record: &Record) -> VariantRecord {
        let pass = |report: &PassReport| PassRecord {
            pass: report.pass.clone(),
            nodes: report
                .nodes
                .iter()
                .map(|node| NodeRecord {
                    node: node.node.clone(),
                    applied: node.applied,
                    why: node.why.clone(),
                })
                .collect(),
            cost: report
                .cost
                .map(|change| [cost(change.before), cost(change.after)]),
            sensitivity: report.sensitivity.as_ref().map(sensitivity),
            ranges: report.choice.as_ref().map(ranges),
        };
        VariantRecord {
            variant: record.variant.clone(),
            sha256: record.artifact.sha256.clone(),
            passes: self.passes.iter().map(pass).collect(),
        }
    }

    /// The share of the weights that pruning set to zero and left where they were.
    fn sparsity(&self) -> f64 {
        let last = self.passes.iter().filter_map(|report| report.cost).next_back();
        last.map_or(0.0, |change| change.after.sparsity())
    }

    /// Whether a pass took something out of the model.
    fn is_pruned(&self) -> bool {
        self.passes.iter().any(|report| report.cost.is_some())
    }
}

fn cost(cost: Cost) -> CostRecord {
    CostRecord {
        parameters: cost.parameters,
        weights: cost.weights,
        zeros: cost.zeros,
        macs: cost.macs,
    }
}

fn ranges(choice: &Choice) -> RangesRecord {
    let trial = |trial: &Trial| TrialRecord {
        method: trial.method.name().to_owned(),
        sqnr_db: trial.sqnr_db,
    };
    RangesRecord {
        method: choice.method.name().to_owned(),
        samples: choice.samples as u64,
        trials: choice.trials.iter().map(trial).collect(),
    }
}

fn sensitivity(found: &Sensitivity) -> SensitivityRecord {
    let layer = |layer: &Layer| LayerRecord {
        node: layer.node.clone(),
        sqnr_db: Some(layer.sqnr_db()).filter(|decibels| decibels.is_finite()),
        in_float: layer.in_float,
    };
    let measure = match found.measure {
        Measure::Top1 => "top1",
        Measure::Agreement => "agreement",
        Measure::None => "none",
    };
    SensitivityRecord {
        measure: measure.to_owned(),
        samples: found.samples as u64,
        max_drop: found.max_drop,
        min_sqnr_db: found.min_sqnr_db,
        drop_all_quantized: found.drop_all_quantized,
        drop: found.drop,
        sqnr_db_all_quantized: found.sqnr_db_all_quantized,
        sqnr_db: found.sqnr_db,
        layers: found.layers.iter().map(layer).collect(),
    }
}

/// A record beside the model that it should beat.
struct Case<'a> {
    record: &'a Record,
    reference: &'a Record,
    making: &'a Making,
    of_reference: Option<&'a Making>,
    arch: &'a str,
}

impl Case<'_> {
    fn explanation(&self) -> Option<String> {
        let obstacles = &self.making.obstacles;
        let stored = obstacles.stored + obstacles.dynamic > 0;
        if !obstacles.is_quantized() && !stored && !self.making.is_pruned() {
            return None;
        }
        let ratio = self.record.latency_ms.p50 / self.reference.latency_ms.p50;
        let verdict = match ratio {
            r if r > 1.0 + MARGIN => "slower than",
            r if r > 1.0 - MARGIN => "no faster than",
            _ => return None,
        };
        let mut found = self.of_quantization();
        found.extend(self.of_sparsity());
        found.extend(self.of_channels());
        if found.is_empty() {
            found.push(
                "its graph shows no reason; the runtime's kernels for it are no faster here".to_owned(),
            );
        }
        if !(self.record.conditions.valid && self.reference.conditions.valid) {
            found.push("it may be chance, for the measurement is unsteady or was disturbed".to_owned());
        }
        Some(format!("{verdict} {REFERENCE}: {}", found.join("; ")))
    }

    /// Where floats are made of integers, or integers of floats, in each run.
    fn of_storage(&self) -> Vec<String> {
        let Obstacles { stored, dynamic, .. } = self.making.obstacles;
        if dynamic > 0 {
            return vec![format!(
                "the range of {dynamic} activations is found anew in each run, and they are quantized by it"
            )];
        }
        let made =
            format!("its {stored} stored weights save memory, not time: floats are made of them in each run");
        (stored > 0).then_some(made).into_iter().collect()
    }

    fn of_quantization(&self) -> Vec<String> {
        let Obstacles {
            layers,
            conversions,
            signed,
            float_layers,
            unfused,
            float_operators,
            ..
        } = &self.making.obstacles;
        if *conversions == 0 {
            return self.of_storage();
        }
        if ["tract", "tvm"].contains(&self.record.runtime.as_str()) {
            // What else there is does not matter beside it.
            return vec![format!(
                "{} computes its {conversions} QuantizeLinear and DequantizeLinear nodes one by one \
                 and fuses none into integer kernels",
                self.record.runtime
            )];
        }
        if self.record.artifact.format == Format::Tflite.as_str() {
            return self.of_conversion().into_iter().collect();
        }
        let mut found = Vec::new();
        if !float_layers.is_empty() {
            let (count, names) = (float_layers.len(), some_of(float_layers));
            found.push(format!("{count} of {layers} layers are left in float ({names})"));
        }
        if !unfused.is_empty() {
            let (count, names) = (unfused.len(), some_of(unfused));
            found.push(format!(
                "the Q/DQ around {count} of {layers} layers do not fuse, for their results stay in float ({names})"
            ));
        }
        if !float_operators.is_empty() {
            let counts = float_operators
                .iter()
                .map(|(operator, count)| format!("{count} {operator}"));
            let counts = counts.collect::<Vec<_>>().join(", ");
            found.push(format!("left in float between integers: {counts}"));
        }
        if *signed && self.record.runtime == "ort" && self.arch == "x86_64" {
            found.push("its activations are S8, and ONNX Runtime's fast kernels on x86 take U8".to_owned());
        }
        found
    }

    /// Nodes of a quantized model for which TFLite has no integer kernel.
    fn of_conversion(&self) -> Option<String> {
        let report = self
            .making
            .passes
            .iter()
            .find(|report| report.pass == tflite::NAME)?;
        let floats = report.nodes.iter().filter(|node| !node.applied);
        let names: Vec<&str> = floats.map(|node| node.node.as_str()).collect();
        (!names.is_empty()).then(|| {
            let (count, names) = (names.len(), some_of(&names));
            format!("{count} of its nodes compute in float between integers ({names})")
        })
    }

    fn of_sparsity(&self) -> Option<String> {
        let percent = self.making.sparsity() * 100.0;
        (percent >= 1.0).then(|| {
            format!(
                "{percent:.0} % of its weights are single zeros, which no dense kernel skips; \
                 only whole channels (`prune --structured`) save time"
            )
        })
    }

    /// Layers whose numbers of channels pruning made odd.
    fn of_channels(&self) -> Option<String> {
        let before = self.of_reference.map(|making| &making.obstacles.unaligned);
        let made_odd: Vec<&String> = self
            .making
            .obstacles
            .unaligned
            .iter()
            .filter(|layer| before.is_some_and(|before| !before.contains(layer)))
            .collect();
        (!made_odd.is_empty()).then(|| {
            format!(
                "the channels of {} layers are not a multiple of {LANES} ({}), and vector kernels compute \
                 the gap too",
                made_odd.len(),
                some_of(&made_odd)
            )
        })
    }
}

/// The first names of a list, and how many more there are.
fn some_of<T: AsRef<str>>(names: &[T]) -> String {
    const SHOWN: usize = 3;
    let shown: Vec<String> = names
        .iter()
        .take(SHOWN)
        .map(|name| format!("`{}`", name.as_ref()))
        .collect();
    let more = match names.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    shown.join(", ") + &more
}

#[cfg(test)]
#[path = "explain_tests.rs"]
mod tests;
