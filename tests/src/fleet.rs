//! The programs of a fleet: an agent and a controller with a small study.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use edgefront_link::BrokerUrl;
use edgefront_protocol::{Pack, PictureShape};
use serde_json::Value;
use tempfile::TempDir;

use crate::jobs::tiny;
use crate::program;

/// The device of every test.
pub const DEVICE: &str = "board";
/// The device with which another one's answers are compared: this machine.
pub const HERE: &str = "here";

/// A process that is killed when dropped.
#[derive(Debug)]
pub struct Running(Child);

impl Running {
    /// Starts a program.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start(command: &mut Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null());
        Self(command.spawn().expect("the program starts"))
    }

    /// Kills it, as `kill -9` does.
    pub fn kill(mut self) {
        self.end();
    }

    /// Interrupts it, as Ctrl-C does.
    ///
    /// # Panics
    /// If it is gone.
    pub fn interrupt(&self) {
        let pid = self.0.id().to_string();
        let sent = Command::new("kill").args(["-INT", &pid]).status();
        assert!(sent.is_ok_and(|status| status.success()));
    }

    /// Asks it to end, as a service manager does, and gives its exit code.
    ///
    /// # Panics
    /// If it is gone, or does not end in order.
    pub fn terminate(mut self) -> i32 {
        let pid = self.0.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(sent.is_ok_and(|status| status.success()));
        let status = self.0.wait().expect("it is a child of ours");
        status.code().expect("it ends in order")
    }

    /// Waits until it ends by itself, and gives its exit code.
    ///
    /// # Panics
    /// If it was killed.
    pub async fn exit_code(mut self) -> i32 {
        let wait = tokio::task::spawn_blocking(move || {
            let status = self.0.wait().expect("it is a child of ours");
            status.code().expect("nobody killed it")
        });
        wait.await.expect("waiting does not panic")
    }

    fn end(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

/// Starts the agent of [`DEVICE`]; what it knows survives in `state`.
pub fn agent(broker: &BrokerUrl, state: &Path) -> Running {
    agent_of(DEVICE, broker, state)
}

/// Starts the agent of a device on this machine; what it knows survives in `state`.
pub fn agent_of(device: &str, broker: &BrokerUrl, state: &Path) -> Running {
    let mut command = Command::new(program::path("edgefront-agent"));
    command.args(["--id", device, "--broker", &broker.to_string(), "--state"]);
    Running::start(command.arg(state).env("EDGEFRONT_LOG", "info"))
}

/// Starts `edgefront bench` of the tiny fixture on [`DEVICE`], for `time`.
pub fn bench(broker: &BrokerUrl, time: &str) -> Running {
    let mut command = program::edgefront();
    command
        .arg("bench")
        .arg(tiny())
        .args(["--runtime", "tract", "--device", DEVICE]);
    command.args([
        "--broker",
        &broker.to_string(),
        "--min-time",
        time,
        "--max-time",
        time,
    ]);
    Running::start(&mut command)
}

/// Starts `edgefront bench` of a model on a runtime of [`DEVICE`], as short as it may be.
pub fn short_bench(model: &Path, runtime: &str, broker: &BrokerUrl) -> Running {
    let mut command = program::edgefront();
    command.arg("bench").arg(model).args(["--runtime", runtime]);
    command.args(["--device", DEVICE, "--broker", &broker.to_string()]);
    command.args(["--min-time", "20ms", "--max-time", "1s"]);
    Running::start(&mut command)
}

/// A study of two variants with one and two threads: four jobs and two artifacts on each runtime of each device.
#[derive(Debug)]
pub struct Study {
    folder: TempDir,
    artifact_bytes: usize,
    jobs: usize,
}

impl Study {
    /// How many jobs it has on one runtime of one device.
    pub const JOBS: usize = 4;

    /// Writes the files of a study whose artifacts have about `artifact_bytes` and whose jobs measure for
    /// `min_time`, on tract.
    ///
    /// # Panics
    /// If the files cannot be written.
    pub fn new(broker: &BrokerUrl, artifact_bytes: usize, min_time: &str) -> Self {
        Self::on_runtime("tract", broker, artifact_bytes, min_time)
    }

    /// As [`new`](Self::new), on another runtime.
    ///
    /// # Panics
    /// If the files cannot be written.
    pub fn on_runtime(runtime: &str, broker: &BrokerUrl, artifact_bytes: usize, min_time: &str) -> Self {
        Self::on_all(&[DEVICE], &[runtime], broker, artifact_bytes, min_time)
    }

    /// As [`new`](Self::new), on runtimes of several devices; the predictions of the first device on ONNX Runtime are
    /// those that all others are compared with.
    ///
    /// # Panics
    /// If the files cannot be written.
    pub fn on_all(
        devices: &[&str],
        runtimes: &[&str],
        broker: &BrokerUrl,
        artifact_bytes: usize,
        min_time: &str,
    ) -> Self {
        let folder = tempfile::tempdir().expect("temporary folders can be made");
        let write = |name: &str, bytes: &[u8]| {
            std::fs::write(folder.path().join(name), bytes).expect("the folder can be written to");
        };
        write("model.onnx", &model(artifact_bytes));
        write("val.safetensors", &data());
        let study = format!(
            "model = \"model.onnx\"\nvalidation = \"val.safetensors\"\n\
             variants = [\"fp32\", \"prune50\"]\nruntimes = {runtimes:?}\nthreads = [1, 2]\n\
             broker = \"{broker}\"\ndevices = {devices:?}\n\
             [plan]\nwarmup_runs = 1\nwarmup_time = \"1ms\"\nmin_runs = 20\nmin_time = \"{min_time}\"\nrounds = 4\n"
        );
        write("study.toml", study.as_bytes());
        Self {
            folder,
            artifact_bytes,
            jobs: Self::JOBS * devices.len() * runtimes.len(),
        }
    }

    /// The size of one artifact, and a little more.
    pub fn artifact_bytes(&self) -> u64 {
        self.artifact_bytes as u64
    }

    /// Where the agent keeps its state.
    pub fn agent_state(&self) -> PathBuf {
        self.folder.path().join("agent")
    }

    /// Starts the controller.
    pub fn run(&self) -> Running {
        Running::start(&mut self.command())
    }

    /// Starts the controller again where it left off.
    pub fn resume(&self) -> Running {
        Running::start(self.command().arg("--resume"))
    }

    /// Asserts that the results hold every job once, measured.
    ///
    /// # Panics
    /// If they do not.
    pub fn assert_all_measured(&self) {
        let results = self.results();
        assert_eq!(results["failed"], serde_json::json!([]));
        let records = results["records"].as_array().expect("records are a list");
        let name =
            |record: &Value| ["device", "runtime", "variant", "threads"].map(|key| record[key].to_string());
        let names: BTreeSet<_> = records.iter().map(name).collect();
        assert_eq!(records.len(), self.jobs, "{records:#?}");
        assert_eq!(names.len(), self.jobs, "{names:?}");
    }

    /// The results.
    ///
    /// # Panics
    /// If they are not there.
    pub fn results(&self) -> Value {
        let file = self.out().join("results.json");
        let text = std::fs::read_to_string(&file).expect("the results are there");
        serde_json::from_str(&text).expect("the results are JSON")
    }

    fn out(&self) -> PathBuf {
        self.folder.path().join("out")
    }

    fn command(&self) -> Command {
        let mut command = program::edgefront();
        command
            .arg("run")
            .arg(self.folder.path().join("study.toml"))
            .arg("--out")
            .arg(self.out());
        command
    }
}

/// The tiny fixture with a note of `bytes` bytes, which no runtime reads and every variant keeps.
fn model(bytes: usize) -> Vec<u8> {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/models/tiny.onnx");
    let mut model = std::fs::read(fixture).expect("the fixture is there");
    let note = field(2, &b"edgefront".repeat(bytes / 9));
    model.extend(field(14, &[field(1, b"note"), note].concat()));
    model
}

/// A field of a protobuf message: its number, its length, its content. 14 are the metadata of an ONNX model.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![number << 3 | 2];
    let mut length = content.len();
    while length >= 0x80 {
        bytes.push(length as u8 | 0x80);
        length >>= 7;
    }
    bytes.push(length as u8);
    bytes.extend_from_slice(content);
    bytes
}

/// Twenty pictures of the fixture's size.
fn data() -> Vec<u8> {
    const PICTURES: usize = 20;
    let shape = PictureShape {
        channels: 3,
        height: 8,
        width: 8,
    };
    let values: Vec<f32> = (0..PICTURES * shape.volume())
        .map(|i| (i * 37 % 101) as f32 / 101.0)
        .collect();
    let labels = (0..PICTURES as i64).map(|i| i % 10).collect();
    Pack::from_floats(PICTURES, shape, &values)
        .and_then(|pack| pack.with_labels(labels))
        .expect("the pictures have their shape")
        .encode()
}
