//! Arguments that several subcommands take alike.

use std::path::PathBuf;

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
