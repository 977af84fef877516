//! `edgefront convert`.

use std::path::PathBuf;

use clap::ValueEnum;
use edgefront_optimizer::check::check;
use edgefront_optimizer::passes::fp16;
use edgefront_optimizer::passes::quantize_weights::{self, Bits};
use edgefront_optimizer::quantize::ActivationType;
use edgefront_optimizer::recipe::{self, Recipe, Step};
use edgefront_optimizer::{Model, PassReport};
use edgefront_protocol::Bytes;
use edgefront_runtimes::Registry;
use serde::Serialize;

use super::files::{Source, check_output, size};
use crate::ui::{Exit, Ui, UsageError};

/// Converts a model to another number format, without data.
///
/// `fp16` stores and computes in half precision; inputs and outputs stay float32. `int8-weights` and
/// `int4-weights` store weights alone in few bits: ONNX Runtime has kernels for matrix products with them, and
/// tract runs the 8-bit form. `int8-dynamic` computes matrix products in integers and takes the range of their
/// inputs in each run. For INT8 convolutions see `edgefront quantize`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  edgefront convert model.onnx -o model.fp16.onnx
  edgefront convert model.onnx -o model.fp16.onnx --keep Softmax,/head/Gemm
  edgefront convert encoder.onnx -o encoder.w4.onnx --to int4-weights")]
pub struct Args {
    /// The ONNX model.
    pub model: PathBuf,

    /// The converted model.
    #[arg(short, long, value_name = "OUT")]
    pub output: PathBuf,

    /// The format [default: fp16 where OUT ends in .fp16.onnx]
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub to: Option<Format>,

    /// With fp16: nodes by name, or operators, that stay in float32 because they overflow.
    #[arg(long, value_name = "NODE", value_delimiter = ',')]
    pub keep: Vec<String>,
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
    let format = args.format()?;
    if !args.keep.is_empty() && format != Format::Fp16 {
        return Err(UsageError::new("--keep is for fp16; leave it out"));
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

impl Args {
    fn format(&self) -> anyhow::Result<Format> {
        let name = self.output.to_string_lossy();
        let is_onnx = self
            .output
            .extension()
            .is_some_and(|extension| extension == "onnx");
        match self.to {
            _ if !is_onnx => Err(UsageError::new(format!(
                "{name} is to be a file that cannot be made; give an OUT that ends in .onnx"
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
        assert!(args("m.tflite", flag).format().is_err());
    }
}
