//! The command line: one file a subcommand, each with its `Args` and its `run`.
// Every `run` has the same signature, whether it takes its arguments apart or only reads them.
#![allow(clippy::needless_pass_by_value)]

pub mod agent;
pub mod bench;
pub mod broker;
pub mod bundle;
pub mod check;
pub mod compare;
pub mod completions;
pub mod convert;
pub mod demo;
pub mod devices;
pub mod export;
mod files;
pub mod frontier;
pub mod keys;
pub mod optimize;
pub mod pack;
pub mod prune;
pub mod quantize;
pub mod run;
pub mod runtimes;
pub mod select;
mod sensitivity;
pub mod shared;
pub mod study_args;
pub mod train;
pub mod worker;

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use crate::ui::{Exit, Ui, UsageError};

/// Finds, for each of your devices, which variant of a neural network to ship on which runtime.
///
/// Edgefront makes variants of an ONNX model (quantized, pruned, half precision), has them measured on the
/// devices themselves, and draws the Pareto frontier of accuracy and latency for each device.
#[derive(Debug, Parser)]
#[command(name = NAME, version, max_term_width = 100, after_help = EXAMPLES)]
struct Cli {
    /// Print data for machines: JSON on standard output, no progress bars.
    #[arg(long, global = true)]
    json: bool,

    #[command(subcommand)]
    command: Command,
}

/// The program.
const NAME: &str = "edgefront";

const EXAMPLES: &str = "\
Examples:
  edgefront demo --out out
  edgefront optimize model.onnx --val val.npz --calib calib.npz --out out
  edgefront select out/results.json --max-p99-ms 5

Exit codes:
  0  done
  1  failed
  2  wrong usage
  3  some variants, jobs or devices failed; the rest is saved

EDGEFRONT_LOG=debug shows what happens inside.";

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Args),
    Optimize(optimize::Args),
    Run(run::Args),
    Check(check::Args),
    Export(export::Args),
    Convert(convert::Args),
    Quantize(quantize::Args),
    Prune(prune::Args),
    Train(train::Args),
    Pack(pack::Args),
    Bench(bench::Args),
    Devices(devices::Args),
    Frontier(frontier::Args),
    Select(select::Args),
    Compare(compare::Args),
    Runtimes(runtimes::Args),
    Bundle(bundle::Args),
    Broker(broker::Args),
    Keys(keys::Args),
    Completions(completions::Args),
    #[command(hide = true)]
    Agent(agent::Args),
    #[command(hide = true)]
    Worker(worker::Args),
}

/// Reads the command line, runs the command, says its error.
pub fn main() -> ExitCode {
    let cli = Cli::from_arg_matches(&command().get_matches()).unwrap_or_else(|error| error.exit());
    log_to_stderr();
    let ui = Ui::new(cli.json);
    match dispatch(cli.command, &ui) {
        Ok(exit) => exit.into(),
        Err(error) => {
            ui.error(&error);
            let usage = error.chain().any(<dyn std::error::Error>::is::<UsageError>);
            if usage {
                Exit::Usage.into()
            } else {
                Exit::Failed.into()
            }
        }
    }
}

/// The command line. A negative number is a value everywhere, so that the argument itself says what is wrong
/// with it; to take it for an option would only puzzle.
fn command() -> clap::Command {
    let with_numbers = |arg: clap::Arg| {
        let takes_values = arg.get_action().takes_values();
        arg.allow_negative_numbers(takes_values)
    };
    Cli::command().mut_subcommands(|command| command.mut_args(with_numbers))
}

fn dispatch(command: Command, ui: &Ui) -> anyhow::Result<Exit> {
    match command {
        Command::Demo(args) => demo::run(args, ui),
        Command::Optimize(args) => optimize::run(args, ui),
        Command::Run(args) => run::run(args, ui),
        Command::Check(args) => check::run(args, ui),
        Command::Export(args) => export::run(args, ui),
        Command::Convert(args) => convert::run(args, ui),
        Command::Quantize(args) => quantize::run(args, ui),
        Command::Prune(args) => prune::run(args, ui),
        Command::Train(args) => train::run(args, ui),
        Command::Pack(args) => pack::run(args, ui),
        Command::Bench(args) => bench::run(args, ui),
        Command::Devices(args) => devices::run(args, ui),
        Command::Frontier(args) => frontier::run(args, ui),
        Command::Select(args) => select::run(args, ui),
        Command::Compare(args) => compare::run(args, ui),
        Command::Runtimes(args) => runtimes::run(args, ui),
        Command::Bundle(args) => bundle::run(args, ui),
        Command::Broker(args) => broker::run(args, ui),
        Command::Keys(args) => keys::run(args, ui),
        Command::Completions(args) => completions::run(args, ui),
        Command::Agent(args) => agent::run(args, ui),
        Command::Worker(args) => worker::run(args, ui),
    }
}

/// Logs go to standard error, our own warnings and the errors of libraries unless `EDGEFRONT_LOG` asks for more.
fn log_to_stderr() {
    let filter =
        EnvFilter::try_from_env("EDGEFRONT_LOG").unwrap_or_else(|_| EnvFilter::new("error,edgefront=warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal() && !is_set("NO_COLOR"))
        // Nobody can be told that standard error is closed.
        .log_internal_errors(false)
        .init();
}

/// Whether an environment variable is there and not empty.
fn is_set(name: &str) -> bool {
    std::env::var_os(name).is_some_and(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Calls `check` with each command that people see, by its full name.
    fn each(command: &clap::Command, path: &str, check: &mut dyn FnMut(&str, &clap::Command)) {
        let path = format!("{path} {}", command.get_name());
        check(path.trim(), command);
        for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set()) {
            each(inner, &path, check);
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn every_command_shows_an_example_of_itself() {
        each(&command(), "", &mut |path, command| {
            let examples = command
                .get_after_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            assert!(examples.starts_with("Example"), "{path}");
            assert!(
                examples.contains(&format!("  {path} ")) || examples.contains(&format!("  {path}\n")),
                "{path}"
            );
        });
    }

    #[test]
    fn every_argument_says_what_it_is() {
        each(&command(), "", &mut |path, command| {
            assert!(command.get_about().is_some(), "{path}");
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{path} {}", argument.get_id());
            }
        });
    }

    /// What an example shows must be taken.
    #[test]
    fn every_example_is_understood() {
        each(&command(), "", &mut |path, shown| {
            let examples = shown
                .get_after_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            let examples = examples.replace("\\\n", "");
            for line in examples
                .lines()
                .filter_map(|line| line.strip_prefix("  edgefront "))
            {
                let words = line.split(" > ").next().unwrap_or(line).split_whitespace();
                let parsed = command().try_get_matches_from(std::iter::once("edgefront").chain(words));
                assert!(parsed.is_ok(), "{path}: {line}: {}", parsed.unwrap_err());
            }
        });
    }
}
