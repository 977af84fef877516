//! Graphs that ONNX Runtime rewrote once on this device and saved: loading them leaves the rewriting out.

use std::path::{Path, PathBuf};

use ort::environment::Environment;

use super::provider::Provider;
use super::settings::Settings;
use super::{builder, words};
use crate::kept::{Key, kept};
use crate::onnx::Interface;

/// A graph that is there.
#[derive(Debug, Clone)]
pub(super) struct Graph {
    pub(super) file: PathBuf,
    /// What a reader of its figures must know.
    pub(super) remark: String,
}

const BEFORE: &str = "loaded as ONNX Runtime rewrote and saved it on this device before";
const NOW: &str = "ONNX Runtime rewrote and saved it just now, in the process that then loaded it: the next job's loading \
     time is that of a fresh one";
const DAMAGED: &str = "the graph that was saved is damaged and made way for this one";

/// The saved graph of the model at `path` below `folder`, which is made where it is not there. The error is one line.
pub(super) fn graph(
    environment: &Environment,
    folder: &Path,
    version: &str,
    path: &Path,
    provider: Provider,
    settings: Settings,
) -> Result<Graph, String> {
    if provider != Provider::Cpu {
        return Err("saved=on is for the provider cpu: what others compile is not in the graph".to_owned());
    }
    let model = Interface::read(path)?.digest(path);
    let key = Key::new(
        "model.onnx",
        &[
            ("model", model.map_err(|error| error.to_string())?),
            ("onnxruntime", version.to_owned()),
            ("optimization", format!("{:?}", settings.optimization)),
            ("processor", processor()),
        ],
    );
    let rewrite = |file: &Path| {
        let session = builder(environment, 1)?
            .with_optimization_level(settings.optimization.level())?
            .with_optimized_model_path(file)?
            .commit_from_file(path)?;
        drop(session);
        Ok(())
    };
    let graph = kept(folder, &key, |file| {
        rewrite(file).map_err(|error: ort::Error| words(&error))
    })?;
    let made = if graph.built.is_some() { NOW } else { BEFORE };
    let damaged = graph.replaced.then_some(DAMAGED);
    let remark: Vec<&str> = damaged.into_iter().chain([made]).collect();
    Ok(Graph {
        remark: remark.join("; "),
        file: graph.file,
    })
}

/// What of the processor decides how a graph is rewritten: layouts are chosen by its vector instructions.
fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let is_feature = |line: &&str| line.starts_with("flags") || line.starts_with("Features");
    let features = text.lines().find(is_feature).unwrap_or_default();
    let mut features: Vec<&str> = features.split_whitespace().skip(1).collect();
    features.sort_unstable();
    format!("{} {}", std::env::consts::ARCH, features.join(" "))
}
