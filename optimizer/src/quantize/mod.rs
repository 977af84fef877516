//! Static INT8 quantization after training, in QDQ form.
//!
//! The model stays one of floats in which pairs of `QuantizeLinear` and `DequantizeLinear` say where and how
//! values are stored in 8 bits; runtimes fuse the pairs with the node between them into one integer kernel.
//! Weights are stored as signed bytes, biases in 32 bits.

mod bias_correction;
mod derived;
mod equalize;
mod forms;
mod layout;
mod options;
mod params;
mod plan;
mod regions;
mod rewrite;
mod rounding;
mod swish;
mod trial;
mod weights;

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::calibrate::run::Source as Running;
use crate::calibrate::{self, Calibration, Method, Statistics};
use crate::error::Error;
use crate::graph::{Graph, NodeId};
use crate::model::Model;
use crate::passes::finish;
use crate::proto::DataType;
use crate::recipe::{Context, Progress};
use crate::report::PassReport;
use crate::{sensitivity, shape};

use derived::{Derivation, derive};
use forms::Form;
pub use options::{ActivationType, Activations, Options, Rounding};
use params::Grid;
use plan::{Plan, Scope, Source};
pub use regions::Region;
pub use trial::{Choice, Trial};

/// Name of the pass in reports and errors.
pub const NAME: &str = "quantize";

/// The oldest opset whose `DequantizeLinear` has scales per channel.
const OLDEST_OPSET: i64 = 13;

/// Quantizes a valid model that is prepared for passes.
///
/// # Errors
/// As [`calibrate()`] and [`Calibrated::quantize`]; and where a floor that the options set cannot be, or the model
/// is no classifier.
pub fn quantize(model: &Model, options: &Options, context: &Context) -> Result<(Model, PassReport), Error> {
    match options.floor()? {
        Some(floor) => sensitivity::quantize(model, options, floor, context),
        None => calibrate_choice(model, options, context)?.quantize(&options.float_nodes),
    }
}

/// A model with the range of every activation that may be quantized, so that it can be quantized many times
/// with other nodes in float.
#[derive(Debug, Clone)]
pub struct Calibrated {
    graph: Graph,
    scope: Scope,
    options: Options,
    grid: Grid,
    statistics: Statistics,
    /// How the method that gave them was chosen, where by trial.
    choice: Option<Choice>,
    /// Convolutions that were equalized.
    equalized: HashSet<String>,
}

/// Runs a valid model, prepared for passes, over the samples and keeps the ranges of its activations, all that some
/// choice of nodes in float may need.
///
/// # Errors
/// Where there are no samples or they do not fit the model, where activations or weights are not finite, and
/// where the model is of an opset that cannot express quantization or has no node with an integer form.
pub fn calibrate(model: &Model, options: &Options, context: &Context) -> Result<Calibrated, Error> {
    observe(model, options, context, |_, _, all| Ok(all))
}

/// As [`calibrate()`], for the choice of the options alone: each value more that is asked for keeps the runtime from
/// fusing what makes it.
fn calibrate_choice(model: &Model, options: &Options, context: &Context) -> Result<Calibrated, Error> {
    observe(model, options, context, |graph, scope, all| {
        let (_, plan) = expanded(graph, scope, &options.float_nodes)?;
        let means = means(graph, options);
        let observed = plan
            .values
            .iter()
            .filter(|(_, source)| *source == Source::Observed);
        let needed: HashSet<&String> = observed.map(|(value, _)| value).chain(&means).collect();
        Ok(all.into_iter().filter(|value| needed.contains(value)).collect())
    })
}

/// Calibrates with what `choose` leaves of the values that can be quantized.
fn observe(
    model: &Model,
    options: &Options,
    context: &Context,
    choose: impl FnOnce(&Graph, &Scope, Vec<String>) -> Result<Vec<String>, Error>,
) -> Result<Calibrated, Error> {
    let samples = context
        .calibration
        .ok_or_else(|| refused("it needs samples; give some with `--calib`"))?;
    let (equal, equalized) = if options.equalize {
        equalize::equalize(model)?
    } else {
        (model.clone(), HashSet::new())
    };
    let graph = Graph::new(equal.clone())?;
    if graph.opset() < OLDEST_OPSET {
        let found = graph.opset();
        return Err(refused(format!(
            "the model is of opset {found}, and {OLDEST_OPSET} or newer is needed; export it again"
        )));
    }
    options.check()?;
    let grid = Grid {
        kind: options.activations.resolve(context.activations),
        symmetric: options.symmetric,
    };
    if is_quantized(&graph) {
        return Err(refused(
            "the model is quantized already; give the float model that it was made from",
        ));
    }
    let scope = scope(&equal, grid);
    let observed = plan::observable(&graph, &scope);
    if observed.is_empty() && is_half(&equal) {
        return Err(refused(
            "the model is in half precision; give the float32 model that it was made from",
        ));
    }
    if observed.is_empty() {
        return Err(refused(
            "no node of the model has an integer form; use another pass",
        ));
    }
    require_finite_constants(&graph)?;
    let means = means(&graph, options);
    let Derivation { observed, derived } = derive(&graph, choose(&graph, &scope, observed)?, &means);
    let methods: Vec<Method> = options
        .method
        .map_or_else(|| trial::METHODS.to_vec(), |method| vec![method]);
    let calibration = Calibration {
        samples,
        limit: options.samples,
        methods: &methods,
        percentile: options.percentile,
        means,
        step: &|range| grid.covering(range).scale,
        runtimes: context.runtimes,
        threads: context.threads,
        progress: &|done, total| (context.progress)(Progress::Calibrating { done, total }),
    };
    let mut by_method = calibrate::observe(&equal, &observed, &derived, &calibration)?;
    for statistics in &mut by_method {
        swish::narrow(&graph, &mut statistics.ranges);
    }
    drop(equal);
    let mut calibrated = Calibrated {
        graph,
        scope,
        options: options.clone(),
        grid,
        statistics: by_method[0].clone(),
        choice: None,
        equalized,
    };
    if methods.len() > 1 {
        let running = Running {
            samples,
            total: options
                .samples
                .map_or(samples.len(), |limit| limit.min(samples.len())),
            runtimes: context.runtimes,
            threads: context.threads,
        };
        let candidates = methods.into_iter().zip(by_method).collect();
        calibrated.choice = trial::choose(&mut calibrated, candidates, model, &running)?;
    }
    Ok(calibrated)
}

impl Calibrated {
    /// The model in integers, but for the nodes named in `float_nodes` (in place of those of the options) and
    /// those that have no integer form.
    ///
    /// # Errors
    /// Where the model has no node of such a name.
    pub fn quantize(&self, float_nodes: &[String]) -> Result<(Model, PassReport), Error> {
        let (mut graph, plan) = expanded(&self.graph, &self.scope, float_nodes)?;
        let mut report = PassReport::new(NAME);
        report.choice.clone_from(&self.choice);
        for (id, decision) in &plan.nodes {
            let node = graph.node(*id).label();
            match decision {
                Ok(form) => {
                    let equalized = if self.equalized.contains(&node) {
                        ", equalized"
                    } else {
                        ""
                    };
                    let described = describe(*form, &self.options, self.grid.kind);
                    report.applied(node, format!("{described}{equalized}"));
                }
                Err(reason) => report.skipped(node, reason),
            }
        }
        rewrite::Rewriter::new(&mut graph, &plan, &self.options, &self.statistics, self.grid).run()?;
        Ok((finish(NAME, graph)?, report))
    }

    /// The layers that can be quantized, each with what goes along with it, in the order of the graph.
    pub fn regions(&self) -> Vec<Region> {
        regions::of(&self.graph, &Plan::of(&self.graph, &self.scope, &HashSet::new()))
    }
}

/// The graph with each `HardSwish` that becomes integers as a product and its gate, and its plan.
fn expanded(graph: &Graph, scope: &Scope, float_nodes: &[String]) -> Result<(Graph, Plan), Error> {
    let plan = Plan::of(graph, scope, &chosen(graph, float_nodes)?);
    let swishes: Vec<NodeId> = plan.taken(|form| *form == Form::Swish);
    let graph = swish::expand(graph, &swishes)?;
    let [floats, integers] = floats_and_integers(&graph.clone().finish()?);
    let scope = Scope {
        floats,
        integers,
        ..scope.clone()
    };
    let plan = Plan::of(&graph, &scope, &chosen(&graph, float_nodes)?);
    Ok((graph, plan))
}

/// The nodes of these names.
fn chosen(graph: &Graph, names: &[String]) -> Result<HashSet<NodeId>, Error> {
    let labels: HashMap<String, NodeId> = graph.nodes().map(|(id, node)| (node.label(), id)).collect();
    let find = |name: &String| {
        labels.get(name).copied().ok_or_else(|| {
            refused(format!(
                "the model has no node `{name}` to keep in float; `edgefront quantize --json` lists them"
            ))
        })
    };
    names.iter().map(find).collect()
}

/// Values whose channels' means the options need.
fn means(graph: &Graph, options: &Options) -> HashSet<String> {
    if options.bias_correction {
        layer_inputs(graph)
    } else {
        HashSet::new()
    }
}

/// The inputs of all nodes with weights.
fn layer_inputs(graph: &Graph) -> HashSet<String> {
    let has_weights =
        |id: &NodeId| matches!(forms::of(graph, *id), Ok(Form::Convolution(_) | Form::Product(_)));
    let layers = graph.ids().into_iter().filter(has_weights);
    layers.map(|id| graph.node(id).input[0].clone()).collect()
}

/// What of a model can be quantized.
fn scope(model: &Model, grid: Grid) -> Scope {
    let [floats, integers] = floats_and_integers(model);
    Scope {
        floats,
        integers,
        gates: !grid.symmetric,
        // Unsigned activations are those of ONNX Runtime on x86.
        transposed: grid.kind == ActivationType::S8,
    }
}

/// Refuses constants that no integer stands for.
fn require_finite_constants(graph: &Graph) -> Result<(), Error> {
    for id in graph.ids() {
        let indices = match forms::of(graph, id) {
            Ok(Form::Convolution(layout) | Form::Product(layout)) => [Some(layout::WEIGHTS), layout.bias]
                .into_iter()
                .flatten()
                .collect(),
            Ok(Form::Merge) => (0..graph.node(id).input.len()).collect(),
            _ => Vec::new(),
        };
        for tensor in indices
            .into_iter()
            .filter_map(|index| graph.constant_input(id, index))
        {
            // Integers are what shapes are computed from.
            let values = tensor.values::<f32>().unwrap_or_default();
            if let Some(value) = values.iter().find(|value| !value.is_finite()) {
                let reason = format!("it holds {value}, which cannot be quantized; repair the model");
                return Err(Error::tensor(tensor.name(), reason));
            }
        }
    }
    Ok(())
}

/// Whether some node of the graph makes integers of activations, reads weights from integers or computes in them.
fn is_quantized(graph: &Graph) -> bool {
    let of_integers = |operator: &str| {
        operator.ends_with("QuantizeLinear")
            || operator == "DequantizeLinear"
            || operator.starts_with("QLinear")
            || operator.ends_with("Integer")
    };
    graph.nodes().any(|(_, node)| of_integers(node.op_type()))
}

/// Whether some weights of the model are in half precision.
pub(crate) fn is_half(model: &Model) -> bool {
    let mut constants = model.graph().initializer.iter();
    constants.any(|tensor| {
        tensor
            .element_type()
            .is_ok_and(|element| element == DataType::Float16)
    })
}

/// Values that are known to be float32, and those that are known to be integers or truth values.
fn floats_and_integers(model: &Model) -> [HashSet<String>; 2] {
    let (values, _) = shape::infer_all(model, &BTreeMap::new());
    let of = |wanted: fn(DataType) -> bool| {
        let found = values.iter().filter(|(_, value)| wanted(value.data_type));
        found.map(|(name, _)| name.to_owned()).collect()
    };
    let is_integer = |kind| {
        !matches!(
            kind,
            DataType::Float | DataType::Float16 | DataType::Bfloat16 | DataType::Double
        )
    };
    [of(|kind| kind == DataType::Float), of(is_integer)]
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
            let middle = if options.symmetric {
                " with zero in the middle"
            } else {
                ""
            };
            let biases = if options.float_biases {
                ", float biases"
            } else {
                ""
            };
            format!("{kind} activations{middle}, s8 weights {scales}{biases}")
        }
        Form::Contraction | Form::Merge | Form::Map | Form::Swish => format!("{kind} activations"),
        Form::Gate(_) => format!("its input's {kind} integers, read otherwise"),
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
