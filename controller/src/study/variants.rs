//! From recipes to artifacts.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::Context as _;
use edgefront_optimizer::Model;
use edgefront_optimizer::calibrate::{self, Samples};
use edgefront_optimizer::obstacles::Obstacles;
use edgefront_optimizer::quantize::ActivationType;
use edgefront_optimizer::recipe::{self, Progress, Recipe};
use edgefront_protocol::results::FailedJob;
use edgefront_protocol::{Artifact, BlobRef, Device, Digest, Format, Precision, Stage};
use edgefront_runtimes::{Registry, Search};
use indicatif::ProgressBar;

use super::Options;
use super::cache::{Cache, Entry};
use super::explain::Making;
use super::plan::Variant;
use super::prepare::{Encoded, Pictures, Prepared};
use crate::store::Store;
use crate::ui::{Ui, one_line};

/// The folder of artifacts in a study's directory.
pub(super) const FOLDER: &str = "artifacts";

/// Makes the variants of a study in its directory.
pub(super) struct Maker<'a> {
    prepared: &'a Prepared<'a>,
    options: &'a Options,
    folder: PathBuf,
}

/// What came of the recipes.
#[derive(Debug, Default)]
pub(super) struct Made {
    pub(super) variants: Vec<Variant>,
    pub(super) failed: Vec<FailedJob>,
}

/// The type of quantized activations that a device computes fastest with.
pub(super) fn activations_for(device: &Device) -> ActivationType {
    ActivationType::for_architecture(&device.arch)
}

impl<'a> Maker<'a> {
    /// The folder is made if it is not there.
    pub(super) fn new(prepared: &'a Prepared<'a>, options: &'a Options) -> anyhow::Result<Self> {
        let folder = options.out.join(FOLDER);
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(Self {
            prepared,
            options,
            folder,
        })
    }

    /// Where an artifact is.
    pub(super) fn path(&self, blob: &BlobRef) -> PathBuf {
        self.folder
            .join(format!("{}.{}", blob.digest, Format::Onnx.as_str()))
    }

    /// Where the validation pack is.
    pub(super) fn pack_path(&self, blob: &BlobRef) -> PathBuf {
        self.folder.join(format!("{}.safetensors", blob.digest))
    }

    /// Writes the validation pack, if there is one, for devices to fetch.
    pub(super) fn write_validation(&self) -> anyhow::Result<Option<BlobRef>> {
        let Some(pack) = &self.prepared.validation else {
            return Ok(None);
        };
        let path = self.pack_path(&pack.blob);
        if !is_whole(&path, &pack.blob) {
            edgefront_files::replace(&path, &pack.bytes)
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(Some(pack.blob))
    }

    /// Makes every variant that is not made already. One that fails does not keep the others.
    pub(super) async fn make_all(
        &self,
        activations: ActivationType,
        store: &Store,
        ui: &Ui,
    ) -> anyhow::Result<Made> {
        let recipes = &self.prepared.study.variants;
        let bar = ui.bar(recipes.len() as u64, "variants");
        let mut made = Made::default();
        let mut cached: Vec<&str> = Vec::new();
        for recipe in recipes {
            bar.set_message(recipe.name.clone());
            match self.make(recipe, activations, store, &bar).await {
                Ok((variant, source)) => {
                    made.variants.push(variant);
                    if source == Source::Cache {
                        cached.push(&recipe.name);
                    }
                }
                Err(error) => {
                    let error = one_line(&error);
                    ui.warn(format_args!("variant {} failed: {error}", recipe.name));
                    made.failed.push(failed(recipe, error));
                }
            }
            bar.inc(1);
        }
        bar.finish_and_clear();
        if !cached.is_empty() {
            ui.note(format_args!("from the cache: {}", cached.join(", ")));
        }
        Ok(made)
    }

    async fn make(
        &self,
        recipe: &Recipe,
        activations: ActivationType,
        store: &Store,
        bar: &ProgressBar,
    ) -> anyhow::Result<(Variant, Source)> {
        let key = self.key(recipe, activations)?;
        let (blob, source) = match store.variant(&key)? {
            Some(blob) if is_whole(&self.path(&blob), &blob) => (blob, Source::Study),
            _ => {
                let filled = self.write_new(recipe, activations, key, bar).await?;
                store.put_variant(&key, &filled.blob, &filled.making)?;
                (filled.blob, filled.source)
            }
        };
        let variant = Variant {
            name: recipe.name.clone(),
            precision: precision(recipe),
            artifact: Artifact {
                blob,
                format: Format::Onnx,
            },
        };
        Ok((variant, source))
    }

    /// Fills the order on a thread of its own, so that the connection to the broker lives on.
    async fn write_new(
        &self,
        recipe: &Recipe,
        activations: ActivationType,
        key: Digest,
        bar: &ProgressBar,
    ) -> anyhow::Result<Filled> {
        let order = Order {
            key,
            model: Arc::clone(&self.prepared.model),
            recipe: recipe.clone(),
            activations,
            pictures: self
                .prepared
                .calibration
                .as_ref()
                .map(|(pictures, _)| Arc::clone(pictures)),
            search: self.options.search.clone(),
            cache: self.options.cache.clone(),
            bar: bar.clone(),
        };
        let (entry, source) = tokio::task::spawn_blocking(move || order.fill())
            .await
            .context("the optimizer crashed; please report this")??;
        let encoded = Encoded::new(entry.bytes);
        let path = self.path(&encoded.blob);
        edgefront_files::replace(&path, &encoded.bytes)
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Filled {
            blob: encoded.blob,
            making: entry.making,
            source,
        })
    }

    /// All that decides the bytes of a variant: another version's passes may give others.
    fn key(&self, recipe: &Recipe, activations: ActivationType) -> anyhow::Result<Digest> {
        let calibration = self.prepared.calibration.as_ref().map(|(_, digest)| *digest);
        let quantized = recipe.needs_calibration().then_some((calibration, activations));
        let version = env!("CARGO_PKG_VERSION");
        let parts = (version, self.prepared.definition.model, quantized, &recipe.steps);
        Ok(Digest::of(&serde_json::to_vec(&parts)?))
    }
}

/// Where a variant comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    /// It was in the study's directory.
    Study,
    /// Another study made it.
    Cache,
    /// It was made now.
    Recipe,
}

/// A variant that was written, and how it was made, as JSON.
struct Filled {
    blob: BlobRef,
    making: String,
    source: Source,
}

/// All that a thread of its own needs to make one variant.
struct Order {
    /// Of the variant within its study.
    key: Digest,
    model: Arc<Model>,
    recipe: Recipe,
    activations: ActivationType,
    pictures: Option<Arc<Pictures>>,
    search: Search,
    cache: Option<Cache>,
    bar: ProgressBar,
}

impl Order {
    /// The variant from the cache, or else from the recipe, which is then cached.
    fn fill(&self) -> anyhow::Result<(Entry, Source)> {
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
            let runtime = calibrate::runtime(registry)?;
            Some((runtime.name(), runtime.probe()?.version))
        } else {
            None
        };
        let parts = (self.key, program, runtime);
        Ok(Digest::of(&serde_json::to_vec(&parts)?))
    }

    fn make(&self, registry: &Registry) -> anyhow::Result<Entry> {
        let name = &self.recipe.name;
        let context = recipe::Context {
            calibration: self.pictures.as_deref().map(|pictures| pictures as &dyn Samples),
            training: None,
            runtimes: registry,
            threads: std::thread::available_parallelism().map_or(1, Into::into),
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
        let (variant, reports) = recipe::apply(&self.model, &self.recipe, &context)?;
        let making = Making {
            obstacles: Obstacles::of(&variant)?,
            passes: reports,
        };
        Ok(Entry {
            making: serde_json::to_string(&making)?,
            bytes: variant.encode(),
        })
    }
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

fn failed(recipe: &Recipe, error: String) -> FailedJob {
    FailedJob {
        device: String::new(),
        variant: recipe.name.clone(),
        runtime: String::new(),
        stage: Stage::Optimize.to_string(),
        error,
    }
}

fn precision(recipe: &Recipe) -> Precision {
    match recipe.precision() {
        recipe::Precision::Fp32 => Precision::Fp32,
        recipe::Precision::Fp16 => Precision::Fp16,
        recipe::Precision::Int8 => Precision::Int8,
    }
}

/// Whether the file is there with its size; its name says what it holds.
fn is_whole(path: &Path, blob: &BlobRef) -> bool {
    fs::metadata(path).is_ok_and(|file| file.is_file() && file.len() == blob.bytes.0)
}
