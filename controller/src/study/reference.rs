//! What the model as it is answers on the validation pack, computed here for devices to set their answers beside.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail};
use edgefront_protocol::{BlobRef, Pack};
use edgefront_runtimes::Registry;

use super::order::Subject;
use super::prepare::Encoded;
use super::variants::{Maker, apart, is_whole};
use crate::store::StoredJob;
use crate::ui::{Ui, one_line};

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
            Err(error) if needs_margin => {
                let why = "--accuracy-within needs what the model answers on this machine";
                return Err(error.context(why));
            }
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
                "{} is damaged, which open jobs need, and this machine's runtimes do not answer as when it was made; \
                 measure anew with --fresh",
                self.reference_path(&lost).display()
            );
        }
        if let Some(reference) = made {
            let path = self.reference_path(&reference.blob);
            edgefront_files::replace(&path, &reference.bytes)
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(blob)
    }

    /// Runs the model on the pack, in a thread of its own: it may take long, and the user may interrupt it.
    async fn answers(&self, ui: &Ui) -> anyhow::Result<Option<Encoded>> {
        let (Some(pack), Subject::Network(model)) = (&self.prepared.validation, &self.prepared.subject)
        else {
            return Ok(None);
        };
        let pack = Pack::decode(pack.bytes.clone())?;
        let (model, search) = (Arc::clone(model), self.options.search.clone());
        let batch = self.prepared.study.batch.first().copied().unwrap_or(1);
        let shapes = self.prepared.interface.shapes(batch);
        let bar = ui.bar(pack.len() as u64, "reference");
        let work = move || {
            let file = tempfile::NamedTempFile::new().context("cannot make a temporary file")?;
            std::fs::write(file.path(), model.encode()).context("cannot write a temporary file")?;
            let registry = Registry::new(&search);
            let runtime = registry.preferred()?;
            bar.set_message(format!("by {}", runtime.name()));
            let progress = |done: usize| bar.set_position(done as u64);
            let answers =
                edgefront_agent::answers(runtime, file.path(), &shapes, batch as usize, &pack, progress);
            bar.finish_and_clear();
            let answers = answers.map_err(|error| {
                let told = error.replace(&file.path().display().to_string(), "the model");
                anyhow!("{told}")
            })?;
            Ok(Some(Encoded::new(answers.encode())))
        };
        apart(work).await
    }
}
