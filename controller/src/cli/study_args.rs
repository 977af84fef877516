//! Arguments that the commands of a study share.

use std::path::PathBuf;
use std::time::Duration;

use edgefront_optimizer::train::Device;
use edgefront_protocol::{Plan, Processors};

use super::shared::{RuntimeArgs, check_device};
use crate::study::scenario::{Asked, Name};
use crate::study::{Cache, Existing, Options};

/// The help lists under it how long a job measures; each argument names it, for what follows must not.
const MEASURING: &str = "Measuring";

/// How long each job measures.
#[derive(Debug, clap::Args)]
pub struct PlanArgs {
    /// Timed runs of each job, at least.
    #[arg(long, value_name = "N", default_value_t = Plan::default().min_runs, help_heading = MEASURING)]
    pub min_runs: u32,

    /// Timed duration of each job, at least.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = humantime::parse_duration, help_heading = MEASURING)]
    pub min_time: Duration,

    /// Duration of each job's warm-up, and again of its rounds, at most; it ends them before their least runs.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = humantime::parse_duration, help_heading = MEASURING)]
    pub max_time: Duration,

    /// Rounds in which the jobs of a device take turns; as each has a run of its own, at most --min-runs.
    #[arg(long, value_name = "N", default_value_t = Plan::default().rounds, help_heading = MEASURING)]
    pub rounds: u32,

    /// Seed of the order of the jobs within a round, and of the moments at which queries come.
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = MEASURING)]
    pub seed: u64,

    /// How queries come.
    #[arg(long, value_enum, default_value_t, help_heading = MEASURING)]
    pub scenario: Name,

    /// What P99 must not exceed with --scenario server, as in 20ms.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, help_heading = MEASURING)]
    pub p99_bound: Option<Duration>,

    /// Samples of a query with --scenario multi, a multiple of --batch [default: 8]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), help_heading = MEASURING)]
    pub samples_per_query: Option<u32>,

    /// Processors to run on: all, big, little, or numbers as in 0-3. Big and little are clusters of different capacity.
    #[arg(long, value_name = "WHICH", default_value_t, help_heading = MEASURING)]
    pub cpus: Processors,
}

impl PlanArgs {
    /// The plan of every job.
    pub fn plan(&self) -> anyhow::Result<Plan> {
        let asked = Asked {
            name: self.scenario,
            p99_bound: self.p99_bound,
            samples_per_query: self.samples_per_query,
        };
        Ok(Plan {
            min_runs: self.min_runs,
            min_time: self.min_time.into(),
            max_time: self.max_time.into(),
            rounds: self.rounds,
            scenario: asked.scenario(self.seed)?,
            processors: self.cpus,
            ..Plan::default()
        })
    }
}

/// Where a study stands and how it goes on.
#[derive(Debug, clap::Args)]
pub struct PlaceArgs {
    /// Directory for the results, the artifacts and the state of the study. A finished run of the same study
    /// there is replaced, anything else is kept.
    #[arg(long, value_name = "DIR", default_value = "out")]
    pub out: PathBuf,

    #[command(flatten)]
    existing: ExistingArgs,

    /// Give up a device that is out of reach, or does not answer, for longer; --resume tries it again.
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = humantime::parse_duration)]
    pub device_timeout: Duration,

    /// Make every variant anew. Variants are kept in the user's cache folder, and taken from there where
    /// model, passes and data are the same.
    #[arg(long)]
    no_cache: bool,

    /// Where variants are trained: cpu, cuda or wgpu; a further GPU is cuda:1. GPUs need a build with the feature of
    /// that name.
    #[arg(long, value_name = "DEVICE", default_value_t)]
    train_device: Device,

    #[command(flatten)]
    runtime: RuntimeArgs,
}

impl PlaceArgs {
    /// How the study is run.
    pub fn options(&self) -> anyhow::Result<Options> {
        check_device(self.train_device)?;
        Ok(Options {
            train_device: self.train_device,
            existing: self.existing.existing(),
            search: self.runtime.search()?,
            device_timeout: self.device_timeout,
            cache: if self.no_cache { None } else { Cache::of_user() },
            ..Options::new(&self.out)
        })
    }
}

/// What becomes of what lies in the directory.
#[derive(Debug, clap::Args)]
pub struct ExistingArgs {
    /// Go on with the unfinished study in the directory; what is made and measured is kept.
    #[arg(long, conflicts_with = "fresh")]
    pub resume: bool,

    /// Replace whatever results are in the directory; open jobs are called off on their devices.
    #[arg(long)]
    pub fresh: bool,
}

impl ExistingArgs {
    /// The same as one value.
    pub fn existing(&self) -> Existing {
        match (self.resume, self.fresh) {
            (true, _) => Existing::Resume,
            (false, true) => Existing::Replace,
            (false, false) => Existing::Keep,
        }
    }
}
