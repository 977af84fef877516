//! `edgefront bench`.

use std::path::PathBuf;
use std::time::Duration;

use edgefront_link::BrokerUrl;
use edgefront_optimizer::recipe::Recipe;
use edgefront_protocol::{DeviceId, Shape};

use super::files::temporary_folder;
use super::shared::{RuntimeArgs, shape};
use super::study_args::{ExistingArgs, PlanArgs};
use crate::study::{self, Existing, Options, Study, scenario};
use crate::ui::{Exit, Ui, UsageError};

/// Measures the latency of one model as it is.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  edgefront bench model.onnx --runtime ort --threads 2
  edgefront bench model.tflite --runtime tflite
  edgefront bench model.onnx --runtime ort --scenario server --p99-bound 20ms --max-time 5m
  edgefront bench model.onnx --runtime ort --scenario offline --threads 1,2,4
  edgefront bench model.onnx --device pi-kitchen --broker mqtt://192.168.1.10 --json")]
pub struct Args {
    /// The model: ONNX, TensorFlow Lite in a file that ends in .tflite, or TVM's code in one that ends in .so.
    pub model: PathBuf,

    /// Runtime to measure on, with its provider where that is not the CPU's own choice, as in tflite:builtin
    /// [default: tract and ort, each where the device has it; tflite for a .tflite file, tvm for a .so file]
    #[arg(long, value_name = "NAME")]
    pub runtime: Option<String>,

    /// Threads within one inference.
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "1")]
    pub threads: Vec<u32>,

    /// Pictures per inference [default: 1; 1,2,4,8,16,32 with --scenario offline]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub batch: Option<Vec<u32>>,

    /// Shape of the input, batch included, as in 1x3x224x224; needed where the model's axes are dynamic.
    #[arg(long, value_parser = shape)]
    pub shape: Option<Shape>,

    /// The device, by the name of its agent [default: this machine]
    #[arg(long, value_name = "ID", requires = "broker")]
    pub device: Option<DeviceId>,

    /// The fleet's broker.
    #[arg(long, value_name = "URL", requires = "device")]
    pub broker: Option<BrokerUrl>,

    #[command(flatten)]
    plan: PlanArgs,

    /// Give up the device if it is not there, out of reach or does not answer for longer.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration)]
    pub device_timeout: Duration,

    /// Directory for the report; nothing is kept without it. A finished run of the same study there is replaced,
    /// anything else is kept.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,

    #[command(flatten)]
    existing: ExistingArgs,

    #[command(flatten)]
    search: RuntimeArgs,
}

/// Runs the command.
pub fn run(args: Args, ui: &Ui) -> anyhow::Result<Exit> {
    if args.out.is_none() && args.device.is_none() && args.plan.governor.is_some() {
        return Err(UsageError::new(
            "--governor needs a directory, so that what the processors had is put back even if this is killed; give --out",
        ));
    }
    let name = study::stem(&args.model);
    let defaults = Study::new(&name, args.model);
    let plan = args.plan.plan()?;
    let study = Study {
        shape: args.shape,
        variants: vec![Recipe {
            name,
            steps: Vec::new(),
        }],
        runtimes: args.runtime.map(|runtime| vec![runtime]),
        threads: args.threads,
        batch: scenario::batches(args.batch, plan.scenario),
        broker: args.broker,
        devices: args.device.map_or(defaults.devices, |device| vec![device]),
        plan,
        seed: args.plan.seed,
        ..Study::new(defaults.name, defaults.model)
    };
    let existing = args.existing.existing();
    if args.out.is_none() && existing != Existing::Keep {
        return Err(UsageError::new(
            "--resume and --fresh need a directory; give --out",
        ));
    }
    let search = args.search.search()?;
    let options = |out: PathBuf| Options {
        existing,
        device_timeout: args.device_timeout,
        search: search.clone(),
        ..Options::new(out)
    };
    if let Some(out) = args.out {
        return study::run(&study, &options(out), ui);
    }
    let folder = temporary_folder()?;
    let options = Options {
        resumable: false,
        ..options(folder.path().to_owned())
    };
    study::measure(&study, &options, ui)?.present(ui)
}
