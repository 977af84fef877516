//! A race of real workers.

#![allow(clippy::unwrap_used)]

mod rig;

use std::path::PathBuf;

use edgefront_agent::measure::{Assignment, Report};
use edgefront_protocol::{BlobRef, JobState, Nanos, Pack, PictureShape, Plan};
use edgefront_tests::jobs::{self, tiny};
use rig::{limits, outcomes};

/// One that keeps the processor busy for so long an inference.
fn runner(name: &str, delay: &str, pack: Option<PathBuf>, race: bool) -> Assignment {
    let plan = Plan {
        warmup_runs: 1,
        warmup_time: Nanos(0),
        min_runs: 40,
        min_time: Nanos(0),
        max_load: 1_000_000,
        race,
        ..Plan::default()
    };
    let mut job = jobs::job(name, "null", BlobRef::of(name.as_bytes()), plan);
    job.target.provider = format!("cpu+delay={delay}");
    job.inputs = vec![vec![1, 3, 8, 8]];
    job.validation = pack.is_some().then(|| BlobRef::of(b"pack"));
    Assignment {
        job,
        artifact: tiny(),
        pack,
        reference: None,
    }
}

fn pack(folder: &tempfile::TempDir) -> PathBuf {
    let picture = PictureShape {
        channels: 3,
        height: 8,
        width: 8,
    };
    let pack = Pack::from_floats(2, picture, &vec![0.5; 2 * picture.volume()]).unwrap();
    let path = folder.path().join("pack");
    std::fs::write(&path, pack.with_labels(vec![0, 0]).unwrap().encode()).unwrap();
    path
}

#[tokio::test]
async fn one_that_takes_twenty_times_as_long_is_stopped_and_keeps_what_it_measured() {
    let folder = tempfile::tempdir().unwrap();
    let pack = Some(pack(&folder));
    let jobs = vec![
        runner("fast", "1ms", pack.clone(), true),
        runner("slow", "20ms", pack.clone(), true),
        runner("kept", "20ms", pack, false),
    ];
    let (ended, reports) = outcomes(jobs, limits()).await;
    let of = |name: &str| ended[name].as_ref().unwrap();
    for whole in [of("fast"), of("kept")] {
        assert_eq!((whole.latency.rounds.len(), &whole.stopped), (10, &None));
    }
    let slow = of("slow");
    let stopped = slow.stopped.as_ref().unwrap();
    assert_eq!((stopped.by.as_str(), stopped.of), ("fast", 10));
    let rounds = slow.latency.rounds.len();
    assert!(
        (3..10).contains(&rounds) && stopped.rounds as usize == rounds,
        "{stopped:?}"
    );
    assert!(
        stopped.median.at_least > 1.02 && stopped.median.ratio > 2.0,
        "{stopped:?}"
    );
    assert!(!slow.latency.ended_early && slow.score.is_some());
    assert_eq!(slow.score, of("fast").score);
    // Each pack is scored once, and before the last rounds.
    let scored = |name: &str| {
        let is_scored = |report: &&Report| matches!(report, Report::State(job, JobState::Scoring) if job.as_str() == name);
        reports.iter().filter(is_scored).count()
    };
    assert_eq!(["fast", "slow", "kept"].map(scored), [1; 3]);
}

#[tokio::test]
async fn equals_run_to_the_end() {
    let jobs = vec![runner("a", "1ms", None, true), runner("b", "1ms", None, true)];
    let (ended, _) = outcomes(jobs, limits()).await;
    for job in ended.values() {
        let job = job.as_ref().unwrap();
        assert_eq!((job.latency.rounds.len(), &job.stopped), (10, &None));
    }
}
