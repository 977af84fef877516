//! Whose jobs an agent runs, and which of them may be machine code.

use std::path::Path;
use std::process::{Command, Output};

use edgefront_protocol::outcome::Stage;
use edgefront_protocol::{DeviceId, Failure, Format, JobId, PublicKey, SigningKey, Trust};
use serde_json::Value;

use super::rig::{self, Agent, Controller, batch, model, short};
use super::*;

fn key() -> SigningKey {
    SigningKey::from_pkcs8(&SigningKey::generate()).unwrap()
}

/// Waits for the one failure of a job.
async fn failure(controller: &mut Controller, name: &str) -> Failure {
    let job: JobId = name.parse().unwrap();
    controller.until(name, |c| c.outcomes.contains_key(&job)).await;
    controller.outcomes[&job].result.clone().unwrap_err()
}

pub(super) async fn only_what_the_named_controller_signed_for_this_device_is_run(kind: Kind) {
    let broker = Broker::start(kind);
    let mut controller = Controller::start(&broker).await;
    let (ours, other) = (key(), key());
    let agent = Agent::start_with(&broker, &["--controller", &ours.public().to_string()]);
    controller.is_online().await;
    let Some(Presence::Online(_, _, _, trust, ..)) = &controller.presence else {
        unreachable!()
    };
    assert_eq!(*trust, Trust::Controllers(vec![ours.public()]));

    let blob = controller.offer(model());
    let work = |name: &str| batch(name, vec![job(name, "null", blob, short())]);
    let (here, elsewhere) = (rig::device(), "pi5".parse::<DeviceId>().unwrap());
    let mut altered = ours.seal(&work("altered"), &here);
    let length = altered.len();
    altered[length - 1] ^= 1;
    let refused = [
        ("other", other.seal(&work("other"), &here)),
        ("altered", altered),
        ("elsewhere", ours.seal(&work("elsewhere"), &elsewhere)),
    ];
    for (name, message) in refused {
        controller.measure_message(message).await;
        let said = failure(&mut controller, name).await;
        assert_eq!(said.stage, Stage::Fetch);
        let expected = match name {
            "other" => format!(
                "`pi4` refused the job: {} signed it, which is none of `controllers`",
                other.public()
            ),
            _ => "`pi4` refused the job: its signature does not fit: ".to_owned(),
        };
        assert!(said.error.starts_with(&expected), "{}", said.error);
    }
    controller.measure(work("unsigned")).await;
    let said = failure(&mut controller, "unsigned").await;
    let expected =
        "`pi4` refused the job: it is not signed, and the device takes only what a key of `controllers`";
    assert!(said.error.starts_with(expected), "{}", said.error);
    assert_eq!((agent.files("batches"), agent.files("outcomes")), (0, 0));
    assert_eq!(
        (agent.files("blobs"), agent.files("partial"), controller.wants),
        (0, 0, 0)
    );

    controller.measure_message(ours.seal(&work("ours"), &here)).await;
    controller
        .until("a fifth outcome", |c| c.outcomes.len() == 5)
        .await;
    assert!(
        controller.outcomes[&"ours".parse::<JobId>().unwrap()]
            .result
            .is_ok()
    );
    assert_eq!(agent.files("blobs"), 1);
}

/// Jobs wait on the device, some of anybody, when it is told whose jobs it is to take.
pub(super) async fn what_was_taken_before_must_be_of_a_named_controller_too(kind: Kind) {
    let broker = Broker::start(kind);
    let mut controller = Controller::start(&broker).await;
    let mut agent = Agent::start(&broker);
    controller.is_online().await;
    let blob = controller.offer(model());
    let key = key();
    let anybodys = batch("anybodys", vec![job("anybodys", "null", blob, long())]);
    controller.measure(anybodys).await;
    let ours = batch("ours", vec![job("ours", "null", blob, short())]);
    controller.measure_message(key.seal(&ours, &rig::device())).await;
    controller.until("both jobs", |c| c.states.len() == 2).await;
    agent.terminate();
    controller.is_offline().await;
    assert!(controller.outcomes.is_empty());

    agent.flags = vec!["--controller".to_owned(), key.public().to_string()];
    agent.start_again();
    let said = failure(&mut controller, "anybodys").await;
    assert!(
        said.error
            .starts_with("`pi4` gave the job up: it was taken unsigned, "),
        "{}",
        said.error
    );
    controller.until("two outcomes", |c| c.outcomes.len() == 2).await;
    assert!(
        controller.outcomes[&"ours".parse::<JobId>().unwrap()]
            .result
            .is_ok()
    );
}

pub(super) async fn machine_code_runs_only_where_the_agent_was_told_to(kind: Kind) {
    let broker = Broker::start(kind);
    let mut controller = Controller::start(&broker).await;
    let blob = controller.offer(model());
    let code = |name: &str| {
        let mut job = job(name, "null", blob, short());
        job.artifact.format = Format::So;
        batch(name, vec![job])
    };
    let key = key();
    let named = ["--controller", &key.public().to_string(), "--machine-code"];

    let mut agent = Agent::start_with(&broker, &named[..2]);
    controller.is_online().await;
    controller
        .measure_message(key.seal(&code("refused"), &rig::device()))
        .await;
    let said = failure(&mut controller, "refused").await;
    assert_eq!(said.stage, Stage::Load);
    let expected = "this agent runs no machine code that jobs bring; `machine_code = true`";
    assert!(said.error.starts_with(expected), "{}", said.error);
    agent.terminate();
    controller.is_offline().await;

    let _agent = Agent::start_with(&broker, &named);
    controller.is_online().await;
    controller
        .measure_message(key.seal(&code("taken"), &rig::device()))
        .await;
    let taken: JobId = "taken".parse().unwrap();
    controller
        .until("an outcome", |c| c.outcomes.contains_key(&taken))
        .await;
    assert!(controller.outcomes[&taken].result.is_ok());
}

/// It says so once, to who reads its log.
pub(super) async fn an_agent_that_names_nobody_says_whose_jobs_it_takes(kind: Kind) {
    let broker = Broker::start(kind);
    let mut controller = Controller::start(&broker).await;
    let state = tempfile::tempdir().unwrap();
    let mut agent = command(&broker.url().to_string(), state.path(), &[]);
    let agent = agent.stderr(Stdio::piped()).spawn().unwrap();
    controller.is_online().await;
    assert!(matches!(
        controller.presence,
        Some(Presence::Online(_, _, _, Trust::Everybody, ..))
    ));
    let pid = agent.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .unwrap()
            .success()
    );
    let said = words(&agent.wait_with_output().unwrap().stderr);
    let warnings = said
        .matches("`pi4` takes jobs of everybody who may publish at ")
        .count();
    assert_eq!(warnings, 1, "{said}");
}

/// What `edgefront` says to a user with settings in this folder.
fn edgefront(settings: &Path, args: &[&str]) -> Output {
    let mut command = edgefront_tests::program::edgefront();
    command
        .env("XDG_CONFIG_HOME", settings)
        .args(args)
        .output()
        .unwrap()
}

fn words(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Two users of one workstation, and a device of the first.
pub(super) async fn the_command_signs_what_it_sends(kind: Kind) {
    let broker = Broker::start(kind);
    let mut controller = Controller::start(&broker).await;
    let dir = tempfile::tempdir().unwrap();
    let (ours, others) = (dir.path().join("ours"), dir.path().join("others"));
    let key = |settings: &Path| {
        let key = words(&edgefront(settings, &["keys"]).stdout);
        key.trim().parse::<PublicKey>().unwrap()
    };
    let (our_key, other_key) = (key(&ours), key(&others));
    assert_eq!(key(&ours), our_key);
    let json: Value = serde_json::from_slice(&edgefront(&ours, &["keys", "--json"]).stdout).unwrap();
    assert_eq!(json["public_key"], our_key.to_string());

    let _agent = Agent::start_with(&broker, &["--controller", &our_key.to_string()]);
    controller.is_online().await;
    let (url, model) = (broker.url().to_string(), edgefront_tests::jobs::tiny());
    let bench = |settings: &Path| {
        let mut args = vec![
            "bench",
            model.to_str().unwrap(),
            "--runtime",
            "tract",
            "--device",
            "pi4",
        ];
        args.extend(["--min-time", "20ms", "--json", "--broker", &url]);
        edgefront(settings, &args)
    };
    let measured = bench(&ours);
    assert!(measured.status.success(), "{}", words(&measured.stderr));
    let refused = bench(&others);
    assert_eq!(refused.status.code(), Some(1));
    let expected = format!(
        "error: pi4: the device takes no jobs of this controller; add \"{other_key}\" to `controllers` in its agent.toml"
    );
    assert!(
        words(&refused.stderr).contains(&expected),
        "{}",
        words(&refused.stderr)
    );

    let listed = edgefront(&ours, &["devices", "--json", "--broker", &url]);
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(listed[0]["controllers"], serde_json::json!([our_key.to_string()]));
}
