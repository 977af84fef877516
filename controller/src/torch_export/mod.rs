//! PyTorch models as ONNX, by a small Python program that runs in the user's Python.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use edgefront_optimizer::Model;
use edgefront_optimizer::check::check;
use edgefront_protocol::Shape;
use edgefront_runtimes::{Registry, Search};
use serde::{Deserialize, Serialize};

use crate::reference::{self, Comparison, ReferenceError, TOLERANCE};
use crate::ui::Ui;

/// The program; its own text says what it takes.
const PROGRAM: &str = include_str!("export.py");

/// Version of the operator set that is exported.
const OPSET: u32 = 17;

/// Element types of inputs, as PyTorch calls them: those that pair files may hold.
pub const ELEMENTS: [&str; 7] = ["float32", "float16", "int64", "int32", "int8", "uint8", "bool"];

/// An input of the model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Input {
    /// Its shape, batch included.
    pub shape: Shape,
    /// One of [`ELEMENTS`]; `None` for the type of the source's example, float32 where it has none.
    #[serde(rename = "type")]
    pub element: Option<String>,
}

/// What is to be exported.
#[derive(Debug, Clone)]
pub struct Order {
    /// Name of a torchvision model, `FILE.py:FUNCTION` or `FILE.pt2`.
    pub source: String,
    /// `none`, a name of torchvision's weights, or the path of a state dictionary.
    pub weights: String,
    /// Each input; empty for what the source itself says.
    pub inputs: Vec<Input>,
    /// The Python that has torch: a name on the path, or a path.
    pub python: PathBuf,
}

impl Order {
    /// The file of the source, where it is one; torchvision's names are none.
    pub fn file(&self) -> &Path {
        let file = self
            .source
            .rsplit_once(".py:")
            .map_or(&*self.source, |(stem, _)| {
                &self.source[..stem.len() + ".py".len()]
            });
        Path::new(file)
    }

    /// The default Python's export of a source that has its own weights.
    pub fn new(source: String, inputs: Vec<Input>) -> Self {
        Self {
            source,
            inputs,
            weights: "none".to_owned(),
            python: PathBuf::from("python3"),
        }
    }
}

/// How the export went.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Exported {
    /// Whether the model takes the one batch of its example alone.
    pub fixed_batch: bool,
    /// What of the model tracing has built in.
    #[serde(default)]
    pub warnings: Vec<String>,
}

impl Exported {
    /// Warns of what the ONNX model does for the sample alone.
    pub fn warn(&self, order: &Order, ui: &Ui) {
        if self.fixed_batch {
            ui.warn(format_args!(
                "{} takes the batch of its example alone, so the ONNX model does",
                order.source
            ));
        }
        for warning in &self.warnings {
            ui.warn(warning);
        }
    }
}

/// Why nothing was exported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// There is no such Python.
    #[error(
        "cannot start `{}`: {why}; install Python 3 with torch, or name one that has it with --python",
        python.display()
    )]
    NoPython {
        /// The Python that was asked for.
        python: PathBuf,
        /// What the system said.
        why: std::io::Error,
    },
    /// The program failed, and said why.
    #[error("{order}: {words}")]
    Failed {
        /// The source of the model.
        order: String,
        /// The program's words.
        words: String,
    },
    /// The ONNX model is none that the optimizer knows, or there is no place for it.
    #[error(transparent)]
    Model(#[from] edgefront_optimizer::Error),
    /// The ONNX model cannot be compared with PyTorch's.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// The ONNX model computes something else.
    #[error(
        "{order}: of the ONNX model beside PyTorch's, {failure}; export it with `edgefront export torch` and \
         look into it"
    )]
    Differs {
        /// The source of the model.
        order: String,
        /// What is wrong with which output.
        failure: String,
    },
}

#[derive(Serialize)]
struct Request<'a> {
    source: &'a str,
    weights: &'a str,
    inputs: &'a [Input],
    opset: u32,
    model: &'a Path,
    pairs: &'a Path,
}

/// Whether a path names a PyTorch model: `FILE.py:FUNCTION` or `FILE.pt2`.
pub fn is_torch(path: &Path) -> bool {
    let text = path.to_string_lossy();
    text.ends_with(".pt2") || text.contains(".py:")
}

/// Refuses a file of PyTorch where a command reads ONNX, with what to do.
pub fn require_onnx(path: &Path) -> anyhow::Result<()> {
    let shown = path.display();
    let export = format!("`edgefront export torch {shown} -o model.onnx`");
    match path.extension().and_then(|extension| extension.to_str()) {
        _ if is_torch(path) => anyhow::bail!("{shown} is of PyTorch; export it first: {export}"),
        Some("py") => anyhow::bail!(
            "{shown} is a program; export the model that one of its functions makes: \
             `edgefront export torch {shown}:FUNCTION -o model.onnx`"
        ),
        Some("pt" | "pth") => anyhow::bail!(
            "{shown} holds weights of PyTorch; export the model that they belong to: \
             `edgefront export torch FILE.py:FUNCTION --weights {shown} -o model.onnx`"
        ),
        _ => Ok(()),
    }
}

/// Writes the ONNX file `model`, and to `pairs` inputs and outputs as PyTorch computes them.
pub fn export(order: &Order, model: &Path, pairs: &Path) -> Result<Exported, ExportError> {
    let request = Request {
        source: &order.source,
        weights: &order.weights,
        inputs: &order.inputs,
        opset: OPSET,
        model,
        pairs,
    };
    let failed = |words: String| ExportError::Failed {
        order: order.source.clone(),
        words,
    };
    let request = serde_json::to_string(&request).map_err(|error| failed(error.to_string()))?;
    let output = Command::new(&order.python)
        .args(["-c", PROGRAM, &request])
        .stdin(Stdio::null())
        .output()
        .map_err(|why| ExportError::NoPython {
            python: order.python.clone(),
            why,
        })?;
    if !output.status.success() {
        return Err(failed(last_line(&output.stderr)));
    }
    // Models print what they like; the program's own word is the last.
    let said = String::from_utf8_lossy(&output.stdout);
    let line = said
        .lines()
        .rfind(|line| !line.trim().is_empty())
        .unwrap_or_default();
    serde_json::from_str(line).map_err(|error| failed(format!("the exporter ended with `{line}`: {error}")))
}

/// The model as ONNX, and how it compares: an error where it is not within [`TOLERANCE`].
pub fn load(order: &Order, ui: &Ui) -> Result<(Model, Comparison), ExportError> {
    let folder = tempfile::tempdir().map_err(edgefront_optimizer::Error::temporary)?;
    let (path, pairs) = (folder.path().join("model.onnx"), folder.path().join("pairs.npz"));
    export(order, &path, &pairs)?.warn(order, ui);
    let model = Model::read(&path)?;
    let summary = check(&model)?;
    let registry = Registry::new(&Search::default());
    let compared = reference::compare(&path, &summary, &pairs, TOLERANCE, &registry)?;
    match compared
        .outputs
        .iter()
        .find_map(|output| output.failure(TOLERANCE))
    {
        Some(failure) => Err(ExportError::Differs {
            order: order.source.clone(),
            failure,
        }),
        None => Ok((model, compared)),
    }
}

fn last_line(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let line = text.lines().map(str::trim).rfind(|line| !line.is_empty());
    let line = line.unwrap_or("Python failed and said nothing");
    line.trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(python: &str) -> Order {
        Order {
            python: python.into(),
            ..Order::new("resnet18".to_owned(), Vec::new())
        }
    }

    #[test]
    fn sources_are_told_from_onnx_files() {
        for source in ["net.pt2", "dir/net.py:build"] {
            assert!(is_torch(Path::new(source)), "{source}");
        }
        for source in ["net.onnx", "net.py", "py:net", "resnet18"] {
            assert!(!is_torch(Path::new(source)), "{source}");
        }
    }

    #[test]
    fn a_python_that_is_not_there_is_named() {
        let error = export(&order("no-such-python"), Path::new("m.onnx"), Path::new("m.npz")).unwrap_err();
        let said = error.to_string();
        assert!(said.starts_with("cannot start `no-such-python`: "), "{said}");
        assert!(said.ends_with("name one that has it with --python"), "{said}");
    }

    #[test]
    fn the_programs_last_words_are_the_error() {
        let said = b"Traceback\n\nerror: torch is not installed for python3\n";
        assert_eq!(last_line(said), "torch is not installed for python3");
        assert_eq!(last_line(b" \n"), "Python failed and said nothing");
    }
}
