//! Making one variant: it comes from the cache, or else from its recipe.

use std::fs;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::bail;
use edgefront_optimizer::Model;
use edgefront_optimizer::calibrate::Samples;
use edgefront_optimizer::check::{not_a_number, not_finite};
use edgefront_optimizer::obstacles::Obstacles;
use edgefront_optimizer::quantize::ActivationType;
use edgefront_optimizer::recipe::{self, Progress, Recipe};
use edgefront_optimizer::train::Device;
use edgefront_protocol::Digest;
use edgefront_runtimes::{Registry, Search};
use indicatif::ProgressBar;

use super::cache::{Cache, Entry};
use super::explain::Making;
use crate::data::Pictures;

/// Where a variant comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// It was in the study's directory.
    Study,
    /// Another study made it.
    Cache,
    /// It was made now.
    Recipe,
}

/// What a study is of.
#[derive(Debug, Clone)]
pub(super) enum Subject {
    /// A network, of which passes make others.
    Network(Arc<Model>),
    /// A file of another format, which is measured as it stands.
    File(Arc<[u8]>),
}

/// All that a thread of its own needs to make one variant.
pub(super) struct Order {
    /// Of the variant within its study.
    pub(super) key: Digest,
    pub(super) subject: Subject,
    pub(super) recipe: Recipe,
    pub(super) activations: ActivationType,
    pub(super) calibration: Option<Arc<Pictures>>,
    pub(super) training: Option<Arc<Pictures>>,
    pub(super) search: Search,
    /// Where to train.
    pub(super) device: Device,
    pub(super) cache: Option<Cache>,
    pub(super) bar: ProgressBar,
}

impl Order {
    /// The variant from the cache, or else from the recipe, which is then cached.
    pub(super) fn fill(&self) -> anyhow::Result<(Entry, Source)> {
        let registry = Registry::new(&self.search);
        let cache = self.cache.as_ref().filter(|_| !self.recipe.steps.is_empty());
        let (Some(cache), Some(program)) = (cache, program()) else {
            return Ok((self.make(&registry)?, Source::Recipe));
        };
        let key = self.key_beyond_study(program, &registry)?;
        if let Some(entry) = cache.get(&key) {
            return Ok((entry, Source::Cache));
        }
        let entry = self.make(&registry)?;
        if let Err(error) = cache.put(&key, &entry) {
            tracing::warn!("cannot keep {} in the cache: {error}", self.recipe.name);
        }
        Ok((entry, Source::Recipe))
    }

    /// What the key within a study leaves open: this program, and the runtime that runs models.
    fn key_beyond_study(&self, program: Program, registry: &Registry) -> anyhow::Result<Digest> {
        let runtime = if self.recipe.needs_calibration() {
            let runtime = registry.preferred()?;
            Some((runtime.name(), runtime.probe()?.version))
        } else {
            None
        };
        let parts = (self.key, program, runtime);
        Ok(Digest::of(&serde_json::to_vec(&parts)?))
    }

    fn make(&self, registry: &Registry) -> anyhow::Result<Entry> {
        let model = match &self.subject {
            Subject::Network(model) => model,
            Subject::File(bytes) => {
                return Ok(Entry {
                    making: serde_json::to_string(&Making::default())?,
                    bytes: bytes.to_vec(),
                });
            }
        };
        let name = &self.recipe.name;
        let context = recipe::Context {
            calibration: self
                .calibration
                .as_deref()
                .map(|pictures| pictures as &dyn Samples),
            training: self.training.as_deref().map(|pictures| pictures as &dyn Samples),
            runtimes: registry,
            threads: threads(),
            device: self.device,
            activations: self.activations,
            progress: &|progress| {
                self.bar.set_message(match progress {
                    Progress::Pass(pass) => format!("{name}: {pass}"),
                    Progress::Calibrating { done, total } => format!("{name}: picture {done} of {total}"),
                    Progress::Measuring { done, total } => format!("{name}: layer {done} of {total}"),
                    Progress::Training(training) => {
                        let (epoch, epochs) = (training.epoch, training.epochs);
                        format!("{name}: epoch {epoch} of {epochs}, loss {:.3}", training.loss)
                    }
                });
            },
        };
        let (variant, reports) = recipe::apply(Model::clone(model), &self.recipe, &context)?;
        if let Some(finding) = not_a_number(&variant) {
            bail!("{finding}");
        }
        let making = Making {
            obstacles: Obstacles::of(&variant)?,
            not_finite: not_finite(&variant),
            for_tensorrt: self.recipe.is_for_tensorrt(),
            passes: reports,
        };
        Ok(Entry {
            making: serde_json::to_string(&making)?,
            bytes: variant.encode(),
        })
    }
}

/// Threads for running and training models.
pub(super) fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, Into::into)
}

/// Length of this program's file, and when it was changed, in nanoseconds since 1970: two builds of one version
/// may have different passes.
type Program = (u64, u128);

/// `None` where the file is gone, after an update for example.
fn program() -> Option<Program> {
    let file = std::env::current_exe().and_then(fs::metadata).ok()?;
    let changed = file
        .modified()
        .ok()?
        .duration_since(SystemTime::UNIX_EPOCH)
        .ok()?;
    Some((file.len(), changed.as_nanos()))
}
