//! A governor that an agent sets, on a system that is a tree of files.

use std::fs;
use std::path::{Path, PathBuf};

use edgefront_protocol::{Ack, Cancel, Governor, JobState, Plan, Topic};
use edgefront_tests::PATIENCE;
use edgefront_tests::broker::{Broker, Kind};
use edgefront_tests::jobs::job;
use tempfile::TempDir;

use crate::rig::{Agent, Controller, batch, long, model, short};

/// A system with one group of processors, and the file of its governor.
fn system() -> (TempDir, PathBuf) {
    let root = tempfile::tempdir().unwrap();
    let policy = root.path().join("sys/devices/system/cpu/cpufreq/policy0");
    fs::create_dir_all(&policy).unwrap();
    fs::write(
        policy.join("scaling_available_governors"),
        "ondemand performance\n",
    )
    .unwrap();
    let governor = policy.join("scaling_governor");
    fs::write(&governor, "ondemand\n").unwrap();
    (root, governor)
}

fn governor(file: &Path) -> String {
    fs::read_to_string(file).unwrap().trim().to_owned()
}

async fn becomes(file: &Path, wanted: &str) {
    let changed = async {
        while governor(file) != wanted {
            tokio::task::yield_now().await;
        }
    };
    let changed = tokio::time::timeout(PATIENCE, changed).await;
    assert!(changed.is_ok(), "it stays {} and not {wanted}", governor(file));
}

fn performance(plan: Plan) -> Plan {
    Plan {
        governor: Some(Governor::Performance),
        ..plan
    }
}

/// A controller, and an agent on such a system.
struct Stage {
    controller: Controller,
    agent: Agent,
    file: PathBuf,
    _system: TempDir,
    _broker: Broker,
}

async fn stage() -> Stage {
    let broker = Broker::start(Kind::BuiltIn);
    let mut controller = Controller::start(&broker).await;
    let (system, file) = system();
    let config = system.path().join("agent.toml");
    fs::write(&config, format!("system = '{}'\n", system.path().display())).unwrap();
    let agent = Agent::start_with(&broker, &["--config", config.to_str().unwrap()]);
    controller.is_online().await;
    Stage {
        controller,
        agent,
        file,
        _system: system,
        _broker: broker,
    }
}

#[tokio::test]
async fn a_governor_is_put_back_after_a_batch_a_cancel_and_a_kill() {
    let Stage {
        mut controller,
        mut agent,
        file,
        _system,
        _broker,
    } = stage().await;
    let blob = controller.offer(model());

    let jobs = vec![job("brief", "null", blob, performance(short()))];
    controller.measure(batch("b1", jobs)).await;
    controller.until("the outcome", |c| c.outcomes.len() == 1).await;
    let brief = &controller.outcomes.values().next().unwrap().result;
    let conditions = &brief.as_ref().unwrap().conditions;
    assert_eq!(conditions.governor.as_deref(), Some("performance"));
    becomes(&file, "ondemand").await;
    let ack = Ack {
        job: "brief".parse().unwrap(),
    };
    controller.send(Topic::Ack, &ack).await;

    let jobs = vec![job("endless", "null", blob, performance(long()))];
    controller.measure(batch("b2", jobs)).await;
    let is_measuring = |c: &Controller| {
        let states = c.states.values();
        states
            .clone()
            .any(|state| matches!(state, JobState::Measuring { done: 1.., .. }))
    };
    controller.states.clear();
    controller.until("a round", is_measuring).await;
    assert_eq!(governor(&file), "performance");
    agent.kill();
    assert_eq!(governor(&file), "performance", "nobody was there to put it back");

    // It measures the same batch anew: what it finds, and puts back in the end, is what the start put back.
    controller.states.clear();
    agent.start_again();
    controller.until("another round", is_measuring).await;
    assert_eq!(governor(&file), "performance");
    let cancel = Cancel {
        batch: "b2".parse().unwrap(),
    };
    controller.send(Topic::Cancel, &cancel).await;
    controller.until("the end", |c| c.outcomes.len() == 2).await;
    becomes(&file, "ondemand").await;
    agent.terminate();
}

#[tokio::test]
async fn a_governor_that_a_killed_agent_left_is_put_back_by_the_next_start() {
    let Stage {
        mut controller,
        mut agent,
        file,
        _system,
        _broker,
    } = stage().await;
    let blob = controller.offer(model());
    let jobs = vec![job("endless", "null", blob, performance(long()))];
    controller.measure(batch("b1", jobs)).await;
    let is_set = |_: &Controller| governor(&file) == "performance";
    controller.until("the governor is set", is_set).await;
    agent.kill();
    // A start without the batch, as of an agent whose controller called it off meanwhile.
    fs::remove_file(agent.state.path().join("batches/b1")).unwrap();
    drop(controller);
    agent.start_again();
    becomes(&file, "ondemand").await;
}
