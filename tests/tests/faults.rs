//! Studies with everything that can go down going down: every job ends exactly once, nothing is measured twice
//! into the results, nothing is lost.
//!
//! The programs are real processes, killed as by `kill -9`, on the built-in broker and on mosquitto, neither of
//! which remembers anything after a restart. Each test acts when a device said something or a wire carried so
//! many bytes.

#![allow(clippy::unwrap_used)]

use edgefront_protocol::outcome::Stage;
use edgefront_tests::broker::{Broker, Kind};
use edgefront_tests::fleet::{self, Study};
use edgefront_tests::gate::Gate;
use edgefront_tests::observer::{Observer, Said, is_measuring};

/// Measured at once.
const SHORT: &str = "20ms";
/// Long enough that a device that said it measures still does when it is killed.
const LONG: &str = "1s";
/// Artifacts of a size that does not matter.
const SMALL: usize = 100_000;
/// Artifacts whose transfer can be stopped in the middle: 128 chunks each.
const LARGE: usize = 8 << 20;

async fn a_whole_study_ends_with_every_job_measured_once(kind: Kind) {
    let broker = Broker::start(kind);
    let mut observer = Observer::connect(broker.url()).await;
    let study = Study::new(&broker.url(), SMALL, SHORT);
    let _agent = fleet::agent(&broker.url(), &study.agent_state());
    observer.until_online().await;
    assert_eq!(study.run().exit_code().await, 0);
    observer.until_ended(Study::JOBS).await;
    study.assert_all_measured();
}

async fn an_agent_killed_during_a_transfer_fetches_only_the_rest(kind: Kind) {
    let broker = Broker::start(kind);
    let mut observer = Observer::connect(broker.url()).await;
    let study = Study::new(&broker.url(), LARGE, SHORT);
    let half = study.artifact_bytes() / 2;
    let gate = Gate::closing_after(half, &broker.url());
    let agent = fleet::agent(&gate.url(), &study.agent_state());
    observer.until_online().await;
    let controller = study.run();
    gate.wait_until_closed();
    agent.kill();
    gate.open();

    let before = gate.passed();
    let _agent = fleet::agent(&gate.url(), &study.agent_state());
    assert_eq!(controller.exit_code().await, 0);
    study.assert_all_measured();
    // Two artifacts less what was here. The window that was under way, chunks that a busy machine delivered after
    // they were asked for again, and what is not chunks come on top; all of the half would be 4 MiB.
    let rest = 2 * study.artifact_bytes() - half;
    let slack = 3 << 20;
    assert!(
        gate.passed() - before < rest + slack,
        "{} bytes for {rest}",
        gate.passed() - before
    );
}

async fn an_agent_killed_during_a_measurement_measures_anew(kind: Kind) {
    let broker = Broker::start(kind);
    let mut observer = Observer::connect(broker.url()).await;
    let study = Study::new(&broker.url(), SMALL, LONG);
    let agent = fleet::agent(&broker.url(), &study.agent_state());
    observer.until_online().await;
    let controller = study.run();
    observer.until_measuring().await;
    agent.kill();
    observer
        .until("offline", |said| matches!(said, Said::Offline(_)))
        .await;
    assert!(observer.outcomes().is_empty(), "killed too late");

    let _agent = fleet::agent(&broker.url(), &study.agent_state());
    observer.until_measuring().await;
    assert_eq!(controller.exit_code().await, 0);
    observer.until_ended(Study::JOBS).await;
    assert_eq!(observer.outcomes().len(), Study::JOBS);
    study.assert_all_measured();
}

async fn a_broker_restarted_during_a_transfer_and_a_measurement_is_missed_by_nobody(kind: Kind) {
    let mut broker = Broker::start(kind);
    let mut observer = Observer::connect(broker.url()).await;
    let study = Study::new(&broker.url(), LARGE, LONG);
    let gate = Gate::closing_after(study.artifact_bytes() / 2, &broker.url());
    let _agent = fleet::agent(&gate.url(), &study.agent_state());
    observer.until_online().await;
    let controller = study.run();
    gate.wait_until_closed();
    broker.start_again();
    gate.open();
    observer.until_measuring().await;
    broker.start_again();
    assert_eq!(controller.exit_code().await, 0);
    study.assert_all_measured();
}

async fn a_controller_killed_during_a_transfer_resumes(kind: Kind) {
    let broker = Broker::start(kind);
    let mut observer = Observer::connect(broker.url()).await;
    let study = Study::new(&broker.url(), LARGE, SHORT);
    let gate = Gate::closing_after(study.artifact_bytes() / 2, &broker.url());
    let _agent = fleet::agent(&gate.url(), &study.agent_state());
    observer.until_online().await;
    let controller = study.run();
    gate.wait_until_closed();
    controller.kill();
    gate.open();
    assert_eq!(study.resume().exit_code().await, 0);
    observer.until_ended(Study::JOBS).await;
    assert_eq!(observer.outcomes().len(), Study::JOBS);
    study.assert_all_measured();
}

async fn a_controller_killed_at_the_first_outcome_resumes_and_measures_nothing_twice(kind: Kind) {
    let broker = Broker::start(kind);
    let mut observer = Observer::connect(broker.url()).await;
    let study = Study::new(&broker.url(), SMALL, SHORT);
    let _agent = fleet::agent(&broker.url(), &study.agent_state());
    observer.until_online().await;
    let controller = study.run();
    observer.until_ended(1).await;
    controller.kill();
    assert_eq!(study.resume().exit_code().await, 0);
    observer.until_ended(Study::JOBS).await;
    assert_eq!(observer.outcomes().len(), Study::JOBS);
    study.assert_all_measured();
}

async fn what_is_measured_while_the_controller_is_away_waits_for_it(kind: Kind) {
    let broker = Broker::start(kind);
    let mut observer = Observer::connect(broker.url()).await;
    let study = Study::new(&broker.url(), SMALL, LONG);
    let _agent = fleet::agent(&broker.url(), &study.agent_state());
    observer.until_online().await;
    let controller = study.run();
    observer.until_measuring().await;
    controller.kill();
    observer.until_ended(Study::JOBS).await;
    observer.rest();

    assert_eq!(study.resume().exit_code().await, 0);
    study.assert_all_measured();
    let again = observer.rest();
    assert!(!again.iter().any(is_measuring), "{again:?}");
    assert_eq!(observer.outcomes().len(), Study::JOBS);
}

async fn an_interrupted_bench_leaves_nothing_on_the_device(kind: Kind) {
    let broker = Broker::start(kind);
    let mut observer = Observer::connect(broker.url()).await;
    let state = tempfile::tempdir().unwrap();
    let _agent = fleet::agent(&broker.url(), state.path());
    observer.until_online().await;
    let bench = fleet::bench(&broker.url(), "1h");
    observer.until_measuring().await;
    bench.interrupt();
    assert_eq!(bench.exit_code().await, 1);
    observer.until_ended(1).await;
    let ended = observer.outcomes().values().next().unwrap();
    assert_eq!(ended.result.as_ref().unwrap_err().stage, Stage::Cancelled);
    // The acknowledgement is before the next jobs.
    assert_eq!(fleet::bench(&broker.url(), "1ms").exit_code().await, 0);
    let kept = |folder: &str| std::fs::read_dir(state.path().join(folder)).unwrap();
    let kept = kept("batches")
        .chain(kept("outcomes"))
        .map(|file| file.unwrap().file_name());
    let of_interrupted = [ended.batch.as_str(), ended.job.as_str()];
    assert!(
        kept.into_iter()
            .all(|name| !of_interrupted.contains(&name.to_str().unwrap()))
    );
}

macro_rules! on_both_brokers {
    ($($name:ident),* $(,)?) => {
        mod built_in {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
                async fn $name() {
                    super::$name(edgefront_tests::broker::Kind::BuiltIn).await;
                }
            )*
        }
        mod mosquitto {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
                async fn $name() {
                    super::$name(edgefront_tests::broker::Kind::Mosquitto).await;
                }
            )*
        }
    };
}

on_both_brokers!(
    a_whole_study_ends_with_every_job_measured_once,
    an_agent_killed_during_a_transfer_fetches_only_the_rest,
    an_agent_killed_during_a_measurement_measures_anew,
    a_broker_restarted_during_a_transfer_and_a_measurement_is_missed_by_nobody,
    a_controller_killed_during_a_transfer_resumes,
    a_controller_killed_at_the_first_outcome_resumes_and_measures_nothing_twice,
    what_is_measured_while_the_controller_is_away_waits_for_it,
    an_interrupted_bench_leaves_nothing_on_the_device,
);
