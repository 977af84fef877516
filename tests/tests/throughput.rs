//! How fast a 45 MB artifact travels, beside one `mosquitto_pub -f` message of the same bytes. Long, so
//! ignored: `cargo nextest run -p edgefront-tests --run-ignored only --no-capture throughput`.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use edgefront_link::transfer::{CHUNK_BYTES, Fetch, WINDOW};
use edgefront_protocol::{BlobRef, DeviceId, Digest};
use edgefront_tests::broker::{Broker, Kind};
use edgefront_tests::transfer;

const BYTES: usize = 45_000_000;
const ROUNDS: usize = 5;

/// Bytes without a pattern.
fn content() -> Vec<u8> {
    let mut state = 1u64;
    let step = |_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        state.to_le_bytes()
    };
    (0..BYTES.div_ceil(8)).flat_map(step).take(BYTES).collect()
}

/// Until all `devices` have written and verified the blob.
async fn by_chunks(
    broker: &Broker,
    blob: BlobRef,
    folder: &Path,
    devices: usize,
    sizes: (u32, u32),
) -> Duration {
    let file = folder.join("blob");
    let url = broker.url();
    let server = tokio::spawn(async move { transfer::serve(url, blob, &file).await });
    let mut connected = Vec::new();
    for number in 0..devices {
        let id: DeviceId = format!("device{number}").parse().unwrap();
        let (publisher, connection) = transfer::device(broker.url(), &id).await;
        connected.push((id, publisher, connection));
    }
    let started = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for (id, publisher, mut connection) in connected {
        let path = folder.join(id.as_str());
        tasks.spawn(async move {
            let fetch = Fetch::with_sizes(blob, &[], sizes.0, sizes.1).unwrap();
            transfer::fetch(&publisher, &mut connection, &id, fetch, &path).await;
            assert_eq!(Digest::of(&std::fs::read(&path).unwrap()), blob.digest);
            connection
        });
    }
    let connections = tasks.join_all().await;
    let elapsed = started.elapsed();
    drop(connections);
    server.abort();
    elapsed
}

/// Until `mosquitto_sub` has written the one message.
fn by_one_message(broker: &Broker, folder: &Path) -> Duration {
    let port = broker.url().port.to_string();
    let received = folder.join("received");
    let mut sub = Command::new("mosquitto_sub");
    sub.args(["-p", &port, "-t", "big", "-q", "1", "-C", "1", "-N"])
        .stdout(Stdio::from(std::fs::File::create(&received).unwrap()));
    // Retained, so that it does not matter which of the two is ready first.
    let started = Instant::now();
    let mut sub = sub.spawn().unwrap();
    let mut publish = Command::new("mosquitto_pub");
    publish
        .args(["-p", &port, "-t", "big", "-q", "1", "-r", "-f"])
        .arg(folder.join("blob"));
    assert!(publish.status().unwrap().success());
    assert!(sub.wait().unwrap().success());
    let elapsed = started.elapsed();
    assert_eq!(std::fs::metadata(received).unwrap().len(), BYTES as u64);
    let clear = ["-p", &port, "-t", "big", "-r", "-n"];
    assert!(
        Command::new("mosquitto_pub")
            .args(clear)
            .status()
            .unwrap()
            .success()
    );
    elapsed
}

fn rate(elapsed: Duration) -> f64 {
    BYTES as f64 / 1e6 / elapsed.as_secs_f64()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn prepared(folder: &Path) -> BlobRef {
    let content = content();
    std::fs::write(folder.join("blob"), &content).unwrap();
    BlobRef::of(&content)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: it measures"]
async fn throughput_over_mosquitto_is_at_least_half_that_of_one_message() {
    let folder = tempfile::tempdir().unwrap();
    let blob = prepared(folder.path());
    let broker = Broker::start(Kind::Mosquitto);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let mut peak = 0;
    for _ in 0..ROUNDS {
        ours.push(by_chunks(&broker, blob, folder.path(), 1, (CHUNK_BYTES, WINDOW)).await);
        peak = peak.max(broker.peak_rss());
        // Its own broker: the whole message stays in the memory of the one that carried it.
        theirs.push(by_one_message(&Broker::start(Kind::Mosquitto), folder.path()));
    }
    let (ours, theirs) = (rate(median(ours)), rate(median(theirs)));
    println!("chunks {ours:.0} MB/s, one message {theirs:.0} MB/s; broker's peak with chunks {peak} bytes");
    assert!(ours >= theirs / 2.0);
    assert!(peak < 32 << 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: it measures"]
async fn throughput_by_chunk_window_and_devices_over_mosquitto_and_built_in() {
    let folder = tempfile::tempdir().unwrap();
    let blob = prepared(folder.path());
    for kind in [Kind::Mosquitto, Kind::BuiltIn] {
        for devices in [1, 8] {
            for chunk in [16 << 10, 64 << 10, 256 << 10] {
                for window in [4, 16, 64] {
                    let broker = Broker::start(kind);
                    let mut times = Vec::new();
                    for _ in 0..3 {
                        times.push(by_chunks(&broker, blob, folder.path(), devices, (chunk, window)).await);
                    }
                    println!(
                        "{kind:?}, {devices} devices, {chunk:>6} x {window:>2}: {:.3} s, broker's peak {:.0} MB",
                        median(times).as_secs_f64(),
                        broker.peak_rss() as f64 / 1e6
                    );
                }
            }
        }
    }
}
