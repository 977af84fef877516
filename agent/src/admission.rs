//! Whose batches this device takes.

use edgefront_protocol::seal::{self, Unsealed};
use edgefront_protocol::wire::WireError;
use edgefront_protocol::{PublicKey, Trust};

use crate::Config;
use crate::machine::{Event, Machine};

/// What a message on the device's topic of batches means: a batch to take, or one to refuse.
pub(crate) fn admit(payload: &[u8], config: &Config) -> Result<Event, WireError> {
    let (batch, signer) = seal::open(payload, &config.id)?;
    Ok(match refusal(signer, config) {
        Some(error) => {
            tracing::warn!("batch {} of {}: {error}", batch.id, batch.controller);
            Event::Refused(batch, error)
        }
        None => Event::Batch(batch, signer.ok()),
    })
}

/// The batches that were taken before and are none to take by what this agent is told now.
pub(crate) fn reconsider(machine: &Machine, config: &Config) -> Vec<Event> {
    let barred = machine.signers().filter_map(|(batch, signer)| {
        let error = match signer {
            Some(key) => refusal(Ok(key), config)?,
            None if config.controllers.is_empty() => return None,
            None => format!(
                "`{}` gave the job up: it was taken unsigned, before `controllers` in the device's agent.toml was set; run \
                 the study again with --fresh",
                config.id
            ),
        };
        Some(Event::Barred(batch.clone(), error))
    });
    barred.collect()
}

/// Why the jobs of this signer are not taken, in one line; `None` where they are.
pub(crate) fn refusal(signer: Result<PublicKey, Unsealed>, config: &Config) -> Option<String> {
    if config.controllers.is_empty() {
        return None;
    }
    let why = match signer {
        Ok(key) if config.controllers.contains(&key) => return None,
        Ok(key) => format!(
            "{key} signed it, which is none of `controllers` in the device's agent.toml; if `edgefront keys` prints that \
             key for you, add it there and start the agent again"
        ),
        Err(Unsealed::NotSigned) => {
            "it is not signed, and the device takes only what a key of `controllers` in its \
             agent.toml signed; update the controller, which is older than signatures"
                .to_owned()
        }
        Err(Unsealed::Altered) => {
            "its signature does not fit: it was altered on its way, or signed for another device".to_owned()
        }
    };
    Some(format!("`{}` refused the job: {why}", config.id))
}

/// Whose batches are taken where these keys are trusted.
pub(crate) fn trust(controllers: &[PublicKey]) -> Trust {
    if controllers.is_empty() {
        Trust::Everybody
    } else {
        Trust::Controllers(controllers.to_vec())
    }
}

/// Says so where everybody's batches are taken.
pub(crate) fn warn_of_everybody(config: &Config) {
    if trust(&config.controllers) == Trust::Everybody {
        tracing::warn!(
            "`{}` takes jobs of everybody who may publish at {}; `controllers` in agent.toml, or --controller, names \
             whose jobs alone it takes, by the key that `edgefront keys` prints on the workstation",
            config.id,
            config.broker
        );
    }
}
