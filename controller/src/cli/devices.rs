//! `edgefront devices`.

use std::collections::BTreeMap;
use std::time::Duration;

use comfy_table::CellAlignment::{Left, Right};
use edgefront_link::BrokerUrl;
use edgefront_protocol::{
    Board, Device, DeviceId, Health, Meters, Presence, PublicKey, RuntimeState, Throttle, Trust,
};
use serde::Serialize;

use crate::fleet::Survey;
use crate::ui::{Column, Exit, Ui, fitted};

/// The broker sends what it keeps at once; after this long a silence, that was all.
const SILENCE: Duration = Duration::from_millis(500);

/// Lists the devices of a fleet and the runtimes they hold.
///
/// The heat of a device, and what it is throttled by, are those of when its agent last connected.
///
/// With --json, standard output is one array of devices; with --json --watch it is a line of JSON for each
/// device, and one more for each change.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  edgefront devices --broker mqtt://192.168.1.10:1883
  edgefront devices --broker mqtt://192.168.1.10:1883 --json --watch")]
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
    board: Option<String>,
    cpu: String,
    arch: String,
    cores: u32,
    cpu_features: Vec<String>,
    max_mhz: Option<u32>,
    governor: Option<String>,
    gpus: Vec<String>,
    jetpack: Option<String>,
    /// Of the hottest zone when the agent last connected, in degrees Celsius.
    temp_c: Option<i16>,
    /// What it was throttled by then; `null` where it does not tell.
    throttling: Option<Vec<String>>,
    memory_bytes: u64,
    os: String,
    agent_version: String,
    /// The rails whose power it measures.
    rails: Vec<Rail>,
    /// Why it does not measure others, a line each.
    meter_faults: Vec<String>,
    /// Whose jobs alone it takes; empty where it takes everybody's, `null` where it does not tell.
    controllers: Option<Vec<PublicKey>>,
    runtimes: Vec<Runtime>,
}

#[derive(Debug, Serialize)]
struct Rail {
    meter: String,
    #[serde(rename = "rail")]
    name: Option<String>,
    /// What it feeds: `module`.
    scope: &'static str,
    /// Whether it holds all that its meter measures.
    total: bool,
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
    let rows: Vec<Row> = rows.into_values().collect();
    match (ui.json(), args.watch) {
        (true, false) => ui.data_json(&rows)?,
        (true, true) => rows.iter().try_for_each(|row| line(row, ui))?,
        (false, _) if rows.is_empty() => ui.note(format_args!(
            "no device has been seen on {}; start `edgefront-agent --broker {}` on one",
            args.broker, args.broker
        )),
        (false, _) => ui.data(fitted(&rows, &COLUMNS, ui.width()))?,
    }
    if !args.watch {
        return Ok(Exit::Done);
    }
    loop {
        let row = row(survey.next().await?);
        if ui.json() {
            line(&row, ui)?;
        } else {
            ui.data(fitted(&[row], &COLUMNS, ui.width()))?;
        }
    }
}

/// A device as one line of JSON.
fn line(row: &Row, ui: &Ui) -> anyhow::Result<()> {
    ui.data(serde_json::to_string(row)?)
}

fn row(presence: Presence) -> Row {
    match presence {
        Presence::Online(device, _, board, trust, meters, health) => Row {
            id: device.id.clone(),
            online: true,
            device: Some(description(device, board, trust, meters, health)),
        },
        Presence::Offline(id, ..) => Row {
            id,
            online: false,
            device: None,
        },
    }
}

fn rail(rail: edgefront_protocol::Rail) -> Rail {
    Rail {
        meter: rail.meter,
        name: rail.name,
        scope: rail.scope.as_str(),
        total: rail.is_total,
    }
}

fn description(device: Device, board: Board, trust: Trust, meters: Meters, health: Health) -> Description {
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
        board: board.model,
        cpu: device.cpu,
        arch: device.arch,
        cores: device.cores,
        cpu_features: device.cpu_features,
        max_mhz: board.max_mhz,
        governor: board.governor,
        gpus: board.gpus,
        jetpack: board.jetpack,
        temp_c: health.temp_c,
        throttling: health
            .throttling
            .map(|causes| causes.iter().map(Throttle::to_string).collect()),
        memory_bytes: device.memory.0,
        os: device.os,
        agent_version: device.agent_version,
        rails: meters.rails.into_iter().map(rail).collect(),
        meter_faults: meters.faults,
        controllers: match trust {
            Trust::NotTold => None,
            Trust::Everybody => Some(Vec::new()),
            Trust::Controllers(keys) => Some(keys),
        },
        runtimes: device.runtimes.into_iter().map(runtime).collect(),
    }
}

const COLUMNS: [Column<Row>; 10] = [
    Column {
        head: "device",
        side: Left,
        gives_way: None,
        cell: |row| row.id.to_string(),
    },
    Column {
        head: "state",
        side: Left,
        gives_way: None,
        cell: |row| if row.online { "online" } else { "offline" }.to_owned(),
    },
    Column {
        head: "runtimes",
        side: Left,
        gives_way: None,
        cell: |row| row.described(Description::ready),
    },
    Column {
        head: "heat",
        side: Left,
        gives_way: Some(7),
        cell: |row| row.described(Description::heat),
    },
    Column {
        head: "board",
        side: Left,
        gives_way: Some(6),
        cell: |row| row.described(|device| device.board.clone().unwrap_or_default()),
    },
    Column {
        head: "processor",
        side: Left,
        gives_way: Some(4),
        cell: |row| row.described(|device| format!("{} ({})", device.cpu, device.arch)),
    },
    Column {
        head: "cores",
        side: Right,
        gives_way: Some(3),
        cell: |row| row.described(|device| device.cores.to_string()),
    },
    Column {
        head: "memory",
        side: Right,
        gives_way: Some(2),
        cell: |row| row.described(|device| format!("{:.1} GB", device.memory_bytes as f64 / 1e9)),
    },
    Column {
        head: "agent",
        side: Left,
        gives_way: Some(1),
        cell: |row| row.described(|device| device.agent_version.clone()),
    },
    Column {
        head: "jobs of",
        side: Left,
        gives_way: Some(5),
        cell: |row| row.described(|device| jobs_of(device.controllers.as_deref())),
    },
];

impl Row {
    /// What the device said of itself; empty where it has said nothing.
    fn described(&self, text: impl Fn(&Description) -> String) -> String {
        self.device.as_ref().map_or_else(String::new, text)
    }
}

impl Description {
    /// How warm it was and what throttled it, a line each.
    fn heat(&self) -> String {
        let celsius = self.temp_c.iter().map(|celsius| format!("{celsius} °C"));
        let causes = self.throttling.iter().flatten().cloned();
        celsius.chain(causes).collect::<Vec<_>>().join("\n")
    }

    /// The runtimes that are ready, a line each.
    fn ready(&self) -> String {
        let ready = |runtime: &Runtime| Some(format!("{} {}", runtime.name, runtime.version.as_ref()?));
        let runtimes: Vec<String> = self.runtimes.iter().filter_map(ready).collect();
        runtimes.join("\n")
    }
}

/// Whose jobs a device takes, in few words.
fn jobs_of(controllers: Option<&[PublicKey]>) -> String {
    match controllers {
        None => String::new(),
        Some([]) => "everybody".to_owned(),
        Some([_]) => "1 key".to_owned(),
        Some(keys) => format!("{} keys", keys.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fixture::{device, incarnation};

    fn meters() -> Meters {
        Meters {
            rails: vec![edgefront_protocol::Rail {
                meter: "ina3221".to_owned(),
                name: Some("VDD_IN".to_owned()),
                scope: edgefront_protocol::Scope::Module,
                is_total: true,
                is_estimate: false,
                step: None,
            }],
            faults: vec!["/sys/class/powercap/intel-rapl:0/energy_uj may not be read".to_owned()],
        }
    }

    fn board() -> Board {
        Board {
            model: Some("Raspberry Pi 4 Model B Rev 1.4".to_owned()),
            governor: Some("ondemand".to_owned()),
            max_mhz: Some(1800),
            jetpack: None,
            gpus: vec!["v3d".to_owned()],
        }
    }

    fn health() -> Health {
        Health {
            temp_c: Some(81),
            throttling: Some(vec![Throttle::UnderVoltage, Throttle::Throttled]),
        }
    }

    fn trust() -> Trust {
        Trust::Controllers(vec![PublicKey::from_bytes([7; 32])])
    }

    #[test]
    fn online_and_offline_devices_stand_in_one_table() {
        let rows = [
            row(Presence::Online(
                device("pi-kitchen"),
                1,
                board(),
                trust(),
                meters(),
                health(),
            )),
            row(Presence::Offline("orin".parse().unwrap(), incarnation(), 1)),
        ];
        let lines: Vec<String> = rows
            .iter()
            .map(|row| serde_json::to_string(row).unwrap())
            .collect();
        let text = format!("{}\n{}", fitted(&rows, &COLUMNS, 80), lines.join("\n"));
        insta::assert_snapshot!(text);
    }

    #[test]
    fn a_long_processor_name_gives_way_and_the_runtimes_stay() {
        let mut described = device("pi-kitchen");
        described.cpu = "Example Computer Company (R) Many-Core Processor 9000 @ 2.60 GHz".to_owned();
        let text = fitted(
            &[row(Presence::Online(
                described,
                1,
                board(),
                trust(),
                meters(),
                health(),
            ))],
            &COLUMNS,
            80,
        );
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(text.contains("tract 0.23.9"), "{text}");
    }
}
