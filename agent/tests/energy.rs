//! Energy of a job beside a sensor whose power is known.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use edgefront_agent::WorkerCommand;
use edgefront_agent::measure::{Assignment, Limits, Report, measure};
use edgefront_protocol::{BlobRef, Bytes, Measurement, Nanos, Plan, Round, Window};
use edgefront_tests::jobs;
use tokio::sync::mpsc;

/// A sensor in the form of the kernel's whose power follows a curve until this is dropped.
struct Sensor {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Sensor {
    fn start(root: &Path, watts: impl Fn(f64) -> f64 + Send + 'static) -> Self {
        let folder = root.join("sys/class/hwmon/hwmon0");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("name"), "power_meter\n").unwrap();
        let file = fs::File::create_new(folder.join("power1_input")).unwrap();
        // Of one length, so that no reading finds half of it.
        let put = move |at| file.write_all_at(format!("{:09}\n", (watts(at) * 1e6) as u64).as_bytes(), 0);
        put(now()).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                put(now()).unwrap();
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Sensor {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

/// Seconds since 1970.
fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs_f64()
}

async fn measured(system: PathBuf) -> Measurement {
    let artifact = jobs::tiny();
    let plan = Plan {
        min_time: Nanos(3_000_000_000),
        rounds: 3,
        ..Plan::default()
    };
    let assignment = Assignment {
        job: jobs::job("metered", "null", BlobRef::of(b"metered"), plan),
        artifact,
        pack: None,
    };
    let limits = Limits {
        worker: WorkerCommand {
            runner: Vec::new(),
            program: env!("CARGO_BIN_EXE_edgefront-agent").into(),
            args: vec!["worker".into()],
        },
        runtime_path: None,
        kept_max: Bytes(4 << 30),
        machine_code: false,
        load: Duration::from_mins(1),
        run: Duration::from_mins(1),
        system,
        idle: Duration::from_secs(1),
        state: std::env::temp_dir(),
    };
    let (sender, mut reports) = mpsc::channel(64);
    let task = tokio::spawn(measure(vec![assignment], 5, limits, sender));
    let mut ended = None;
    while let Some(report) = reports.recv().await {
        if let Report::Ended(_, result) = report {
            ended = Some(*result.unwrap());
        }
    }
    task.await.unwrap();
    ended.unwrap()
}

/// The curve's integral over the timed runs of a round, in joules, in parts of a tenth of a millisecond.
fn integral(watts: impl Fn(f64) -> f64, round: &Round, window: &Window) -> f64 {
    const PART: f64 = 1e-4;
    let begin = round.started.0 as f64 / 1e3;
    let parts = (window.time.0 as f64 / 1e9 / PART) as u32;
    (0..parts)
        .map(|part| watts(begin + (f64::from(part) + 0.5) * PART) * PART)
        .sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_energy_of_a_known_curve_is_found_within_one_percent() {
    let root = tempfile::tempdir().unwrap();
    let origin = now();
    // Waves of 0.7 s on a slow rise, as of a board that warms up.
    let watts = move |at: f64| {
        let time = at - origin;
        4.0 + 2.0 * (time * std::f64::consts::TAU / 0.7).sin() + 0.2 * time
    };
    let sensor = Sensor::start(root.path(), watts);
    let measurement = measured(root.path().to_owned()).await;
    drop(sensor);
    let [rail] = &measurement.energy[..] else {
        panic!("one rail: {:?}", measurement.energy);
    };
    assert_eq!(rail.rail.meter, "power_meter");
    let rounds = rail.rounds.iter().zip(&measurement.latency.rounds);
    let (mut found, mut known) = (0.0, 0.0);
    for (window, round) in rounds {
        let window = window.as_ref().unwrap();
        found += window.energy.as_joules();
        known += integral(watts, round, window);
    }
    assert!(
        (found / known - 1.0).abs() < 0.01,
        "{found} J, and it was {known} J"
    );
    let idle = [&rail.idle_before, &rail.idle_after].map(|window| window.as_ref().unwrap().mean_watts());
    assert!(idle[0] > 3.0 && idle[1] > idle[0], "{idle:?}");
    assert_eq!(measurement.conditions.notes, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sensor_that_is_stuck_gives_no_energy_and_a_note() {
    let root = tempfile::tempdir().unwrap();
    let sensor = Sensor::start(root.path(), |_| 5.0);
    let measurement = measured(root.path().to_owned()).await;
    drop(sensor);
    assert_eq!(measurement.energy, []);
    let [note] = &measurement.conditions.notes[..] else {
        panic!("one note: {:?}", measurement.conditions.notes);
    };
    assert!(
        note.starts_with("power_meter power1 gave the same value at all of"),
        "{note}"
    );
}
