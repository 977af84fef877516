//! A study: one model, its variants, the targets and devices to measure them on. It comes from a file or from
//! arguments, and from there on both take the same path: [`run`].

use std::path::PathBuf;
use std::time::Duration;

use edgefront_link::BrokerUrl;
use edgefront_protocol::{DeviceId, Plan, Shape};

use crate::ui::{Exit, Ui};

/// What is to be measured, as the user wrote it.
#[derive(Debug, Clone, PartialEq)]
pub struct Study {
    /// Its name, which heads the report.
    pub name: String,
    /// The ONNX file.
    pub model: PathBuf,
    /// Shape of the model's one input, batch included, where its own axes are dynamic and no data tells.
    pub shape: Option<Shape>,
    /// Labelled data on which every device scores; `None` measures latency alone.
    pub validation: Option<PathBuf>,
    /// Data from which quantization takes the ranges of activations.
    pub calibration: Option<PathBuf>,
    /// Preprocessing of both: a name or a TOML file; `None` is the default of each kind of data.
    pub preprocess: Option<String>,
    /// Runtimes by name; `None` is tract and ort, each where the device has it.
    pub runtimes: Option<Vec<String>>,
    /// Threads within one inference.
    pub threads: Vec<u32>,
    /// Pictures per inference.
    pub batch: Vec<u32>,
    /// The fleet's broker; `None` measures on this machine.
    pub broker: Option<BrokerUrl>,
    /// The devices; `local` alone without a broker.
    pub devices: Vec<DeviceId>,
    /// How long each job measures.
    pub plan: Plan,
    /// Seed of the order of the jobs within a round.
    pub seed: u64,
}

/// How a study is run, as opposed to what it measures.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Directory for everything that the study leaves.
    pub out: PathBuf,
    /// What becomes of a study that is in the directory already.
    pub existing: Existing,
    /// Where a runtime's shared library is, for this machine.
    pub runtime_path: Option<PathBuf>,
    /// How long a device may be out of reach before its open jobs are given up.
    pub device_timeout: Duration,
}

/// What becomes of a study that is in the directory already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// A finished one is replaced, an unfinished one is refused.
    KeepUnfinished,
    /// It is replaced; its open jobs are cancelled on their devices.
    Replace,
    /// It goes on where it stopped; it must be the same study.
    Resume,
}

impl Study {
    /// The device of a study without a broker.
    pub const LOCAL: &str = "local";

    /// A study of `model` with the defaults: the default variants on tract and ort, one thread, one picture,
    /// this machine.
    pub fn new(name: impl Into<String>, model: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            model: model.into(),
            shape: None,
            validation: None,
            calibration: None,
            preprocess: None,
            runtimes: None,
            threads: vec![1],
            batch: vec![1],
            broker: None,
            devices: vec![Self::LOCAL.parse().expect("invariant: a valid name")],
            plan: Plan::default(),
            seed: 0,
        }
    }
}

impl Options {
    /// A device that is out of reach for longer is given up.
    pub const DEVICE_TIMEOUT: Duration = Duration::from_secs(600);

    /// Into `out`, keeping an unfinished study that is there.
    pub fn new(out: impl Into<PathBuf>) -> Self {
        Self {
            out: out.into(),
            existing: Existing::KeepUnfinished,
            runtime_path: None,
            device_timeout: Self::DEVICE_TIMEOUT,
        }
    }
}

/// Makes the variants, has them measured, writes the report, prints the results.
pub fn run(study: &Study, options: &Options, ui: &Ui) -> anyhow::Result<Exit> {
    let _ = (study, options, ui);
    anyhow::bail!("studies are not built yet")
}
