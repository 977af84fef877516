//! What the model as it is answers on the validation pack, computed here for devices to set their answers beside.

use std::path::PathBuf;

use anyhow::{Context as _, anyhow};
use edgefront_protocol::{BlobRef, Pack};
use edgefront_runtimes::Registry;

use super::order::Subject;
use super::prepare::Encoded;
use super::variants::{Maker, is_whole};
use crate::store::StoredJob;
use crate::ui::{Ui, UsageError};

impl Maker<'_> {
    /// Where a reference is.
    pub(super) fn reference_path(&self, blob: &BlobRef) -> PathBuf {
        self.folder.join(format!("{}.reference", blob.digest))
    }

    /// Writes the reference for devices to fetch, unless jobs have one that is there; `None` without a pack, for a file that
    /// is no ONNX, and where the model does not run here, which is said.
    pub(super) fn reference(&self, jobs: &[StoredJob], ui: &Ui) -> anyhow::Result<Option<BlobRef>> {
        let known = jobs.iter().find_map(|stored| stored.job.reference);
        if let Some(known) = known.filter(|known| is_whole(&self.reference_path(known), known)) {
            return Ok(Some(known));
        }
        match tokio::task::block_in_place(|| self.answers(ui)) {
            Ok(None) => self
                .require_reference("there is no validation data, or the model is no ONNX file")
                .map(|()| None),
            Ok(Some(reference)) => {
                let path = self.reference_path(&reference.blob);
                edgefront_files::replace(&path, &reference.bytes)
                    .with_context(|| format!("cannot write {}", path.display()))?;
                Ok(Some(reference.blob))
            }
            Err(error) => {
                self.require_reference(&error.to_string())?;
                ui.warn(format_args!(
                    "answers are not set beside those of the model on this machine: {error}"
                ));
                Ok(None)
            }
        }
    }

    /// An error where the plan cannot do without.
    fn require_reference(&self, why: &str) -> anyhow::Result<()> {
        if self.prepared.study.plan.accuracy_margin.is_none() {
            return Ok(());
        }
        Err(UsageError::new(format!(
            "accuracy within a margin is that beside the model's own on this machine, which is not known: {why}; measure \
             without --accuracy-within"
        )))
    }

    fn answers(&self, ui: &Ui) -> anyhow::Result<Option<Encoded>> {
        let (Some(pack), Subject::Network(model)) = (&self.prepared.validation, &self.prepared.subject)
        else {
            return Ok(None);
        };
        let pack = Pack::decode(pack.bytes.clone())?;
        let file = tempfile::NamedTempFile::new().context("cannot make a temporary file")?;
        std::fs::write(file.path(), model.encode()).context("cannot write a temporary file")?;
        let registry = Registry::new(&self.options.search);
        let runtime = registry.preferred()?;
        let batch = self.prepared.study.batch.first().copied().unwrap_or(1);
        let shapes = self.prepared.interface.shapes(batch);
        let bar = ui.bar(pack.len() as u64, "reference");
        bar.set_message(format!("by {}", runtime.name()));
        let progress = |done: usize| bar.set_position(done as u64);
        let answers =
            edgefront_agent::answers(runtime, file.path(), &shapes, batch as usize, &pack, progress);
        bar.finish_and_clear();
        let answers = answers.map_err(|error| anyhow!("{}: {error}", runtime.name()))?;
        Ok(Some(Encoded::new(answers.encode())))
    }
}
