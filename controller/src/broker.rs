//! The built-in MQTT broker: for `edgefront demo`, for studies on this machine alone, and for small fleets.
//!
//! It keeps sessions and retained messages in memory; after a restart both sides say again what the other must
//! know. It knows neither passwords nor access rules: where that matters, use mosquitto, see
//! `configs/mosquitto.conf`. Why this library: `docs/decisions/mqtt.md`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use edgefront_link::BrokerUrl;
use mqtt5::broker::config::{StorageBackend, StorageConfig};
use mqtt5::broker::{BrokerConfig, BrokerShutdownHandle, MqttBroker};

/// Largest packet, with room beyond what either side of Edgefront sends.
const MAX_PACKET_BYTES: usize = 17 << 20;
/// Messages that may wait for one client's socket in each quality of service; a window of chunks fits in.
const MESSAGES_PER_CLIENT: usize = 64;
/// What may wait for a client that is away or slow. The oldest message makes room for the newest.
const QUEUED_BYTES_PER_CLIENT: usize = 32 << 20;
/// Threads that move messages.
const THREADS: usize = 2;

/// A running broker. Dropped, it stops and closes all connections.
#[derive(Debug)]
pub struct Broker {
    address: SocketAddr,
    shutdown: Shutdown,
    thread: Option<JoinHandle<()>>,
}

struct Shutdown(BrokerShutdownHandle);

impl std::fmt::Debug for Shutdown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shutdown")
    }
}

/// The broker cannot run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BrokerError {
    /// The address cannot be listened on.
    #[error("cannot listen on {listen}: {reason}; is another broker running? choose another with --listen")]
    Listen {
        /// The address.
        listen: SocketAddr,
        /// The system's words.
        reason: std::io::Error,
    },
    /// The library refused to start.
    #[error("the broker on {listen} did not start: {reason}")]
    Start {
        /// The address.
        listen: SocketAddr,
        /// The library's words.
        reason: String,
    },
}

impl Broker {
    /// Starts a broker on its own threads; it accepts connections when this returns. Port 0 takes a free one.
    pub fn start(listen: SocketAddr) -> Result<Self, BrokerError> {
        // The library words a failed bind in several lines, so the address is tried here first.
        TcpListener::bind(listen).map_err(|reason| BrokerError::Listen { listen, reason })?;
        let (started_tx, started) = mpsc::sync_channel(1);
        let thread = thread::Builder::new()
            .name("broker".to_owned())
            .spawn(move || run(listen, &started_tx))
            .map_err(|reason| BrokerError::Listen { listen, reason })?;
        let refused = |reason| BrokerError::Start { listen, reason };
        let started = started
            .recv()
            .unwrap_or_else(|_| Err("its thread ended".to_owned()));
        let (address, shutdown) = started.map_err(refused)?;
        Ok(Self {
            address,
            shutdown,
            thread: Some(thread),
        })
    }

    /// Where it listens, with the port that it really has.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its address for clients on this machine.
    pub fn url(&self) -> BrokerUrl {
        let host = match self.address.ip() {
            ip if !ip.is_unspecified() => ip,
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        };
        let host = match host {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("[{ip}]"),
        };
        BrokerUrl::new(host, self.address.port())
    }

    /// Closes all connections and gives the port back.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.shutdown.0.shutdown();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the broker's thread panicked");
        }
    }
}

type Started = Result<(SocketAddr, Shutdown), String>;

fn run(listen: SocketAddr, started: &mpsc::SyncSender<Started>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .thread_name("broker")
        .enable_all()
        .build();
    let ended = match runtime {
        Ok(runtime) => runtime.block_on(serve(listen, started)),
        Err(error) => Err(error.to_string()),
    };
    if let Err(reason) = ended
        && let Err(mpsc::TrySendError::Full(Err(reason)) | mpsc::TrySendError::Disconnected(Err(reason))) =
            started.try_send(Err(reason))
    {
        tracing::error!("the broker on {listen} ended: {reason}");
    }
}

async fn serve(listen: SocketAddr, started: &mpsc::SyncSender<Started>) -> Result<(), String> {
    let mut broker = MqttBroker::with_config(config(listen))
        .await
        .map_err(|error| error.to_string())?;
    let address = broker
        .local_addr()
        .ok_or_else(|| "it has no address".to_owned())?;
    let shutdown = Shutdown(broker.shutdown_handle());
    let mut ready = broker.ready_receiver();
    let tell = async {
        // A signal to stop counts only from then on, so the owner gets the handle no earlier.
        if ready.wait_for(|ready| *ready).await.is_ok() {
            started.try_send(Ok((address, shutdown))).ok();
        }
    };
    let (served, ()) = tokio::join!(broker.run(), tell);
    served.map_err(|error| error.to_string())
}

fn config(listen: SocketAddr) -> BrokerConfig {
    let storage = StorageConfig::new()
        .with_backend(StorageBackend::Memory)
        .with_max_queued_bytes_per_client(QUEUED_BYTES_PER_CLIENT);
    BrokerConfig::new()
        .with_bind_address(listen)
        .with_max_packet_size(MAX_PACKET_BYTES)
        .with_client_channel_capacity(MESSAGES_PER_CLIENT)
        .with_sys_topics_enabled(false)
        .with_storage(storage)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    const ANY_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

    #[test]
    fn it_listens_on_a_free_port_when_started_and_gives_it_back_when_stopped() {
        let broker = Broker::start(ANY_PORT).unwrap();
        let address = broker.address();
        assert_ne!(address.port(), 0);
        assert_eq!(broker.url(), BrokerUrl::new("127.0.0.1", address.port()));
        TcpStream::connect(address).unwrap();
        broker.stop();
        let again = Broker::start(address).unwrap();
        assert_eq!(again.address(), address);
    }

    #[test]
    fn an_address_in_use_is_said_in_one_line() {
        let broker = Broker::start(ANY_PORT).unwrap();
        let error = Broker::start(broker.address()).unwrap_err().to_string();
        let expected = format!("cannot listen on {}: Address already in use", broker.address());
        assert!(error.starts_with(&expected) && !error.contains('\n'), "{error}");
    }

    #[test]
    fn on_all_addresses_clients_of_this_machine_use_the_loopback() {
        let broker = Broker::start(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0)).unwrap();
        assert_eq!(broker.url().host, "127.0.0.1");
    }
}
