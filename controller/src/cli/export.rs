//! `edgefront export`.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Subcommand, ValueHint};
use edgefront_optimizer::Model;
use edgefront_optimizer::check::check;

use super::check::{present, verdict};
use super::files::check_output;
use super::shared::{RuntimeArgs, shape};
use crate::reference::{self, TOLERANCE};
use crate::torch_export::{self, ELEMENTS, Input, Order};
use crate::ui::{Exit, Ui, UsageError};

/// Exports a model of a training framework to ONNX.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  edgefront export torch resnet18 -o r.onnx")]
pub struct Args {
    #[command(subcommand)]
    framework: Framework,
}

#[derive(Debug, Subcommand)]
enum Framework {
    Torch(TorchArgs),
}

/// Exports a PyTorch model with a dynamic batch at opset 17, and compares the two.
///
/// Beside OUT.onnx it leaves OUT.npz: inputs and what PyTorch computes of them, on which the ONNX model is run
/// and compared, as `edgefront check --reference` does. This needs Python with torch; weights are random unless
/// --weights names some.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  edgefront export torch resnet18 -o r.onnx
  edgefront export torch resnet18 --weights DEFAULT -o r.onnx
  edgefront export torch mymodel.py:build --weights w.pth --shape 1x3x64x64 -o m.onnx
  edgefront export torch encoder.py:build --shape 1x16:int64 --shape 1x16:int64 -o e.onnx
  edgefront export torch program.pt2 -o p.onnx")]
pub struct TorchArgs {
    /// Name of a torchvision model, FILE.py:FUNCTION that returns a module, or a FILE.pt2 of torch.export.
    pub source: String,

    /// The ONNX model.
    #[arg(short, long, value_name = "OUT", value_hint = ValueHint::FilePath)]
    pub output: PathBuf,

    /// A state dictionary (.pth), or for a torchvision model one of its weights, as DEFAULT, which torchvision
    /// fetches; with `none` they are random, or what the function sets.
    #[arg(long, value_name = "FILE|NAME", default_value = "none")]
    pub weights: String,

    /// Shape of the input, batch included; once for each of several [default: the source's own, else 1x3x224x224].
    /// A type may follow, as in 1x16:int64 for ids, of float32, float16, int64, int32, int8, uint8 and bool
    /// [default: that of a .pt2 file's example, else float32]; integers are tried with 0 and 1
    #[arg(long, value_name = "SHAPE[:TYPE]", value_parser = input)]
    pub shape: Vec<Input>,

    /// The Python that has torch.
    #[arg(long, value_name = "PATH", default_value = "python3")]
    pub python: PathBuf,

    /// Where runtimes are found.
    #[command(flatten)]
    pub runtime: RuntimeArgs,
}

/// Runs the command.
pub fn run(args: Args, ui: &Ui) -> anyhow::Result<Exit> {
    let Framework::Torch(args) = args.framework;
    let order = Order {
        source: args.source,
        weights: args.weights,
        inputs: args.shape,
        python: args.python,
    };
    let pairs = args.output.with_extension("npz");
    if pairs == args.output {
        return Err(UsageError::new(format!(
            "{} is the file for inputs and outputs; give an OUT that ends in .onnx",
            pairs.display()
        )));
    }
    let inputs = || [order.file(), Path::new(&order.weights)];
    check_output(&args.output, inputs())?;
    check_output(&pairs, inputs())?;
    let registry = args.runtime.registry()?;
    let spinner = ui.spinner(format!("exporting {}", order.source));
    torch_export::export(&order, &args.output, &pairs)?.warn(&order, ui);
    spinner.set_message("comparing");
    // An unusable file under the name that was asked for is never left unsaid.
    let kept = format!(
        "{} and {} were kept for a look and are not to be used",
        args.output.display(),
        pairs.display()
    );
    let summary = Model::read(&args.output)
        .and_then(|model| check(&model))
        .map_err(|error| error.in_file(&args.output))
        .with_context(|| kept.clone())?;
    let compared = reference::compare(&args.output, &summary, &pairs, TOLERANCE, &registry)
        .with_context(|| kept.clone())?;
    spinner.finish_and_clear();
    present(&summary, Some(&compared), ui)?;
    Ok(verdict(&compared, &format!("; {kept}"), ui))
}

/// Reads `1x3x224x224` or `1x16:int64`.
fn input(text: &str) -> Result<Input, String> {
    let (extents, element) = match text.split_once(':') {
        Some((extents, element)) => (extents, Some(element)),
        None => (text, None),
    };
    if element.is_some_and(|element| !ELEMENTS.contains(&element)) {
        return Err(format!("a type is one of {}", ELEMENTS.join(", ")));
    }
    Ok(Input {
        shape: shape(extents)?,
        element: element.map(str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_is_a_shape_and_may_have_a_type() {
        let read = |text| input(text).map(|input| (input.shape, input.element));
        assert_eq!(read("1x16"), Ok((vec![1, 16], None)));
        assert_eq!(read("1x16:int64"), Ok((vec![1, 16], Some("int64".to_owned()))));
        for wrong in ["1x16:", "1x16:long", ":int64", "1x16:int64:int64"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
