//! `edgefront broker`.

use std::net::SocketAddr;

use anyhow::Context as _;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use crate::broker::Broker;
use crate::ui::{Exit, Ui};

/// Runs the built-in MQTT broker.
///
/// It listens until Ctrl-C. Everybody who reaches it may publish and subscribe: on a network that you do not
/// own, run mosquitto with passwords and access rules instead, as in configs/mosquitto.conf.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  edgefront broker --listen 0.0.0.0:1883")]
pub struct Args {
    /// The address to listen on; port 0 takes a free one.
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:1883")]
    listen: SocketAddr,
}

/// Runs the command.
pub fn run(args: Args, ui: &Ui) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot wait for signals")?;
    runtime.block_on(serve(args.listen, ui))?;
    Ok(Exit::Done)
}

async fn serve(listen: SocketAddr, ui: &Ui) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for Ctrl-C")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let broker = Broker::start(listen)?;
    let url = broker.url().to_string();
    if ui.json() {
        ui.data_json(&json!({ "url": url }))?;
    } else {
        ui.data(&url)?;
    }
    ui.note(format_args!(
        "{}; Ctrl-C ends it",
        how_to_connect(broker.address())
    ));
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    tokio::task::spawn_blocking(|| broker.stop()).await?;
    Ok(())
}

fn how_to_connect(address: SocketAddr) -> String {
    let port = address.port();
    if address.ip().is_loopback() {
        format!("the broker serves this machine alone; --listen 0.0.0.0:{port} lets devices in")
    } else {
        format!("devices connect with `edgefront-agent --broker mqtt://THIS_MACHINE:{port}`")
    }
}
