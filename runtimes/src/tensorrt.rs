//! TensorRT, through the device's own program `trtexec`.
//!
//! Artifacts are ONNX. The engine is built on the device, for its GPU and version of TensorRT, kept there and never
//! shipped. Every order is a process of `trtexec`, which makes the GPU's context anew, so latency is what it measures itself:
//! see [`Session::time`](crate::Session::time). Data sets are scored in large batches, on an engine of their own.

mod capture;
mod engine;
mod exchange;
mod files;
mod provider;
mod said;
mod session;
mod tool;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::library::Search;
use crate::locate::TENSORRT;
use crate::onnx::Interface;
use crate::{DataType, Error, Model, Options, Port, Probe, Runtime, Scoring, Session, kept, port};
use engine::{Loaded, Source};
use provider::Provider;
use session::TensorRtSession;
use tool::Tool;

const NAME: &str = TENSORRT.name;

/// Pictures in one process where a data set is scored and the model leaves the batch open.
const SCORING_BATCH: usize = 64;

/// The runtime.
#[derive(Debug)]
pub(crate) struct TensorRt {
    search: Search,
    /// What was asked of the program, so that it is asked once.
    tool: Mutex<Option<Tool>>,
}

impl TensorRt {
    pub(crate) fn new(search: &Search) -> Self {
        Self {
            search: search.clone(),
            tool: Mutex::new(None),
        }
    }

    fn tool(&self) -> Result<Tool, Error> {
        let program = Tool::locate(&self.search)?;
        let mut known = self.tool.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tool) = known.as_ref().filter(|tool| tool.program == program) {
            return Ok(tool.clone());
        }
        let tool = Tool::ask(&program)?;
        *known = Some(tool.clone());
        Ok(tool)
    }
}

impl Runtime for TensorRt {
    fn name(&self) -> &'static str {
        NAME
    }

    fn default_provider(&self) -> &'static str {
        Provider::Gpu.name()
    }

    fn probe(&self) -> Result<Probe, Error> {
        let tool = self.tool()?;
        Ok(Probe {
            version: tool.version.to_string(),
            providers: Provider::held(&tool),
            library: Some(tool.program),
        })
    }

    /// Takes as long as building the engine, where there is none, and then as long as one process that runs it.
    /// It runs the engine.
    fn reads_artifact(&self, _options: &Options) -> bool {
        false
    }

    fn load(&self, path: &Path, options: &Options) -> Result<Box<dyn Model>, Error> {
        let provider = Provider::named(&options.provider)?;
        let tool = self.tool()?;
        let refused = |reason| Error::Load {
            runtime: NAME,
            path: path.to_owned(),
            reason,
        };
        let interface = Interface::read(path).map_err(refused)?;
        if interface.outputs.is_empty() {
            return Err(refused("it has no outputs".to_owned()));
        }
        let inputs = interface.declared_inputs();
        let inputs = inputs.and_then(|inputs| port::resolve(&inputs, options));
        let inputs = inputs.map_err(refused)?;
        let source = Source {
            flags: provider.flags(tool.version, &interface)?,
            path: std::path::absolute(path).map_err(|error| refused(error.to_string()))?,
            tool,
            interface,
            provider,
            options: options.clone(),
        };
        let loaded = Loaded::new(source.clone(), inputs, &engines()?).map_err(refused)?;
        let loaded = Arc::new(loaded);
        // That it loads shows here, and not in the first run.
        let mut trial = TensorRtSession::new(Arc::clone(&loaded))?;
        trial.run().map_err(|error| match error {
            Error::Run { reason, .. } => refused(reason),
            other => other,
        })?;
        Ok(Box::new(TensorRtModel {
            outputs: loaded.outputs.iter().map(|(name, _)| name.clone()).collect(),
            remark: loaded.remark(),
            source,
            loaded,
        }))
    }
}

/// Reads a text as all that the program may print and write, and keeps nothing of it.
pub(crate) fn read_all(text: &str) {
    drop((
        said::Version::of(text),
        said::Gpu::of(text),
        said::reason(text),
        files::times(text),
        files::layers(text),
    ));
    for output in files::outputs(text).unwrap_or_default() {
        drop((output.tensor(DataType::F32), output.tensor(DataType::I64)));
    }
}

/// Where engines are kept.
fn engines() -> Result<PathBuf, Error> {
    kept::folder(NAME).map_err(|reason| Error::Unusable {
        runtime: NAME,
        reason,
    })
}

struct TensorRtModel {
    source: Source,
    loaded: Arc<Loaded>,
    outputs: Vec<String>,
    remark: String,
}

impl Model for TensorRtModel {
    fn inputs(&self) -> &[Port] {
        &self.loaded.inputs
    }

    fn outputs(&self) -> &[String] {
        &self.outputs
    }

    fn provider(&self) -> &str {
        self.source.provider.name()
    }

    fn remark(&self) -> Option<&str> {
        Some(&self.remark)
    }

    fn session(&self) -> Result<Box<dyn Session>, Error> {
        Ok(Box::new(TensorRtSession::new(Arc::clone(&self.loaded))?))
    }

    fn scoring(&self) -> Result<Option<Scoring>, Error> {
        let declared = self.source.interface.inputs.as_slice();
        let ([declared], [port]) = (declared, self.loaded.inputs.as_slice()) else {
            return Ok(None);
        };
        let is_open = declared.axes.first() == Some(&None);
        if !is_open || port.shape[0] >= SCORING_BATCH {
            return Ok(None);
        }
        let mut shape = port.shape.clone();
        shape[0] = SCORING_BATCH;
        let inputs = vec![Port {
            shape,
            ..port.clone()
        }];
        let loaded = Loaded::new(self.source.clone(), inputs.clone(), &engines()?);
        let loaded = loaded.map_err(|reason| Error::Load {
            runtime: NAME,
            path: self.source.path.clone(),
            reason: format!("for {SCORING_BATCH} pictures at once: {reason}"),
        })?;
        Ok(Some(Scoring {
            inputs,
            batch: SCORING_BATCH,
            session: Box::new(TensorRtSession::new(Arc::new(loaded))?),
        }))
    }
}
