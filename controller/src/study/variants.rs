//! From recipes to artifacts.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use edgefront_optimizer::recipe::{self, Recipe};
use edgefront_protocol::results::FailedJob;
use edgefront_protocol::{Artifact, BlobRef, Digest, Format, Job, Precision, Stage};
use indicatif::ProgressBar;

use super::Options;
use super::cache::Entry;
use super::convert::{Code, Conversion, Converted};
use super::explain::Making;
use super::form::{Group, Integers};
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
    pub(super) prepared: &'a Prepared<'a>,
    pub(super) options: &'a Options,
    pub(super) folder: PathBuf,
}

/// What came of the recipes.
#[derive(Debug, Default)]
pub(super) struct Made {
    pub(super) variants: Vec<Variant>,
    pub(super) failed: Vec<FailedJob>,
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
    pub(super) fn path(&self, artifact: &Artifact) -> PathBuf {
        let name = format!("{}.{}", artifact.blob.digest, artifact.format.as_str());
        self.folder.join(name)
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
        let damaged = files.values().filter(|job| !self.has(&job.artifact));
        damaged.map(|job| job.variant.clone()).collect()
    }

    /// Makes every variant that is not made already. One that fails does not keep the others.
    pub(super) async fn make_all(&self, group: &Group<'_>, store: &Store, ui: &Ui) -> anyhow::Result<Made> {
        let integers = group.kind.integers;
        let recipes = &self.prepared.study.variants;
        let bar = ui.bar(recipes.len() as u64, "variants");
        let mut made = Made::default();
        let mut cached: Vec<&str> = Vec::new();
        for recipe in recipes {
            bar.set_message(recipe.name.clone());
            match self.make(&integers.fit(recipe), integers, store, &bar).await {
                Ok((mut variant, source)) => {
                    made.failed
                        .append(&mut self.convert_all(&mut variant, group, store, ui).await?);
                    made.variants.push(variant);
                    if source == Source::Cache {
                        cached.push(&recipe.name);
                    }
                }
                Err(error) => {
                    let error = integers.form().map_or_else(
                        || one_line(&error),
                        |form| format!("{form}: {}", one_line(&error)),
                    );
                    ui.warn(format_args!("variant {} failed: {error}", recipe.name));
                    made.failed.push(failed(&recipe.name, "", error));
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
        integers: Integers,
        store: &Store,
        bar: &ProgressBar,
    ) -> anyhow::Result<(Variant, Source)> {
        let key = self.key(recipe, integers)?;
        let format = self.prepared.study.format();
        let (artifact, source) = if let Some(artifact) = self.known(&key, format, store)? {
            (artifact, Source::Study)
        } else {
            let (entry, source) = self.fill(recipe, integers, key, bar).await?;
            (self.keep(&key, format, entry, store)?, source)
        };
        let variant = Variant {
            name: recipe.name.clone(),
            precision: precision(recipe),
            artifact,
            converted: Vec::new(),
        };
        Ok((variant, source))
    }

    /// Converts a variant for the runtimes that load another format, once for each batch. Returns an entry for each
    /// of them that gets none.
    async fn convert_all(
        &self,
        variant: &mut Variant,
        group: &Group<'_>,
        store: &Store,
        ui: &Ui,
    ) -> anyhow::Result<Vec<FailedJob>> {
        let study = self.prepared.study;
        let runtimes = group.converting(study);
        let mut failures = Vec::new();
        for format in runtimes
            .iter()
            .map(|(_, format)| *format)
            .collect::<BTreeSet<_>>()
        {
            let code = group.kind.processor.as_ref().map(|processor| Code {
                processor: processor.clone(),
                trials: study.search_trials(),
            });
            let code = code.filter(|_| format == Format::So);
            for &batch in &study.batch {
                match self
                    .convert(variant, format, batch, code.clone(), store, ui)
                    .await
                {
                    Ok(artifact) => variant.converted.push((batch, artifact)),
                    Err(error) => {
                        let error = one_line(&error);
                        let name = &variant.name;
                        let without = runtimes.iter().filter(|(_, other)| *other == format);
                        let jobs = without.flat_map(|(runtime, _)| {
                            group.devices(runtime).map(move |device| (*runtime, device))
                        });
                        let lost = jobs.map(|(runtime, device)| FailedJob {
                            device: device.to_string(),
                            batch: Some(batch),
                            ..failed(name, runtime, error.clone())
                        });
                        let lost: Vec<FailedJob> = lost.collect();
                        let devices: BTreeSet<&str> = lost.iter().map(|job| job.device.as_str()).collect();
                        ui.warn(format_args!(
                            "{}: variant {name} has no .{} file for {batch} at once: {error}",
                            devices.into_iter().collect::<Vec<_>>().join(", "),
                            format.as_str()
                        ));
                        failures.extend(lost);
                    }
                }
            }
        }
        Ok(failures)
    }

    async fn convert(
        &self,
        variant: &Variant,
        format: Format,
        batch: u32,
        code: Option<Code>,
        store: &Store,
        ui: &Ui,
    ) -> anyhow::Result<Artifact> {
        let conversion = Conversion {
            format,
            shapes: self.prepared.interface.all_shapes(batch),
            code,
        };
        let key = conversion.key(variant.artifact.blob.digest)?;
        if let Some(artifact) = self.known(&key, format, store)? {
            return Ok(artifact);
        }
        let making = making(store, &variant.artifact)?;
        let path = self.path(&variant.artifact);
        let Converted { entry, lack } = apart(move || conversion.convert(&path, making)).await?;
        if let Some(lack) = lack {
            ui.warn(format_args!("variant {}: {lack}", variant.name));
        }
        self.keep(&key, format, entry, store)
    }

    /// The file of this key, if it was made and is whole.
    fn known(&self, key: &Digest, format: Format, store: &Store) -> anyhow::Result<Option<Artifact>> {
        let known = store.variant(key)?.map(|blob| Artifact { blob, format });
        Ok(known.filter(|artifact| self.has(artifact)))
    }

    /// Writes a file that was made, and remembers it.
    fn keep(&self, key: &Digest, format: Format, entry: Entry, store: &Store) -> anyhow::Result<Artifact> {
        let Encoded { blob, bytes } = Encoded::new(entry.bytes);
        let artifact = Artifact { blob, format };
        let path = self.path(&artifact);
        edgefront_files::replace(&path, &bytes)
            .with_context(|| format!("cannot write {}", path.display()))?;
        store.put_variant(key, &blob, &entry.making)?;
        Ok(artifact)
    }

    /// Whether the file of an artifact is there and whole.
    fn has(&self, artifact: &Artifact) -> bool {
        is_whole(&self.path(artifact), &artifact.blob)
    }

    async fn fill(
        &self,
        recipe: &Recipe,
        integers: Integers,
        key: Digest,
        bar: &ProgressBar,
    ) -> anyhow::Result<(Entry, Source)> {
        let order = Order {
            key,
            subject: self.prepared.subject.clone(),
            recipe: recipe.clone(),
            activations: integers.activations(),
            calibration: pictures(self.prepared.calibration.as_ref()),
            training: pictures(self.prepared.training.as_ref()),
            search: self.options.search.clone(),
            device: self.options.train_device,
            cache: self.options.cache.clone(),
            bar: bar.clone(),
        };
        apart(move || order.fill()).await
    }

    /// All that decides the bytes of a variant: another version's passes may give others.
    fn key(&self, recipe: &Recipe, integers: Integers) -> anyhow::Result<Digest> {
        let digest = |data: &Option<(Arc<Pictures>, Digest)>| data.as_ref().map(|(_, digest)| *digest);
        let calibration = digest(&self.prepared.calibration);
        let quantized = recipe
            .needs_calibration()
            .then_some((calibration, integers.activations()));
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

/// Does the work on a thread of its own, so that the connection to the broker lives on.
pub(super) async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .context("the optimizer crashed; please report this")?
}

/// How the file of an artifact was made.
fn making(store: &Store, artifact: &Artifact) -> anyhow::Result<Making> {
    let mut makings = store.makings::<Making>()?.into_iter();
    let found = makings.find(|(digest, _)| *digest == artifact.blob.digest);
    Ok(found.map(|(_, making)| making).unwrap_or_default())
}

fn pictures(data: Option<&(Arc<Pictures>, Digest)>) -> Option<Arc<Pictures>> {
    data.map(|(pictures, _)| Arc::clone(pictures))
}

fn failed(variant: &str, runtime: &str, error: String) -> FailedJob {
    FailedJob {
        study: None,
        device: String::new(),
        variant: variant.to_owned(),
        runtime: runtime.to_owned(),
        threads: None,
        batch: None,
        scenario: None,
        cpus: None,
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
pub(super) fn is_whole(path: &Path, blob: &BlobRef) -> bool {
    let has_size = fs::metadata(path).is_ok_and(|file| file.is_file() && file.len() == blob.bytes.0);
    has_size && fs::read(path).is_ok_and(|bytes| Digest::of(&bytes) == blob.digest)
}
