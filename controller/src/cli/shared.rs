//! Arguments that several subcommands take alike.

use std::path::PathBuf;

use edgefront_optimizer::train::{Device, Unavailable};
use edgefront_protocol::Shape;
use edgefront_runtimes::{Registry, Search};

use crate::ui::UsageError;

/// Arguments of every command that runs models on this machine.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct RuntimeArgs {
    /// Library of a runtime, or the folder that holds it, instead of the installed one.
    #[arg(long, value_name = "PATH")]
    pub runtime_path: Option<PathBuf>,
}

impl RuntimeArgs {
    /// Where the runtimes look for their libraries. A library that was named, here or in the environment, and does
    /// not serve is refused.
    pub fn search(&self) -> anyhow::Result<Search> {
        let search = Search {
            runtime_path: self.runtime_path.clone(),
        };
        checked(&search)?;
        Ok(search)
    }

    /// The runtimes of this machine, as [`search`](Self::search) finds them.
    pub fn registry(&self) -> anyhow::Result<Registry> {
        checked(&Search {
            runtime_path: self.runtime_path.clone(),
        })
    }
}

fn checked(search: &Search) -> anyhow::Result<Registry> {
    Registry::checked(search).map_err(|error| UsageError::new(error.to_string()))
}

/// A device that this build lacks is refused as a mistake of the command line, one that the machine lacks as what
/// fails there.
pub(super) fn check_device(device: Device) -> anyhow::Result<()> {
    device.check().map_err(|why| match why {
        Unavailable::NotBuilt(_) => UsageError::new(why.to_string()),
        Unavailable::Absent { .. } => why.into(),
    })
}

/// Reads `1x3x224x224`.
pub(super) fn shape(text: &str) -> Result<Shape, String> {
    let extent = |extent: &str| extent.parse().ok().filter(|&extent| extent > 0);
    text.split('x')
        .map(extent)
        .collect::<Option<Shape>>()
        .ok_or_else(|| "a shape is written as in 1x3x224x224".to_owned())
}
