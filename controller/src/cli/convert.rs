//! `edgefront convert`.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::ValueEnum;
use edgefront_optimizer::check::check;
use edgefront_optimizer::convert::tflite;
use edgefront_optimizer::passes::fp16;
use edgefront_optimizer::passes::quantize_weights::{self, Bits};
use edgefront_optimizer::quantize::ActivationType;
use edgefront_optimizer::recipe::{self, Recipe, Step};
use edgefront_optimizer::{Model, PassReport};
use edgefront_protocol::Format::{So, Tflite};
use edgefront_protocol::{Bytes, Shape};
use edgefront_runtimes::Registry;
use serde::Serialize;

use super::files::{Source, check_output, size};
use super::shared::shape;
use crate::tvm_compile::{self, Order, Processor};
use crate::ui::{Exit, Ui, UsageError};

/// Converts a model to another number format, to a TFLite file or to machine code, without data.
///
/// `fp16` stores and computes in half precision; inputs and outputs stay float32. `int8-weights` and
/// `int4-weights` store weights alone in few bits: ONNX Runtime has kernels for matrix products with them, and
/// tract runs the 8-bit form. `int8-dynamic` computes matrix products in integers and takes the range of their
/// inputs in each run. For INT8 convolutions see `edgefront quantize`.
///
/// An OUT that ends in .tflite is a TFLite file for LiteRT. It computes in INT8 where the model was made by
/// `edgefront quantize`; its float weights are in half precision with `fp16`. Pictures lie [N, H, W, C] in it,
/// inputs and outputs too, and its shapes are fixed: an open batch is 1 unless --shape says otherwise.
///
/// An OUT that ends in .so is machine code that TVM makes, with the shapes fixed likewise, for the runtime tvm on
/// processors such as this one; with --arch for all of that architecture. With --trials TVM searches for the fastest
/// order of loops by measuring that many on this machine.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  edgefront convert model.onnx -o model.fp16.onnx
  edgefront convert model.onnx -o model.fp16.onnx --keep Softmax,/head/Gemm
  edgefront convert encoder.onnx -o encoder.w4.onnx --to int4-weights
  edgefront convert model.onnx -o model.tflite
  edgefront convert model.onnx -o model.fp16.tflite
  edgefront convert model.onnx -o model.tflite --shape 8x3x224x224
  edgefront convert model.onnx -o model.so --trials 500
  edgefront convert model.onnx -o model.so --arch aarch64")]
pub struct Args {
    /// The ONNX model.
    pub model: PathBuf,

    /// The converted model.
    #[arg(short, long, value_name = "OUT")]
    pub output: PathBuf,

    /// The format [default: fp16 where OUT ends in .fp16.onnx or .fp16.tflite]
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub to: Option<Format>,

    /// With fp16: nodes by name, or operators, that stay in float32 because they overflow.
    #[arg(long, value_name = "NODE", value_delimiter = ',')]
    pub keep: Vec<String>,

    /// For a .tflite or .so file: shape of the model's one input in ONNX's order, batch included.
    #[arg(long, value_parser = shape)]
    pub shape: Option<Shape>,

    /// For a .so file: the processors that it is for, such as aarch64 [default: this machine's]
    #[arg(long, value_name = "ARCH")]
    pub arch: Option<String>,

    /// For a .so file: orders of loops to measure in search of the fastest; some 10 a layer find much.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub trials: u32,
}

/// What a model can be converted to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Half precision.
    Fp16,
    /// Weights in 8 bits, a scale a channel.
    Int8Weights,
    /// Weights of matrix products in 4 bits, a scale for each 32 input channels; opset 21.
    Int4Weights,
    /// Matrix products in 8 bits.
    Int8Dynamic,
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
    if args.ends_in(Tflite) {
        args.refuse_for_code()?;
        return run_tflite(args, ui);
    }
    if args.ends_in(So) {
        return run_code(args, ui);
    }
    args.refuse_for_code()?;
    let format = args.format()?;
    if !args.keep.is_empty() && format != Format::Fp16 {
        return Err(UsageError::new("--keep is for fp16; leave it out"));
    }
    if args.shape.is_some() {
        return Err(UsageError::new(
            "--shape is for .tflite and .so files; ONNX keeps its open axes, leave it out",
        ));
    }
    let step = match format {
        Format::Fp16 => Step::Fp16(fp16::Options { keep: args.keep }),
        Format::Int8Weights => weights(Bits::Eight),
        Format::Int4Weights => weights(Bits::Four),
        Format::Int8Dynamic => Step::QuantizeDynamic {},
    };
    let Source { model, files, bytes } = Source::read(&args.model, ui)?;
    check_output(&args.output, files.iter().map(PathBuf::as_path))?;
    let (converted, passes) = converted(model, step).map_err(|error| error.in_file(&args.model))?;
    if passes.last().is_some_and(|pass| pass.count_applied() == 0) {
        anyhow::bail!("{}: {}", args.model.display(), nothing_converted(&passes));
    }
    converted.write(&args.output)?;
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
        ui.data(outcome.describe())?;
    }
    Ok(Exit::Done)
}

/// Runs the command where OUT is a TFLite file.
fn run_tflite(args: Args, ui: &Ui) -> anyhow::Result<Exit> {
    let options = args.tflite_options()?;
    let Source { model, files, bytes } = Source::read(&args.model, ui)?;
    check_output(&args.output, files.iter().map(PathBuf::as_path))?;
    let converted = check(&model)
        .and_then(|_| tflite::convert(&model, &options))
        .map_err(|error| error.in_file(&args.model))?;
    converted.write(&args.output)?;
    let outcome = Outcome {
        bytes_before: bytes.0,
        bytes_after: size(&args.output)?,
        model: args.model,
        output: args.output,
        passes: converted.passes,
    };
    if ui.json() {
        ui.data_json(&outcome)?;
    } else {
        ui.data(outcome.describe_tflite())?;
    }
    Ok(Exit::Done)
}

/// Runs the command where OUT is machine code.
fn run_code(args: Args, ui: &Ui) -> anyhow::Result<Exit> {
    if args.to.is_some() || !args.keep.is_empty() {
        return Err(UsageError::new(
            "a .so file has the numbers of the model; leave --to and --keep out, and convert the model before",
        ));
    }
    let processor = args.arch.as_deref().map_or_else(Processor::own, Processor::any);
    let Source { model, files, bytes } = Source::read(&args.model, ui)?;
    check_output(&args.output, files.iter().map(PathBuf::as_path))?;
    let named = || args.model.display().to_string();
    let summary = check(&model).map_err(|error| error.in_file(&args.model))?;
    let shapes: Vec<Shape> = args.shape.iter().cloned().collect();
    let order = Order {
        model: &args.model,
        output: &args.output,
        shapes: &shapes,
        processor: &processor,
        trials: args.trials,
    };
    let spinner = ui.spinner(format!("compiling {}", args.model.display()));
    let compiled = tvm_compile::compile(&order).with_context(named)?;
    spinner.finish_and_clear();
    let outcome = CodeOutcome {
        bytes_before: bytes.0,
        bytes_after: size(&args.output)?,
        model: args.model,
        output: args.output,
        processor,
        untuned: compiled.untuned,
        left: compiled.left,
    };
    if ui.json() {
        ui.data_json(&outcome)?;
    } else {
        ui.data(outcome.describe(summary.operators.values().sum()))?;
    }
    Ok(Exit::Done)
}

/// What was compiled, for machines.
#[derive(Debug, Serialize)]
struct CodeOutcome {
    model: PathBuf,
    output: PathBuf,
    bytes_before: u64,
    bytes_after: u64,
    processor: Processor,
    /// Why the code is not tuned, if it is not.
    untuned: Option<String>,
    /// Functions for which the search found nothing.
    left: u32,
}

impl CodeOutcome {
    fn describe(&self, nodes: usize) -> String {
        let (before, after) = (Bytes(self.bytes_before), Bytes(self.bytes_after));
        let Processor { arch, cpu } = &self.processor;
        let tuned = match &self.untuned {
            Some(why) => format!("not tuned: {why}"),
            None if self.left > 0 => format!("tuned, but for {} functions", self.left),
            None => "tuned".to_owned(),
        };
        format!("{nodes} nodes compiled for {arch} ({cpu}), {tuned}; {before} -> {after}")
    }
}

impl Args {
    fn ends_in(&self, format: edgefront_protocol::Format) -> bool {
        self.output
            .extension()
            .is_some_and(|extension| extension == format.as_str())
    }

    /// Refuses what only machine code has.
    fn refuse_for_code(&self) -> anyhow::Result<()> {
        if self.arch.is_some() || self.trials > 0 {
            return Err(UsageError::new(
                "--arch and --trials are for .so files; leave them out",
            ));
        }
        Ok(())
    }

    fn tflite_options(&self) -> anyhow::Result<tflite::Options> {
        if !self.keep.is_empty() {
            return Err(UsageError::new("--keep is for fp16 in ONNX files; leave it out"));
        }
        let half = match self.to {
            None => self.output.to_string_lossy().ends_with(".fp16.tflite"),
            Some(Format::Fp16) => true,
            Some(_) => {
                return Err(UsageError::new(
                    "a TFLite file is float32, or fp16, or INT8 where the model is; leave --to out, and run `edgefront quantize` before",
                ));
            }
        };
        let extents = |shape: &Shape| shape.iter().map(|&extent| usize::try_from(extent)).collect();
        let shapes: Result<Vec<Vec<usize>>, _> = self.shape.iter().map(extents).collect();
        let shapes = shapes.map_err(|_| UsageError::new("--shape is too large"))?;
        Ok(tflite::Options { shapes, half })
    }

    fn format(&self) -> anyhow::Result<Format> {
        let name = self.output.to_string_lossy();
        let is_onnx = self
            .output
            .extension()
            .is_some_and(|extension| extension == "onnx");
        match self.to {
            _ if !is_onnx => Err(UsageError::new(format!(
                "{name} is to be a file that cannot be made; give an OUT that ends in .onnx, .tflite or .so"
            ))),
            Some(format) => Ok(format),
            None if name.ends_with(".fp16.onnx") => Ok(Format::Fp16),
            None => Err(UsageError::new(format!(
                "{name} does not say the format; give --to, or an OUT that ends in .fp16.onnx"
            ))),
        }
    }
}

fn weights(bits: Bits) -> Step {
    Step::QuantizeWeights(quantize_weights::Options {
        bits,
        ..quantize_weights::Options::default()
    })
}

fn converted(model: Model, step: Step) -> Result<(Model, Vec<PassReport>), edgefront_optimizer::Error> {
    check(&model)?;
    let recipe = Recipe {
        name: step.name().to_owned(),
        steps: vec![Step::FoldBatchNorm {}, step],
    };
    let context = recipe::Context {
        calibration: None,
        training: None,
        runtimes: &Registry::built_in(),
        threads: 1,
        device: edgefront_optimizer::train::Device::Cpu,
        activations: ActivationType::for_architecture(std::env::consts::ARCH),
        progress: &|_| {},
    };
    recipe::apply(model, &recipe, &context)
}

fn nothing_converted(passes: &[PassReport]) -> String {
    let reasons = passes.last().map(PassReport::reasons).unwrap_or_default();
    let reasons = reasons
        .iter()
        .map(|(why, count)| format!("{why} ({count} nodes)"));
    let reasons: Vec<String> = reasons.collect();
    if reasons.is_empty() {
        "no node has this form; choose another with --to".to_owned()
    } else {
        format!("no node can be converted: {}", reasons.join("; "))
    }
}

impl Outcome {
    /// The nodes that stay as they were with the reason, and the sizes.
    fn describe(&self) -> String {
        let Some(pass) = self.passes.last() else {
            return String::new();
        };
        let left = pass.nodes.iter().filter(|node| !node.applied);
        let mut lines: Vec<String> = left.map(|node| format!("{}: {}", node.node, node.why)).collect();
        lines.push(format!(
            "{} of {} nodes converted, {} -> {}",
            pass.count_applied(),
            pass.nodes.len(),
            Bytes(self.bytes_before),
            Bytes(self.bytes_after)
        ));
        lines.join("\n")
    }

    /// The nodes that compute in float32 among integers with the reason, and the sizes.
    fn describe_tflite(&self) -> String {
        let Some(pass) = self.passes.last() else {
            return String::new();
        };
        let floats = pass.nodes.iter().filter(|node| !node.applied);
        let mut lines: Vec<String> = floats
            .map(|node| format!("{}: {}", node.node, node.why))
            .collect();
        let (before, after) = (Bytes(self.bytes_before), Bytes(self.bytes_after));
        lines.push(format!(
            "{} nodes converted, {before} -> {after}",
            pass.nodes.len()
        ));
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(output: &str, to: Option<Format>) -> Args {
        Args {
            model: PathBuf::from("m.onnx"),
            output: PathBuf::from(output),
            to,
            keep: Vec::new(),
            shape: None,
            arch: None,
            trials: 0,
        }
    }

    #[test]
    fn the_name_says_the_format_or_the_flag_does() {
        assert_eq!(args("m.fp16.onnx", None).format().unwrap(), Format::Fp16);
        let flag = Some(Format::Int8Dynamic);
        assert_eq!(args("m.onnx", flag).format().unwrap(), Format::Int8Dynamic);
        assert_eq!(
            args("m.onnx", None).format().unwrap_err().to_string(),
            "m.onnx does not say the format; give --to, or an OUT that ends in .fp16.onnx"
        );
        assert!(args("m.bin", flag).format().is_err());
    }

    #[test]
    fn a_file_for_litert_has_the_format_of_the_model_or_half_precision() {
        let half = |output: &str, to| args(output, to).tflite_options().map(|options| options.half);
        assert!(args("m.tflite", None).ends_in(Tflite) && !args("m.onnx", None).ends_in(Tflite));
        assert!(!half("m.tflite", None).unwrap());
        assert!(half("m.fp16.tflite", None).unwrap() && half("m.tflite", Some(Format::Fp16)).unwrap());
        let why = half("m.tflite", Some(Format::Int8Dynamic))
            .unwrap_err()
            .to_string();
        assert!(why.contains("edgefront quantize"), "{why}");
    }
}
