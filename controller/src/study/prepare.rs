//! What a study reads: the model and the data. All that is wrong with them shows here, before anything is
//! written or any device is asked.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail};
use edgefront_optimizer::Model;
use edgefront_optimizer::check::{check, not_a_number, not_finite};
use edgefront_optimizer::recipe::Recipe;
use edgefront_protocol::{BlobRef, Bytes, DeviceId, Digest, Format, Plan, Shape};
use serde::Serialize;

use super::Study;
use super::model::Interface;
use super::order::Subject;
use crate::data::{self, Labels, Pictures};
use crate::torch_export::{self, Input, Order};
use crate::ui::Ui;

/// A study whose inputs are read and fit one another.
pub(super) struct Prepared<'a> {
    pub(super) study: &'a Study,
    pub(super) subject: Subject,
    pub(super) interface: Interface,
    /// Pictures to calibrate on, and the digest of their pack.
    pub(super) calibration: Option<(Arc<Pictures>, Digest)>,
    /// The same of the labelled pictures to train on.
    pub(super) training: Option<(Arc<Pictures>, Digest)>,
    /// The pack to score on, encoded.
    pub(super) validation: Option<Encoded>,
    pub(super) definition: Definition,
}

/// A file that is to be written.
pub(super) struct Encoded {
    pub(super) blob: BlobRef,
    pub(super) bytes: Vec<u8>,
}

impl Encoded {
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        let blob = BlobRef {
            digest: Digest::of(&bytes),
            bytes: Bytes(bytes.len() as u64),
        };
        Self { blob, bytes }
    }
}

/// All that decides what is measured. Two studies are the same where this is equal.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Definition {
    name: String,
    pub(super) model: Digest,
    shape: Option<Shape>,
    validation: Option<Digest>,
    calibration: Option<Digest>,
    training: Option<Digest>,
    variants: Vec<Recipe>,
    runtimes: Option<Vec<String>>,
    threads: Vec<u32>,
    batch: Vec<u32>,
    devices: Vec<DeviceId>,
    plan: Plan,
    seed: u64,
    /// Left out where there is no search, as it was in the studies before there was one.
    #[serde(skip_serializing_if = "is_zero")]
    tvm_trials: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// Reads the model and the data of a valid study.
pub(super) fn prepare<'a>(study: &'a Study, ui: &Ui) -> anyhow::Result<Prepared<'a>> {
    study.validate()?;
    if study.format() != Format::Onnx {
        return as_it_stands(study);
    }
    let spinner = ui.spinner(format!("reading {}", study.model.display()));
    let model = if torch_export::is_torch(&study.model) {
        exported(study, ui)?
    } else {
        torch_export::require_onnx(&study.model)?;
        Model::read(&study.model).map_err(|error| study.written.place("model", error))?
    };
    if let Some(finding) = not_a_number(&model) {
        let model = study.model.display();
        bail!("{model}: {finding}; what a runtime makes of it proves nothing, so repair the model");
    }
    if let Some(finding) = not_finite(&model) {
        ui.warn(format_args!("{}: {finding}", study.model.display()));
    }
    if study.variants.iter().any(|recipe| !recipe.steps.is_empty()) {
        // What runs as it is may hold what only a runtime knows.
        check(&model).map_err(|error| error.in_file(&study.model))?;
    }
    let mut interface = Interface::of(&model, study.shape.clone());
    if let Some(path) = study.validation.as_deref().or(study.calibration.as_deref()) {
        interface.take_size_of(path, study.preprocess.as_deref())?;
    }
    interface
        .check_target(study)
        .with_context(|| study.model.display().to_string())?;
    let labels = Labels::read_if(study.variants.iter().any(Recipe::uses_calibration_labels));
    if study.validation.is_some() || study.training.is_some() || labels == Labels::Read {
        interface
            .check_scores()
            .with_context(|| study.model.display().to_string())?;
    }
    let load = |path: &Path, labels| {
        spinner.set_message(format!("reading {}", path.display()));
        let picture = interface
            .picture()
            .with_context(|| study.model.display().to_string())?;
        anyhow::Ok(data::load(
            path,
            study.preprocess.as_deref(),
            picture,
            labels,
            None,
        )?)
    };
    let load_labelled = |path: &Path| {
        let pictures = load(path, Labels::Read)?;
        interface.require_labels(pictures.head(), path, ui)?;
        anyhow::Ok(pictures)
    };
    let calibration = study.calibration.as_deref();
    let calibration = calibration.map(|path| load(path, labels)).transpose()?;
    if let (Some(path), Some(pictures), Labels::Read) = (&study.calibration, &calibration, labels) {
        interface.warn_of_labels(pictures.head(), path, ui);
    }
    let training = study.training.as_deref().map(load_labelled).transpose()?;
    let validation = study.validation.as_deref().map(load_labelled).transpose()?;
    let calibration = calibration.map(with_digest).transpose()?;
    let training = training.map(with_digest).transpose()?;
    let validation = validation
        .map(|pictures| pictures.encode())
        .transpose()?
        .map(Encoded::new);
    spinner.finish_and_clear();
    let definition = Definition {
        validation: validation.as_ref().map(|pack| pack.blob.digest),
        calibration: calibration.as_ref().map(|(_, digest)| *digest),
        training: training.as_ref().map(|(_, digest)| *digest),
        ..Definition::of(study, Digest::of(&model.encode()))
    };
    Ok(Prepared {
        study,
        subject: Subject::Network(Arc::new(model)),
        interface,
        calibration,
        training,
        validation,
        definition,
    })
}

/// A file that no pass reads.
fn as_it_stands(study: &Study) -> anyhow::Result<Prepared<'_>> {
    let shown = study.model.display();
    let bytes = std::fs::read(&study.model).with_context(|| format!("cannot read {shown}"))?;
    let inputs = match study.format() {
        Format::So => edgefront_runtimes::tvm::inputs(&study.model),
        _ => edgefront_runtimes::tflite::inputs(&bytes),
    };
    let inputs = inputs.map_err(|reason| anyhow!("{shown}: {reason}"))?;
    let interface = Interface::declared(&inputs, study.shape.clone());
    interface.check_target(study).with_context(|| shown.to_string())?;
    Ok(Prepared {
        study,
        definition: Definition::of(study, Digest::of(&bytes)),
        subject: Subject::File(bytes.into()),
        interface,
        calibration: None,
        training: None,
        validation: None,
    })
}

/// A PyTorch model as ONNX, for pictures of the study's data.
fn exported(study: &Study, ui: &Ui) -> anyhow::Result<Model> {
    let shape = match (
        &study.shape,
        study.validation.as_deref().or(study.calibration.as_deref()),
    ) {
        (Some(shape), _) => Some(shape.clone()),
        // A program has the shape of its example.
        (None, Some(data)) if study.model.extension().is_none_or(|extension| extension != "pt2") => {
            let picture = data::picture(data, study.preprocess.as_deref())?;
            let extents = [1, picture.channels, picture.height, picture.width];
            Some(extents.map(|extent| extent as u64).to_vec())
        }
        _ => None,
    };
    let source = study.model.to_string_lossy().into_owned();
    let input = shape.map(|shape| Input { shape, element: None });
    let order = Order::new(source, input.into_iter().collect());
    let (model, compared) = torch_export::load(&order, ui)?;
    for output in &compared.outputs {
        ui.note(format_args!(
            "exported {}: output `{}` differs from PyTorch's by at most {:.1e}",
            order.source, output.name, output.max
        ));
        if let Some(warning) = output.warning() {
            ui.warn(warning);
        }
    }
    Ok(model)
}

/// Pictures, and the digest of their pack.
fn with_digest(pictures: Pictures) -> anyhow::Result<(Arc<Pictures>, Digest)> {
    let digest = pictures.digest()?;
    Ok((Arc::new(pictures), digest))
}

impl Definition {
    /// Of a study without data.
    fn of(study: &Study, model: Digest) -> Self {
        Self {
            name: study.name.clone(),
            model,
            shape: study.shape.clone(),
            validation: None,
            calibration: None,
            training: None,
            variants: study.variants.clone(),
            runtimes: study.runtimes.clone(),
            threads: study.threads.clone(),
            batch: study.batch.clone(),
            devices: study.devices.clone(),
            plan: study.plan,
            seed: study.seed,
            tvm_trials: study.tvm_trials,
        }
    }

    pub(super) fn to_json(&self) -> anyhow::Result<String> {
        Ok(serde_json::to_string(self)?)
    }

    /// Names of what differs from a stored definition.
    pub(super) fn differences(&self, stored: &str) -> anyhow::Result<Vec<String>> {
        let parsed = |json: &str| serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(json);
        // Both by way of text, in which a momentum of 0.9 is the same in single and in double precision.
        let (stored, own) = (parsed(stored)?, parsed(&self.to_json()?)?);
        let differs = |(key, value): &(String, serde_json::Value)| stored.get(key) != Some(value);
        Ok(own.into_iter().filter(differs).map(|(key, _)| key).collect())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use edgefront_optimizer::recipe::named;

    use super::*;

    /// Settings in single precision among them, which text and a parsed value write differently.
    #[test]
    fn a_definition_is_the_same_as_what_is_stored_of_it() {
        let of = |names: &[&str]| Definition {
            name: "study".to_owned(),
            model: Digest::of(b"model"),
            shape: None,
            validation: None,
            calibration: None,
            training: Some(Digest::of(b"pictures")),
            variants: names.iter().map(|name| named(name).unwrap()).collect(),
            runtimes: None,
            threads: vec![1],
            batch: vec![1],
            devices: Vec::new(),
            plan: Plan::default(),
            seed: 0,
            tvm_trials: 0,
        };
        let trained = of(&[
            "mixed-int8",
            "qat-int8",
            "distil-int8",
            "prune50-ft",
            "channel30-int8",
        ]);
        let stored = trained.to_json().unwrap();
        assert_eq!(trained.differences(&stored).unwrap(), [""; 0]);
        assert_eq!(of(&["qat-int8"]).differences(&stored).unwrap(), ["variants"]);
    }
}
