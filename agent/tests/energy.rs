//! Energy of a job beside meters whose power is known.

#![allow(clippy::unwrap_used)]

mod rig;

use std::collections::VecDeque;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use edgefront_agent::measure::{Assignment, Limits};
use edgefront_agent::{Config, Settings, Sources, WorkerCommand};
use edgefront_protocol::{BlobRef, Measurement, Nanos, Plan, Round, Scope, Window};
use edgefront_tests::broker::{Broker, Kind};
use edgefront_tests::jobs;
use rig::{limits, outcomes};

/// A meter whose power follows a curve until this is dropped.
struct Sensor {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Sensor {
    /// Gives the watts of now to `put`, again and again.
    fn start(
        every: Duration,
        watts: impl Fn(f64) -> f64 + Send + 'static,
        mut put: impl FnMut(f64) + Send + 'static,
    ) -> Self {
        put(watts(now()));
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                put(watts(now()));
                std::thread::sleep(every);
            }
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }

    /// One in the form of the kernel's.
    fn of_system(root: &Path, watts: impl Fn(f64) -> f64 + Send + 'static) -> Self {
        let folder = root.join("sys/class/hwmon/hwmon0");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("name"), "power_meter\n").unwrap();
        let file = fs::File::create_new(folder.join("power1_input")).unwrap();
        Self::start(Duration::from_millis(1), watts, move |watts| {
            // Of one length, so that no reading finds half of it.
            let text = format!("{:09}\n", (watts * 1e6) as u64);
            file.write_all_at(text.as_bytes(), 0).unwrap();
        })
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

async fn measured(meters: Sources) -> Measurement {
    let artifact = jobs::tiny();
    let plan = Plan {
        min_time: Nanos(2_100_000_000),
        rounds: 3,
        ..Plan::default()
    };
    let assignment = Assignment {
        job: jobs::job("metered", "tract", BlobRef::of(b"metered"), plan),
        artifact,
        pack: None,
        reference: None,
    };
    let limits = Limits {
        meters,
        // Two waves, whose mean is that of the rise.
        idle: Duration::from_millis(1400),
        ..limits()
    };
    let (mut ended, _) = outcomes(vec![assignment], limits).await;
    *ended.remove("metered").unwrap().unwrap()
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

/// Waves of 0.7 s on a slow rise, as of a board that warms up.
fn warming() -> impl Fn(f64) -> f64 + Copy + Send + 'static {
    let origin = now();
    move |at: f64| {
        let time = at - origin;
        4.0 + 2.0 * (time * std::f64::consts::TAU / 0.7).sin() + 0.2 * time
    }
}

/// Holds the energy of the only rail against its curve.
fn check(measurement: &Measurement, meter: &str, watts: impl Fn(f64) -> f64 + Copy) {
    let [rail] = &measurement.energy[..] else {
        panic!(
            "one rail: {:?}, {:?}",
            measurement.energy, measurement.conditions.notes
        );
    };
    assert_eq!(rail.rail.meter, meter);
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
    assert_eq!(said_of(measurement, meter), None);
}

/// The note on a meter, if there is one; a busy machine may be the cause of others.
fn said_of<'a>(measurement: &'a Measurement, meter: &str) -> Option<&'a String> {
    let mut notes = measurement.conditions.notes.iter();
    notes.find(|note| note.starts_with(meter))
}

fn of_system(root: &Path) -> Sources {
    Sources {
        system: root.to_owned(),
        ..Sources::default()
    }
}

/// A meter outside of a device that has none.
fn outside(meters: &str) -> Sources {
    let settings = format!("system = '/nowhere'\nid = 'd'\nstate_dir = '/nowhere'\nmeters = [{meters}]");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("agent.toml");
    fs::write(&file, settings).unwrap();
    let worker = WorkerCommand::of_this_program().unwrap();
    Config::new(Settings::read(&file).unwrap(), worker)
        .unwrap()
        .meters
}

#[tokio::test(flavor = "multi_thread")]
async fn the_energy_of_a_known_curve_is_found_within_one_percent() {
    let root = tempfile::tempdir().unwrap();
    let watts = warming();
    let sensor = Sensor::of_system(root.path(), watts);
    let measurement = measured(of_system(root.path())).await;
    drop(sensor);
    check(&measurement, "power_meter", watts);
}

/// It tells the time of each value by a clock of its own, and prints each late.
#[tokio::test(flavor = "multi_thread")]
async fn so_is_that_of_a_program_with_a_clock_of_its_own() {
    let root = tempfile::tempdir().unwrap();
    let watts = warming();
    let (pipe, program) = (root.path().join("pipe"), "tail -n +1 -f -s 0.01");
    let file = fs::File::create_new(&pipe).unwrap();
    let mut late = VecDeque::new();
    let sensor = Sensor::start(Duration::from_millis(20), watts, move |watts| {
        // Ten years behind, and a tenth of a second on its way.
        late.push_back(format!("{:.6} {watts}\n", now() - 315_360_000.0));
        if late.len() > 5 {
            (&file).write_all(late.pop_front().unwrap().as_bytes()).unwrap();
        }
    });
    let words = program.split(' ').chain(std::iter::once(pipe.to_str().unwrap()));
    let command: Vec<String> = words.map(|word| format!("'{word}'")).collect();
    let meter = format!("{{ name = 'bench', command = [{}] }}", command.join(", "));
    // It is known from its values that they are at least so old, but not how much older.
    let shifted = move |at| watts(at - 0.1);
    let measurement = measured(outside(&meter)).await;
    drop(sensor);
    check(&measurement, "bench", shifted);
    assert_eq!(measurement.energy[0].rail.scope, Scope::Wall);
}

#[tokio::test(flavor = "multi_thread")]
async fn so_is_that_of_a_plug_on_mosquitto() {
    let broker = Broker::start(Kind::Mosquitto);
    let url = broker.url();
    let mut publisher = Command::new("mosquitto_pub")
        .args(["-h", &url.host, "-p", &url.port.to_string()])
        .args(["-t", "shelly/status/switch:0", "-l"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = publisher.stdin.take().unwrap();
    let watts = warming();
    let sensor = Sensor::start(Duration::from_millis(20), watts, move |watts| {
        writeln!(lines, "{{\"id\":0,\"apower\":{watts}}}").unwrap();
    });
    let meter =
        format!("{{ name = 'plug', broker = '{url}', topic = 'shelly/status/switch:0', value = '/apower' }}");
    let measurement = measured(outside(&meter)).await;
    drop(sensor);
    publisher.wait().unwrap();
    check(&measurement, "plug", watts);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_meter_that_is_slower_than_a_round_gives_no_energy_and_says_what_to_do() {
    let meter =
        "{ name = 'plug', command = ['sh', '-c', 'while echo 5; do sleep 1; echo 6; sleep 1; done'] }";
    let measurement = measured(outside(meter)).await;
    assert_eq!(measurement.energy[0].rounds, [None; 3]);
    let note = said_of(&measurement, "plug").unwrap();
    let said = "too seldom for rounds of ";
    assert!(
        note.starts_with("plug gave a value every 1.") && note.contains(said),
        "{note}"
    );
    assert!(note.contains("measure longer, as with --min-time 1"), "{note}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_meter_that_cannot_be_started_is_a_note_and_no_energy() {
    let measurement = measured(outside("{ name = 'plug', command = ['/no/such/meter'] }")).await;
    assert_eq!(measurement.energy[0].rounds, [None; 3]);
    let notes = said_of(&measurement, "plug").unwrap();
    assert!(
        notes.starts_with("plug: `/no/such/meter` cannot be started: "),
        "{notes}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sensor_that_is_stuck_gives_no_energy_and_a_note() {
    let root = tempfile::tempdir().unwrap();
    let sensor = Sensor::of_system(root.path(), |_| 5.0);
    let measurement = measured(of_system(root.path())).await;
    drop(sensor);
    assert_eq!(measurement.energy, []);
    let note = said_of(&measurement, "power_meter").unwrap();
    assert!(
        note.starts_with("power_meter power1 gave the same value at all of"),
        "{note}"
    );
}
