//! The agent's flags, shared by `edgefront-agent` and `edgefront agent`.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use edgefront_protocol::PublicKey;

use crate::{Config, Error, Settings, WorkerCommand, meters};

/// Flags that come before the configuration file.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Args {
    /// Configuration file [default: built-in settings; see configs/agent.toml]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// The broker's address.
    #[arg(
        long,
        value_name = "URL",
        help = "The broker, as mqtt://[user:password@]host[:port]"
    )]
    pub broker: Option<String>,

    /// Name of this device, unique on its broker [default: the host name]
    #[arg(long, value_name = "NAME")]
    pub id: Option<String>,

    /// Folder in which jobs, blobs and outcomes survive a restart
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,

    /// A runtime's shared library, or a folder of such, looked into first
    #[arg(long, value_name = "PATH")]
    pub runtime_path: Option<PathBuf>,

    /// Take only jobs that this controller signed, by its public key, as `edgefront keys` prints it; may be repeated; in place of those in the file
    #[arg(long = "controller", value_name = "KEY")]
    pub controllers: Vec<PublicKey>,

    /// Run machine code that jobs bring, as those of TVM do: the controllers run programs as this agent's user
    #[arg(long)]
    pub machine_code: bool,
}

impl Args {
    /// The configuration: these flags over the file over the defaults, with this program's `worker` subcommand
    /// as the worker.
    pub fn into_config(self) -> Result<Config, Error> {
        let file = self.config.as_deref().map(Settings::read).transpose()?;
        let flags = Settings {
            broker: self.broker,
            id: self.id,
            state_dir: self.state,
            runtime_path: self.runtime_path,
            controllers: (!self.controllers.is_empty()).then_some(self.controllers),
            machine_code: self.machine_code.then_some(true),
            ..Settings::default()
        };
        Config::new(
            flags.over(file.unwrap_or_default()),
            WorkerCommand::of_this_program()?,
        )
    }

    /// Runs the agent until SIGINT or SIGTERM. It has one thread, so that it takes no processor from the
    /// workers that it measures.
    pub fn run(self) -> Result<(), Error> {
        let config = self.into_config()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(Error::Program)?;
        runtime.block_on(crate::run(config, terminated()))
    }
}

/// What `edgefront-agent meters` takes.
#[derive(Debug, Clone, clap::Args)]
pub struct MetersArgs {
    /// Configuration file of the agent, for meters outside of the device [default: built-in settings]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// How long to read them, and before it how long not to
    #[arg(long = "for", value_name = "TIME", default_value = "5s", value_parser = humantime::parse_duration)]
    time: Duration,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl MetersArgs {
    /// Reads every meter for a while and prints what it showed.
    pub fn run(self) -> Result<(), Error> {
        let args = Args {
            config: self.config,
            ..Args::default()
        };
        let survey = meters::survey(&args.into_config()?.meters, self.time);
        let text = if self.json {
            serde_json::to_string(&survey).expect("invariant: a survey holds texts and finite numbers")
        } else {
            survey.to_string()
        };
        writeln!(io::stdout(), "{text}").map_err(Error::Output)
    }
}

/// Ends at SIGINT or SIGTERM.
async fn terminated() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return drop(tokio::signal::ctrl_c().await);
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}
