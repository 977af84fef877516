//! `edgefront completions`.

use clap_complete::Shell;

use super::NAME;
use crate::ui::{Exit, Ui};

/// Prints a script with which a shell completes this command line.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  edgefront completions bash > ~/.local/share/bash-completion/completions/edgefront
  edgefront completions fish > ~/.config/fish/completions/edgefront.fish")]
pub struct Args {
    /// The shell.
    pub shell: Shell,
}

/// Runs the command.
pub fn run(args: Args, ui: &Ui) -> anyhow::Result<Exit> {
    let full = super::command();
    // The generator would offer hidden commands too.
    let for_people = full.get_subcommands().filter(|command| !command.is_hide_set());
    let mut command = clap::Command::new(NAME)
        .version(env!("CARGO_PKG_VERSION"))
        .args(full.get_arguments().cloned())
        .subcommands(for_people.cloned());
    // Into memory first: the generator panics where it cannot write.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, NAME, &mut script);
    ui.data(String::from_utf8(script)?.trim_end())?;
    Ok(Exit::Done)
}
