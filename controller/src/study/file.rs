//! A study as a TOML file.

use std::fmt;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use edgefront_link::BrokerUrl;
use edgefront_optimizer::recipe::Recipe;
use edgefront_protocol::{CoolDown, DeviceId, Governor, Plan, Ppm, Processors};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, Visitor};

use super::scenario::{self, Asked, Name};
use super::{Study, Written};
use crate::stats::certify::{Percentile, certifying};
use crate::ui::UsageError;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: Option<String>,
    model: PathBuf,
    validation: Option<PathBuf>,
    calibration: Option<PathBuf>,
    training: Option<PathBuf>,
    preprocess: Option<String>,
    variants: Option<Vec<Variant>>,
    runtimes: Option<Vec<String>>,
    threads: Option<Vec<NonZeroU32>>,
    batch: Option<Vec<NonZeroU32>>,
    broker: Option<Broker>,
    devices: Option<Vec<DeviceId>>,
    seed: Option<u64>,
    tvm_trials: Option<u32>,
    #[serde(default)]
    plan: FilePlan,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct FilePlan {
    warmup_runs: Option<u32>,
    #[serde(default, with = "humantime_serde")]
    warmup_time: Option<Duration>,
    min_runs: Option<NonZeroU32>,
    #[serde(default, with = "humantime_serde")]
    min_time: Option<Duration>,
    #[serde(default, with = "humantime_serde")]
    max_time: Option<Duration>,
    rounds: Option<NonZeroU32>,
    layers: Option<bool>,
    processes: Option<NonZeroU32>,
    certify: Option<Percentile>,
    max_load: Option<u32>,
    cool_to: Option<Celsius>,
    #[serde(default, with = "humantime_serde")]
    cool_limit: Option<Duration>,
    governor: Option<Governor>,
    scenario: Option<Name>,
    #[serde(default, with = "humantime_serde")]
    p99_bound: Option<Duration>,
    samples_per_query: Option<NonZeroU32>,
    cpus: Option<Cpus>,
    racing: Option<bool>,
    accuracy_within: Option<Percent>,
    #[serde(default, with = "humantime_serde")]
    sustained: Option<Duration>,
}

/// The longest wait for a device to cool before one round, where none is written.
const COOL_LIMIT: Duration = Duration::from_mins(2);

/// Degrees Celsius, written as `50C`.
#[derive(Debug, Clone, Copy)]
struct Celsius(u32);

impl<'de> Deserialize<'de> for Celsius {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        celsius(&text).map(Self).map_err(de::Error::custom)
    }
}

/// The degrees of a temperature as users write it: `50C`.
pub(crate) fn celsius(text: &str) -> Result<u32, String> {
    let degrees = text.trim().trim_end_matches('C').trim_end_matches('°').trim();
    degrees
        .parse()
        .map_err(|_| format!("`{text}` is no temperature in degrees Celsius; write it as 50C"))
}

/// A part of accuracy, written as `0.5%`.
#[derive(Debug, Clone, Copy)]
struct Percent(Ppm);

impl<'de> Deserialize<'de> for Percent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        percent(&text).map(Self).map_err(de::Error::custom)
    }
}

/// A margin of accuracy as users write it: `0.5%`.
pub(crate) fn percent(text: &str) -> Result<Ppm, String> {
    let number = text
        .trim()
        .strip_suffix('%')
        .and_then(|number| number.trim().parse::<f64>().ok());
    let number = number.filter(|number| (0.0001..100.0).contains(number));
    let number = number.ok_or_else(|| format!("`{text}` is no margin of accuracy; write it as 0.5%"))?;
    Ok(Ppm((number * 1e4).round() as u32))
}

/// The name of a default recipe, or a recipe. Not an untagged enum: that would lose the place and the reason
/// of an error within the recipe.
#[derive(Debug)]
struct Variant(Recipe);

impl<'de> Deserialize<'de> for Variant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameOrRecipe;

        impl<'de> Visitor<'de> for NameOrRecipe {
            type Value = Variant;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a variant, or a table with `name` and `steps`")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<Variant, E> {
                super::named_variant(name).map(Variant).map_err(E::custom)
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Variant, A::Error> {
                Recipe::deserialize(MapAccessDeserializer::new(map)).map(Variant)
            }
        }
        deserializer.deserialize_any(NameOrRecipe)
    }
}

#[derive(Debug)]
struct Cpus(Processors);

impl<'de> Deserialize<'de> for Cpus {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(de::Error::custom)
    }
}

#[derive(Debug)]
struct Broker(BrokerUrl);

impl<'de> Deserialize<'de> for Broker {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(de::Error::custom)
    }
}

impl Study {
    /// Reads a study file. Its paths are relative to its own folder.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            let why = edgefront_files::unread(&error);
            anyhow::anyhow!("cannot read the study file {}: {why}", path.display())
        })?;
        let file: File =
            toml::from_str(&text).map_err(|error| UsageError::new(located(path, &text, &error)))?;
        if file.plan.cool_limit.is_some() && file.plan.cool_to.is_none() {
            let said = "`cool_limit` is the limit of a wait that nothing asks for; give `cool_to`, too";
            return Err(UsageError::new(format!("{}: {said}", path.display())));
        }
        let study = file
            .into_study(path)
            .with_context(|| path.display().to_string())?;
        study.validate().with_context(|| path.display().to_string())?;
        Ok(study)
    }
}

impl File {
    fn into_study(self, path: &Path) -> anyhow::Result<Study> {
        let folder = path.parent().unwrap_or(Path::new(""));
        let within = |path: PathBuf| folder.join(path);
        let name = self.name.unwrap_or_else(|| super::stem(path));
        let defaults = Study::new(name, within(self.model));
        let counts = |given: Option<Vec<NonZeroU32>>, default: Vec<u32>| {
            given.map_or(default, |counts| counts.into_iter().map(u32::from).collect())
        };
        let seed = self.seed.unwrap_or(defaults.seed);
        let plan = self.plan.over(defaults.plan, seed)?;
        let given = self
            .batch
            .map(|counts| counts.into_iter().map(u32::from).collect());
        Ok(Study {
            written: Written::File,
            validation: self.validation.map(within),
            calibration: self.calibration.map(within),
            training: self.training.map(within),
            preprocess: self.preprocess.map(|name| preprocessing(folder, name)),
            variants: self.variants.map_or(defaults.variants, |variants| {
                variants.into_iter().map(|Variant(recipe)| recipe).collect()
            }),
            runtimes: self.runtimes,
            threads: counts(self.threads, defaults.threads),
            batch: scenario::batches(given, plan.scenario),
            broker: self.broker.map(|Broker(url)| url),
            devices: self.devices.unwrap_or(defaults.devices),
            seed,
            tvm_trials: self.tvm_trials.unwrap_or(defaults.tvm_trials),
            plan,
            name: defaults.name,
            model: defaults.model,
            shape: defaults.shape,
        })
    }
}

impl FilePlan {
    fn over(self, below: Plan, seed: u64) -> anyhow::Result<Plan> {
        let asked = Asked {
            name: self.scenario.unwrap_or_default(),
            p99_bound: self.p99_bound,
            samples_per_query: self.samples_per_query.map(u32::from),
        };
        let plan = Plan {
            warmup_runs: self.warmup_runs.unwrap_or(below.warmup_runs),
            warmup_time: self.warmup_time.map_or(below.warmup_time, Into::into),
            min_runs: self.min_runs.map_or(below.min_runs, u32::from),
            min_time: self.min_time.map_or(below.min_time, Into::into),
            max_time: self.max_time.map_or(below.max_time, Into::into),
            rounds: self.rounds.map_or(below.rounds, u32::from),
            layers: self.layers.unwrap_or(below.layers),
            processes: self.processes.map_or(below.processes, u32::from),
            max_load: self.max_load.unwrap_or(below.max_load),
            cool_down: self.cool_to.map(|Celsius(to_c)| CoolDown {
                to_c,
                limit: self.cool_limit.unwrap_or(COOL_LIMIT).into(),
            }),
            governor: self.governor.or(below.governor),
            scenario: asked.scenario(seed)?,
            processors: self.cpus.map_or(below.processors, |Cpus(processors)| processors),
            race: self.racing.unwrap_or(below.race),
            accuracy_margin: self.accuracy_within.map(|Percent(margin)| margin),
            sustained: self.sustained.map(Into::into),
        };
        Ok(certifying(plan, self.certify))
    }
}

/// A preprocessing file, too, is relative to the study's folder.
fn preprocessing(folder: &Path, name: String) -> String {
    let is_file = Path::new(&name)
        .extension()
        .is_some_and(|extension| extension == "toml");
    if is_file {
        folder.join(name).display().to_string()
    } else {
        name
    }
}

/// File, line, the line's text with its key, and the reason, in one line.
fn located(path: &Path, text: &str, error: &toml::de::Error) -> String {
    let reason = error.message().split_whitespace().collect::<Vec<_>>().join(" ");
    let Some(span) = error.span() else {
        return format!("{}: {reason}", path.display());
    };
    let before = text.get(..span.start).unwrap_or(text);
    let number = before.matches('\n').count() + 1;
    let line = text.lines().nth(number - 1).unwrap_or_default().trim();
    if line.is_empty() || reason.contains(line) {
        return format!("{}:{number}: {reason}", path.display());
    }
    format!("{}:{number}: {reason}, in `{line}`", path.display())
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
