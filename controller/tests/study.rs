//! Whole studies by the command line: on this machine, interrupted and resumed, and with devices that come late.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use edgefront::broker::Broker;
use edgefront_link::{Connection, Event, Qos, Settings};
use edgefront_protocol::pack::{Pack, PictureShape};
use edgefront_protocol::results::{Record, Results};
use edgefront_protocol::{
    Board, Bytes, Device, Health, Incarnation, Meters, Presence, RuntimeState, RuntimeStatus, Topic, Trust,
    UnixMillis, wire,
};

/// A folder with a model and data, in which commands run.
struct Place(tempfile::TempDir);

/// An agent that ends with the test.
struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/fixtures/models")
        .join(name)
}

/// Pictures that are not all alike.
fn pictures(count: usize, side: usize, seed: usize) -> Pack {
    let picture = PictureShape {
        channels: 3,
        height: side,
        width: side,
    };
    let values: Vec<f32> = (0..count * 3 * side * side)
        .map(|i| ((i * 31 + seed) % 101) as f32 / 50.0 - 1.0)
        .collect();
    Pack::from_floats(count, picture, &values).unwrap()
}

impl Place {
    fn new(model: &str, side: usize) -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        fs::copy(fixture(model), place.path("model.onnx")).unwrap();
        let labels = (0..12).map(|i| i % 10).collect();
        let validation = pictures(12, side, 5).with_labels(labels).unwrap();
        fs::write(place.path("val.safetensors"), validation.encode()).unwrap();
        fs::write(place.path("calib.safetensors"), pictures(8, side, 7).encode()).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn edgefront(&self, args: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_edgefront"));
        command
            .args(args.split_whitespace())
            .current_dir(self.0.path())
            .env("XDG_CONFIG_HOME", self.path("config"))
            .env("EDGEFRONT_CACHE_DIR", self.path("cache"));
        command
    }

    fn optimize(&self, more: &str) -> Command {
        let mut command = self.edgefront(
            "optimize model.onnx --val val.safetensors --calib calib.safetensors --runtimes tract --out out",
        );
        command.args(more.split_whitespace());
        command
    }

    fn agent(&self, broker: &Broker, id: &str) -> Agent {
        self.agent_with(broker, id, "")
    }

    fn agent_with(&self, broker: &Broker, id: &str, more: &str) -> Agent {
        let args = format!(
            "agent --broker {} --id {id} --state state-{id} {more}",
            broker.url()
        );
        Agent(self.edgefront(&args).spawn().unwrap())
    }

    fn results(&self) -> Results {
        serde_json::from_slice(&fs::read(self.path("out/results.json")).unwrap()).unwrap()
    }

    /// Artifacts with the times of their last change.
    fn artifacts(&self) -> Vec<(PathBuf, std::time::SystemTime)> {
        let entries = fs::read_dir(self.path("out/artifacts")).unwrap();
        let mut artifacts: Vec<_> = entries
            .map(|entry| entry.unwrap())
            .map(|entry| (entry.path(), entry.metadata().unwrap().modified().unwrap()))
            .collect();
        artifacts.sort();
        artifacts
    }
}

fn broker() -> Broker {
    Broker::start(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap()
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

const QUICK: &str = "--min-runs 4 --min-time 10ms --rounds 2 --variants fp32,prune50,ptq-int8";

#[test]
fn variants_of_another_study_come_from_the_cache() {
    let place = Place::new("tiny.onnx", 8);
    let study = |more: &str| {
        let args =
            format!("--min-runs 2 --min-time 1ms --rounds 1 --variants prune50,ptq-int8 --fresh {more}");
        let output = place.optimize(&args).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", words(&output));
        let from_cache = words(&output).contains("from the cache: prune50, ptq-int8");
        (from_cache, place.results().variants)
    };
    let (from_cache, made) = study("");
    assert!(!from_cache);
    assert!(made.iter().all(|variant| !variant.passes.is_empty()), "{made:?}");
    assert_eq!(study("--seed 1"), (true, made.clone()));
    assert_eq!(study("--seed 2 --no-cache"), (false, made.clone()));
    for entry in fs::read_dir(place.path("cache/variants")).unwrap() {
        fs::write(entry.unwrap().path(), "damaged").unwrap();
    }
    assert_eq!(study("--seed 3"), (false, made));
}

#[test]
fn a_study_leaves_a_report_and_may_be_run_again() {
    let place = Place::new("resnet18.onnx", 32);
    for _ in 0..2 {
        let output = place.optimize(QUICK).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", words(&output));
        let results = place.results();
        let variants: Vec<&str> = results
            .records
            .iter()
            .map(|record| record.variant.as_str())
            .collect();
        assert_eq!(variants, ["fp32", "prune50", "ptq-int8"]);
        let made: Vec<&str> = results
            .variants
            .iter()
            .map(|made| made.variant.as_str())
            .collect();
        assert_eq!(made, variants);
        assert!(results.variants[1].passes.iter().any(|pass| pass.pass == "prune"));
        let accuracy = results.records[0].accuracy.as_ref().unwrap();
        assert_eq!((accuracy.samples, accuracy.agreement_fp32), (12, Some(1.0)));
        for file in [
            "results.csv",
            "pareto.png",
            "pareto.svg",
            "report.html",
            "edgefront.db",
        ] {
            assert!(place.path("out").join(file).is_file(), "{file}");
        }
        assert!(!place.path("out/.agent").exists());
        let table = String::from_utf8(output.stdout).unwrap();
        assert!(table.contains("prune50"), "{table}");
    }
}

#[test]
fn a_damaged_database_is_replaced_only_when_asked() {
    let place = Place::new("tiny.onnx", 8);
    let plan = "--min-runs 2 --min-time 1ms --rounds 1 --variants fp32";
    let run = |more: &str| {
        place
            .optimize(plan)
            .args(more.split_whitespace())
            .output()
            .unwrap()
    };
    fs::create_dir(place.path("out")).unwrap();
    let database = place.path("out/edgefront.db");
    // The header of a database, and nothing of its pages.
    let mut damaged = b"SQLite format 3\0\x10\0\x01\x01\0\x40\x20\x20".to_vec();
    damaged.resize(6000, 0x5a);
    fs::write(&database, &damaged).unwrap();
    for more in ["", "--resume"] {
        let refused = run(more);
        let said = words(&refused);
        assert_eq!(refused.status.code(), Some(1), "{said}");
        assert_eq!(said.matches("--fresh").count(), 1, "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    assert_eq!(fs::read(&database).unwrap(), damaged);
    let fresh = run("--fresh");
    assert_eq!(fresh.status.code(), Some(0), "{}", words(&fresh));
    assert_eq!(place.results().records.len(), 1);
}

#[test]
fn a_finished_study_gets_its_damaged_files_back() {
    let place = Place::new("tiny.onnx", 8);
    let plan = "--min-runs 2 --min-time 1ms --rounds 1 --variants fp32,prune50";
    let first = place.optimize(plan).output().unwrap();
    assert_eq!(first.status.code(), Some(0), "{}", words(&first));
    let before = place.results();
    let whole: Vec<(PathBuf, Vec<u8>)> = place
        .artifacts()
        .into_iter()
        .map(|(path, _)| (path.clone(), fs::read(path).unwrap()))
        .collect();
    // Two variants, the pack and the reference.
    assert_eq!(whole.len(), 4);
    // Cut, altered at its old length, and removed.
    for (number, (path, bytes)) in whole.iter().enumerate() {
        match number % 3 {
            0 => fs::write(path, &bytes[..10]).unwrap(),
            1 => fs::write(path, vec![0; bytes.len()]).unwrap(),
            _ => fs::remove_file(path).unwrap(),
        }
    }
    let resumed = place.optimize(plan).arg("--resume").output().unwrap();
    assert_eq!(resumed.status.code(), Some(0), "{}", words(&resumed));
    for (path, bytes) in whole {
        assert!(fs::read(&path).unwrap() == bytes, "{}", path.display());
    }
    assert!(words(&resumed).contains("made again, for their files were damaged: fp32, prune50"));
    assert_eq!(place.results(), before);
}

#[test]
fn a_finished_study_whose_reference_is_lost_says_so_and_keeps_its_results() {
    let place = Place::new("tiny.onnx", 8);
    let plan = "--min-runs 2 --min-time 1ms --rounds 1 --variants fp32 --accuracy-within 50%";
    let first = place.optimize(plan).output().unwrap();
    assert_eq!(first.status.code(), Some(0), "{}", words(&first));
    let before = place.results();
    let mut artifacts = place.artifacts().into_iter().map(|(path, _)| path);
    let reference = artifacts
        .find(|path| path.extension().is_some_and(|extension| extension == "reference"))
        .unwrap();
    fs::remove_file(&reference).unwrap();
    // Without a place for temporary files the model does not run here.
    let mut resume = place.optimize(plan);
    let resumed = resume.arg("--resume").env("TMPDIR", "nowhere").output().unwrap();
    assert_eq!(resumed.status.code(), Some(0), "{}", words(&resumed));
    let lost =
        "is damaged and could not be made again, which changes no result: cannot make a temporary file";
    assert!(words(&resumed).contains(lost), "{}", words(&resumed));
    assert!(!reference.exists());
    assert_eq!(place.results(), before);
}

#[test]
fn a_variant_that_fails_does_not_lose_the_others() {
    let place = Place::new("tiny.onnx", 8);
    fs::write(
        place.path("study.toml"),
        "model = 'model.onnx'\nvalidation = 'val.safetensors'\nruntimes = ['tract']\nvariants = ['fp32', \
         { name = 'half', steps = [{ pass = 'fp16', keep = ['nobody'] }] }]\n\
         plan = { min_runs = 4, min_time = '10ms', rounds = 2 }",
    )
    .unwrap();
    let output = place.edgefront("run study.toml --json").output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", words(&output));
    let results: Results = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((results.records.len(), results.failed.len()), (1, 1));
    let failed = &results.failed[0];
    assert_eq!(
        (failed.variant.as_str(), failed.stage.as_str()),
        ("half", "optimize")
    );
    assert_eq!(results, place.results());
}

#[test]
fn an_interrupted_study_goes_on_where_it_stopped() {
    let place = Place::new("resnet18.onnx", 32);
    // Long enough that the study is in the middle when the first job has ended.
    let plan = "--min-runs 4 --min-time 3s --rounds 1 --variants fp32,prune50,ptq-int8";
    let mut first = place.optimize(plan).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(first.stderr.take().unwrap())
        .lines()
        .map(Result::unwrap);
    let ended = lines.find(|line| line.contains("(1 of 3)"));
    assert!(ended.is_some());
    let kill = Command::new("kill").arg(first.id().to_string()).status().unwrap();
    assert!(kill.success());
    let rest: Vec<String> = lines.collect();
    assert_eq!(first.wait().unwrap().code(), Some(1), "{rest:?}");
    let said = rest.last().unwrap();
    // On a busy machine the next job may end before the signal arrives.
    let before = place.results();
    let count = before.records.len();
    assert!((1..3).contains(&count), "{count}");
    assert!(
        said.starts_with(&format!("error: interrupted; {count} of 3 jobs have ended")),
        "{said}"
    );
    assert!(before.unfinished);
    let frontier = place.edgefront("frontier out").output().unwrap();
    assert_eq!(frontier.status.code(), Some(0));
    assert!(
        words(&frontier).starts_with("warning: out is of an unfinished study; --resume"),
        "{}",
        words(&frontier)
    );
    let artifacts = place.artifacts();

    let refused = place.optimize(plan).output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(
        words(&refused).contains(&format!(
            "({count} of 3 jobs have ended); go on with --resume, replace it with --fresh"
        )),
        "{}",
        words(&refused)
    );
    let changed = place
        .optimize(plan)
        .args(["--resume", "--threads", "2"])
        .output()
        .unwrap();
    assert_eq!(changed.status.code(), Some(2));
    assert!(
        words(&changed).contains("differs in threads"),
        "{}",
        words(&changed)
    );

    let resumed = place.optimize(plan).arg("--resume").output().unwrap();
    assert_eq!(resumed.status.code(), Some(0), "{}", words(&resumed));
    let after = place.results();
    assert_eq!((after.records.len(), after.unfinished), (3, false));
    let kept = &before.records[0];
    let same = after
        .records
        .iter()
        .find(|record| record.variant == kept.variant)
        .unwrap();
    assert_eq!(same.latency_ms, kept.latency_ms, "measured twice");
    assert_eq!(place.artifacts(), artifacts, "made twice");

    // Nothing is left to do, so nothing is done.
    let again = place
        .optimize(plan)
        .args(["--resume", "--json"])
        .output()
        .unwrap();
    assert_eq!(again.status.code(), Some(0));
    assert_eq!(serde_json::from_slice::<Results>(&again.stdout).unwrap(), after);
}

/// Nobody ends the local agent for a controller that is killed, and a second one could not use its folder.
#[test]
fn a_killed_controller_takes_the_local_agent_with_it_and_resumes() {
    let place = Place::new("resnet18.onnx", 32);
    let plan = "--min-runs 4 --min-time 3s --rounds 1 --variants fp32,prune50";
    let mut first = place.optimize(plan).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(first.stderr.take().unwrap())
        .lines()
        .map(Result::unwrap);
    assert!(lines.any(|line| line.contains("(1 of 2)")));
    first.kill().unwrap();
    first.wait().unwrap();
    // The agent and its workers write to the same pipe: it ends when the last of them has.
    let (sender, ended) = mpsc::channel();
    thread::spawn(move || {
        lines.for_each(drop);
        sender.send(()).ok();
    });
    ended
        .recv_timeout(Duration::from_mins(1))
        .expect("the local agent and its workers end with their controller");

    let resumed = place.optimize(plan).arg("--resume").output().unwrap();
    assert_eq!(resumed.status.code(), Some(0), "{}", words(&resumed));
    assert_eq!(place.results().records.len(), 2);
}

#[test]
fn a_device_that_is_not_there_does_not_keep_the_others_and_may_come_later() {
    let place = Place::new("tiny.onnx", 8);
    let broker = broker();
    let _pi = place.agent(&broker, "pi");
    let args = format!(
        "--min-runs 4 --min-time 10ms --rounds 2 --variants fp32 --devices pi,orin --broker {}",
        broker.url()
    );
    let partial = place
        .optimize(&args)
        .args(["--device-timeout", "5s"])
        .output()
        .unwrap();
    assert_eq!(partial.status.code(), Some(3), "{}", words(&partial));
    let results = place.results();
    let devices: Vec<&str> = results
        .records
        .iter()
        .map(|record| record.device.as_str())
        .collect();
    assert_eq!(devices, ["pi"]);
    let failed = &results.failed[0];
    assert_eq!(
        (failed.device.as_str(), failed.stage.as_str()),
        ("orin", "device")
    );

    let _orin = place.agent(&broker, "orin");
    let complete = place.optimize(&args).arg("--resume").output().unwrap();
    assert_eq!(complete.status.code(), Some(0), "{}", words(&complete));
    let results = place.results();
    let devices: Vec<&str> = results
        .records
        .iter()
        .map(|record| record.device.as_str())
        .collect();
    assert_eq!(devices, ["pi", "orin"]);
    assert!(results.failed.is_empty());
}

#[test]
fn a_device_of_other_controllers_does_not_keep_the_others_and_may_come_later() {
    let place = Place::new("tiny.onnx", 8);
    let broker = broker();
    let key = place.edgefront("keys").output().unwrap();
    let key = String::from_utf8(key.stdout).unwrap();
    let key = key.trim();
    let others = "ed25519:".to_owned() + &"07".repeat(32);
    let _pi = place.agent_with(
        &broker,
        "pi",
        &format!("--controller {others} --controller {key}"),
    );
    let orin = place.agent_with(&broker, "orin", &format!("--controller {others}"));
    let args = format!(
        "--min-runs 4 --min-time 10ms --rounds 2 --variants fp32 --devices pi,orin --broker {}",
        broker.url()
    );
    let partial = place.optimize(&args).output().unwrap();
    assert_eq!(partial.status.code(), Some(3), "{}", words(&partial));
    let results = place.results();
    assert_eq!((results.records.len(), results.failed.len()), (1, 1));
    let failed = &results.failed[0];
    assert_eq!(
        (failed.device.as_str(), failed.stage.as_str()),
        ("orin", "device")
    );
    let mend = format!("the device takes no jobs of this controller; add \"{key}\" to `controllers`");
    assert!(failed.error.starts_with(&mend), "{}", failed.error);

    drop(orin);
    let _orin = place.agent_with(&broker, "orin", &format!("--controller {key}"));
    let complete = place.optimize(&args).arg("--resume").output().unwrap();
    assert_eq!(complete.status.code(), Some(0), "{}", words(&complete));
    let results = place.results();
    assert_eq!((results.records.len(), results.failed.len()), (2, 0));
}

#[test]
fn a_study_whose_only_device_is_not_there_says_that_it_waits_and_leaves_nothing() {
    let place = Place::new("tiny.onnx", 8);
    let broker = broker();
    let url = broker.url();
    let study = place
        .optimize(&format!(
            "--variants fp32 --device-timeout 1s --devices ghost --broker {url}"
        ))
        .output()
        .unwrap();
    let bench = place
        .edgefront(&format!(
            "bench model.onnx --device-timeout 1s --device ghost --broker {url}"
        ))
        .output()
        .unwrap();
    for output in [study, bench] {
        assert_eq!(output.status.code(), Some(1), "{}", words(&output));
        let said = words(&output);
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines.len(), 2, "{said}");
        assert_eq!(lines[0], "waiting up to 1s for ghost");
        assert!(
            lines[1].starts_with("error: ghost: the device is not there; is `edgefront-agent --broker"),
            "{said}"
        );
    }
    assert!(!place.path("out").exists());
}

/// An agent that cannot read what it is sent: a much older one, say.
#[tokio::test]
async fn a_device_that_is_there_and_never_answers_fails_its_jobs() {
    let place = Place::new("tiny.onnx", 8);
    let broker = broker();
    let (publisher, mut connection) = Connection::open(Settings {
        url: broker.url(),
        client_id: "mute".to_owned(),
        subscriptions: Vec::new(),
        will: None,
    })
    .await
    .unwrap();
    // Before that, what is published is dropped.
    assert!(matches!(connection.next().await, Some(Event::Connected)));
    let device = mute();
    let topic = Topic::Presence(device.id.clone());
    let presence = wire::encode(&Presence::Online(
        device,
        1,
        Board::default(),
        Trust::default(),
        Meters::default(),
        Health::default(),
    ));
    publisher
        .publish(&topic, presence, Qos::AtLeastOnce, true)
        .await
        .unwrap();
    tokio::spawn(async move { while connection.next().await.is_some() {} });

    let args = format!(
        "--variants fp32,prune50 --device-timeout 2s --devices mute --broker {}",
        broker.url()
    );
    let mut study = place.optimize(&args);
    let output = tokio::task::spawn_blocking(move || study.output())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", words(&output));
    assert!(
        words(&output).contains("mute did not answer for too long"),
        "{}",
        words(&output)
    );
    let failed = place.results().failed;
    assert_eq!(failed.len(), 2);
    for entry in failed {
        assert_eq!((entry.device.as_str(), entry.stage.as_str()), ("mute", "device"));
        assert!(entry.error.contains("did not answer for 2s"), "{}", entry.error);
    }
}

fn mute() -> Device {
    Device {
        id: "mute".parse().unwrap(),
        agent_version: "0.0.1".to_owned(),
        arch: "x86_64".to_owned(),
        os: "Linux".to_owned(),
        cpu: "none".to_owned(),
        cores: 1,
        memory: Bytes(1 << 30),
        cpu_features: Vec::new(),
        runtimes: vec![RuntimeStatus {
            name: "tract".to_owned(),
            state: RuntimeState::Ready {
                version: "0.23.9".to_owned(),
                providers: vec!["cpu".to_owned()],
            },
        }],
        incarnation: Incarnation {
            since: UnixMillis(0),
            nonce: 0,
        },
    }
}

#[test]
fn bench_prints_results_and_keeps_nothing() {
    let place = Place::new("tiny.onnx", 8);
    let args = "bench model.onnx --runtime null:delay=1000us --min-runs 4 --min-time 10ms --rounds 2 --batch 2 --json";
    let output = place.edgefront(args).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", words(&output));
    let results: Results = serde_json::from_slice(&output.stdout).unwrap();
    let record = &results.records[0];
    assert_eq!(record.configuration(), "model/null/cpu+delay=1ms/t1/b2");
    assert!(record.latency_ms.min >= 1.0, "{record:?}");
    assert!(!place.path("out").exists());
}

#[test]
fn scenarios_are_asked_for_and_told() {
    let place = Place::new("tiny.onnx", 8);
    let bench = |args: &str| {
        let args =
            format!("bench model.onnx --runtime null:delay=20us --max-time 5s --min-time 10ms --json {args}");
        place.edgefront(&args).output().unwrap()
    };
    let results = |args: &str| {
        let output = bench(args);
        assert_eq!(output.status.code(), Some(0), "{}", words(&output));
        serde_json::from_slice::<Results>(&output.stdout).unwrap()
    };

    let served = results("--scenario server --p99-bound 100ms --seed 9");
    let record = &served.records[0];
    assert_eq!(
        record.configuration(),
        "model/null/cpu+delay=20us/t1/b1/server100ms"
    );
    let scenario = record.scenario.as_ref().unwrap();
    assert_eq!((scenario.seed, scenario.p99_bound_ms), (Some(9), Some(100.0)));
    assert!(record.latency_ms.p99.unwrap() <= 100.1, "{record:?}");
    let rate = scenario.rate_qps.unwrap();
    assert!((rate - record.throughput_ips).abs() < 1e-6 && rate > 0.0);
    assert!(
        scenario
            .probes
            .iter()
            .any(|probe| probe.kept && probe.queries == record.latency_ms.samples)
    );

    let swept = results("--scenario offline --batch 1,2");
    let best = swept
        .records
        .iter()
        .filter(|record| record.scenario.as_ref().unwrap().best);
    assert_eq!((swept.records.len(), best.count()), (2, 1));
    let streams = results("--scenario multi --samples-per-query 4 --batch 2 --threads 1,2");
    let names: Vec<String> = streams.records.iter().map(Record::configuration).collect();
    assert!(names.iter().all(|name| name.ends_with("/b2/multi4")), "{names:?}");
    assert_eq!(names.len(), 2);

    for (args, mend) in [
        ("--scenario server", "give --p99-bound, as in --p99-bound 20ms"),
        (
            "--p99-bound 20ms",
            "a bound of P99 is for --scenario server alone",
        ),
        (
            "--samples-per-query 4",
            "samples per query are for --scenario multi alone",
        ),
        (
            "--scenario multi --batch 3",
            "a query of 8 samples is no whole number of batches of 3",
        ),
    ] {
        let refused = bench(args);
        assert_eq!(refused.status.code(), Some(2), "{args}");
        assert!(words(&refused).contains(mend), "{args}: {}", words(&refused));
    }
}

#[test]
fn devices_lists_who_is_there() {
    let place = Place::new("tiny.onnx", 8);
    let broker = broker();
    let list = |args: &str| {
        let output = place
            .edgefront(&format!("devices --broker {} {args}", broker.url()))
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", words(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(list("--json"), "[]\n");
    let mut watch = place
        .edgefront(&format!("devices --watch --json --broker {}", broker.url()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let _agent = place.agent(&broker, "pi");
    let mut lines = BufReader::new(watch.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap);
    let seen: serde_json::Value = serde_json::from_str(&lines.next().unwrap()).unwrap();
    assert_eq!((&seen["id"], &seen["online"]), (&"pi".into(), &true.into()));
    watch.kill().unwrap();
    watch.wait().unwrap();
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&list("--json")).unwrap(),
        serde_json::json!([seen])
    );
    assert!(list("").contains("tract"));
}
