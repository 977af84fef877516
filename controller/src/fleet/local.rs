//! The fleet of one: a broker within this process and an agent as its child.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use edgefront_link::BrokerUrl;
use edgefront_protocol::PublicKey;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use crate::broker::Broker;
use crate::study::Study;

/// How long the agent may take to leave in order.
const LEAVE_TIME: Duration = Duration::from_secs(10);

/// A broker on a free port of the loopback interface, and this program as the agent of the device `local`.
/// Dropped, both end.
#[derive(Debug)]
pub struct Local {
    broker: Broker,
    agent: Child,
}

impl Local {
    /// Starts both. What the agent knows survives in `state`; it takes the jobs of `controller` alone.
    pub fn start(state: &Path, controller: PublicKey, runtime_path: Option<&Path>) -> anyhow::Result<Self> {
        let broker = Broker::start(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        let program = std::env::current_exe().context("cannot find this program, to run it as the agent")?;
        let mut command = Command::new(program);
        command
            .args(["agent", "--id", Study::LOCAL, "--broker"])
            .arg(broker.url().to_string())
            .arg("--state")
            .arg(state)
            .args(["--controller", &controller.to_string()])
            // What this program compiled itself.
            .arg("--machine-code")
            // Ctrl-C in the terminal is for the controller, which ends the agent in order.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true);
        if let Some(path) = runtime_path {
            command.arg("--runtime-path").arg(path);
        }
        let agent = command.spawn().context("cannot start the local agent")?;
        Ok(Self { broker, agent })
    }

    /// Where the agent is to be met.
    pub fn url(&self) -> BrokerUrl {
        self.broker.url()
    }

    /// Waits until the agent ends, which it does not by itself. Cancel safe.
    pub async fn ended(&mut self) -> anyhow::Error {
        match self.agent.wait().await {
            Ok(status) => anyhow::anyhow!("the local agent ended unasked ({status}); its words are above"),
            Err(error) => anyhow::Error::new(error).context("cannot wait for the local agent"),
        }
    }

    /// Ends the agent, then the broker. The agent is asked first, so that it puts back what it changed of the system.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        if let Some(pid) = self.agent.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
            // One that has ended is waited for all the same.
            let _ = kill_process(pid, Signal::TERM);
        }
        if tokio::time::timeout(LEAVE_TIME, self.agent.wait()).await.is_err() {
            self.agent.kill().await.context("cannot end the local agent")?;
        }
        self.broker.stop();
        Ok(())
    }
}
