//! Why the agent cannot start or go on.

use std::io;
use std::path::{Path, PathBuf};

use edgefront_link::{BrokerUrl, LinkError};
use edgefront_protocol::DeviceId;

/// Why the agent cannot start or go on. What befalls one job is a `Failure` in its outcome instead.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A configuration file that cannot be read.
    #[error("cannot read {}: {}", path.display(), edgefront_files::unread(source))]
    ConfigFile {
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// A configuration file or a flag says something that is not a setting.
    #[error("{origin}: {reason}")]
    Setting {
        /// The file or flag.
        origin: String,
        /// What is wrong, in one line.
        reason: String,
    },
    /// Another agent works in the same folder.
    #[error(
        "another agent uses {}; end it, or give this one a folder of its own with --state",
        path.display()
    )]
    Locked {
        /// The state folder.
        path: PathBuf,
    },
    /// The state folder cannot be written or read.
    #[error("cannot {action} {}: {source}", path.display())]
    State {
        /// `write`, `read`, `create`, ...
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// The program itself cannot be found, so it cannot be started as a worker.
    #[error("cannot find the agent's own program: {0}")]
    Program(#[source] io::Error),
    /// What was asked for cannot be printed.
    #[error("cannot write to standard output: {0}")]
    Output(#[source] io::Error),
    /// Two agents of one name, and this one came later.
    #[error(
        "another agent with the id `{id}` is connected to the broker at {broker}; give one of them another --id"
    )]
    Rival {
        /// The name of both.
        id: DeviceId,
        /// Where they met.
        broker: BrokerUrl,
    },
    /// The connection to the broker.
    #[error(transparent)]
    Link(#[from] LinkError),
}

impl Error {
    pub(crate) fn state(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::State {
            action,
            path: path.to_owned(),
            source,
        }
    }

    /// Whether the user's command line or configuration file is at fault.
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::ConfigFile { .. } | Self::Setting { .. } | Self::Link(LinkError::Url { .. })
        )
    }
}
