//! An MQTT broker as a process on a free loopback port.

use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;

use edgefront_link::BrokerUrl;
use tempfile::TempDir;

use crate::{PATIENCE, program};

/// Which broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `edgefront broker`.
    BuiltIn,
    /// `mosquitto`, without persistence: what it forgets at a restart, the sides must say again.
    Mosquitto,
    /// `mosquitto` as it is shipped: killed, it goes back to what it last saved.
    MosquittoOnDisk,
}

/// A broker, ended when dropped.
#[derive(Debug)]
pub struct Broker {
    kind: Kind,
    port: u16,
    folder: TempDir,
    child: Option<Child>,
}

impl Broker {
    /// Starts one and returns when it listens.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start(kind: Kind) -> Self {
        let mut broker = Self {
            kind,
            port: 0,
            folder: tempfile::tempdir().expect("temporary folders can be made"),
            child: None,
        };
        broker.start_again();
        broker
    }

    /// Starts it again on the same port.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start_again(&mut self) {
        self.kill();
        match self.kind {
            Kind::BuiltIn => self.start_built_in(),
            Kind::Mosquitto => self.start_mosquitto("persistence false"),
            Kind::MosquittoOnDisk => {
                // Started by root, mosquitto would become a user who may not write here.
                let folder = self.folder.path().display();
                let settings = format!("persistence true\npersistence_location {folder}/\nuser root");
                self.start_mosquitto(&settings);
            }
        }
    }

    /// Asks it to end, so that it saves what it keeps, and waits until it has.
    ///
    /// # Panics
    /// If it does not run or does not end in order.
    pub fn terminate(&mut self) {
        let mut child = self.child.take().expect("the broker runs");
        let asked = Command::new("kill")
            .args(["-TERM", &child.id().to_string()])
            .status();
        assert!(asked.is_ok_and(|status| status.success()));
        let status = child.wait().expect("it is a child of ours");
        assert!(status.success(), "{status}");
    }

    /// Kills it without warning.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().ok();
            child.wait().ok();
        }
    }

    /// Its address.
    pub fn url(&self) -> BrokerUrl {
        BrokerUrl::new(Ipv4Addr::LOCALHOST.to_string(), self.port)
    }

    /// The most memory that the process ever had, in bytes.
    ///
    /// # Panics
    /// If it does not run, or the system does not tell.
    pub fn peak_rss(&self) -> u64 {
        let pid = self.child.as_ref().expect("the broker runs").id();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("linux has /proc");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .expect("a process has a peak");
        let kilobytes: u64 = line
            .trim()
            .trim_end_matches(" kB")
            .parse()
            .expect("it is a number");
        kilobytes * 1024
    }

    fn start_built_in(&mut self) {
        let mut child = Command::new(program::path("edgefront"))
            .args(["broker", "--listen", &format!("127.0.0.1:{}", self.port)])
            .stdout(Stdio::piped())
            .spawn()
            .expect("edgefront starts");
        let lines = lines(child.stdout.take().expect("stdout is a pipe"));
        self.child = Some(child);
        let url = lines.recv_timeout(PATIENCE).expect("the broker says its address");
        self.port = url.parse::<BrokerUrl>().expect("it says an address").port;
    }

    /// mosquitto cannot take a free port by itself, so one is found first; should another take it meanwhile,
    /// a next one is tried.
    fn start_mosquitto(&mut self, persistence: &str) {
        let fixed = self.port != 0;
        for _ in 0..10 {
            if !fixed {
                self.port = free_port();
            }
            let config = self.folder.path().join("mosquitto.conf");
            let text = format!(
                "listener {} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\n{persistence}\n",
                self.port
            );
            std::fs::write(&config, text).expect("the configuration can be written");
            if let Ok(child) = mosquitto(&config) {
                self.child = Some(child);
                return;
            }
        }
        panic!("mosquitto did not start on port {}", self.port);
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Starts mosquitto with a configuration file and returns when it listens; else what it said.
pub fn mosquitto(config: &Path) -> Result<Child, String> {
    let program = if Path::new("/usr/sbin/mosquitto").is_file() {
        "/usr/sbin/mosquitto"
    } else {
        "mosquitto"
    };
    let mut child = Command::new(program)
        .arg("-c")
        .arg(config)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{program}: {error}"))?;
    let lines = lines(child.stderr.take().expect("stderr is a pipe"));
    let mut said = String::new();
    while let Ok(line) = lines.recv_timeout(PATIENCE) {
        if line.ends_with(" running") {
            return Ok(child);
        }
        said += &line;
        said.push('\n');
    }
    child.kill().ok();
    child.wait().ok();
    Err(said)
}

/// The lines of a pipe, read to its end so that the program never waits for a reader.
fn lines(pipe: impl std::io::Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            sender.send(line).ok();
        }
    });
    receiver
}

/// A port that was free a moment ago.
///
/// # Panics
/// If the system has none.
pub fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .expect("the loopback has free ports")
        .port()
}
