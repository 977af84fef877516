//! `edgefront bundle`.

use std::path::PathBuf;
use std::time::UNIX_EPOCH;

use anyhow::Context as _;
use edgefront_link::BrokerUrl;
use edgefront_protocol::{Bytes, DeviceId};
use serde::Serialize;

use super::runtimes::install;
use crate::bundle::{Arch, Bundle, Written};
use crate::ui::{Exit, Ui, UsageError};
use crate::{keys, tvm_compile};

/// Makes what turns a board into a device of the fleet: a folder with an installer, and a Debian package.
///
/// Both hold the agent, the libraries of runtimes, the agent's settings with the broker's address, the device's
/// credentials and the public key of this controller, whose jobs alone it takes, and a systemd service under a user of
/// its own. On the board, `sudo ./install.sh` or `sudo apt install ./edgefront-agent_*.deb` is all, and
/// `edgefront devices` lists it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  edgefront bundle --arch aarch64 --runtimes ort,tflite --broker mqtt://192.168.1.10 -o pi
  edgefront bundle --arch armv7 --agent edgefront-agent --broker mqtt://pi2:secret@192.168.1.10 --id pi2 -o pi2
  scp -r pi pi-kitchen: && ssh -t pi-kitchen sudo pi/install.sh")]
pub struct Args {
    /// The board's processor [default: this machine's]
    #[arg(long, value_enum)]
    pub arch: Option<Arch>,

    /// Runtimes whose libraries go along; tract is in the agent. With tvm this controller's jobs may bring machine code
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub runtimes: Vec<String>,

    /// The broker as the board reaches it.
    #[arg(
        long,
        value_name = "URL",
        help = "The broker as the board reaches it, as mqtt://[user:password@]host[:port]"
    )]
    pub broker: String,

    /// Name of the device, unique on its broker [default: the board's host name]
    #[arg(long, value_name = "ID")]
    pub id: Option<DeviceId>,

    /// The agent's program for the board [default: edgefront-agent-ARCH beside this program, or edgefront-agent for
    /// this machine's own processor]
    #[arg(long, value_name = "FILE")]
    pub agent: Option<PathBuf>,

    /// Folder to make.
    #[arg(short, long, value_name = "DIR")]
    pub output: PathBuf,
}

/// What was made, for machines.
#[derive(Debug, Serialize)]
struct Outcome {
    arch: &'static str,
    installer: PathBuf,
    package: PathBuf,
    bytes: u64,
}

/// Runs the command.
pub fn run(args: Args, ui: &Ui) -> anyhow::Result<Exit> {
    let arch = args
        .arch
        .or_else(Arch::of_this_machine)
        .ok_or_else(|| UsageError::new("bundles are not made for this machine's processor; give --arch"))?;
    // Before anything is fetched.
    let broker: BrokerUrl = args
        .broker
        .parse()
        .map_err(|error: edgefront_link::LinkError| UsageError::new(format!("--broker: {error}")))?;
    let agent = match args.agent {
        Some(agent) => agent,
        None => built_agent(arch)?,
    };
    let folder = |name: &String| {
        let library = install(name, arch.name(), ui)?.library;
        let folder = library.parent().context("a library lies in no folder")?;
        anyhow::Ok(folder.to_owned())
    };
    let bundle = Bundle {
        arch,
        agent,
        broker: args.broker,
        controller: keys::of_user()?.public(),
        id: args.id.map(|id| id.to_string()),
        runtimes: args.runtimes.iter().map(folder).collect::<Result<_, _>>()?,
        machine_code: args.runtimes.iter().any(|name| name == tvm_compile::RUNTIME),
        made: time_of_making()?,
    };
    let Written {
        installer,
        package,
        bytes,
    } = bundle.write(&args.output)?;
    let outcome = Outcome {
        arch: arch.name(),
        installer,
        package,
        bytes,
    };
    if ui.json() {
        ui.data_json(&outcome)?;
    } else {
        ui.data(outcome.describe(&broker))?;
    }
    Ok(Exit::Done)
}

/// Now, or what builds that are to give the same bytes again say, in seconds since 1970
/// (<https://reproducible-builds.org/specs/source-date-epoch/>).
fn time_of_making() -> anyhow::Result<u32> {
    const TOLD: &str = "SOURCE_DATE_EPOCH";
    let Some(told) = std::env::var_os(TOLD) else {
        let now = UNIX_EPOCH
            .elapsed()
            .context("this machine's clock is before 1970")?;
        return u32::try_from(now.as_secs()).context("this machine's clock is after 2105");
    };
    let told = told.to_string_lossy();
    told.parse()
        .map_err(|_| UsageError::new(format!("{TOLD}: `{told}` is no number of seconds since 1970")))
}

/// The agent that was built beside this program.
fn built_agent(arch: Arch) -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("cannot find this program")?;
    let mut names = vec![format!("edgefront-agent-{}", arch.name())];
    if Arch::of_this_machine() == Some(arch) {
        names.push("edgefront-agent".to_owned());
    }
    let places = names.iter().map(|name| own.with_file_name(name));
    places.clone().find(|path| path.is_file()).ok_or_else(|| {
        let name = arch.name();
        UsageError::new(format!(
            "there is no agent for {name} beside this program; build one with `cargo xtask cross {name}` and give --agent"
        ))
    })
}

impl Outcome {
    fn describe(&self, broker: &BrokerUrl) -> String {
        format!(
            "{} for {}; copy the folder to the board and run as root there: ./install.sh\n\
             or the package alone: apt install ./{}\n\
             then `edgefront devices --broker {broker}` lists the board",
            Bytes(self.bytes),
            self.arch,
            self.package.file_name().unwrap_or_default().display(),
        )
    }
}
