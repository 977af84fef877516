//! `edgefront check`.

use std::fmt::Write as _;
use std::path::PathBuf;

use edgefront_optimizer::Model;
use edgefront_optimizer::check::{Port, Summary, check};

use crate::ui::{Exit, Ui};

/// Checks that a model is well-formed and can be optimized.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  edgefront check model.onnx")]
pub struct Args {
    /// The ONNX model.
    pub model: PathBuf,
}

/// Runs the command. All findings are in the error.
pub fn run(args: Args, ui: &Ui) -> anyhow::Result<Exit> {
    let summary = Model::read(&args.model)
        .and_then(|model| check(&model))
        .map_err(|error| error.in_file(&args.model))?;
    if ui.json() {
        ui.data_json(&summary)?;
    } else {
        ui.data(text(&summary).trim_end())?;
    }
    Ok(Exit::Done)
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
