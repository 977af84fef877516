//! `edgefront compare`.

use std::path::PathBuf;

use serde::Serialize;

use crate::compare::{Compared, Selected, Selector, Side, compare, table};
use crate::results;
use crate::ui::{Exit, Ui, UsageError};

/// Says of two measurements which is faster, by how much, and whether that is more than chance.
///
/// Configurations that both results have are set against each other on each device; --a and --b set one variant against
/// another, also of one and the same results. Where both were measured in one study, their rounds took turns and are
/// compared in pairs.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  edgefront compare before/ after/
  edgefront compare out/ out/ --a fp32 --b ptq-int8
  edgefront compare out/results.json night/results.json --a fp32/ort --b fp32/openvino --json")]
pub struct Args {
    /// Results file, or a directory that holds one: what the other is compared with.
    #[arg(value_name = "RESULTS_A")]
    pub first: PathBuf,

    /// Results file, or a directory that holds one; it may be the same.
    #[arg(value_name = "RESULTS_B")]
    pub second: PathBuf,

    /// Variant of the first results, and its runtime where it is not that of the other, as in fp32/ort.
    #[arg(long, value_name = "VARIANT[/RUNTIME]", requires = "b")]
    pub a: Option<Selector>,

    /// Variant of the second results that is set against it.
    #[arg(long, value_name = "VARIANT[/RUNTIME]", requires = "a")]
    pub b: Option<Selector>,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Printed<'a> {
    a: &'a str,
    b: &'a str,
    #[serde(flatten)]
    compared: &'a Compared,
}

/// Runs the command. It fails where nothing could be compared, and in part where some could not.
pub fn run(args: Args, ui: &Ui) -> anyhow::Result<Exit> {
    let names = [&args.first, &args.second].map(|path| path.display().to_string());
    let [first, second] = [results::load(&args.first)?, results::load(&args.second)?];
    let sides = [(&names[0], &first), (&names[1], &second)].map(|(name, results)| Side { name, results });
    let selected = args.a.zip(args.b).map(|(a, b)| Selected { a, b });
    let compared =
        compare(sides[0], sides[1], selected.as_ref()).map_err(|error| UsageError::new(error.to_string()))?;
    if let ([], [not, ..]) = (compared.comparisons.as_slice(), compared.not_compared.as_slice()) {
        anyhow::bail!("{} on {}: {}", not.configurations[0], not.device, not.why);
    }
    if ui.json() {
        ui.data_json(&Printed {
            a: &names[0],
            b: &names[1],
            compared: &compared,
        })?;
    } else {
        ui.data(table(&compared, sides, ui.width()))?;
    }
    Ok(if compared.not_compared.is_empty() {
        Exit::Done
    } else {
        Exit::Partial
    })
}
