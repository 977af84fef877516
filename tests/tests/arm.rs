//! Studies on the agent that is built for 64-bit ARM, under qemu's emulation of programs and on a whole machine that
//! qemu emulates: that the build runs, finds its runtimes and answers right. How fast it is says nothing, and the
//! results say so.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::time::Instant;

use edgefront_protocol::{Bytes, RuntimeState};
use edgefront_tests::board::Board;
use edgefront_tests::broker::{Broker, Kind};
use edgefront_tests::emulator::Emulator;
use edgefront_tests::fleet::{self, DEVICE, HERE, Study};
use edgefront_tests::observer::Observer;
use serde_json::Value;

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
        assert_no_frontier_has_it(record);
    }
}

fn assert_no_frontier_has_it(record: &Value) {
    let conditions = &record["conditions"];
    assert_eq!(conditions["emulated"], true);
    assert_eq!(conditions["valid"], false);
    assert!(conditions["notes"].to_string().contains("under an emulator"));
    assert_eq!(record["not_ranked"], "measured under an emulator");
    assert_eq!(record["pareto"], false);
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

/// `debian`: with Debian's kernel for it, on a board of its own on which a bundle is installed.
#[tokio::test]
#[ignore = "boots a machine under an emulator, a minute"]
async fn ort_and_tract_of_aarch64_on_debian_in_qemu_predict_what_they_do_here() {
    let broker = Broker::start(Kind::BuiltIn);
    let mut observer = Observer::connect(broker.url()).await;
    let (device, inventory) = {
        let board = Board::boot(&broker.url());
        let booted = Instant::now();
        let said = observer.until_online().await;
        let presence = booted.elapsed();
        let console = board.console();
        assert!(
            console.contains("for armv7, does not start on this device"),
            "a bundle that does not fit is refused"
        );
        assert!(!console.contains("the misfit was installed"));
        study_on_the_board(&broker, &mut observer).await;
        // For docs/arm.md.
        eprintln!(
            "root {}, presence after {presence:.1?}, studies done after {:.1?}",
            Bytes(board.initramfs_bytes()),
            booted.elapsed()
        );
        said
    };
    assert_eq!(device.arch, "aarch64");
    assert!(
        device
            .os
            .ends_with(&format!("kernel {}", Board::kernel_version())),
        "{}",
        device.os
    );
    assert_eq!(device.cores, 2);
    assert!(
        (800_000_000..1 << 30).contains(&device.memory.0),
        "{:?}",
        device.memory
    );
    // A cortex-a72 has no dot products.
    assert_eq!(device.cpu_features, ["asimd"]);
    assert_eq!(inventory.model.as_deref(), Some("linux,dummy-virt"));
    for runtime in device.runtimes {
        let expected = ["ort", "tflite", "tract", "null"].contains(&runtime.name.as_str());
        let ready = matches!(runtime.state, RuntimeState::Ready { .. });
        assert_eq!(ready, expected, "{runtime:?}");
    }
}

async fn study_on_the_board(broker: &Broker, observer: &mut Observer) {
    let study = Study::on_all(&[HERE, DEVICE], &["ort", "tract"], &broker.url(), SMALL, SHORT);
    let _here = fleet::agent_of(HERE, &broker.url(), &study.agent_state());
    observer.until_online().await;
    assert_eq!(study.run().exit_code().await, 0);
    study.assert_all_measured();
    for record in study.results()["records"].as_array().unwrap() {
        if record["device"] == DEVICE {
            assert_no_frontier_has_it(record);
        } else {
            assert_eq!(record["not_ranked"], Value::Null);
        }
        if record["variant"] == "fp32" {
            assert_eq!(record["accuracy"]["agreement_fp32"], 1.0, "{record}");
        }
    }
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/models/small_int8.tflite");
    let bench = fleet::short_bench(&model, "tflite", &broker.url());
    assert_eq!(bench.exit_code().await, 0);
}
