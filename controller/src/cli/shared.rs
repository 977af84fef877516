//! Arguments that several subcommands take alike.

use std::path::PathBuf;

use edgefront_protocol::Shape;
use edgefront_runtimes::Search;

/// Arguments of every command that runs models on this machine.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct RuntimeArgs {
    /// Library of a runtime, or the folder that holds it, instead of the installed one.
    #[arg(long, value_name = "PATH")]
    pub runtime_path: Option<PathBuf>,
}

impl RuntimeArgs {
    /// Where the runtimes look for their libraries.
    pub fn search(&self) -> Search {
        Search {
            runtime_path: self.runtime_path.clone(),
        }
    }
}

/// Reads `1x3x224x224`.
pub(super) fn shape(text: &str) -> Result<Shape, String> {
    let extent = |extent: &str| extent.parse().ok().filter(|&extent| extent > 0);
    text.split('x')
        .map(extent)
        .collect::<Option<Shape>>()
        .ok_or_else(|| "a shape is written as in 1x3x224x224".to_owned())
}
