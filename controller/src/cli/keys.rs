//! `edgefront keys`.

use std::path::PathBuf;

use edgefront_protocol::PublicKey;
use serde::Serialize;

use crate::keys;
use crate::ui::{Exit, Ui};

/// Prints the public key by which devices know this controller's jobs.
///
/// Jobs for remote devices are signed by a key of this user, which is made when it is first needed. An agent whose
/// agent.toml names public keys in `controllers` takes only jobs that one of them signed; `edgefront bundle` writes this
/// one there.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  edgefront keys
  edgefront-agent --broker mqtt://192.168.1.10 --id pi4 --controller \"ed25519:...\"")]
pub struct Args {}

/// The key, for machines.
#[derive(Debug, Serialize)]
struct Outcome {
    public_key: PublicKey,
    /// Where its secret is kept.
    file: PathBuf,
}

/// Runs the command.
pub fn run(_args: Args, ui: &Ui) -> anyhow::Result<Exit> {
    let outcome = Outcome {
        public_key: keys::of_user()?.public(),
        file: keys::path_of_user()?,
    };
    if ui.json() {
        ui.data_json(&outcome)?;
    } else {
        ui.data(outcome.public_key)?;
        ui.note(format_args!(
            "its secret is {}; to take this controller's jobs alone, an agent.toml says: controllers = [\"{}\"]",
            outcome.file.display(),
            outcome.public_key
        ));
    }
    Ok(Exit::Done)
}
