//! `edgefront prune`.

use std::path::PathBuf;

use edgefront_optimizer::check::check;
use edgefront_optimizer::passes::{Sparsity, prepare, prune, sparsity};
use edgefront_optimizer::{Error, Model, PassReport};

use crate::ui::{Exit, Ui, UsageError};

/// Sets the smallest weights of a model to zero.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  edgefront prune model.onnx -o pruned.onnx --amount 0.5")]
pub struct Args {
    /// The ONNX model.
    pub model: PathBuf,

    /// The pruned model.
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,

    /// Fraction of the weights of each layer, between 0 and 1.
    #[arg(long, value_name = "X")]
    pub amount: f64,
}

/// What the command prints for machines.
#[derive(serde::Serialize)]
struct Pruned {
    before: Sparsity,
    after: Sparsity,
    passes: Vec<PassReport>,
}

/// Runs the command.
pub fn run(args: Args, ui: &Ui) -> anyhow::Result<Exit> {
    if !(0.0..=1.0).contains(&args.amount) {
        return Err(UsageError::new(
            "--amount is a fraction of the weights between 0 and 1, such as 0.5",
        ));
    }
    let model = Model::read(&args.model)?;
    let (pruned, model) = pruned(&model, args.amount).map_err(|error| error.in_file(&args.model))?;
    model.write(&args.output)?;
    if ui.json() {
        ui.data_json(&pruned)?;
        return Ok(Exit::Done);
    }
    for layer in pruned.passes.last().iter().flat_map(|pass| &pass.nodes) {
        ui.data(format_args!("{}: {}", layer.node, layer.why))?;
    }
    let (before, after) = (pruned.before.fraction() * 100.0, pruned.after.fraction() * 100.0);
    ui.data(format_args!(
        "zero weights: {before:.1} % before, {after:.1} % after"
    ))?;
    Ok(Exit::Done)
}

fn pruned(model: &Model, amount: f64) -> Result<(Pruned, Model), Error> {
    check(model)?;
    let (model, prepared) = prepare(model)?;
    let before = sparsity(&model)?;
    let (model, layers) = prune(&model, amount)?;
    let after = sparsity(&model)?;
    let passes = vec![prepared, layers];
    Ok((
        Pruned {
            before,
            after,
            passes,
        },
        model,
    ))
}
