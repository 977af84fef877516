//! `edgefront demo`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use edgefront_protocol::Plan;

use crate::demo::{self, Set};
use crate::files::write_atomically;
use crate::stats::certify;
use crate::study::{self, Existing, Options, Study};
use crate::ui::{Exit, Ui};

/// Runs the whole flow on built-in data: variants, measurements on this machine, frontier.
///
/// A small network that tells ten drawn shapes apart is optimized, measured on tract and ONNX Runtime, and
/// scored on 1,000 pictures. ONNX Runtime is installed into your cache folder if it is not there. What the
/// demonstration reads is left in DIR/demo, for `edgefront optimize`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  edgefront demo --out out")]
pub struct Args {
    /// Directory for the results; an earlier study there is replaced.
    #[arg(long, value_name = "DIR", default_value = "out")]
    pub out: PathBuf,
}

/// What the demonstration reads, as files.
struct Inputs {
    model: PathBuf,
    validation: PathBuf,
    calibration: PathBuf,
}

/// Runs the command.
pub fn run(args: Args, ui: &Ui) -> anyhow::Result<Exit> {
    let inputs = write_inputs(&args.out.join("demo"), ui)?;
    let study = Study {
        validation: Some(inputs.validation.clone()),
        calibration: Some(inputs.calibration.clone()),
        plan: Plan {
            // As many as a certified P99 needs.
            min_runs: certify::needed(0.99) as u32,
            ..Plan::default()
        },
        ..Study::new("demo", inputs.model.clone())
    };
    let options = Options {
        existing: Existing::Replace,
        ..Options::new(&args.out)
    };
    let exit = study::run(&study, &options, ui)?;
    ui.note(next_steps(&args.out, &inputs));
    Ok(exit)
}

fn write_inputs(folder: &Path, ui: &Ui) -> anyhow::Result<Inputs> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let write = |name: &str, content: &[u8]| {
        let path = folder.join(name);
        write_atomically(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
        anyhow::Ok(path)
    };
    let spinner = ui.spinner("drawing pictures");
    let pictures = |set: Set| demo::pictures(set, set.size()).encode();
    let inputs = Inputs {
        model: write("shapes.onnx", demo::MODEL)?,
        validation: write("validation.safetensors", &pictures(Set::Validation))?,
        calibration: write("calibration.safetensors", &pictures(Set::Calibration))?,
    };
    spinner.finish_and_clear();
    Ok(inputs)
}

fn next_steps(out: &Path, inputs: &Inputs) -> String {
    let results = out.join("results.json");
    format!(
        "\
the picture is {picture}; what to do next:
  edgefront select {results} --min-top1 0.9
  edgefront frontier {results} --x size --y top1 -o frontier
  edgefront optimize {model} --val {validation} --calib {calibration} --threads 1,2",
        picture = out.join("pareto.png").display(),
        results = results.display(),
        model = inputs.model.display(),
        validation = inputs.validation.display(),
        calibration = inputs.calibration.display(),
    )
}
