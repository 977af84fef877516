//! `edgefront devices`.

use std::collections::BTreeMap;
use std::time::Duration;

use comfy_table::{ContentArrangement, Table, presets};
use edgefront_link::BrokerUrl;
use edgefront_protocol::{Device, DeviceId, Presence, RuntimeState};
use serde::Serialize;

use crate::fleet::Survey;
use crate::ui::{Exit, Ui};

/// The broker sends what it keeps at once; after this long a silence, that was all.
const SILENCE: Duration = Duration::from_millis(500);

/// Lists the devices of a fleet and the runtimes they hold.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  edgefront devices --broker mqtt://192.168.1.10:1883")]
pub struct Args {
    /// The fleet's broker.
    #[arg(long, value_name = "URL", default_value = "mqtt://localhost")]
    pub broker: BrokerUrl,

    /// Go on and print each change.
    #[arg(long)]
    pub watch: bool,
}

/// A device, as `--json` prints it.
#[derive(Debug, Serialize)]
struct Row {
    id: DeviceId,
    online: bool,
    #[serde(flatten)]
    device: Option<Description>,
}

#[derive(Debug, Serialize)]
struct Description {
    cpu: String,
    arch: String,
    cores: u32,
    memory_bytes: u64,
    os: String,
    agent_version: String,
    runtimes: Vec<Runtime>,
}

#[derive(Debug, Serialize)]
struct Runtime {
    name: String,
    version: Option<String>,
    providers: Vec<String>,
    missing: Option<String>,
}

/// Runs the command.
pub fn run(args: Args, ui: &Ui) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(list(&args, ui))
}

async fn list(args: &Args, ui: &Ui) -> anyhow::Result<Exit> {
    let mut survey = Survey::open(&args.broker).await?;
    let mut rows = BTreeMap::new();
    while let Ok(presence) = tokio::time::timeout(SILENCE, survey.next()).await {
        let row = row(presence?);
        rows.insert(row.id.clone(), row);
    }
    let rows: Vec<&Row> = rows.values().collect();
    match (ui.json(), rows.is_empty()) {
        // A line a device, so that what --watch prints later is of the same form.
        (true, _) => rows
            .iter()
            .try_for_each(|row| ui.data(serde_json::to_string(row)?))?,
        (false, true) => ui.note(format_args!(
            "no device has been seen on {}; start `edgefront-agent --broker {}` on one",
            args.broker, args.broker
        )),
        (false, false) => ui.data(table(&rows))?,
    }
    if !args.watch {
        return Ok(Exit::Done);
    }
    loop {
        let row = row(survey.next().await?);
        if ui.json() {
            ui.data(serde_json::to_string(&row)?)?;
        } else {
            ui.data(table(&[&row]))?;
        }
    }
}

fn row(presence: Presence) -> Row {
    match presence {
        Presence::Online(device) => Row {
            id: device.id.clone(),
            online: true,
            device: Some(description(device)),
        },
        Presence::Offline(id, _) => Row {
            id,
            online: false,
            device: None,
        },
    }
}

fn description(device: Device) -> Description {
    let runtime = |status: edgefront_protocol::RuntimeStatus| match status.state {
        RuntimeState::Ready { version, providers } => Runtime {
            name: status.name,
            version: Some(version),
            providers,
            missing: None,
        },
        RuntimeState::Absent(absence) => Runtime {
            name: status.name,
            version: None,
            providers: Vec::new(),
            missing: Some(absence.reason),
        },
    };
    Description {
        cpu: device.cpu,
        arch: device.arch,
        cores: device.cores,
        memory_bytes: device.memory.0,
        os: device.os,
        agent_version: device.agent_version,
        runtimes: device.runtimes.into_iter().map(runtime).collect(),
    }
}

fn table(rows: &[&Row]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_HORIZONTAL_ONLY)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header([
            "device",
            "state",
            "processor",
            "cores",
            "memory",
            "runtimes",
            "agent",
        ]);
    for row in rows {
        table.add_row(cells(row));
    }
    table
}

fn cells(row: &Row) -> [String; 7] {
    let state = if row.online { "online" } else { "offline" };
    let id = row.id.to_string();
    let Some(device) = &row.device else {
        return [
            id,
            state.to_owned(),
            String::new(),
            String::new(),
            String::new(),
            String::new(),
            String::new(),
        ];
    };
    let ready = |runtime: &Runtime| Some(format!("{} {}", runtime.name, runtime.version.as_ref()?));
    let runtimes: Vec<String> = device.runtimes.iter().filter_map(ready).collect();
    [
        id,
        state.to_owned(),
        format!("{} ({})", device.cpu, device.arch),
        device.cores.to_string(),
        format!("{:.1} GB", device.memory_bytes as f64 / 1e9),
        runtimes.join("\n"),
        device.agent_version.clone(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fixture::{device, incarnation};

    #[test]
    fn online_and_offline_devices_stand_in_one_table() {
        let rows = [
            row(Presence::Online(device("pi-kitchen"))),
            row(Presence::Offline("orin".parse().unwrap(), incarnation())),
        ];
        let lines: Vec<String> = rows
            .iter()
            .map(|row| serde_json::to_string(row).unwrap())
            .collect();
        let text = format!(
            "{}\n{}",
            table(&rows.iter().collect::<Vec<_>>()),
            lines.join("\n")
        );
        insta::assert_snapshot!(text);
    }
}
