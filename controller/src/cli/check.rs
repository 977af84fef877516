//! `edgefront check`.

use std::fmt::Write as _;
use std::path::PathBuf;

use edgefront_optimizer::check::{Port, Summary, check};
use serde::Serialize;

use super::files::Source;
use super::shared::RuntimeArgs;
use crate::reference::{self, Comparison, TOLERANCE};
use crate::ui::{Exit, Ui};

/// Checks that a model is well-formed and can be optimized, and that it computes what it should.
///
/// With --reference it also runs the model, on ONNX Runtime where it is installed and else on tract, and compares
/// its outputs with those in a file. That is an .npz with arrays `input_<name>` and `output_<name>` after the
/// model's inputs and outputs; a single input may be called `inputs` and a single output `outputs`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  edgefront check model.onnx
  edgefront check model.onnx --reference pairs.npz --tolerance 1e-4")]
pub struct Args {
    /// The ONNX model.
    pub model: PathBuf,

    /// Inputs, and outputs that the model must give for them.
    #[arg(long, value_name = "NPZ")]
    pub reference: Option<PathBuf>,

    /// Largest absolute difference of an output; where it holds numbers above 1, that part of the largest.
    #[arg(long, value_name = "X", default_value_t = TOLERANCE, requires = "reference", value_parser = tolerance)]
    pub tolerance: f64,

    /// Where runtimes are found.
    #[command(flatten)]
    pub runtime: RuntimeArgs,
}

/// What the command prints for machines.
#[derive(Serialize)]
struct Outcome<'a> {
    #[serde(flatten)]
    summary: &'a Summary,
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<&'a Comparison>,
}

/// Runs the command. All findings are in the error.
pub fn run(args: Args, ui: &Ui) -> anyhow::Result<Exit> {
    let registry = args.runtime.registry()?;
    let Source { model, .. } = Source::read(&args.model, ui)?;
    let summary = check(&model).map_err(|error| error.in_file(&args.model))?;
    let compared = args
        .reference
        .map(|pairs| reference::compare(&args.model, &summary, &pairs, args.tolerance, &registry))
        .transpose()?;
    present(&summary, compared.as_ref(), ui)?;
    Ok(compared.map_or(Exit::Done, |compared| verdict(&compared, "", ui)))
}

/// Prints what a model is and how it compares.
pub(super) fn present(summary: &Summary, compared: Option<&Comparison>, ui: &Ui) -> anyhow::Result<()> {
    if ui.json() {
        ui.data_json(&Outcome {
            summary,
            reference: compared,
        })?;
    } else {
        ui.data(text(summary).trim_end())?;
        if let Some(compared) = compared {
            ui.data(comparison(compared).trim_end())?;
        }
    }
    Ok(())
}

/// Says what is wrong with a comparison, `hint` after it.
pub(super) fn verdict(compared: &Comparison, hint: &str, ui: &Ui) -> Exit {
    for output in &compared.outputs {
        if let Some(warning) = output.warning() {
            ui.warn(warning);
        }
        if let Some(failure) = output.failure(compared.tolerance) {
            ui.error(&anyhow::anyhow!("{failure}{hint}"));
        }
    }
    if compared.within { Exit::Done } else { Exit::Failed }
}

fn tolerance(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|&number: &f64| number >= 0.0);
    number.ok_or_else(|| "a tolerance is a number such as 1e-5".to_owned())
}

fn comparison(compared: &Comparison) -> String {
    let mut text = String::new();
    for output in &compared.outputs {
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "{:<11} {}: largest difference {:.3e}, mean {:.3e}, largest magnitude {:.3e}, on {}",
            "reference", output.name, output.max, output.mean, output.magnitude, compared.runtime
        );
    }
    text
}

fn text(summary: &Summary) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{name:<11} {value}");
    };
    line(
        "format",
        format!("opset {}, IR version {}", summary.opset, summary.ir_version),
    );
    if !summary.producer.is_empty() {
        line("producer", summary.producer.clone());
    }
    for input in &summary.inputs {
        line("input", port(input));
    }
    for output in &summary.outputs {
        line("output", port(output));
    }
    line("parameters", thousands(summary.parameters));
    let macs = summary
        .macs
        .map_or_else(|| "unknown: an axis is dynamic".to_owned(), thousands);
    line("MACs", macs);
    let operators = summary
        .operators
        .iter()
        .map(|(name, count)| format!("{name} {count}"));
    line("operators", operators.collect::<Vec<_>>().join(", "));
    text
}

fn port(port: &Port) -> String {
    let shape = match &port.shape {
        Some(shape) => shape
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(" x "),
        None => "of unknown shape".to_owned(),
    };
    format!("{}: {} {shape}", port.name, port.data_type)
        .trim_end()
        .to_owned()
}

/// `11,689,512`.
pub(super) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use edgefront_optimizer::graph::build::Builder;

    use super::*;

    #[test]
    fn the_summary_reads_well() {
        let mut b = Builder::new(17);
        let x = b.input("x", &["batch", "3", "8", "8"]);
        let w = b.floats(&[4, 3, 3, 3], &[0.5; 108]);
        let y = b.op("Conv", &[&x, &w], &[]);
        let y = b.op("Relu", &[&y], &[]);
        let summary = check(&b.finish(&[&y])).unwrap();
        insta::assert_snapshot!(text(&summary), @r"
        format      opset 17, IR version 8
        producer    edgefront
        input       x: float32 batch x 3 x 8 x 8
        output      v1: float32 batch x 4 x 6 x 6
        parameters  108
        MACs        3,888
        operators   Conv 1, Relu 1
        ");
    }

    #[test]
    fn digits_are_grouped() {
        assert_eq!(
            [0, 999, 1000, 11_689_512].map(thousands),
            ["0", "999", "1,000", "11,689,512"]
        );
    }
}
