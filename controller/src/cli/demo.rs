//! `edgefront demo`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use edgefront_protocol::Plan;
use edgefront_runtimes::{Error, Registry};

use super::files::temporary_folder;
use super::shared::RuntimeArgs;
use super::study_args::ExistingArgs;
use crate::demo::{self, Set};
use crate::runtime_install;
use crate::stats::certify;
use crate::study::{self, Options, Study};
use crate::ui::{Exit, Ui, one_line};

/// Runs the whole flow on built-in data: variants, measurements on this machine, frontier.
///
/// A small network that tells ten drawn shapes apart is optimized, measured on tract and ONNX Runtime, and
/// scored on 1,000 pictures. ONNX Runtime is installed into your cache folder if it is not there. What the
/// demonstration reads is left in DIR/demo, for `edgefront optimize`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  edgefront demo --out out")]
pub struct Args {
    /// Directory for the results; a finished demonstration there is replaced, anything else is kept.
    #[arg(long, value_name = "DIR", default_value = "out")]
    pub out: PathBuf,

    #[command(flatten)]
    existing: ExistingArgs,
}

/// What the demonstration reads, encoded.
struct Contents {
    validation: Vec<u8>,
    calibration: Vec<u8>,
}

/// The same as files.
struct Inputs {
    model: PathBuf,
    validation: PathBuf,
    calibration: PathBuf,
}

/// Runs the command.
pub fn run(args: Args, ui: &Ui) -> anyhow::Result<Exit> {
    let out = &args.out;
    let options = Options {
        existing: args.existing.existing(),
        search: RuntimeArgs::default().search()?,
        ..Options::new(out)
    };
    let contents = Contents::draw(ui);
    // A directory that must be left alone is left without the inputs, too.
    let trial = temporary_folder()?;
    study::check(&contents.write(trial.path())?.study(), &options, ui)?;
    provide_ort(&Registry::new(&options.search), ui)?;
    let inputs = contents.write(&out.join("demo"))?;
    let exit = study::run(&inputs.study(), &options, ui)?;
    ui.note(next_steps(out, &inputs));
    Ok(exit)
}

/// Installs ONNX Runtime where it is not on this machine, or is damaged. Without it there is still something to see.
fn provide_ort(registry: &Registry, ui: &Ui) -> anyhow::Result<()> {
    const ORT: &str = "ort";
    let probe = || registry.get(ORT)?.probe();
    let Err(before) = probe() else {
        return Ok(());
    };
    let install = || {
        let spinner = ui.spinner("installing ONNX Runtime");
        let installed = runtime_install::ensure(ORT, std::env::consts::ARCH, |what| {
            ui.note(format_args!(
                "installing {what} into your cache folder, for this and later runs"
            ));
        });
        spinner.finish_and_clear();
        installed?;
        probe()?;
        anyhow::Ok(())
    };
    match install() {
        Err(error) if matches!(before, Error::Unusable { .. }) => return Err(error.context(before)),
        Err(error) => ui.warn(format_args!("going on with tract alone: {}", one_line(&error))),
        Ok(()) => {}
    }
    Ok(())
}

impl Contents {
    fn draw(ui: &Ui) -> Self {
        let spinner = ui.spinner("drawing pictures");
        let pictures = |set: Set| demo::pictures(set, set.size()).encode();
        let contents = Self {
            validation: pictures(Set::Validation),
            calibration: pictures(Set::Calibration),
        };
        spinner.finish_and_clear();
        contents
    }

    fn write(&self, folder: &Path) -> anyhow::Result<Inputs> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let write = |name: &str, content: &[u8]| {
            let path = folder.join(name);
            edgefront_files::replace(&path, content)
                .with_context(|| format!("cannot write {}", path.display()))?;
            anyhow::Ok(path)
        };
        Ok(Inputs {
            model: write("shapes.onnx", demo::MODEL)?,
            validation: write("validation.safetensors", &self.validation)?,
            calibration: write("calibration.safetensors", &self.calibration)?,
        })
    }
}

impl Inputs {
    fn study(&self) -> Study {
        let study = Study::new("demo", self.model.clone());
        Study {
            validation: Some(self.validation.clone()),
            calibration: Some(self.calibration.clone()),
            plan: Plan {
                // As many as a certified P99 needs.
                min_runs: certify::needed(0.99) as u32,
                ..study.plan
            },
            ..study
        }
    }
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
        results = word(&results),
        model = word(&inputs.model),
        validation = word(&inputs.validation),
        calibration = word(&inputs.calibration),
    )
}

/// The path as one word of a shell's command line.
fn word(path: &Path) -> String {
    let path = path.display().to_string();
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+".contains(c);
    if path.chars().all(is_plain) {
        path
    } else {
        format!("'{}'", path.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word_to_a_shell() {
        for (path, expected) in [
            ("out/results.json", "out/results.json"),
            ("my out/ü$x", "'my out/ü$x'"),
            ("it's", r"'it'\''s'"),
        ] {
            assert_eq!(word(Path::new(path)), expected);
        }
    }
}
