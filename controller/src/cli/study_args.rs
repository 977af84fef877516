//! Arguments that the commands of a study share.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use edgefront_optimizer::train::Device;
use edgefront_protocol::{CoolDown, Governor, Plan, Ppm, Processors};

use super::shared::{RuntimeArgs, check_device};
use crate::stats::certify::{Percentile, certifying};
use crate::study::scenario::{Asked, Name};
use crate::study::{Cache, Existing, Options, celsius, percent};

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

    /// Processes in which each job's rounds are run, one after the other, for two processes of one file differ by more
    /// than the rounds of one; fewer where starting them would take a quarter of --max-time.
    #[arg(long, value_name = "N", default_value_t = Plan::default().processes, help_heading = MEASURING)]
    pub processes: u32,

    /// Make at least as many runs as certify this percentile (p50, p90, p95, p99 or p999) by MLPerf's rule for
    /// stopping early, unless --max-time comes first.
    #[arg(long, value_name = "PERCENTILE", help_heading = MEASURING)]
    pub certify: Option<Percentile>,

    /// Measure a round again in which other processes took more than this, in percent of the cores that the job uses.
    /// At most half as many rounds again as there are; where too few are left alone, all count and the result says so.
    #[arg(long, value_name = "PERCENT", default_value_t = Plan::default().max_load, help_heading = MEASURING)]
    pub max_load: u32,

    /// Before each round wait until the device's hottest thermal zone is at most so warm, as in 50C.
    #[arg(long, value_name = "TEMPERATURE", value_parser = celsius, help_heading = MEASURING)]
    pub cool_to: Option<u32>,

    /// Wait for that at most so long before one round; the result says where the device stayed warmer.
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = humantime::parse_duration, requires = "cool_to", help_heading = MEASURING)]
    pub cool_limit: Duration,

    /// Give all processors of the device this governor while it measures, and put back what they had; its agent must be
    /// allowed to.
    #[arg(long, value_name = "NAME", value_parser = governor(), help_heading = MEASURING)]
    pub governor: Option<Governor>,

    /// Measure every job to its last round. Otherwise one that another variant or runtime beats beyond doubt, in accuracy,
    /// latency and energy, is stopped early, and the result says by which and on what evidence.
    #[arg(long, help_heading = MEASURING)]
    pub no_racing: bool,

    /// Measure each configuration once more, alone and for so long without a pause, as in 10m, and take its figures from the
    /// second half, when the device is warm. They have a frontier of their own.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, help_heading = MEASURING)]
    pub sustained: Option<Duration>,

    /// Score only as many pictures, in random order, as show the difference of top-1 to the model's own within this, as in
    /// 0.5%, with a confidence of 95 %. Otherwise the whole pack is scored.
    #[arg(long, value_name = "PERCENT", value_parser = percent, help_heading = MEASURING)]
    pub accuracy_within: Option<Ppm>,

    /// Seed of the order of the jobs within a round, and of the moments at which queries come.
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = MEASURING)]
    pub seed: u64,

    /// Time each layer as well, on runtimes that tell: tract, ONNX Runtime, LiteRT, OpenVINO and TensorRT. It is
    /// done after the rounds, in a process of its own.
    #[arg(long, help_heading = MEASURING)]
    pub layers: bool,

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
        let plan = Plan {
            min_runs: self.min_runs,
            min_time: self.min_time.into(),
            max_time: self.max_time.into(),
            rounds: self.rounds,
            layers: self.layers,
            processes: self.processes,
            max_load: self.max_load,
            cool_down: self.cool_to.map(|to_c| CoolDown {
                to_c,
                limit: self.cool_limit.into(),
            }),
            governor: self.governor,
            scenario: asked.scenario(self.seed)?,
            processors: self.cpus,
            race: !self.no_racing,
            accuracy_margin: self.accuracy_within,
            sustained: self.sustained.map(Into::into),
            ..Plan::default()
        };
        Ok(certifying(plan, self.certify))
    }
}

/// The governors by their names.
fn governor() -> impl TypedValueParser<Value = Governor> {
    let names = PossibleValuesParser::new(Governor::ALL.map(Governor::as_str));
    names.map(|name| {
        let mut all = Governor::ALL.into_iter();
        let governor = all.find(|governor| governor.as_str() == name);
        governor.expect("invariant: the names are those of all governors")
    })
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
