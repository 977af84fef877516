//! A study: one model, its variants, the targets and devices to measure them on. It comes from a file or from
//! arguments, and from there on both take the same path: [`run`].

mod cache;
mod convert;
mod course;
mod explain;
mod failure;
mod file;
mod findings;
mod form;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod formats_tests;
mod model;
mod order;
mod place;
mod plan;
mod prepare;
mod reach;
mod reference;
pub(crate) mod scenario;
mod variants;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use edgefront_link::BrokerUrl;
use edgefront_optimizer::recipe::{self, Recipe};
use edgefront_optimizer::train;
use edgefront_protocol::{DeviceId, Format, Plan, Scenario, Shape, Target};
use edgefront_runtimes::{Registry, Search};

use crate::ui::UsageError;
use findings::REFERENCE;

pub use cache::Cache;
pub use course::{Findings, check, measure, run};
pub(crate) use file::{celsius, percent};
pub(crate) use model::Interface;

/// What is to be measured, as the user wrote it.
#[derive(Debug, Clone, PartialEq)]
pub struct Study {
    /// Where it was written.
    pub written: Written,
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
    /// Labelled data on which variants are trained.
    pub training: Option<PathBuf>,
    /// Preprocessing of all data: a name or a TOML file; `None` is the default of each kind of data.
    pub preprocess: Option<String>,
    /// What is made of the model.
    pub variants: Vec<Recipe>,
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
    /// Orders of loops that TVM may measure for each file that it compiles; 0 for no search.
    pub tvm_trials: u32,
}

/// Where a study was written, so that an error tells how to mend it there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// On the command line.
    Arguments,
    /// In a study file.
    File,
}

impl Written {
    /// How to give a value that an option and a key of a study file stand for.
    fn mend(self, option: &str, key: &str) -> String {
        match self {
            Self::Arguments => format!("give --{option}"),
            Self::File => format!("set `{key}`"),
        }
    }

    /// The error of what a key of a study file names; an argument is known by its value.
    fn place(self, key: &str, error: impl Into<anyhow::Error>) -> anyhow::Error {
        match self {
            Self::Arguments => error.into(),
            Self::File => error.into().context(format!("`{key}` of the study")),
        }
    }
}

/// How a study is run, as opposed to what it measures.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Directory for everything that the study leaves.
    pub out: PathBuf,
    /// What becomes of a study that is in the directory already.
    pub existing: Existing,
    /// Where a runtime's shared library is, for this machine.
    pub search: Search,
    /// Where variants are trained.
    pub train_device: train::Device,
    /// How long a device may be out of reach before its open jobs are given up.
    pub device_timeout: Duration,
    /// Where variants are kept for other studies; `None` makes each anew.
    pub cache: Option<Cache>,
    /// Whether the directory outlives the command, so that `--resume` can go on there.
    pub resumable: bool,
}

/// What becomes of a study that is in the directory already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// A finished run of the same study is replaced; anything else is kept and refused.
    Keep,
    /// It is replaced, as is a report without a study; its open jobs are called off on their devices.
    Replace,
    /// It goes on where it stopped; it must be there and be the same study.
    Resume,
}

/// The formats to which variants are converted.
const CONVERTED: [Format; 2] = [Format::Tflite, Format::So];

/// Threads that an inference may have; more than any machine has cores is a mistake.
const THREADS: RangeInclusive<u32> = 1..=1024;

impl Options {
    /// A device that is out of reach for longer is given up.
    pub const DEVICE_TIMEOUT: Duration = Duration::from_mins(10);

    /// Into `out`, keeping another or an unfinished study that is there.
    pub fn new(out: impl Into<PathBuf>) -> Self {
        Self {
            out: out.into(),
            existing: Existing::Keep,
            search: Search::default(),
            train_device: train::Device::default(),
            device_timeout: Self::DEVICE_TIMEOUT,
            cache: None,
            resumable: true,
        }
    }
}

impl Study {
    /// The device of a study without a broker.
    pub const LOCAL: &str = "local";

    /// Runtimes of a study that names none.
    pub const DEFAULT_RUNTIMES: [&str; 2] = ["tract", "ort"];

    /// A study of `model` with the defaults: the default variants on tract and ort, one thread, one picture,
    /// this machine.
    pub fn new(name: impl Into<String>, model: impl Into<PathBuf>) -> Self {
        let named = |name| recipe::named(name).expect("invariant: the optimizer knows its default recipes");
        Self {
            written: Written::Arguments,
            name: name.into(),
            model: model.into(),
            shape: None,
            validation: None,
            calibration: None,
            training: None,
            preprocess: None,
            variants: recipe::DEFAULT.map(named).to_vec(),
            runtimes: None,
            threads: vec![1],
            batch: vec![1],
            broker: None,
            devices: vec![Self::LOCAL.parse().expect("invariant: a valid name")],
            plan: Plan {
                race: true,
                ..Plan::default()
            },
            seed: 0,
            tvm_trials: 0,
        }
    }

    /// Refuses what can be seen to be wrong without reading a file.
    pub fn validate(&self) -> anyhow::Result<()> {
        let names: Vec<&str> = self.variants.iter().map(|recipe| recipe.name.as_str()).collect();
        each_once("variants", &names)?;
        if let Some(name) = names
            .iter()
            .chain([&self.name.as_str()])
            .find(|name| !is_printable(name))
        {
            return Err(UsageError::new(format!(
                "the name {name:?} is empty or holds a control character; choose another"
            )));
        }
        each_once("threads", &self.threads)?;
        each_once("batch", &self.batch)?;
        each_once("devices", &self.devices)?;
        self.validate_runtimes()?;
        if let Some(runtimes) = &self.runtimes {
            each_once("runtimes", runtimes)?;
            measured_once(runtimes)?;
        }
        if let Some(count) = self.threads.iter().find(|count| !THREADS.contains(count)) {
            return Err(UsageError::new(format!(
                "threads: {count} is not between {} and {}",
                THREADS.start(),
                THREADS.end()
            )));
        }
        if self.batch.contains(&0) {
            return Err(UsageError::new("batch: an inference has at least 1 picture"));
        }
        if self.broker.is_none() && self.devices.iter().any(|device| device.as_str() != Self::LOCAL) {
            return Err(UsageError::new(format!(
                "devices: other devices than this machine need the address of a broker; {}",
                self.written.mend("broker", "broker")
            )));
        }
        self.validate_plan()?;
        self.validate_variants()
    }

    fn validate_runtimes(&self) -> anyhow::Result<()> {
        let registry = Registry::new(&Search::default());
        for written in self.runtimes.iter().flatten() {
            let name = runtime_and_provider(written).0;
            let runtime = registry
                .get(name)
                .map_err(|error| UsageError::new(format!("runtimes: {error}")))?;
            let loads = |format: Format| runtime.formats().contains(&format.as_str());
            let gets_converted = self.format() == Format::Onnx && CONVERTED.into_iter().any(loads);
            if !loads(self.format()) && !gets_converted {
                return Err(UsageError::new(format!(
                    "runtimes: {name} loads .{} and {} is of another format",
                    runtime.formats().join(", ."),
                    self.model.display()
                )));
            }
        }
        if self.format() == Format::Onnx {
            return Ok(());
        }
        let has_data = self.calibration.is_some() || self.training.is_some() || self.validation.is_some();
        if has_data || self.variants.iter().any(|recipe| !recipe.steps.is_empty()) {
            return Err(UsageError::new(format!(
                "{} is measured as it stands: its latency, without passes and without data; passes take ONNX",
                self.model.display()
            )));
        }
        Ok(())
    }

    /// The format of the model's file and of what is made of it.
    fn format(&self) -> Format {
        match self.model.extension() {
            Some(extension) if extension == Format::Tflite.as_str() => Format::Tflite,
            Some(extension) if extension == Format::So.as_str() => Format::So,
            _ => Format::Onnx,
        }
    }

    /// The runtimes that are measured where none are named.
    fn default_runtimes(&self) -> &'static [&'static str] {
        match self.format() {
            Format::Tflite => &["tflite"],
            Format::So => &["tvm"],
            _ => &Self::DEFAULT_RUNTIMES,
        }
    }

    /// The runtimes that are measured, as they are written.
    fn wanted_runtimes(&self) -> Vec<String> {
        let defaults = || self.default_runtimes().iter().map(|&name| name.to_owned());
        self.runtimes.clone().unwrap_or_else(|| defaults().collect())
    }

    /// The format in which a runtime, as users write it, gets what is made of the model: its own where the runtime
    /// loads that, else the one to which variants are converted.
    fn format_for(&self, written: &str) -> Format {
        let registry = Registry::new(&Search::default());
        let name = runtime_and_provider(written).0;
        let loads = |format: &Format| {
            let runtime = registry.get(name);
            runtime.is_ok_and(|runtime| runtime.formats().contains(&format.as_str()))
        };
        let mut formats = [self.format()].into_iter().chain(CONVERTED);
        formats.find(loads).unwrap_or_else(|| self.format())
    }

    /// The runtimes that get what is made of the model in another format than its own, each with that format.
    fn converting_runtimes(&self) -> Vec<(&str, Format)> {
        let runtimes = self.runtimes.iter().flatten();
        let formats = runtimes.map(|written| (written.as_str(), self.format_for(written)));
        formats.filter(|(_, format)| *format != self.format()).collect()
    }

    /// Trials of TVM's search: none for code that is to be without one.
    fn search_trials(&self) -> u32 {
        let untuned = format!("{}:untuned", crate::tvm_compile::RUNTIME);
        let is_untuned = self.runtimes.iter().flatten().any(|written| *written == untuned);
        if is_untuned { 0 } else { self.tvm_trials }
    }

    fn validate_plan(&self) -> anyhow::Result<()> {
        let plan = &self.plan;
        if let Scenario::Multi { samples } = plan.scenario
            && let Some(batch) = self
                .batch
                .iter()
                .find(|batch| **batch > 0 && samples % **batch != 0)
        {
            return Err(UsageError::new(format!(
                "a query of {samples} samples is no whole number of batches of {batch}; give another --batch or \
                 --samples-per-query"
            )));
        }
        self.validate_sustained()?;
        let has_model = self.validation.is_some() && self.format() == Format::Onnx;
        if self.plan.accuracy_margin.is_some() && !has_model {
            return Err(UsageError::new(
                "accuracy within a margin is that beside the model's own: it needs validation data and an ONNX model; \
                 measure without --accuracy-within, or `accuracy_within` in a study file",
            ));
        }
        let counts = [
            ("min-runs", plan.min_runs),
            ("rounds", plan.rounds),
            ("processes", plan.processes),
        ];
        if let Some((name, _)) = counts.iter().find(|(_, count)| *count == 0) {
            return Err(UsageError::new(format!("--{name} 0: give at least 1")));
        }
        if plan.max_time.0 == 0 {
            return Err(UsageError::new(
                "the longest time of a job is 0, in which nothing is measured; raise --max-time, or `max_time` in a \
                 study file",
            ));
        }
        if plan.max_time < plan.min_time {
            let [longest, least] =
                [plan.max_time, plan.min_time].map(|time| humantime::format_duration(time.into()));
            return Err(UsageError::new(format!(
                "the longest time of a job ({longest}) is shorter than its least ({least}); raise --max-time, or \
                 `max_time` in a study file"
            )));
        }
        Ok(())
    }

    fn validate_sustained(&self) -> anyhow::Result<()> {
        let Some(time) = self.plan.sustained else {
            return Ok(());
        };
        if Plan::windows(time) < Plan::LEAST_WINDOWS {
            let shown = humantime::format_duration(time.into());
            return Err(UsageError::new(format!(
                "a sustained run of {shown} is too short to tell when the device is warm; give at least {} s, or minutes",
                Plan::LEAST_WINDOWS
            )));
        }
        if matches!(self.plan.scenario, Scenario::Server { .. }) {
            return Err(UsageError::new(
                "the scenario server looks for a rate and has no sustained run; measure them apart",
            ));
        }
        Ok(())
    }

    fn validate_variants(&self) -> anyhow::Result<()> {
        for recipe in &self.variants {
            if recipe.name == REFERENCE && !recipe.steps.is_empty() {
                return Err(UsageError::new(format!(
                    "variant {REFERENCE}: the others are compared with the model as it is under this name; give \
                     yours another"
                )));
            }
            let checked = recipe.check();
            checked.map_err(|error| UsageError::new(format!("variant {}: {error}", recipe.name)))?;
        }
        self.refuse_missing_data()
    }

    /// Validation pictures must neither calibrate nor train, so other data is asked for and not guessed.
    fn refuse_missing_data(&self) -> anyhow::Result<()> {
        let calibrates = |recipe: &&Recipe| self.calibration.is_none() && recipe.needs_calibration();
        let trains = |recipe: &&Recipe| self.training.is_none() && recipe.needs_training();
        let (needing, others): (Vec<&Recipe>, Vec<&Recipe>) = self
            .variants
            .iter()
            .partition(|recipe| calibrates(recipe) || trains(recipe));
        let mend = |option, key| self.written.mend(option, key);
        let mend = match (needing.iter().any(calibrates), needing.iter().any(trains)) {
            (false, false) => return Ok(()),
            (true, false) => format!("calibration data; {}", mend("calib", "calibration")),
            (false, true) => format!("labelled training data; {}", mend("train", "training")),
            (true, true) => format!(
                "calibration and labelled training data; {} and {}",
                mend("calib", "calibration"),
                mend("train", "training")
            ),
        };
        let names = |recipes: &[&Recipe], between| {
            let names: Vec<&str> = recipes.iter().map(|recipe| recipe.name.as_str()).collect();
            names.join(between)
        };
        let or = match others[..] {
            [] => String::new(),
            _ => format!(", or choose the variants {}", names(&others, ",")),
        };
        // It would be seen only when all is measured.
        let also = match (self.written, &self.validation) {
            (Written::File, None) => {
                "; `validation` is not set either, without which no accuracy is measured"
            }
            _ => "",
        };
        Err(UsageError::new(format!(
            "{} cannot be made without {mend}{or}{also}",
            names(&needing, ", ")
        )))
    }
}

/// Whether a name stands in one line of a table and leaves the terminal as it is.
fn is_printable(name: &str) -> bool {
    !name.trim().is_empty() && !name.chars().any(char::is_control)
}

/// A runtime as users write it, `tflite` or `tflite:builtin`: its name and its provider, the runtime's own choice where
/// none is written, in the one form that stands for all that mean the same.
pub(crate) fn runtime_and_provider(written: &str) -> (&str, String) {
    let (name, provider) = match written.split_once(':') {
        Some((name, provider)) => (name, Some(provider)),
        None => (written, None),
    };
    let registry = Registry::new(&Search::default());
    let provider = match (registry.get(name), provider) {
        (Ok(runtime), Some(provider)) => runtime.canonical_provider(provider),
        (Ok(runtime), None) => runtime.default_provider().to_owned(),
        (Err(_), provider) => provider.unwrap_or(Target::CPU).to_owned(),
    };
    (name, provider)
}

/// The name of a provider, without the settings that may stand behind it as in `cpu+arena=off`.
pub(crate) fn provider_name(provider: &str) -> &str {
    provider.split_once('+').map_or(provider, |(name, _)| name)
}

/// No runtime is named in two ways, as `ort` and `ort:cpu`.
fn measured_once(runtimes: &[String]) -> anyhow::Result<()> {
    let mut seen = BTreeMap::new();
    for written in runtimes {
        if let Some(other) = seen.insert(runtime_and_provider(written), written) {
            return Err(UsageError::new(format!(
                "runtimes: `{other}` and `{written}` are the same"
            )));
        }
    }
    // Each file is compiled once, with a search or without.
    let of_tvm = |written: &&String| runtime_and_provider(written).0 == crate::tvm_compile::RUNTIME;
    let of_tvm: Vec<&String> = runtimes.iter().filter(of_tvm).collect();
    if let [first, second, ..] = of_tvm[..] {
        return Err(UsageError::new(format!(
            "runtimes: `{first}` and `{second}` are the same code; measure what is tuned and what is not in two studies"
        )));
    }
    Ok(())
}

/// A list that chooses what to measure is not empty and holds nothing twice.
fn each_once<T: Ord + Display>(key: &str, list: &[T]) -> anyhow::Result<()> {
    if list.is_empty() {
        return Err(UsageError::new(format!("{key}: the list is empty")));
    }
    let mut seen = BTreeSet::new();
    match list.iter().find(|item| !seen.insert(*item)) {
        Some(twice) => Err(UsageError::new(format!("{key}: `{twice}` stands twice"))),
        None => Ok(()),
    }
}

/// The recipe of this name.
pub fn named_variant(name: &str) -> Result<Recipe, String> {
    recipe::named(name).ok_or_else(|| {
        format!(
            "unknown variant `{name}`; the built-in ones are {}, {}",
            recipe::DEFAULT.join(", "),
            recipe::FURTHER.join(", ")
        )
    })
}

/// The name of a file without folder and extension, as the name of a study.
pub fn stem(path: &Path) -> String {
    path.file_stem()
        .unwrap_or(path.as_os_str())
        .to_string_lossy()
        .into_owned()
}
