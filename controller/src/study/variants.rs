//! From recipes to artifacts.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use edgefront_optimizer::Model;
use edgefront_optimizer::calibrate::Samples;
use edgefront_optimizer::obstacles::Obstacles;
use edgefront_optimizer::quantize::ActivationType;
use edgefront_optimizer::recipe::{self, Progress, Recipe};
use edgefront_protocol::results::FailedJob;
use edgefront_protocol::{Artifact, BlobRef, Device, Digest, Format, Precision, Stage};
use edgefront_runtimes::{Registry, Search};
use indicatif::ProgressBar;

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
    search: &'a Search,
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
    pub(super) fn new(prepared: &'a Prepared<'a>, search: &'a Search, out: &Path) -> anyhow::Result<Self> {
        let folder = out.join(FOLDER);
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(Self {
            prepared,
            search,
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
        for recipe in recipes {
            bar.set_message(recipe.name.clone());
            match self.make(recipe, activations, store, &bar).await {
                Ok(variant) => made.variants.push(variant),
                Err(error) => {
                    let error = one_line(&error);
                    ui.warn(format_args!("variant {} failed: {error}", recipe.name));
                    made.failed.push(failed(recipe, error));
                }
            }
            bar.inc(1);
        }
        bar.finish_and_clear();
        Ok(made)
    }

    async fn make(
        &self,
        recipe: &Recipe,
        activations: ActivationType,
        store: &Store,
        bar: &ProgressBar,
    ) -> anyhow::Result<Variant> {
        let key = self.key(recipe, activations)?;
        let blob = match store.variant(&key)? {
            Some(blob) if is_whole(&self.path(&blob), &blob) => blob,
            _ => {
                let (blob, making) = self.write_new(recipe, activations, bar).await?;
                store.put_variant(&key, &blob, &serde_json::to_string(&making)?)?;
                blob
            }
        };
        Ok(Variant {
            name: recipe.name.clone(),
            precision: precision(recipe),
            artifact: Artifact {
                blob,
                format: Format::Onnx,
            },
        })
    }

    /// Applies the recipe on a thread of its own, so that the connection to the broker lives on.
    async fn write_new(
        &self,
        recipe: &Recipe,
        activations: ActivationType,
        bar: &ProgressBar,
    ) -> anyhow::Result<(BlobRef, Making)> {
        let order = Order {
            model: Arc::clone(&self.prepared.model),
            recipe: recipe.clone(),
            activations,
            pictures: self
                .prepared
                .calibration
                .as_ref()
                .map(|(pictures, _)| Arc::clone(pictures)),
            search: self.search.clone(),
            bar: bar.clone(),
        };
        let (encoded, making) = tokio::task::spawn_blocking(move || order.fill())
            .await
            .context("the optimizer crashed; please report this")??;
        let path = self.path(&encoded.blob);
        edgefront_files::replace(&path, &encoded.bytes)
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok((encoded.blob, making))
    }

    /// All that decides the bytes of a variant: another version's passes may give others.
    fn key(&self, recipe: &Recipe, activations: ActivationType) -> anyhow::Result<Digest> {
        let calibration = self.prepared.calibration.as_ref().map(|(_, digest)| *digest);
        let quantized = recipe.needs_calibration().then_some((calibration, activations));
        let version = env!("CARGO_PKG_VERSION");
        let parts = (version, self.prepared.definition.model, quantized, recipe);
        Ok(Digest::of(&serde_json::to_vec(&parts)?))
    }
}

/// All that a thread of its own needs to make one variant.
struct Order {
    model: Arc<Model>,
    recipe: Recipe,
    activations: ActivationType,
    pictures: Option<Arc<Pictures>>,
    search: Search,
    bar: ProgressBar,
}

impl Order {
    fn fill(&self) -> anyhow::Result<(Encoded, Making)> {
        let name = &self.recipe.name;
        let context = recipe::Context {
            calibration: self.pictures.as_deref().map(|pictures| pictures as &dyn Samples),
            training: None,
            runtimes: &Registry::new(&self.search),
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
        Ok((Encoded::new(variant.encode()), making))
    }
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
