//! From recipes to artifacts.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use edgefront_optimizer::quantize::ActivationType;
use edgefront_optimizer::recipe::{self, Recipe};
use edgefront_protocol::results::FailedJob;
use edgefront_protocol::{Artifact, BlobRef, Device, Digest, Job, Precision, Stage};
use indicatif::ProgressBar;

use super::Options;
use super::order::{self, Order, Source};
use super::plan::Variant;
use super::prepare::{Encoded, Prepared};
use crate::data::Pictures;
use crate::store::{Store, StoredJob};
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
        self.folder.join(format!(
            "{}.{}",
            blob.digest,
            self.prepared.study.format().as_str()
        ))
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

    /// The variants of which a job's file was cut, altered or removed.
    pub(super) fn damaged(&self, jobs: &[StoredJob]) -> BTreeSet<String> {
        let files: BTreeMap<Digest, &Job> = jobs
            .iter()
            .map(|stored| (stored.job.artifact.blob.digest, &stored.job))
            .collect();
        let damaged = files.values().filter(|job| {
            let blob = &job.artifact.blob;
            !is_whole(&self.path(blob), blob)
        });
        damaged.map(|job| job.variant.clone()).collect()
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
                format: self.prepared.study.format(),
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
            subject: self.prepared.subject.clone(),
            recipe: recipe.clone(),
            activations,
            calibration: pictures(self.prepared.calibration.as_ref()),
            training: pictures(self.prepared.training.as_ref()),
            search: self.options.search.clone(),
            device: self.options.train_device,
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
        let digest = |data: &Option<(Arc<Pictures>, Digest)>| data.as_ref().map(|(_, digest)| *digest);
        let calibration = digest(&self.prepared.calibration);
        let quantized = recipe.needs_calibration().then_some((calibration, activations));
        let training = digest(&self.prepared.training);
        let device = self.options.train_device.to_string();
        let trained = recipe
            .needs_training()
            .then_some((training, order::threads(), device));
        let version = env!("CARGO_PKG_VERSION");
        let model = self.prepared.definition.model;
        let parts = (version, model, quantized, trained, &recipe.steps);
        Ok(Digest::of(&serde_json::to_vec(&parts)?))
    }
}

/// A variant that was written, and how it was made, as JSON.
struct Filled {
    blob: BlobRef,
    making: String,
    source: Source,
}

fn pictures(data: Option<&(Arc<Pictures>, Digest)>) -> Option<Arc<Pictures>> {
    data.map(|(pictures, _)| Arc::clone(pictures))
}

fn failed(recipe: &Recipe, error: String) -> FailedJob {
    FailedJob {
        study: None,
        device: String::new(),
        variant: recipe.name.clone(),
        runtime: String::new(),
        threads: None,
        batch: None,
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

/// Whether the file is there and holds what its name says.
fn is_whole(path: &Path, blob: &BlobRef) -> bool {
    let has_size = fs::metadata(path).is_ok_and(|file| file.is_file() && file.len() == blob.bytes.0);
    has_size && fs::read(path).is_ok_and(|bytes| Digest::of(&bytes) == blob.digest)
}
