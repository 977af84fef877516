//! `edgefront optimize`.

use std::path::PathBuf;

use edgefront_link::BrokerUrl;
use edgefront_optimizer::recipe::{self, Recipe};
use edgefront_protocol::DeviceId;

use super::study_args::{PlaceArgs, PlanArgs};
use crate::study::{self, Study, named_variant, scenario};
use crate::ui::{Exit, Ui};

/// Makes variants of a model, has them measured, and draws the frontier of each device.
///
/// Without --broker the models are measured on this machine. The directory keeps all that was made and
/// measured, so an interrupted study goes on with --resume.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  edgefront optimize model.onnx --val val.npz --calib calib.npz --out out
  edgefront optimize model.onnx --val photos/ --variants fp32,fp16 --threads 1,4 \\
      --broker mqtt://192.168.1.10 --devices pi-kitchen,orin")]
pub struct Args {
    /// The ONNX model; or FILE.py:FUNCTION or FILE.pt2 for a PyTorch one, which python3 exports first.
    pub model: PathBuf,

    /// Labelled data to score on: an image folder (class/name.png), an .npz or a pack.
    #[arg(long, value_name = "DATA")]
    pub val: PathBuf,

    /// Data from which quantization takes the ranges of activations; other pictures than those of --val.
    #[arg(long, value_name = "DATA")]
    pub calib: Option<PathBuf>,

    /// Labelled data for the variants that train; other pictures than those of --val.
    #[arg(long, value_name = "DATA")]
    pub train: Option<PathBuf>,

    /// Preprocessing of all data: imagenet, unit, none, or a TOML file [default: imagenet for byte pictures]
    #[arg(long, value_name = "NAME|FILE")]
    pub preprocess: Option<String>,

    /// Variants to make.
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = named_variant, help = variants_help())]
    pub variants: Option<Vec<Recipe>>,

    /// Runtimes to measure on, as in ort,tflite:builtin; variants are converted for those that do not load ONNX
    /// [default: tract and ort, each where the device has it]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub runtimes: Option<Vec<String>>,

    /// Threads within one inference.
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "1")]
    pub threads: Vec<u32>,

    /// Pictures per inference [default: 1; 1,2,4,8,16,32 with --scenario offline]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub batch: Option<Vec<u32>>,

    /// The fleet's broker [default: a broker and an agent of its own, on this machine]
    #[arg(long, value_name = "URL", requires = "devices")]
    pub broker: Option<BrokerUrl>,

    /// Devices by the names of their agents; `edgefront devices` lists them.
    #[arg(long, value_name = "LIST", value_delimiter = ',', requires = "broker")]
    pub devices: Option<Vec<DeviceId>>,

    /// Orders of loops that TVM may measure, on this machine, for each file that it compiles; some 10 a layer find much.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub tvm_trials: u32,

    #[command(flatten)]
    plan: PlanArgs,

    #[command(flatten)]
    place: PlaceArgs,
}

/// The help of `--variants`, which knows the names.
fn variants_help() -> String {
    format!(
        "Variants to make [default: {}; there are {} too]",
        recipe::DEFAULT.join(","),
        recipe::FURTHER.join(",")
    )
}

/// Runs the command.
pub fn run(args: Args, ui: &Ui) -> anyhow::Result<Exit> {
    let options = args.place.options()?;
    let plan = args.plan.plan()?;
    let defaults = Study::new(study::stem(&args.model), args.model);
    let study = Study {
        written: defaults.written,
        validation: Some(args.val),
        calibration: args.calib,
        training: args.train,
        preprocess: args.preprocess,
        variants: args.variants.unwrap_or(defaults.variants),
        runtimes: args.runtimes,
        threads: args.threads,
        batch: scenario::batches(args.batch, plan.scenario),
        broker: args.broker,
        devices: args.devices.unwrap_or(defaults.devices),
        plan,
        seed: args.plan.seed,
        tvm_trials: args.tvm_trials,
        name: defaults.name,
        model: defaults.model,
        shape: defaults.shape,
    };
    study::run(&study, &options, ui)
}
