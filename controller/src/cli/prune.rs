//! `edgefront prune`.

use std::path::PathBuf;

use edgefront_optimizer::check::check;
use edgefront_optimizer::passes::prune::{Method, Options, Pattern, Scope};
use edgefront_optimizer::passes::{prepare, prune};
use edgefront_optimizer::{Change, Error, Model, PassReport};

use super::check::thousands;
use super::files::{Source, check_output};
use crate::ui::{Exit, Ui, UsageError};

/// Makes a model smaller by what matters least in it.
///
/// Without more flags the smallest weights become zero, which makes the file compressible but no dense kernel
/// faster. `--structured` takes whole channels out, which makes every runtime faster. `--pattern 2:4` is for
/// GPUs with sparse tensor cores. Fine-tune the result to win back accuracy.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  edgefront prune model.onnx -o pruned.onnx --amount 0.3 --structured")]
pub struct Args {
    /// The ONNX model.
    pub model: PathBuf,

    /// The pruned model.
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,

    /// Fraction to prune, between 0 and 1: of the weights, or of the channels with `--structured`.
    #[arg(long, value_name = "X", required_unless_present = "pattern")]
    pub amount: Option<f64>,

    /// Take whole channels out of the model instead of zeroing single weights.
    #[arg(long, conflicts_with = "pattern")]
    pub structured: bool,

    /// Zero weights in a pattern: 2:4 leaves at most two of each four neighbours along the input channels.
    #[arg(long, value_name = "N:M")]
    pub pattern: Option<Pattern>,

    /// What the amount is a fraction of: each layer's weights or channels, or those of the whole model, where
    /// layers that matter less lose more; with `--structured`, `global` means the model's multiplications.
    #[arg(long, value_enum, default_value_t = ScopeName::Layer, conflicts_with = "pattern")]
    pub scope: ScopeName,

    /// Round kept channels up to a multiple of N [default: 8]
    #[arg(long, value_name = "N", requires = "structured")]
    pub multiple: Option<usize>,
}

/// Names of the scopes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ScopeName {
    /// The same fraction of each layer.
    Layer,
    /// The fraction of the whole model.
    Global,
}

/// What the command prints for machines.
#[derive(serde::Serialize)]
struct Pruned {
    passes: Vec<PassReport>,
}

/// Runs the command.
pub fn run(args: Args, ui: &Ui) -> anyhow::Result<Exit> {
    let method = args.method()?;
    let source = Source::read(&args.model, ui)?;
    check_output(&args.output, source.files.iter().map(PathBuf::as_path))?;
    let (model, pruned) = pruned(&source.model, &method).map_err(|error| error.in_file(&args.model))?;
    model.write(&args.output)?;
    if ui.json() {
        ui.data_json(&pruned)?;
        return Ok(Exit::Done);
    }
    let Some(report) = pruned.passes.last() else {
        return Ok(Exit::Done);
    };
    for layer in &report.nodes {
        ui.data(format_args!("{}: {}", layer.node, layer.why))?;
    }
    if let Some(change) = &report.cost {
        ui.data(summary(change))?;
    }
    Ok(Exit::Done)
}

impl Args {
    fn method(&self) -> anyhow::Result<Method> {
        if self.amount.is_some_and(|amount| !(0.0..=1.0).contains(&amount)) {
            return Err(UsageError::new(
                "--amount is a fraction between 0 and 1, such as 0.5",
            ));
        }
        let options = Options {
            amount: self.amount,
            scope: Some(match self.scope {
                ScopeName::Layer => Scope::Layer,
                ScopeName::Global => Scope::Global,
            }),
            structured: self.structured,
            pattern: self.pattern,
            multiple: self.multiple,
        };
        Method::try_from(options).map_err(|error| UsageError::new(error.to_string()))
    }
}

fn pruned(model: &Model, method: &Method) -> Result<(Model, Pruned), Error> {
    check(model)?;
    let (model, prepared) = prepare(model)?;
    let (model, layers) = prune(&model, method)?;
    let passes = vec![prepared, layers];
    Ok((model, Pruned { passes }))
}

/// What the model costs before and after, a line each.
fn summary(change: &Change) -> String {
    let Change { before, after } = change;
    let ratio = |before: u64, after: u64| match before {
        0 => String::new(),
        before => format!(" ({:+.1} %)", (after as f64 / before as f64 - 1.0) * 100.0),
    };
    let counts = |before, after| {
        format!(
            "{} -> {}{}",
            thousands(before),
            thousands(after),
            ratio(before, after)
        )
    };
    let macs = match (before.macs, after.macs) {
        (Some(before), Some(after)) => counts(before, after),
        _ => "unknown: an axis is dynamic".to_owned(),
    };
    format!(
        "zero weights  {:.1} % -> {:.1} %\nparameters    {}\nMACs          {macs}",
        before.sparsity() * 100.0,
        after.sparsity() * 100.0,
        counts(before.parameters, after.parameters),
    )
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::Parser as _;
    use edgefront_optimizer::cost::Cost;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn parse(flags: &str) -> Result<Args, clap::Error> {
        let line = format!("prune model.onnx -o out.onnx {flags}");
        Line::try_parse_from(line.split_whitespace()).map(|line| line.args)
    }

    /// What the command makes of the fixture `mobilenet_v2.onnx`.
    fn prune_fixture(flags: &str) -> Cost {
        let dir = tempfile::tempdir().unwrap();
        let args = Args {
            model: Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/models/mobilenet_v2.onnx"),
            output: dir.path().join("pruned.onnx"),
            ..parse(flags).unwrap()
        };
        let output = args.output.clone();
        assert_eq!(run(args, &Ui::new(true)).unwrap(), Exit::Done);
        let model = Model::read(&output).unwrap();
        check(&model).unwrap();
        Cost::of(&model).unwrap()
    }

    #[test]
    fn each_kind_writes_a_valid_model_that_costs_less() {
        let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/models/mobilenet_v2.onnx");
        let whole = Cost::of(&Model::read(&model).unwrap()).unwrap();
        let zeros = prune_fixture("--amount 0.5");
        assert!((zeros.sparsity() - 0.5).abs() < 0.01, "{zeros:?}");
        assert_eq!(zeros.macs, whole.macs);
        assert!(prune_fixture("--pattern 2:4").sparsity() > 0.2);
        let smaller = prune_fixture("--amount 0.3 --structured --multiple 2");
        assert!(
            smaller.macs < whole.macs && smaller.parameters < whole.parameters,
            "{smaller:?}"
        );
    }

    #[test]
    fn flags_that_contradict_each_other_are_wrong_usage() {
        for wrong in [
            "",
            "--structured",
            "--amount 0.5 --multiple 8",
            "--amount 0.5 --structured --pattern 2:4",
            "--pattern 4:2",
            "--pattern 2:4 --scope global",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        for wrong in [
            "--amount 1.5",
            "--pattern 2:4 --amount 0.3",
            "--amount 0.3 --structured --multiple 0",
        ] {
            let error = parse(wrong).unwrap().method().unwrap_err();
            assert!(error.is::<UsageError>(), "{wrong}: {error}");
        }
    }

    #[test]
    fn the_summary_says_before_and_after() {
        let before = Cost {
            parameters: 11_200,
            weights: 11_000,
            zeros: 11,
            macs: Some(1_000_000),
        };
        let after = Cost {
            parameters: 7_000,
            weights: 6_900,
            zeros: 0,
            macs: Some(550_000),
        };
        insta::assert_snapshot!(summary(&Change { before, after }), @r"
        zero weights  0.1 % -> 0.0 %
        parameters    11,200 -> 7,000 (-37.5 %)
        MACs          1,000,000 -> 550,000 (-45.0 %)
        ");
        let unknown = Cost { macs: None, ..after };
        let text = summary(&Change {
            before,
            after: unknown,
        });
        assert!(text.ends_with("unknown: an axis is dynamic"), "{text}");
    }
}
