//! Rounds on a device that throttles, whose firmware is a script, on one that has to cool, and on one that others use.

#![allow(clippy::unwrap_used)]

mod rig;

use std::fs;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use edgefront_agent::Sources;
use edgefront_agent::measure::{Assignment, Limits};
use edgefront_protocol::{
    BlobRef, CoolDown, Cooling, Failure, Governor, Measurement, Nanos, Plan, RoundState, Stage, Throttle,
};
use edgefront_tests::jobs;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use rig::{limits, outcomes};

/// A Raspberry Pi whose firmware throttles when it is asked for one of these times, from 1. It is asked once before the
/// first round, and before and after each round.
fn throttling_at(times: &str) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    };
    write(
        "proc/device-tree/compatible",
        "raspberrypi,5-model-b\0brcm,bcm2712\0",
    );
    let asked = write("asked", "");
    let script = format!(
        "#!/bin/sh\necho >> {asked}\ncase \" {times} \" in\n\
         *\" $(wc -l < {asked} | tr -d ' ') \"*) echo throttled=0x4 ;;\n*) echo throttled=0x0 ;;\nesac\n",
        asked = asked.display(),
    );
    let program = write("usr/bin/vcgencmd", &script);
    fs::set_permissions(program, fs::Permissions::from_mode(0o755)).unwrap();
    root
}

fn plan() -> Plan {
    Plan {
        warmup_runs: 1,
        warmup_time: Nanos(0),
        min_runs: 40,
        min_time: Nanos(0),
        rounds: 4,
        ..Plan::default()
    }
}

async fn ended(system: &Path, plan: Plan) -> Result<Measurement, Failure> {
    let state = tempfile::tempdir().unwrap();
    let assignment = Assignment {
        job: jobs::job("hot", "tract", BlobRef::of(b"hot"), plan),
        artifact: jobs::tiny(),
        pack: None,
        reference: None,
    };
    let limits = Limits {
        meters: Sources {
            system: system.to_owned(),
            ..Sources::default()
        },
        idle: Duration::from_millis(10),
        state: state.path().to_owned(),
        ..limits()
    };
    let (mut ended, _) = outcomes(vec![assignment], limits).await;
    ended.remove("hot").unwrap().map(|measurement| *measurement)
}

async fn measured(system: &Path) -> Measurement {
    ended(system, plan()).await.unwrap()
}

fn runs(measurement: &Measurement) -> u64 {
    let histogram: Histogram<u64> = Deserializer::new()
        .deserialize(&mut measurement.latency.histogram.as_slice())
        .unwrap();
    histogram.len()
}

#[tokio::test]
async fn a_sustained_run_is_not_measured_again_where_it_throttles() {
    // From the beginning of the third window on; the meter of the board has asked once, too.
    let root = throttling_at("7 8 9 10");
    let plan = Plan {
        sustained: Some(Nanos(4_000_000_000)),
        ..plan()
    };
    let measurement = ended(root.path(), plan).await.unwrap();
    let warming = &measurement.sustained.as_ref().unwrap().warming;
    let conditions = &measurement.conditions;
    assert_eq!(
        (warming.len(), conditions.rounds.len(), conditions.set_aside.len()),
        (2, 2, 0)
    );
    let causes = |state: &RoundState| state.throttling.clone();
    let warm: Vec<_> = warming.iter().map(|window| causes(&window.state)).collect();
    assert_eq!(warm, [Some(Vec::new()), Some(Vec::new())]);
    let hot: Vec<_> = conditions.rounds.iter().map(causes).collect();
    assert_eq!(
        hot,
        [Some(vec![Throttle::Throttled]), Some(vec![Throttle::Throttled])]
    );
    assert!(!measurement.latency.ended_early);
    assert_eq!(measurement.latency.rounds.len(), 2);
    assert!(warming[1].round.started <= measurement.latency.rounds[0].started);
}

#[tokio::test]
async fn a_round_that_throttled_is_measured_again_and_left_out() {
    // At the end of the second round.
    let root = throttling_at("5");
    let measurement = measured(root.path()).await;
    assert_eq!(measurement.latency.rounds.len(), 4);
    assert_eq!(runs(&measurement), 40);
    let conditions = &measurement.conditions;
    assert_eq!((conditions.rounds.len(), conditions.set_aside.len()), (4, 1));
    assert!(!conditions.rounds.iter().any(RoundState::is_disturbed));
    let aside = &conditions.set_aside[0];
    assert_eq!(aside.state.throttling, Some(vec![Throttle::Throttled]));
    assert_eq!(aside.round.runs, 10);
    assert!(measurement.latency.rounds[0].started <= aside.round.started);
    assert!(aside.round.started <= measurement.latency.rounds[1].started);
    assert_eq!(
        conditions
            .notes
            .iter()
            .filter(|note| note.contains("vcgencmd"))
            .count(),
        0
    );
}

#[tokio::test]
async fn where_it_throttles_all_the_time_the_rounds_are_used_and_marked() {
    let root = throttling_at("1 2 3 4 5 6 7 8 9 10 11 12 13 14 15");
    let measurement = measured(root.path()).await;
    let conditions = &measurement.conditions;
    assert_eq!((conditions.rounds.len(), conditions.set_aside.len()), (6, 0));
    assert!(conditions.rounds.iter().all(RoundState::is_disturbed));
    assert_eq!(measurement.latency.rounds.len(), 6);
    assert!(runs(&measurement) >= 40 && !measurement.latency.ended_early);
}

/// A device whose only zone has this temperature, in millidegrees.
fn at(millidegrees: &str) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let zone = root.path().join("sys/class/thermal/thermal_zone0");
    fs::create_dir_all(&zone).unwrap();
    fs::write(zone.join("temp"), millidegrees).unwrap();
    root
}

fn cool_to_50(limit: u64) -> Plan {
    let limit = Nanos(limit);
    Plan {
        cool_down: Some(CoolDown { to_c: 50, limit }),
        ..plan()
    }
}

#[tokio::test]
async fn each_round_waits_for_the_device_to_cool_and_says_whether_it_did() {
    let (cool, warm) = (at("49900\n"), at("61500\n"));
    let coolings = |measurement: Measurement| -> Vec<Cooling> {
        let states = measurement.conditions.rounds.into_iter();
        states.map(|state| state.cooling.unwrap()).collect()
    };
    let all = coolings(ended(cool.path(), cool_to_50(3_600_000_000_000)).await.unwrap());
    assert!(all.len() == 4 && all.iter().all(|cooling| cooling.is_reached));
    let measurement = ended(warm.path(), cool_to_50(1_000_000)).await.unwrap();
    assert_eq!(measurement.conditions.max_temp_c, Some(61.5));
    let all = coolings(measurement);
    assert!(
        all.len() == 4
            && all
                .iter()
                .all(|cooling| !cooling.is_reached && cooling.time.0 >= 1_000_000)
    );
}

#[tokio::test]
async fn a_wait_for_a_temperature_that_nobody_tells_is_a_failure() {
    let root = tempfile::tempdir().unwrap();
    let failure = ended(root.path(), cool_to_50(1)).await.unwrap_err();
    assert_eq!(failure.stage, Stage::Load);
    assert!(
        failure
            .error
            .contains("no thermal zone of this one tells a temperature"),
        "{}",
        failure.error
    );
}

#[tokio::test]
async fn a_governor_that_cannot_be_set_is_a_failure() {
    let root = tempfile::tempdir().unwrap();
    let plan = Plan {
        governor: Some(Governor::Performance),
        ..plan()
    };
    let failure = ended(root.path(), plan).await.unwrap_err();
    assert_eq!(failure.stage, Stage::Load);
    assert!(
        failure
            .error
            .contains("has no governors, so `performance` cannot be set"),
        "{}",
        failure.error
    );
}

/// A machine of eight processors that are all idle, or all busy, until this is dropped.
struct Machine {
    root: tempfile::TempDir,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Machine {
    fn start(is_busy: bool) -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("proc")).unwrap();
        let file = fs::File::create_new(root.path().join("proc/stat")).unwrap();
        let begun = Instant::now();
        // Of one length, so that no reading finds half of it.
        let put = move || {
            let ticks = begun.elapsed().as_millis() * 8 / 10;
            let (busy, idle) = if is_busy { (ticks, 0) } else { (0, ticks) };
            let processors = (0..8).map(|n| format!("cpu{n} 0 0 0 0\n"));
            let all = format!("cpu  {busy:09} 0 0 {idle:09} 0 0 0 0 0 0\n");
            let text: Vec<String> = std::iter::once(all).chain(processors).collect();
            let text = text.concat();
            file.write_all_at(text.as_bytes(), 0).unwrap();
        };
        put();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                put();
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        Self {
            root,
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

async fn measured_on(machine: &Machine, max_load: u32) -> Measurement {
    let plan = Plan {
        min_time: Nanos(1_600_000_000),
        max_load,
        ..plan()
    };
    ended(machine.root.path(), plan).await.unwrap()
}

#[tokio::test]
async fn a_machine_that_others_use_disturbs_the_rounds() {
    let machine = Machine::start(true);
    let measurement = measured_on(&machine, 10).await;
    let loads = measurement
        .conditions
        .rounds
        .iter()
        .filter_map(|state| state.load);
    let excessive: Vec<_> = loads.filter(|load| load.is_excessive).collect();
    assert!(!excessive.is_empty(), "{:?}", measurement.conditions);
    assert!(excessive.iter().all(|load| load.cores > 3.0), "{excessive:?}");
    // A user who knows of them may allow them.
    let allowed = measured_on(&machine, 1_000_000).await;
    assert!(!allowed.conditions.rounds.iter().any(RoundState::is_disturbed));
    assert_eq!(allowed.conditions.rounds.len(), 4);
}

#[tokio::test]
async fn a_machine_that_is_left_alone_disturbs_nothing() {
    let machine = Machine::start(false);
    let conditions = measured_on(&machine, 10).await.conditions;
    assert_eq!((conditions.rounds.len(), conditions.set_aside.len()), (4, 0));
    assert!(conditions.rounds.iter().any(|state| state.load.is_some()));
}
