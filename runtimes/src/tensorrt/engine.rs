//! From a model and its options to an engine on disk, built by `trtexec` where it is not there, and the flags that run
//! it.

use std::path::{Path, PathBuf};

use super::provider::Provider;
use super::tool::Tool;
use crate::kept::{Kept, Key, kept};
use crate::onnx::Interface;
use crate::{DataType, Options, Port};

/// An engine's file in the folder that is its own.
const ENGINE: &str = "model.engine";

/// A model of which engines are made.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) tool: Tool,
    pub(super) path: PathBuf,
    pub(super) interface: Interface,
    pub(super) provider: Provider,
    /// What decides the precision.
    pub(super) flags: Vec<String>,
    pub(super) options: Options,
}

/// An engine with all that it takes to run it.
#[derive(Debug)]
pub(super) struct Loaded {
    source: Source,
    pub(super) engine: Kept,
    pub(super) inputs: Vec<Port>,
    pub(super) outputs: Vec<(String, DataType)>,
    /// The shapes of inputs with open axes, as flags want them.
    shapes: Option<String>,
}

impl Loaded {
    /// Takes the engine for these inputs from `cache`, or builds it. The error is one line.
    pub(super) fn new(source: Source, inputs: Vec<Port>, cache: &Path) -> Result<Self, String> {
        check_names(&inputs)?;
        // Before an engine is built in minutes.
        let outputs = source.interface.declared_outputs()?.into_iter();
        let shapes = source.interface.open_shapes(&inputs);
        let key = source.key(&inputs)?;
        let engine = kept(cache, &key, |file| source.build(file, shapes.as_deref()))?;
        Ok(Self {
            outputs: outputs.map(|output| (output.name, output.data_type)).collect(),
            source,
            engine,
            inputs,
            shapes,
        })
    }

    /// The flags of each inference. One ends before the next begins, as a caller who waits has it, so that the time of
    /// starting it counts; and inputs and outputs are copied, which newer versions leave out by themselves.
    pub(super) fn inference(&self) -> Vec<String> {
        let mut flags = vec![format!("--loadEngine={}", self.engine.file.display())];
        flags.extend(self.shapes.iter().map(|shapes| format!("--shapes={shapes}")));
        if let Provider::Dla(core) = self.source.provider {
            flags.push(format!("--useDLACore={core}"));
        }
        flags.push("--exposeDMA".to_owned());
        // Graphs of CUDA, which newer versions use by themselves, are no part of the other runtimes' inferences.
        let is_new = self.source.tool.version.major >= 11;
        let (more, spinning) = match (is_new, self.source.options.spin) {
            (true, spin) => (
                vec!["--includeDataTransfers", "--noCudaGraph"],
                (!spin).then_some("--noSpinWait"),
            ),
            (false, spin) => (Vec::new(), spin.then_some("--useSpinWait")),
        };
        flags.extend(more.into_iter().chain(spinning).map(str::to_owned));
        flags
    }

    /// Runs `trtexec`. The error is one line.
    pub(super) fn run(&self, arguments: &[String]) -> Result<(), String> {
        self.source.tool.run(arguments).map_err(|reason| {
            let engine = self.engine.file.display();
            format!("{reason} (engine {engine})")
        })
    }

    /// Whether its inputs of 64-bit integers are taken in 32 bits.
    pub(super) fn narrows_integers(&self) -> bool {
        self.source.tool.version.major < 10
    }

    /// Where it does not compute as the file says, what was done to have it, and who took the time.
    pub(super) fn remark(&self) -> String {
        let source = &self.source;
        let timed = "timed by TensorRT's trtexec: copies to the GPU, computing and copies back".to_owned();
        let precision = source.provider.remark(source.tool.version, &source.interface);
        let has_long = |port: &Port| port.data_type == DataType::I64;
        let narrowed = (self.narrows_integers() && self.inputs.iter().any(has_long))
            .then_some("64-bit integers are computed in 32 bits");
        let replaced = self
            .engine
            .replaced
            .then_some("the engine that was cached is damaged and made way for this one");
        let built = self.engine.built;
        let built = built.map(|time| format!("loading built the engine in {:.1} s", time.as_secs_f64()));
        let threads = (source.options.threads > 1).then_some("the number of threads means nothing to it");
        let rest = [precision, narrowed, replaced, threads]
            .into_iter()
            .flatten()
            .map(str::to_owned);
        let all: Vec<String> = [timed].into_iter().chain(rest).chain(built).collect();
        all.join("; ")
    }
}

impl Source {
    /// All that an engine depends on. A model's weights may lie beside it.
    fn key(&self, inputs: &[Port]) -> Result<Key, String> {
        let model = self.interface.digest(&self.path);
        let shapes: Vec<String> = inputs.iter().map(Port::text).collect();
        Ok(Key::new(
            ENGINE,
            &[
                ("model", model.map_err(|error| error.to_string())?),
                ("gpu", self.tool.gpu.to_string()),
                ("tensorrt", self.tool.version.exact()),
                ("flags", self.flags.join(" ")),
                ("shapes", shapes.join(",")),
            ],
        ))
    }

    /// Builds the engine at `file` without running it.
    fn build(&self, file: &Path, shapes: Option<&str>) -> Result<(), String> {
        let version = self.tool.version;
        let skip = if (version.major, version.minor) < (8, 6) {
            "--buildOnly"
        } else {
            "--skipInference"
        };
        let mut arguments = vec![
            format!("--onnx={}", self.path.display()),
            format!("--saveEngine={}", file.display()),
            skip.to_owned(),
        ];
        arguments.extend(self.flags.iter().cloned());
        if let Some(shapes) = shapes {
            let profile = ["min", "opt", "max"].map(|which| format!("--{which}Shapes={shapes}"));
            arguments.extend(profile);
        }
        self.tool.run(&arguments)
    }
}

/// Refuses names with signs that flags give a meaning.
fn check_names(inputs: &[Port]) -> Result<(), String> {
    match inputs.iter().find(|port| port.name.contains([',', '\''])) {
        Some(port) => Err(format!(
            "input `{}` has a name that trtexec does not take; rename it",
            port.name
        )),
        None => Ok(()),
    }
}
