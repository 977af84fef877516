//! Studies on the agent that is built for 64-bit ARM, under qemu's emulation of programs: that the build runs, finds
//! its runtimes and answers right. How fast it is says nothing, and the results say so.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use edgefront_tests::broker::{Broker, Kind};
use edgefront_tests::emulator::Emulator;
use edgefront_tests::fleet::{self, Study};
use edgefront_tests::observer::Observer;

/// Measured at once.
const SHORT: &str = "20ms";
/// Artifacts of a size that does not matter.
const SMALL: usize = 100_000;

async fn a_study_runs_end_to_end_and_no_frontier_has_it(runtime: &str) {
    let broker = Broker::start(Kind::BuiltIn);
    let mut observer = Observer::connect(broker.url()).await;
    let study = Study::on_runtime(runtime, &broker.url(), SMALL, SHORT);
    let emulator = Emulator::aarch64();
    let _agent = emulator.agent(&broker.url(), &study.agent_state());
    observer.until_online().await;
    assert_eq!(study.run().exit_code().await, 0);
    study.assert_all_measured();

    let results = study.results();
    assert_eq!(results["devices"][0]["arch"], "aarch64");
    for record in results["records"].as_array().unwrap() {
        assert_eq!(record["runtime"], runtime);
        let conditions = &record["conditions"];
        assert_eq!(conditions["emulated"], true);
        assert_eq!(conditions["valid"], false);
        assert!(conditions["notes"].to_string().contains("under an emulator"));
        assert_eq!(record["not_ranked"], "measured under an emulator");
        assert_eq!(record["pareto"], false);
    }
}

#[tokio::test]
async fn tract_under_qemu() {
    a_study_runs_end_to_end_and_no_frontier_has_it("tract").await;
}

#[tokio::test]
async fn tflite_of_aarch64_under_qemu() {
    let broker = Broker::start(Kind::BuiltIn);
    let mut observer = Observer::connect(broker.url()).await;
    let state = tempfile::tempdir().unwrap();
    let emulator = Emulator::aarch64();
    let _agent = emulator.agent(&broker.url(), state.path());
    observer.until_online().await;
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/models/small_int8.tflite");
    let bench = fleet::short_bench(&model, "tflite", &broker.url());
    assert_eq!(bench.exit_code().await, 0);
}

/// `aarch64`: with the library that is published for it.
#[tokio::test]
async fn ort_of_aarch64_under_qemu() {
    a_study_runs_end_to_end_and_no_frontier_has_it("ort").await;
}
