//! Batches on real workers: the `edgefront-agent` program as child processes.

use std::collections::BTreeMap;
use std::time::Duration;

use edgefront_agent::measure::{Assignment, Limits, Report, measure};
use edgefront_agent::{Sources, WorkerCommand};
use edgefront_protocol::Bytes;
use edgefront_protocol::outcome::{Failure, Measurement};
use tokio::sync::mpsc;

/// How each job ended, by its name.
pub(crate) type Outcomes = BTreeMap<String, Result<Box<Measurement>, Failure>>;

/// On a device without a meter.
pub(crate) fn limits() -> Limits {
    Limits {
        worker: WorkerCommand {
            runner: Vec::new(),
            program: env!("CARGO_BIN_EXE_edgefront-agent").into(),
            args: vec!["worker".into()],
        },
        runtime_path: None,
        kept_max: Bytes(1 << 30),
        machine_code: false,
        load: Duration::from_mins(1),
        run: Duration::from_mins(1),
        // Without a meter.
        meters: Sources {
            system: "/nowhere".into(),
            ..Sources::default()
        },
        idle: Duration::from_millis(200),
        state: std::env::temp_dir(),
    }
}

/// Measures the jobs; returns all that was reported, too.
pub(crate) async fn outcomes(jobs: Vec<Assignment>, limits: Limits) -> (Outcomes, Vec<Report>) {
    let (sender, mut reports) = mpsc::channel(64);
    let task = tokio::spawn(measure(jobs, 5, limits, sender));
    let (mut outcomes, mut all) = (Outcomes::new(), Vec::new());
    while let Some(report) = reports.recv().await {
        if let Report::Ended(job, result) = &report {
            let second = outcomes.insert(job.to_string(), result.clone());
            assert!(second.is_none(), "{job} ended twice");
        }
        all.push(report);
    }
    task.await.unwrap();
    (outcomes, all)
}
