//! `edgefront quantize`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::ValueEnum;
use edgefront_optimizer::calibrate::{Method, Samples};
use edgefront_optimizer::quantize::{ActivationType, Activations, Choice, Options, Rounding, Trial};
use edgefront_optimizer::recipe::{self, Progress, Recipe, Step};
use edgefront_optimizer::{PassReport, check};
use edgefront_protocol::Bytes;
use serde::Serialize;

use super::files::{Source, check_output, size};
use super::sensitivity;
use super::shared::RuntimeArgs;
use crate::data::{self, Labels};
use crate::study::Interface;
use crate::ui::{Exit, Ui, UsageError};

/// Quantizes a model to INT8 after training, in QDQ form.
///
/// Batch normalizations are folded first. Convolutions, matrix products and what lies between them are stored
/// and computed in 8 bits; what has no integer form stays in float and is listed with the reason.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  edgefront quantize model.onnx -o int8.onnx --calib calib.npz")]
#[allow(clippy::struct_excessive_bools)] // Each is a flag of its own.
pub struct Args {
    /// The ONNX model.
    pub model: PathBuf,

    /// The quantized model.
    #[arg(short, long, value_name = "OUT")]
    pub output: PathBuf,

    /// Data from which the ranges of activations are taken: an image folder, an .npz or a pack. Labels are
    /// used by --max-drop alone.
    #[arg(long, value_name = "DATA")]
    pub calib: PathBuf,

    /// How the ranges of activations are chosen; by default as by mse or, where that keeps the outputs on some of
    /// the samples clearly closer to the float model's, as by minmax.
    #[arg(long, value_enum)]
    pub method: Option<MethodName>,

    /// With `--method percentile`, the part of the values within the range, in percent [default: 99.999]
    #[arg(long, value_name = "PERCENT")]
    pub percentile: Option<f64>,

    /// One weight scale an output channel instead of one a tensor.
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    pub per_channel: bool,

    /// Integer type of activations; `auto` is what ONNX Runtime is fastest with on this processor.
    #[arg(long, value_enum, default_value_t = ActivationsName::Auto)]
    pub activations: ActivationsName,

    /// Put zero in the middle of the activations' integers, as `TensorRT` wants it.
    #[arg(long)]
    pub symmetric: bool,

    /// Leave biases in float, as `TensorRT` wants them.
    #[arg(long)]
    pub float_biases: bool,

    /// Store weights in 7 bits, for x86 processors without VNNI.
    #[arg(long)]
    pub reduce_range: bool,

    /// Scale channels between convolutions first, so that one scale serves them all.
    #[arg(long)]
    pub equalize: bool,

    /// Take the mean error that rounded weights make on the samples out of the biases.
    #[arg(long)]
    pub bias_correction: bool,

    /// How weights are rounded.
    #[arg(long, value_enum, default_value_t = RoundingName::Nearest)]
    pub rounding: RoundingName,

    /// Use the first N samples; all by default.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub samples: Option<u32>,

    /// Keep this node in float; give it again for more.
    #[arg(long, value_name = "NODE")]
    pub exclude: Vec<String>,

    /// Measure what each layer costs, and keep as few in float as needed for the top-1 accuracy on the
    /// calibration data to fall by at most this: 0.01 is one point. Without labels, so many predictions may
    /// change at most.
    #[arg(long, value_name = "FRACTION", allow_negative_numbers = true)]
    pub max_drop: Option<f64>,

    /// The same for the signal to quantization noise ratio of the outputs, against the float model on the
    /// calibration data, to be at least this many decibels; of several outputs, that of the worst. With --max-drop,
    /// both hold.
    #[arg(long, value_name = "DB", allow_negative_numbers = true)]
    pub min_sqnr: Option<f64>,

    /// Preprocessing of the pictures: imagenet, unit, none or a TOML file.
    #[arg(long, value_name = "NAME|FILE")]
    pub preprocess: Option<String>,

    /// Where runtimes are found.
    #[command(flatten)]
    pub runtime: RuntimeArgs,
}

/// Names of the calibration methods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum MethodName {
    /// All that was seen is in range.
    Minmax,
    /// The range of least Kullback-Leibler divergence.
    Entropy,
    /// The range that holds `--percentile` percent of the values.
    Percentile,
    /// The range of least mean squared error.
    Mse,
}

/// Names of the ways to round weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RoundingName {
    /// Each to the nearest step.
    Nearest,
    /// So that the errors of each kernel and of each output channel cancel.
    Adaptive,
}

/// Names of the integer types of activations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ActivationsName {
    /// Unsigned on x86, signed elsewhere.
    Auto,
    /// Unsigned bytes.
    U8,
    /// Signed bytes.
    S8,
}

/// What was done, for machines.
#[derive(Debug, Serialize)]
struct Outcome {
    model: PathBuf,
    output: PathBuf,
    bytes_before: u64,
    bytes_after: u64,
    passes: Vec<PassReport>,
}

/// Runs the command.
pub fn run(args: Args, ui: &Ui) -> anyhow::Result<Exit> {
    let recipe = args.recipe()?;
    let registry = args.runtime.registry()?;
    let named = || args.model.display().to_string();
    let Source { model, files, bytes } = Source::read(&args.model, ui)?;
    let data = [
        Some(args.calib.as_path()),
        args.preprocess.as_deref().map(Path::new),
    ];
    let inputs = files.iter().map(PathBuf::as_path);
    check_output(&args.output, inputs.chain(data.into_iter().flatten()))?;
    check::check(&model).with_context(named)?;
    let mut interface = Interface::of(&model, None);
    interface.take_size_of(&args.calib, args.preprocess.as_deref())?;
    interface.check_all_axes().with_context(named)?;
    if args.max_drop.is_some() {
        interface.check_scores().with_context(named)?;
    }
    let labels = Labels::read_if(recipe.uses_calibration_labels());
    let pictures = data::load(
        &args.calib,
        args.preprocess.as_deref(),
        interface.picture().with_context(named)?,
        labels,
        args.samples.map(|samples| samples as usize),
    )?;
    if labels == Labels::Read {
        interface.warn_of_labels(pictures.head(), &args.calib, ui);
    }

    let bar = ui.bar(pictures.len() as u64, "calibrating");
    let context = recipe::Context {
        calibration: Some(&pictures),
        training: None,
        runtimes: &registry,
        threads: std::thread::available_parallelism().map_or(1, Into::into),
        device: edgefront_optimizer::train::Device::Cpu,
        activations: ActivationType::for_architecture(std::env::consts::ARCH),
        progress: &|progress| match progress {
            Progress::Pass(pass) => bar.set_message(pass.to_owned()),
            Progress::Calibrating { done, total } => {
                bar.set_length(total as u64);
                bar.set_position(done as u64);
            }
            Progress::Measuring { done, total } => {
                bar.set_message("measuring layers");
                bar.set_length(total as u64);
                bar.set_position(done as u64);
            }
            Progress::Training(_) => {}
        },
    };
    let applied = recipe::apply(model, &recipe, &context);
    bar.finish_and_clear();
    let (quantized, passes) = applied.with_context(named)?;
    quantized.write(&args.output)?;

    let outcome = Outcome {
        bytes_before: bytes.0,
        bytes_after: size(&args.output)?,
        model: args.model,
        output: args.output,
        passes,
    };
    if ui.json() {
        ui.data_json(&outcome)?;
    } else {
        ui.data(outcome.describe(ui.width()))?;
    }
    Ok(Exit::Done)
}

impl Args {
    /// What is asked for; options that are out of range or contradict each other are refused.
    fn recipe(&self) -> anyhow::Result<Recipe> {
        if self.percentile.is_some() && self.method != Some(MethodName::Percentile) {
            return Err(UsageError::new(
                "--percentile belongs to another method; give --method percentile, or leave it out",
            ));
        }
        let options = Options {
            method: self.method.map(Into::into),
            percentile: self.percentile.unwrap_or(Options::default().percentile),
            per_channel: self.per_channel,
            activations: self.activations.into(),
            symmetric: self.symmetric,
            float_biases: self.float_biases,
            reduce_range: self.reduce_range,
            equalize: self.equalize,
            bias_correction: self.bias_correction,
            rounding: self.rounding.into(),
            samples: self.samples.map(|samples| samples as usize),
            float_nodes: self.exclude.clone(),
            max_drop: self.max_drop,
            min_sqnr: self.min_sqnr,
        };
        let recipe = Recipe {
            name: "quantize".to_owned(),
            steps: vec![Step::FoldBatchNorm {}, Step::Quantize(options)],
        };
        recipe
            .check()
            .map_err(|error| UsageError::new(error.to_string()))?;
        Ok(recipe)
    }
}

impl Outcome {
    fn describe(&self, width: u16) -> String {
        let (before, after) = (self.bytes_before, self.bytes_after);
        let mut lines = vec![format!(
            "{}: {} -> {}, {:.0} % of its size",
            self.output.display(),
            Bytes(before),
            Bytes(after),
            after as f64 / before.max(1) as f64 * 100.0
        )];
        let Some(report) = self.passes.last() else {
            return lines.remove(0);
        };
        lines.push(format!(
            "{} of {} nodes are quantized",
            report.count_applied(),
            report.nodes.len()
        ));
        let mut left: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        let in_table = |node: &str| {
            let layers = report.sensitivity.iter().flat_map(|found| &found.layers);
            layers
                .into_iter()
                .any(|layer| layer.in_float && layer.node == node)
        };
        for node in report
            .nodes
            .iter()
            .filter(|node| !node.applied && !in_table(&node.node))
        {
            left.entry(&node.why).or_default().push(&node.node);
        }
        for (reason, nodes) in left {
            lines.push(format!("left in float, {reason}: {}", some_of(&nodes)));
        }
        if let Some(choice) = &report.choice {
            lines.push(ranges(choice));
        }
        if let Some(found) = &report.sensitivity {
            lines.push(sensitivity::describe(found, width));
        }
        lines.join("\n")
    }
}

/// How the method that gave the ranges was chosen.
fn ranges(choice: &Choice) -> String {
    let trial = |trial: &Trial| {
        let name = trial.method.name();
        format!("{name} {}", sensitivity::decibels(trial.sqnr_db, " dB"))
    };
    let trials: Vec<String> = choice.trials.iter().map(trial).collect();
    format!(
        "ranges by {}; output SQNR on {} samples: {}",
        choice.method.name(),
        choice.samples,
        trials.join(", ")
    )
}

/// The first few of many.
fn some_of(names: &[&str]) -> String {
    const SHOWN: usize = 4;
    match names.len() {
        ..=SHOWN => names.join(", "),
        count => format!("{} and {} more", names[..SHOWN].join(", "), count - SHOWN),
    }
}

impl From<MethodName> for Method {
    fn from(name: MethodName) -> Self {
        match name {
            MethodName::Minmax => Self::Minmax,
            MethodName::Entropy => Self::Entropy,
            MethodName::Percentile => Self::Percentile,
            MethodName::Mse => Self::Mse,
        }
    }
}

impl From<RoundingName> for Rounding {
    fn from(name: RoundingName) -> Self {
        match name {
            RoundingName::Nearest => Self::Nearest,
            RoundingName::Adaptive => Self::Adaptive,
        }
    }
}

impl From<ActivationsName> for Activations {
    fn from(name: ActivationsName) -> Self {
        match name {
            ActivationsName::Auto => Self::Auto,
            ActivationsName::U8 => Self::U8,
            ActivationsName::S8 => Self::S8,
        }
    }
}

#[cfg(test)]
#[path = "quantize_tests.rs"]
mod tests;
