//! Who is there: the retained presences of a broker.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use edgefront_link::{BrokerUrl, Connection, Event, Settings};
use edgefront_protocol::{Device, DeviceId, Presence, Topic};

use super::decoded;

/// The devices of a broker, as they come and go.
#[derive(Debug)]
pub struct Survey {
    connection: Connection,
}

impl Survey {
    /// Connects, for a session that the broker forgets.
    pub async fn open(url: &BrokerUrl) -> anyhow::Result<Self> {
        let settings = Settings {
            url: url.clone(),
            client_id: String::new(),
            subscriptions: vec![Topic::all_presence()],
            will: None,
        };
        let (_, connection) = Connection::open(settings).await?;
        Ok(Self { connection })
    }

    /// The next presence. Cancel safe.
    pub async fn next(&mut self) -> anyhow::Result<Presence> {
        loop {
            let event = self.connection.next().await;
            let event = event.context("the connection to the broker was closed")?;
            let Event::Message { topic, payload, .. } = event else {
                continue;
            };
            if matches!(topic, Topic::Presence(_))
                && let Some(presence) = decoded(&topic, &payload)
            {
                return Ok(presence);
            }
        }
    }
}

/// Waits until all of `devices` were seen online, for `patience` at most, and returns those that were.
/// `missing` hears which one is waited for.
pub async fn survey(
    url: &BrokerUrl,
    devices: &[DeviceId],
    patience: Duration,
    missing: impl Fn(&DeviceId),
) -> anyhow::Result<BTreeMap<DeviceId, Device>> {
    let mut found = BTreeMap::new();
    let mut survey = Survey::open(url).await?;
    let deadline = tokio::time::Instant::now() + patience;
    while let Some(first) = devices.iter().find(|device| !found.contains_key(*device)) {
        missing(first);
        let Ok(presence) = tokio::time::timeout_at(deadline, survey.next()).await else {
            break;
        };
        match presence? {
            Presence::Online(device) if devices.contains(&device.id) => {
                found.insert(device.id.clone(), device);
            }
            Presence::Online(_) => {}
            Presence::Offline(id, _) => {
                found.remove(&id);
            }
        }
    }
    Ok(found)
}
