use edgefront_protocol::outcome::{Conditions, Harness, Latency, Measurement, Memory, Startup};
use edgefront_protocol::{Nanos, Scenario, Score};

use super::*;

fn outcome(pictures: usize) -> Outcome {
    let score = Score {
        top1_hits: 0,
        top5_hits: 0,
        predictions: vec![999; pictures],
        ..Score::default()
    };
    let latency = Latency {
        histogram: Vec::new(),
        rounds: Vec::new(),
        warmup_runs: 1,
        ended_early: false,
    };
    Outcome {
        job: "job".parse().unwrap(),
        batch: "batch".parse().unwrap(),
        device: "pi4".parse().unwrap(),
        result: Ok(Measurement {
            runtime_version: "1".to_owned(),
            provider: "cpu".to_owned(),
            latency,
            load: Nanos(1),
            peak_rss: None,
            memory: Memory::default(),
            startup: Startup::default(),
            score: Some(score),
            conditions: Conditions::default(),
            energy: Vec::new(),
            harness: Harness::default(),
            layers: Vec::new(),
            scenario: Scenario::Single,
            probes: Vec::new(),
            processors: Vec::new(),
            stopped: None,
            sustained: None,
        }),
    }
}

#[test]
fn an_outcome_that_no_message_can_carry_is_a_failure_of_its_job() {
    let fits = outcome(8_000_000);
    assert_eq!(sendable(fits.clone()), fits);
    let failed = sendable(outcome(9_000_000));
    assert_eq!(failed.job, fits.job);
    let failure = failed.result.unwrap_err();
    assert_eq!(failure.stage, Stage::Score);
    insta::assert_snapshot!(
        failure.error,
        @"the result has 18.0 MB and a message to the controller holds 16.8 MB; score on fewer pictures"
    );
}
