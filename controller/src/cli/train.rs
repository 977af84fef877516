//! `edgefront train`.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use edgefront_optimizer::calibrate::Samples;
use edgefront_optimizer::quantize::{self, ActivationType};
use edgefront_optimizer::recipe::{Context, Progress};
use edgefront_optimizer::train::{self, Augment, Checkpoint, Device, Distil, Extras, Options};
use edgefront_optimizer::{Model, PassReport, check, passes};
use edgefront_protocol::pack::PictureShape;
use serde::Serialize;

use super::files::{Source, check_output, is_same};
use super::shared::{RuntimeArgs, check_device};
use crate::data::{self, Extents, Labels, Pictures};
use crate::study::Interface;
use crate::torch_export;
use crate::ui::{Exit, Ui, UsageError};

/// Pictures that calibrate the ranges of activations where `--calib` names none.
const CALIBRATED: usize = 200;

/// Trains a classifier further: to win back accuracy after pruning, or in the integers it will run in.
///
/// The output is the same graph with other weights and biases. With `--qat` it is the INT8 model that `quantize` makes, trained
/// as such. Weights that were pruned to zero stay zero.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  edgefront train pruned.onnx -o tuned.onnx --train train.npz --val val.npz
  edgefront train model.onnx -o int8.onnx --train train.npz --qat --teacher model.onnx")]
pub struct Args {
    /// The ONNX model.
    pub model: PathBuf,

    /// The trained model.
    #[arg(short, long, value_name = "OUT")]
    pub output: PathBuf,

    /// Labelled data to train on: an image folder, an .npz or a pack.
    #[arg(long, value_name = "DATA")]
    pub train: PathBuf,

    /// Labelled data on which the accuracy is measured after each epoch.
    #[arg(long, value_name = "DATA")]
    pub val: Option<PathBuf>,

    /// Quantize to INT8 first and train in integers (quantization-aware training).
    #[arg(long)]
    pub qat: bool,

    /// Data from which the ranges of activations are first taken; 200 of the training pictures by default.
    #[arg(long, value_name = "DATA", requires = "qat")]
    pub calib: Option<PathBuf>,

    /// Learn from this model's answers as well, for half of the loss at temperature 4.
    #[arg(long, value_name = "MODEL")]
    pub teacher: Option<PathBuf>,

    /// How often every picture is seen.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub epochs: u32,

    /// Pictures of a step.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub batch: u32,

    /// The largest learning rate: it rises to this over the first tenth of the steps, then falls to 0.
    #[arg(long, value_name = "X", allow_negative_numbers = true, help = rate_help(), value_parser = rate)]
    pub learning_rate: Option<f32>,

    /// Mirror every second picture, at random.
    #[arg(long)]
    pub flip: bool,

    /// Move each picture by up to N pixels, at random.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub shift: u16,

    /// Seed of the order of pictures and of their variation.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,

    /// Threads to train on; all of the processor by default.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,

    /// Where to train: cpu, cuda or wgpu; a further GPU is cuda:1. GPUs need a build with the feature of that name.
    #[arg(long, value_name = "DEVICE", default_value_t)]
    pub device: Device,

    /// Keep the state of training in this file after each epoch.
    #[arg(long, value_name = "FILE")]
    pub checkpoint: Option<PathBuf>,

    /// Go on from the checkpoint.
    #[arg(long, requires = "checkpoint")]
    pub resume: bool,

    /// Preprocessing of the pictures: imagenet, unit, none or a TOML file.
    #[arg(long, value_name = "NAME|FILE")]
    pub preprocess: Option<String>,

    /// Where runtimes are found.
    #[command(flatten)]
    pub runtime: RuntimeArgs,
}

fn rate(text: &str) -> Result<f32, String> {
    let rate = text
        .parse()
        .ok()
        .filter(|rate: &f32| rate.is_finite() && *rate > 0.0);
    rate.ok_or_else(|| "a learning rate is a number above 0, such as 0.01".to_owned())
}

/// The help of `--learning-rate`, which knows the defaults.
fn rate_help() -> String {
    format!(
        "The largest learning rate: it rises to this over the first tenth of the steps, then falls to 0 \
         [default: {}; with --qat {}]",
        train::RATE,
        train::RATE_IN_INTEGERS
    )
}

/// What was done, for machines.
#[derive(Debug, Serialize)]
struct Outcome {
    model: PathBuf,
    output: PathBuf,
    epochs: Vec<Epoch>,
    passes: Vec<PassReport>,
}

/// How an epoch went.
#[derive(Debug, Clone, Copy, Serialize)]
struct Epoch {
    #[serde(rename = "epoch")]
    number: usize,
    /// Mean over the epoch, while it was trained.
    loss: f64,
    /// Part of the training pictures that were recognised, while it was trained.
    accuracy: f64,
    /// Part of the validation pictures that are recognised after it.
    validation: Option<f64>,
    images_per_second: f64,
}

/// Runs the command.
pub fn run(args: Args, ui: &Ui) -> anyhow::Result<Exit> {
    let registry = args.runtime.registry()?;
    check_device(args.device)?;
    let named = || args.model.display().to_string();
    let Source { model, files, .. } = Source::read(&args.model, ui)?;
    args.check_outputs(&files)?;
    check::check(&model).with_context(named)?;
    let mut interface = Interface::of(&model, None);
    interface.take_size_of(&args.train, args.preprocess.as_deref())?;
    interface.check_all_axes().with_context(named)?;
    interface.check_scores().with_context(named)?;
    let picture = interface.picture().with_context(named)?;
    let load = |path: &Path, labels| -> anyhow::Result<Pictures> {
        let rule = args.preprocess.as_deref();
        let pictures = data::load(path, rule, picture, labels, None)?;
        if labels == Labels::Read {
            interface.require_labels(pictures.head(), path, ui)?;
        }
        Ok(pictures)
    };
    let training = load(&args.train, Labels::Read)?;
    let load_optional = |path: &Option<PathBuf>, labels| {
        let path = path.as_deref();
        path.map(|path| load(path, labels)).transpose()
    };
    let validation = load_optional(&args.val, Labels::Read)?;
    let calibration = load_optional(&args.calib, Labels::Ignore)?;
    let teacher = args
        .teacher
        .as_deref()
        .map(|path| read_teacher(path, picture))
        .transpose()?;

    let (mut passes, model) = args.prepare(&model).with_context(named)?;
    let watch = Watch::new(ui, args.val.is_some());
    let context = Context {
        calibration: Some(calibration.as_ref().unwrap_or(&training)),
        training: Some(&training),
        runtimes: &registry,
        threads: args.threads(),
        device: args.device,
        activations: ActivationType::for_architecture(std::env::consts::ARCH),
        progress: &|progress| watch.see(progress, ui),
    };
    let extras = Extras {
        validation: validation.as_ref().map(|pictures| pictures as &dyn Samples),
        teacher: teacher.as_ref(),
        checkpoint: args.checkpoint.as_deref().map(|path| Checkpoint {
            path,
            resume: args.resume,
        }),
    };
    let trained = train::train(&model, &args.options(), &context, &extras);
    watch.bar.finish_and_clear();
    let (trained, report) = trained.with_context(named)?;
    trained.write(&args.output)?;
    passes.push(report);

    let outcome = Outcome {
        model: args.model,
        output: args.output,
        epochs: watch.epochs.into_inner(),
        passes,
    };
    if ui.json() {
        ui.data_json(&outcome)?;
    } else {
        ui.data(outcome.describe())?;
    }
    Ok(Exit::Done)
}

/// The teacher in `path`, which must take the pictures of the model.
fn read_teacher(path: &Path, picture: PictureShape) -> anyhow::Result<Model> {
    torch_export::require_onnx(path)?;
    let model = Model::read(path)?;
    let mut interface = Interface::of(&model, None);
    interface.take_size(picture);
    let own = interface.picture().with_context(|| path.display().to_string())?;
    if own != picture {
        anyhow::bail!(
            "{}: the teacher takes pictures of {} and the model of {}; give one that takes the same",
            path.display(),
            Extents(own),
            Extents(picture)
        );
    }
    let prepared = check::check(&model).and_then(|_| passes::prepare(&model));
    let (prepared, _) = prepared.map_err(|error| error.in_file(path))?;
    Ok(prepared)
}

impl Args {
    /// Neither the model nor the checkpoint is written in place of what is read, nor both in one place.
    fn check_outputs(&self, model: &[PathBuf]) -> anyhow::Result<()> {
        let rule = self.preprocess.as_deref().map(Path::new);
        let others = [&self.val, &self.calib, &self.teacher].map(Option::as_deref);
        let inputs: Vec<&Path> = model
            .iter()
            .map(PathBuf::as_path)
            .chain([self.train.as_path()])
            .chain(others.into_iter().chain([rule]).flatten())
            .collect();
        check_output(&self.output, inputs.iter().copied())?;
        let Some(checkpoint) = &self.checkpoint else {
            return Ok(());
        };
        if is_same(checkpoint, &self.output) {
            return Err(UsageError::new(format!(
                "{} is to be both the model and the checkpoint; give --checkpoint another name",
                checkpoint.display()
            )));
        }
        check_output(checkpoint, inputs)
    }

    /// The model as it is trained: integers want batch normalizations folded.
    fn prepare(&self, model: &Model) -> Result<(Vec<PassReport>, Model), edgefront_optimizer::Error> {
        let (model, prepared) = passes::prepare(model)?;
        if !self.qat {
            return Ok((vec![prepared], model));
        }
        let (model, folded) = passes::fold_batch_norm(&model)?;
        Ok((vec![prepared, folded], model))
    }

    fn threads(&self) -> usize {
        let all = || std::thread::available_parallelism().map_or(1, Into::into);
        self.threads.map_or_else(all, usize::from)
    }

    fn options(&self) -> Options {
        Options {
            epochs: self.epochs as usize,
            batch: self.batch as usize,
            learning_rate: self.learning_rate,
            seed: self.seed,
            augment: Augment {
                flip: self.flip,
                shift: self.shift.into(),
            },
            qat: self.qat.then(|| quantize::Options {
                samples: self.calib.is_none().then_some(CALIBRATED),
                ..quantize::Options::default()
            }),
            distil: self.teacher.as_ref().map(|_| Distil::default()),
            ..Options::default()
        }
    }
}

/// What is seen of the training while it goes on.
struct Watch {
    bar: indicatif::ProgressBar,
    epochs: RefCell<Vec<Epoch>>,
    /// Whether an epoch ends with a measurement of its accuracy.
    validates: bool,
}

impl Watch {
    fn new(ui: &Ui, validates: bool) -> Self {
        Self {
            bar: ui.bar(0, "training"),
            epochs: RefCell::default(),
            validates,
        }
    }

    fn see(&self, progress: Progress<'_>, ui: &Ui) {
        match progress {
            Progress::Pass(pass) => self.bar.set_message(pass.to_owned()),
            Progress::Calibrating { done, total } | Progress::Measuring { done, total } => {
                self.bar.set_message("calibrating");
                self.bar.set_length(total as u64);
                self.bar.set_position(done as u64);
            }
            Progress::Training(progress) => self.train(progress, ui),
        }
    }

    fn train(&self, progress: train::Progress, ui: &Ui) {
        self.bar.set_length(progress.total as u64);
        self.bar.set_position(progress.done as u64);
        self.bar.set_message(format!(
            "epoch {} of {}, loss {:.3}, {:.0} pictures/s",
            progress.epoch, progress.epochs, progress.loss, progress.per_second
        ));
        let ended = progress.done == progress.total && progress.validation.is_some() == self.validates;
        if !ended {
            return;
        }
        let epoch = Epoch {
            number: progress.epoch,
            loss: progress.loss,
            accuracy: progress.accuracy,
            validation: progress.validation,
            images_per_second: progress.per_second,
        };
        ui.note(epoch.describe(progress.epochs));
        self.epochs.borrow_mut().push(epoch);
    }
}

impl Epoch {
    fn describe(&self, epochs: usize) -> String {
        let Self {
            number,
            loss,
            accuracy,
            validation,
            images_per_second,
        } = self;
        let validation =
            validation.map_or_else(String::new, |part| format!(", validation {:.1} %", part * 100.0));
        format!(
            "epoch {number} of {epochs}: loss {loss:.4}, training {:.1} %{validation}, {images_per_second:.0} pictures/s",
            accuracy * 100.0
        )
    }
}

impl Outcome {
    fn describe(&self) -> String {
        let output = self.output.display();
        match self.epochs.last() {
            Some(Epoch {
                validation: Some(part),
                ..
            }) => format!(
                "{output}: {:.1} % of the validation pictures are recognised",
                part * 100.0
            ),
            Some(epoch) => format!(
                "{output}: loss {:.4} in the last of {} epochs",
                epoch.loss, epoch.number
            ),
            None => format!("{output}: all epochs were done before"),
        }
    }
}

#[cfg(test)]
#[path = "train_tests.rs"]
mod tests;
