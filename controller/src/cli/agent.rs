//! `edgefront agent`.

use crate::ui::{Exit, Ui, UsageError};

/// The device's daemon, for the local device.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  edgefront agent --broker mqtt://localhost --id local")]
#[group(skip)]
pub struct Args {
    #[command(flatten)]
    agent: edgefront_agent::cli::Args,
}

/// Runs the command.
pub fn run(args: Args, _ui: &Ui) -> anyhow::Result<Exit> {
    // However the controller ends, `--resume` must find its local device free: the kernel ends this process with
    // it, and the workers with this one. What is on disk is made for that.
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    match args.agent.run() {
        Ok(()) => Ok(Exit::Done),
        Err(error) if error.is_usage() => Err(UsageError::new(error.to_string())),
        Err(error) => Err(error.into()),
    }
}
