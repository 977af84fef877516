//! Whose batches this device takes.

use edgefront_protocol::seal;
use edgefront_protocol::wire::WireError;
use edgefront_protocol::{PublicKey, Trust};

use crate::Config;
use crate::machine::Event;

/// What a message on the device's topic of batches means: a batch to take, or one to refuse.
pub(crate) fn admit(payload: &[u8], config: &Config) -> Result<Event, WireError> {
    let (batch, trusted) = seal::open(payload, &config.id, &config.controllers)?;
    match trusted {
        Err(why) if !config.controllers.is_empty() => {
            let error = format!("`{}` refused the job: {why}", config.id);
            tracing::warn!("batch {} of {}: {error}", batch.id, batch.controller);
            Ok(Event::Refused(batch, error))
        }
        _ => Ok(Event::Batch(batch)),
    }
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
