//! What the model as it is answers on the validation pack, computed here for devices to set their answers beside.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail};
use edgefront_agent::Loaded;
use edgefront_optimizer::Model;
use edgefront_protocol::{BlobRef, Pack, Shape};
use edgefront_runtimes::{Registry, Search};

use super::order::Subject;
use super::prepare::{Encoded, Prepared};
use super::variants::{Maker, apart, is_whole};
use crate::store::StoredJob;
use crate::ui::{Ui, one_line};

/// That the model runs here, where the study needs its answers: before anything is written or asked of a device.
pub(super) fn ensure_it_runs_here(prepared: &Prepared<'_>, search: &Search) -> anyhow::Result<()> {
    match &prepared.subject {
        Subject::Network(model) if prepared.study.plan.accuracy_margin.is_some() => {
            let shapes = prepared.interface.shapes(batch(prepared));
            load(model, search, &shapes, batch(prepared)).context(NEEDED)?;
        }
        _ => {}
    }
    Ok(())
}

/// Why a model that does not run here is an error.
const NEEDED: &str = "--accuracy-within needs what the model answers on this machine";

/// Pictures of an inference.
fn batch(prepared: &Prepared<'_>) -> u32 {
    prepared.study.batch.first().copied().unwrap_or(1)
}

/// The model, loaded by the runtime that is preferred here.
fn load(model: &Model, search: &Search, shapes: &[Shape], batch: u32) -> anyhow::Result<Loaded> {
    let file = tempfile::NamedTempFile::new().context("cannot make a temporary file")?;
    std::fs::write(file.path(), model.encode()).context("cannot write a temporary file")?;
    let registry = Registry::new(search);
    let loaded = Loaded::new(registry.preferred()?, file.path(), shapes, batch as usize);
    loaded.map_err(|error| {
        let told = error.replace(&file.path().display().to_string(), "the model");
        anyhow!("{told}")
    })
}

impl Maker<'_> {
    /// Where a reference is.
    pub(super) fn reference_path(&self, blob: &BlobRef) -> PathBuf {
        self.folder.join(format!("{}.reference", blob.digest))
    }

    /// Writes the reference for devices to fetch, unless jobs have one that is there; `None` without a pack, for a file that
    /// is no ONNX, and where the model does not run here, which is said.
    pub(super) async fn reference(&self, jobs: &[StoredJob], ui: &Ui) -> anyhow::Result<Option<BlobRef>> {
        let known = jobs.iter().find_map(|stored| stored.job.reference);
        if let Some(known) = known.filter(|known| is_whole(&self.reference_path(known), known)) {
            return Ok(Some(known));
        }
        let needs_margin = self.prepared.study.plan.accuracy_margin.is_some();
        let made = match self.answers(ui).await {
            Err(error) if needs_margin => return Err(error.context(NEEDED)),
            Err(error) => {
                ui.warn(format_args!(
                    "answers are not set beside the model's own, which does not run on this machine: {}",
                    one_line(&error)
                ));
                None
            }
            Ok(made) => made,
        };
        let blob = made.as_ref().map(|reference| reference.blob);
        let is_waited_for = |known| {
            let mut open = jobs.iter().filter(|stored| stored.outcome.is_none());
            open.any(|stored| stored.job.reference == Some(known))
        };
        if let Some(lost) = known.filter(|known| blob != Some(*known) && is_waited_for(*known)) {
            bail!(
                "{} is damaged, which open jobs need, and this machine's runtime is another one than made it, or does not \
                 answer as it did then; measure anew with --fresh",
                self.reference_path(&lost).display()
            );
        }
        made.map(|made| self.keep_reference(&made)).transpose()?;
        Ok(blob)
    }

    /// Makes the reference of a finished study again where its file was cut, altered or removed since, or says why not.
    pub(super) async fn mend_reference(&self, jobs: &[StoredJob], ui: &Ui) -> anyhow::Result<()> {
        let known = jobs.iter().find_map(|stored| stored.job.reference);
        let Some(lost) = known.filter(|known| !is_whole(&self.reference_path(known), known)) else {
            return Ok(());
        };
        let why = match self.answers(ui).await {
            Ok(Some(made)) if made.blob == lost => return self.keep_reference(&made),
            Ok(_) => "this machine's runtime is another one than made it, or does not answer as it did then"
                .to_owned(),
            Err(error) => one_line(&error),
        };
        ui.warn(format_args!(
            "{} is damaged and could not be made again, which changes no result: {why}",
            self.reference_path(&lost).display()
        ));
        Ok(())
    }

    fn keep_reference(&self, made: &Encoded) -> anyhow::Result<()> {
        let path = self.reference_path(&made.blob);
        edgefront_files::replace(&path, &made.bytes)
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// Runs the model on the pack, in a thread of its own: it may take long, and the user may interrupt it.
    async fn answers(&self, ui: &Ui) -> anyhow::Result<Option<Encoded>> {
        let (Some(pack), Subject::Network(model)) = (&self.prepared.validation, &self.prepared.subject)
        else {
            return Ok(None);
        };
        let pack = Pack::decode(pack.bytes.clone())?;
        let (model, search) = (Arc::clone(model), self.options.search.clone());
        let batch = batch(self.prepared);
        let shapes = self.prepared.interface.shapes(batch);
        let bar = ui.bar(pack.len() as u64, "reference");
        let work = move || {
            let loaded = load(&model, &search, &shapes, batch)?;
            bar.set_message(format!("by {}", loaded.by()));
            let answers = loaded.answers(&pack, |done| bar.set_position(done as u64));
            bar.finish_and_clear();
            let answers = answers.map_err(|error| anyhow!("{error}"))?;
            Ok(Some(Encoded::new(answers.encode())))
        };
        apart(work).await
    }
}
