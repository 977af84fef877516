//! The `edgefront-agent` program.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use edgefront_agent::cli::{Args, MetersArgs};
use tracing_subscriber::EnvFilter;

/// Measures neural networks on this device for the controllers of its broker.
#[derive(Debug, Parser)]
#[command(name = "edgefront-agent", version, max_term_width = 100, after_help = EXAMPLES)]
#[command(args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(flatten)]
    args: Args,

    #[command(subcommand)]
    command: Option<Command>,
}

const EXAMPLES: &str = "\
Examples:
  edgefront-agent --broker mqtt://192.168.1.10 --id pi4
  edgefront-agent meters

Exit codes:
  0  ended by SIGINT or SIGTERM
  1  failed
  2  wrong usage

EDGEFRONT_LOG=debug shows what happens inside.";

const METERS_EXAMPLES: &str = "\
Example:
  edgefront-agent meters --config /etc/edgefront/agent.toml --for 10s";

#[derive(Debug, Subcommand)]
enum Command {
    /// Show what the meters of this device measure, and what it costs to read them.
    #[command(after_help = METERS_EXAMPLES)]
    Meters(MetersArgs),
    /// The child process that runs one job.
    #[command(hide = true)]
    Worker,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = EnvFilter::try_from_env("EDGEFRONT_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal() && !no_color)
        // Nobody can be told that standard error is closed.
        .log_internal_errors(false)
        .init();
    let done = match cli.command {
        Some(Command::Worker) => {
            return edgefront_agent::worker::main().map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS);
        }
        Some(Command::Meters(args)) => args.run(),
        None => cli.args.run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(if error.is_usage() { 2 } else { 1 })
        }
    }
}
