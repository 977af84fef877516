//! An agent's process, and the controller that the tests are.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::process::{Child, Command};

use edgefront_link::transfer::Serve;
use edgefront_link::{Connection, Event, Publisher, Qos, Settings};
use edgefront_protocol::blob::Chunk;
use edgefront_protocol::{
    Batch, BlobRef, ControllerId, DeviceId, Digest, Job, JobId, JobState, Nanos, Outcome, Plan, Presence,
    Progress, SignedBatch, Topic, wire,
};
use edgefront_tests::broker::Broker;
use edgefront_tests::jobs::tiny;
use edgefront_tests::{PATIENCE, program};
use tempfile::TempDir;

/// The agent's program with a state folder of its own, killed when dropped.
pub(crate) struct Agent {
    broker: String,
    /// Flags beside those that every agent has.
    pub(crate) flags: Vec<String>,
    pub(crate) state: TempDir,
    pub(crate) child: Child,
}

impl Agent {
    pub(crate) fn start(broker: &Broker) -> Self {
        Self::start_with(broker, &[])
    }

    pub(crate) fn start_with(broker: &Broker, flags: &[&str]) -> Self {
        let (broker, state) = (broker.url().to_string(), tempfile::tempdir().unwrap());
        let child = command(&broker, state.path(), flags).spawn().unwrap();
        Self {
            broker,
            flags: flags.iter().map(ToString::to_string).collect(),
            state,
            child,
        }
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().ok();
        self.child.wait().unwrap();
    }

    pub(crate) fn terminate(&mut self) {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &pid])
                .status()
                .unwrap()
                .success()
        );
        assert!(self.child.wait().unwrap().success());
    }

    pub(crate) fn start_again(&mut self) {
        let flags: Vec<&str> = self.flags.iter().map(String::as_str).collect();
        self.child = command(&self.broker, self.state.path(), &flags).spawn().unwrap();
    }

    /// From now on its files take no more than so many bytes each.
    pub(crate) fn limit_files(&self, bytes: &str) {
        let pid = self.child.id().to_string();
        let limit = format!("--fsize={bytes}:unlimited");
        let status = Command::new("prlimit").args(["--pid", &pid, &limit]).status();
        assert!(status.unwrap().success());
    }

    /// The process ids of its workers.
    pub(crate) fn workers(&self) -> Vec<String> {
        let parent = self.child.id().to_string();
        let processes = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
        processes
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|pid| stat(pid).is_some_and(|(_, of)| of == parent))
            .collect()
    }

    /// How many files of a folder of the state there are.
    pub(crate) fn files(&self, folder: &str) -> usize {
        std::fs::read_dir(self.state.path().join(folder)).unwrap().count()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.kill();
    }
}

pub(crate) fn command(broker: &str, state: &Path, flags: &[&str]) -> Command {
    // A file that may grow no more fails the write instead of ending the agent, as a full disk does.
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; exec \"$@\"", "sh"]);
    command.arg(program::path("edgefront-agent"));
    command.args(["--id", "pi4", "--broker", broker, "--state"]);
    command.arg(state).args(flags);
    command
}

/// State and parent of a process.
pub(crate) fn stat(pid: &str) -> Option<(String, String)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.to_owned(), fields.next()?.to_owned()))
}

/// Returns when none of the processes runs.
pub(crate) async fn are_gone(pids: &[String]) {
    let runs = |pid: &String| stat(pid).is_some_and(|(state, _)| state != "Z");
    let gone = async {
        while pids.iter().any(runs) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, gone)
        .await
        .expect("the processes end");
}

/// What a controller sees.
pub(crate) struct Controller {
    publisher: Publisher,
    connection: Connection,
    serve: Serve,
    blobs: HashMap<Digest, Vec<u8>>,
    pub(crate) presence: Option<Presence>,
    /// How often the device asked for chunks.
    pub(crate) wants: usize,
    pub(crate) states: BTreeMap<JobId, JobState>,
    pub(crate) outcomes: BTreeMap<JobId, Outcome>,
    /// Sent again at every connect: what a device said meanwhile was lost.
    batches: Vec<Vec<u8>>,
}

impl Controller {
    pub(crate) async fn start(broker: &Broker) -> Self {
        let (publisher, connection) = Connection::open(Settings {
            url: broker.url(),
            client_id: "controller".to_owned(),
            subscriptions: vec![Topic::to_controller(&id()), Topic::all_presence()],
            will: None,
        })
        .await
        .unwrap();
        Self {
            publisher,
            connection,
            serve: Serve::new(),
            blobs: HashMap::new(),
            presence: None,
            wants: 0,
            states: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            batches: Vec::new(),
        }
    }

    /// Sends a batch that is not signed.
    pub(crate) async fn measure(&mut self, batch: Batch) {
        let unsigned = SignedBatch { batch, seal: None };
        self.measure_message(wire::encode(&unsigned)).await;
    }

    /// Sends a batch as it travels.
    pub(crate) async fn measure_message(&mut self, message: Vec<u8>) {
        self.send_bytes(Topic::Batch, message.clone()).await;
        self.batches.push(message);
    }

    pub(crate) fn offer(&mut self, content: Vec<u8>) -> BlobRef {
        let blob = BlobRef::of(&content);
        self.blobs.insert(blob.digest, content);
        self.serve.offer(blob);
        blob
    }

    pub(crate) async fn send<T: serde::Serialize>(&self, topic: fn(DeviceId) -> Topic, message: &T) {
        self.send_bytes(topic, wire::encode(message)).await;
    }

    async fn send_bytes(&self, topic: fn(DeviceId) -> Topic, message: Vec<u8>) {
        let topic = topic(device());
        let sent = self.publisher.publish(&topic, message, Qos::AtLeastOnce, false);
        sent.await.unwrap();
    }

    /// Handles what comes until `done`.
    pub(crate) async fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let handled = tokio::time::timeout(PATIENCE, async {
            while !done(self) {
                let event = self.connection.next().await.unwrap();
                self.on_event(event).await;
            }
        });
        assert!(
            handled.await.is_ok(),
            "in vain: {what}; {:?} {:?}",
            self.states,
            self.outcomes
        );
    }

    async fn on_event(&mut self, event: Event) {
        if let Event::Connected = event {
            for batch in &self.batches {
                self.send_bytes(Topic::Batch, batch.clone()).await;
            }
        }
        let Event::Message { topic, payload, .. } = event else {
            return;
        };
        match topic {
            Topic::Presence(_) => self.presence = Some(wire::decode(&payload).unwrap()),
            Topic::Progress(..) => {
                let progress: Progress = wire::decode(&payload).unwrap();
                self.states.insert(progress.job, progress.state);
            }
            Topic::Outcome(..) => {
                let outcome: Outcome = wire::decode(&payload).unwrap();
                if let Some(first) = self.outcomes.insert(outcome.job.clone(), outcome.clone()) {
                    assert_eq!(first, outcome, "a job ended twice");
                }
            }
            Topic::Want(_, device) => {
                self.wants += 1;
                self.serve
                    .on_want(&device, &wire::decode(&payload).unwrap())
                    .unwrap();
                for delivery in self.serve.by_ref() {
                    let offset = delivery.offset as usize;
                    let data = &self.blobs[&delivery.digest][offset..offset + delivery.bytes as usize];
                    let chunk = wire::encode(&Chunk::new(delivery.digest, delivery.index, data.to_vec()));
                    let sent = self
                        .publisher
                        .publish(&delivery.topic, chunk, Qos::AtMostOnce, false);
                    sent.await.unwrap();
                }
            }
            other => panic!("unexpected: {other}"),
        }
    }

    pub(crate) async fn is_online(&mut self) {
        self.until("presence", |c| matches!(c.presence, Some(Presence::Online(..))))
            .await;
    }

    pub(crate) async fn is_offline(&mut self) {
        self.until("absence", |c| matches!(c.presence, Some(Presence::Offline(..))))
            .await;
    }
}

pub(crate) fn id() -> ControllerId {
    "study".parse().unwrap()
}

pub(crate) fn device() -> DeviceId {
    "pi4".parse().unwrap()
}

pub(crate) fn short() -> Plan {
    Plan {
        warmup_runs: 1,
        warmup_time: Nanos(0),
        min_runs: 10,
        min_time: Nanos(0),
        rounds: 2,
        processes: 1,
        ..Plan::default()
    }
}

/// Longer than any test.
pub(crate) fn long() -> Plan {
    Plan {
        min_time: Nanos(3_600_000_000_000),
        max_time: Nanos(3_600_000_000_000),
        rounds: 1_000_000,
        ..short()
    }
}

pub(crate) fn batch(name: &str, jobs: Vec<Job>) -> Batch {
    Batch {
        id: name.parse().unwrap(),
        controller: id(),
        seed: 1,
        jobs,
    }
}

pub(crate) fn model() -> Vec<u8> {
    std::fs::read(tiny()).unwrap()
}

/// Many chunks, no two alike.
pub(crate) fn large() -> Vec<u8> {
    (0..3_000_001_u32)
        .flat_map(|i| i.wrapping_mul(i).to_le_bytes()[1..3].to_vec())
        .collect()
}
