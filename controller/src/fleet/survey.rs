//! Who is there: the retained presences of a broker.

use std::collections::BTreeMap;

use anyhow::Context as _;
use edgefront_link::{BrokerUrl, Connection, Event, Settings};
use edgefront_protocol::{Device, DeviceId, Presence, Topic, Trust};
use tokio::time::Instant;

use super::decoded;

/// The devices of a broker, as they come and go.
#[derive(Debug)]
pub struct Survey {
    connection: Connection,
    found: BTreeMap<DeviceId, (Device, Trust)>,
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
        Ok(Self {
            connection,
            found: BTreeMap::new(),
        })
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

    /// Waits until all of `devices` were seen online, until `deadline` at most.
    pub async fn gather(&mut self, devices: &[DeviceId], deadline: Instant) -> anyhow::Result<()> {
        while devices.iter().any(|device| !self.found.contains_key(device)) {
            let Ok(presence) = tokio::time::timeout_at(deadline, self.next()).await else {
                break;
            };
            match presence? {
                Presence::Online(device, _, _, trust, ..) if devices.contains(&device.id) => {
                    self.found.insert(device.id.clone(), (device, trust));
                }
                Presence::Online(..) => {}
                Presence::Offline(id, ..) => {
                    self.found.remove(&id);
                }
            }
        }
        Ok(())
    }

    /// Names of those of `devices` that were not gathered, comma-separated.
    pub fn missing(&self, devices: &[DeviceId]) -> String {
        let missing = devices.iter().filter(|device| !self.found.contains_key(*device));
        let names: Vec<&str> = missing.map(DeviceId::as_str).collect();
        names.join(", ")
    }

    /// What was gathered, and whose jobs each takes.
    pub fn into_found(self) -> BTreeMap<DeviceId, (Device, Trust)> {
        self.found
    }
}
