//! An agent as a process on a real broker, and a controller that is as small as it can be.

#![allow(clippy::unwrap_used)]

mod governor;
mod rig;
mod trust;

use std::collections::BTreeMap;
use std::process::Stdio;

use edgefront_protocol::outcome::Stage;
use edgefront_protocol::{
    Ack, Announcement, Cancel, Incarnation, JobId, JobState, Presence, RuntimeState, Topic,
};
use edgefront_tests::PATIENCE;
use edgefront_tests::broker::{Broker, Kind};
use edgefront_tests::jobs::job;

use trust::{
    an_agent_that_names_nobody_says_whose_jobs_it_takes, machine_code_runs_only_where_the_agent_was_told_to,
    only_what_the_named_controller_signed_for_this_device_is_run, the_command_signs_what_it_sends,
    what_was_taken_before_must_be_of_a_named_controller_too,
};

use rig::{Agent, Controller, are_gone, batch, command, large, long, model, short};

async fn a_batch_is_fetched_measured_and_forgotten_when_acknowledged(kind: Kind) {
    let broker = Broker::start(kind);
    let mut controller = Controller::start(&broker).await;
    let mut agent = Agent::start(&broker);
    controller.is_online().await;
    let Some(Presence::Online(device, ..)) = &controller.presence else {
        unreachable!()
    };
    let tract = device.runtimes.iter().find(|runtime| runtime.name == "tract");
    assert!(matches!(tract.unwrap().state, RuntimeState::Ready { .. }));
    assert!(device.cores > 0 && device.memory.0 > 0 && !device.cpu.is_empty());

    let (model, bytes) = (controller.offer(model()), controller.offer(large()));
    let jobs = vec![
        job("small", "tract", model, short()),
        job("large", "null", bytes, short()),
    ];
    let sent = batch("b1", jobs);
    controller.measure(sent.clone()).await;
    controller.measure(sent).await;
    controller.until("outcomes", |c| c.outcomes.len() == 2).await;
    for outcome in controller.outcomes.values() {
        let measurement = outcome.result.as_ref().unwrap();
        assert_eq!(measurement.latency.rounds.len(), 2);
    }

    for job in ["small", "large"] {
        controller
            .send(
                Topic::Ack,
                &Ack {
                    job: job.parse().unwrap(),
                },
            )
            .await;
    }
    // What is sent after the acknowledgements is answered after them.
    let next = batch("b2", vec![job("next", "abacus", model, short())]);
    controller.measure(next).await;
    controller
        .until("the next outcome", |c| c.outcomes.len() == 3)
        .await;
    assert_eq!(
        (
            agent.files("batches"),
            agent.files("outcomes"),
            agent.files("blobs")
        ),
        (1, 1, 2)
    );

    agent.terminate();
    controller.is_offline().await;
}

async fn a_crash_while_measuring_costs_no_job_and_repeats_none(kind: Kind) {
    let broker = Broker::start(kind);
    let mut controller = Controller::start(&broker).await;
    let mut agent = Agent::start(&broker);
    controller.is_online().await;
    let model = controller.offer(model());
    let done = batch("done", vec![job("done", "null", model, short())]);
    controller.measure(done).await;
    controller.until("an outcome", |c| c.outcomes.len() == 1).await;
    let jobs = ["a", "b"].map(|name| job(name, "null", model, long())).to_vec();
    controller.measure(batch("open", jobs)).await;
    // The last that was heard of the job that is done may be that it measures.
    let is_open = |job: &JobId| job.as_str() != "done";
    let measuring = |c: &Controller| {
        c.states
            .iter()
            .any(|(job, state)| is_open(job) && matches!(state, JobState::Measuring { .. }))
    };
    controller.until("measuring", measuring).await;
    let workers = agent.workers();
    assert_eq!(workers.len(), 2);
    agent.kill();
    are_gone(&workers).await;
    controller.is_offline().await;

    controller.states.clear();
    let first = std::mem::take(&mut controller.outcomes);
    agent.start_again();
    controller
        .until("the outcome again", |c| c.outcomes.len() == 1)
        .await;
    assert_eq!(controller.outcomes, first);
    controller.until("measuring again", measuring).await;
    let batch = "open".parse().unwrap();
    controller.send(Topic::Cancel, &Cancel { batch }).await;
    controller.until("all outcomes", |c| c.outcomes.len() == 3).await;
    for name in ["a", "b"] {
        let outcome = &controller.outcomes[&name.parse::<JobId>().unwrap()];
        assert_eq!(outcome.result.as_ref().unwrap_err().stage, Stage::Cancelled);
    }
}

async fn a_blob_that_rots_on_the_disk_is_never_run(kind: Kind) {
    let broker = Broker::start(kind);
    let mut controller = Controller::start(&broker).await;
    let agent = Agent::start(&broker);
    controller.is_online().await;
    let content = model();
    let blob = controller.offer(content.clone());
    controller
        .measure(batch("b1", vec![job("a", "tract", blob, short())]))
        .await;
    controller.until("an outcome", |c| c.outcomes.len() == 1).await;

    let place = agent.state.path().join(format!("blobs/{}", blob.digest));
    let mut rotten = content.clone();
    rotten[content.len() / 2] ^= 0x80;
    std::fs::write(&place, rotten).unwrap();
    controller
        .measure(batch("b2", vec![job("b", "tract", blob, short())]))
        .await;
    controller
        .until("the next outcome", |c| c.outcomes.len() == 2)
        .await;
    assert!(std::fs::read(&place).unwrap() == content);
    assert!(controller.outcomes.values().all(|outcome| outcome.result.is_ok()));
}

async fn a_broker_that_comes_back_finds_device_and_outcomes_again(kind: Kind) {
    let mut broker = Broker::start(kind);
    let mut controller = Controller::start(&broker).await;
    let _agent = Agent::start(&broker);
    controller.is_online().await;
    let model = controller.offer(model());
    let jobs = vec![job("a", "null", model, short())];
    controller.measure(batch("b", jobs)).await;
    controller.until("an outcome", |c| c.outcomes.len() == 1).await;
    (controller.presence, controller.outcomes) = (None, BTreeMap::new());
    broker.start_again();
    controller.is_online().await;
    controller
        .until("the outcome again", |c| c.outcomes.len() == 1)
        .await;
}

async fn of_two_agents_of_one_id_the_later_one_ends_and_says_why(kind: Kind) {
    let broker = Broker::start(kind);
    let mut controller = Controller::start(&broker).await;
    let _first = Agent::start(&broker);
    controller.is_online().await;
    let state = tempfile::tempdir().unwrap();
    let second = command(&broker.url().to_string(), state.path(), &[])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let output = tokio::task::spawn_blocking(|| second.wait_with_output());
    let output = tokio::time::timeout(PATIENCE, output).await.expect("it ends");
    let output = output.unwrap().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let expected = "error: another agent with the id `pi4` is connected to the broker at ";
    assert!(said.contains(expected), "{said}");

    let model = controller.offer(model());
    let jobs = vec![job("a", "null", model, short())];
    controller.measure(batch("b", jobs)).await;
    controller.until("an outcome", |c| c.outcomes.len() == 1).await;
    controller.is_online().await;
}

/// Its disk takes no blob, then nothing, then all again.
#[tokio::test]
async fn an_agent_on_a_full_disk_says_so_and_goes_on() {
    let broker = Broker::start(Kind::BuiltIn);
    let mut controller = Controller::start(&broker).await;
    let mut agent = Agent::start(&broker);
    controller.is_online().await;
    let (small, large) = (controller.offer(model()), controller.offer(large()));
    let failure = |controller: &Controller, name: &str| {
        let outcome = &controller.outcomes[&name.parse::<JobId>().unwrap()];
        outcome.result.clone().unwrap_err()
    };

    agent.limit_files("1000000");
    let jobs = vec![
        job("large", "null", large, short()),
        job("small", "null", small, short()),
    ];
    controller.measure(batch("b1", jobs)).await;
    controller.until("two outcomes", |c| c.outcomes.len() == 2).await;
    let said = failure(&controller, "large");
    assert_eq!(said.stage, Stage::Fetch);
    assert!(
        said.error.starts_with("the device cannot store the blob: "),
        "{}",
        said.error
    );
    assert_eq!(
        (
            agent.files("partial"),
            agent.files("blobs"),
            agent.files("outcomes")
        ),
        (0, 1, 2)
    );

    let open = vec![job("open", "null", small, long())];
    controller.measure(batch("b2", open)).await;
    let measures = |state: Option<&JobState>| matches!(state, Some(JobState::Measuring { .. }));
    let open: JobId = "open".parse().unwrap();
    controller
        .until("measuring", |c| measures(c.states.get(&open)))
        .await;
    agent.limit_files("0");
    let batch_2 = "b2".parse().unwrap();
    controller.send(Topic::Cancel, &Cancel { batch: batch_2 }).await;
    controller
        .measure(batch("b3", vec![job("late", "null", small, short())]))
        .await;
    controller.until("four outcomes", |c| c.outcomes.len() == 4).await;
    assert_eq!(failure(&controller, "open").stage, Stage::Cancelled);
    let said = failure(&controller, "late");
    assert_eq!(said.stage, Stage::Fetch);
    assert!(
        said.error.starts_with("the device cannot store the batch: "),
        "{}",
        said.error
    );
    assert_eq!((agent.files("batches"), agent.files("outcomes")), (2, 2));

    agent.limit_files("unlimited");
    controller
        .measure(batch("b4", vec![job("last", "null", large, short())]))
        .await;
    controller.until("five outcomes", |c| c.outcomes.len() == 5).await;
    assert!(
        controller.outcomes[&"last".parse::<JobId>().unwrap()]
            .result
            .is_ok()
    );
    assert!(agent.child.try_wait().unwrap().is_none());
}

/// The second run of an agent is there, and announced itself more than `count` times.
async fn second_run(controller: &mut Controller, first: Incarnation, count: Announcement) -> Announcement {
    controller.presence = None;
    let is_there = |presence: &Option<Presence>| match presence {
        Some(Presence::Online(device, latest, ..)) => device.incarnation != first && *latest > count,
        _ => false,
    };
    controller
        .until("the second run", |c| is_there(&c.presence))
        .await;
    controller.presence.as_ref().unwrap().run().1
}

async fn what_a_broker_brings_back_from_its_disk_is_no_rival() {
    let mut broker = Broker::start(Kind::MosquittoOnDisk);
    let mut controller = Controller::start(&broker).await;
    let mut agent = Agent::start(&broker);
    controller.is_online().await;
    let (first, _) = controller.presence.as_ref().unwrap().run();
    broker.terminate();
    broker.start_again();
    agent.kill();
    agent.start_again();
    let mut count = second_run(&mut controller, first, 0).await;
    // Each time the broker remembers the first run only.
    for _ in 0..3 {
        broker.start_again();
        count = second_run(&mut controller, first, count).await;
    }
    assert!(agent.child.try_wait().unwrap().is_none());
}

macro_rules! on_both_brokers {
    ($($name:ident),* $(,)?) => {
        mod built_in {
            use super::Kind;
            $(#[tokio::test] async fn $name() { super::$name(Kind::BuiltIn).await; })*
        }
        mod mosquitto {
            use super::Kind;
            $(#[tokio::test] async fn $name() { super::$name(Kind::Mosquitto).await; })*

            #[tokio::test]
            async fn what_a_broker_brings_back_from_its_disk_is_no_rival() {
                super::what_a_broker_brings_back_from_its_disk_is_no_rival().await;
            }
        }
    };
}

on_both_brokers!(
    a_batch_is_fetched_measured_and_forgotten_when_acknowledged,
    a_crash_while_measuring_costs_no_job_and_repeats_none,
    a_blob_that_rots_on_the_disk_is_never_run,
    a_broker_that_comes_back_finds_device_and_outcomes_again,
    of_two_agents_of_one_id_the_later_one_ends_and_says_why,
    only_what_the_named_controller_signed_for_this_device_is_run,
    machine_code_runs_only_where_the_agent_was_told_to,
    the_command_signs_what_it_sends,
    an_agent_that_names_nobody_says_whose_jobs_it_takes,
    what_was_taken_before_must_be_of_a_named_controller_too,
);
