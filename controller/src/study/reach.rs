//! The devices of a study: which are there, and take the jobs of this controller.

use std::collections::BTreeMap;
use std::time::Duration;

use edgefront_link::BrokerUrl;
use edgefront_protocol::results::FailedJob;
use edgefront_protocol::{Device, DeviceId, PublicKey, Trust};
use tokio::time::Instant;

use super::{Options, Study};
use crate::fleet::Survey;
use crate::results;
use crate::ui::Ui;

/// How long the devices of a study have to show themselves.
const PRESENCE_PATIENCE: Duration = Duration::from_secs(30);
/// How long a study waits for them without a word.
const UNSAID: Duration = Duration::from_secs(1);

/// The devices of a study as they were found.
pub(super) struct Reach {
    /// Those that can be measured on.
    pub(super) devices: BTreeMap<DeviceId, Device>,
    /// An entry of the results for each of the others.
    pub(super) failed: Vec<FailedJob>,
}

/// Looks for the devices of `study`, of which at least one must take the jobs that `key` signs.
pub(super) async fn find(
    study: &Study,
    options: &Options,
    url: &BrokerUrl,
    key: PublicKey,
    ui: &Ui,
) -> anyhow::Result<Reach> {
    let wanted = &study.devices;
    let is_remote = study.broker.is_some();
    let patience = PRESENCE_PATIENCE.min(options.device_timeout);
    let spinner = ui.spinner("waiting for devices");
    let mut survey = Survey::open(url).await?;
    let begun = Instant::now();
    survey.gather(wanted, begun + UNSAID.min(patience)).await?;
    let missing = survey.missing(wanted);
    if !missing.is_empty() {
        if is_remote {
            let patience = humantime::format_duration(patience);
            ui.note(format_args!("waiting up to {patience} for {missing}"));
        }
        spinner.set_message(format!("waiting for {missing}"));
        survey.gather(wanted, begun + patience).await?;
    }
    let missing = survey.missing(wanted);
    let mut found = survey.into_found();
    spinner.finish_and_clear();
    anyhow::ensure!(is_remote || !found.is_empty(), "the local agent did not come up");
    anyhow::ensure!(!found.is_empty(), "{missing}: {}", absent_mend(url));
    let unlike = |(_, trust): &(Device, Trust)| !takes(trust, &key);
    if found.values().all(unlike) {
        let names: Vec<String> = found.keys().map(ToString::to_string).collect();
        let absent = if missing.is_empty() {
            String::new()
        } else {
            format!("; {missing}: {}", absent_mend(url))
        };
        anyhow::bail!("{}: {}{absent}", names.join(", "), distrust_mend(&key));
    }
    let failed = wanted.iter().filter_map(|device| {
        let why = match found.get(device) {
            None => absent_mend(url),
            Some(found) if unlike(found) => distrust_mend(&key),
            Some(_) => return None,
        };
        Some(failed(device, why))
    });
    let failed = failed.collect();
    found.retain(|_, found| !unlike(found));
    Ok(Reach {
        devices: found.into_iter().map(|(id, (device, _))| (id, device)).collect(),
        failed,
    })
}

/// Whether a device says that it takes jobs that `key` signed. What it does not say shows when it is sent some.
fn takes(trust: &Trust, key: &PublicKey) -> bool {
    match trust {
        Trust::NotTold | Trust::Everybody => true,
        Trust::Controllers(keys) => keys.contains(key),
    }
}

fn failed(device: &DeviceId, error: String) -> FailedJob {
    FailedJob {
        study: None,
        device: device.to_string(),
        variant: String::new(),
        runtime: String::new(),
        threads: None,
        batch: None,
        scenario: None,
        cpus: None,
        stage: results::DEVICE.to_owned(),
        error,
    }
}

fn absent_mend(url: &BrokerUrl) -> String {
    format!("the device is not there; is `edgefront-agent --broker {url}` running on it?")
}

fn distrust_mend(key: &PublicKey) -> String {
    format!(
        "the device takes no jobs of this controller; add \"{key}\" to `controllers` in its agent.toml and start its \
         agent again"
    )
}
