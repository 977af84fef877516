use edgefront_protocol::results::SustainedRecord;

use super::*;
use crate::results::fixture;

#[test]
fn what_has_no_sustained_run_is_not_set_against_those_that_have() {
    let mut results = fixture::results();
    results.records.truncate(2);
    let mut sustained = results.records[0].clone();
    sustained.latency_ms.p50 *= 3.0;
    sustained.sustained = Some(SustainedRecord {
        label: "sustained10m".into(),
        asked_s: 600.0,
        settled: true,
        windows: Vec::new(),
    });
    results.records.push(sustained);
    let selection = &select(&results, &Bounds::default())[0];
    assert!(selection.chosen.unwrap().sustained.is_some());
    let reasons: Vec<&[Reason]> = selection
        .rejected
        .iter()
        .map(|(_, reasons)| reasons.as_slice())
        .collect();
    assert_eq!(reasons, [&[Reason::Burst][..], &[Reason::Unsustained][..]]);
}

#[test]
fn takes_the_most_accurate_within_the_bounds_and_says_why_not_the_others() {
    let results = fixture::results();
    let bounds = Bounds {
        max_p99_ms: Some(3.0),
        min_top1: Some(0.9),
        max_size_mb: Some(0.5),
        ..Bounds::default()
    };
    let selections = select(&results, &bounds);
    assert_eq!(
        selections[0].chosen.map(Record::configuration).as_deref(),
        Some("ptq-int8-pc/ort/cpu/t1/b1")
    );
    assert_eq!(selections[1].chosen, None);
    let text: Vec<String> = selections.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(text.join("\n"));
}

#[test]
fn a_bound_on_what_nothing_measured_rejects_with_that_reason() {
    let results = fixture::results();
    let selections = select(
        &results,
        &Bounds {
            max_power_w: Some(5.0),
            ..Bounds::default()
        },
    );
    assert!(selections.iter().all(|s| s.chosen.is_none()));
    assert_eq!(
        selections[0].rejected[0].1[0].to_string(),
        "power was not measured"
    );
}

#[test]
fn equal_accuracy_goes_to_the_faster_and_then_the_smaller() {
    let mut results = fixture::results();
    results.records.truncate(3);
    for record in &mut results.records {
        record.accuracy = results_accuracy();
        record.latency_ms.p50 = 2.0;
    }
    results.records[2].artifact.bytes = 1;
    assert_eq!(
        select(&results, &Bounds::default())[0]
            .chosen
            .unwrap()
            .artifact
            .bytes,
        1
    );
    results.records[1].latency_ms.p50 = 1.0;
    assert_eq!(
        select(&results, &Bounds::default())[0].chosen.unwrap().runtime,
        "tract"
    );
}

#[test]
fn remarks_on_what_is_chosen_are_told() {
    let mut results = fixture::results();
    results.records.truncate(1);
    results.records[0].conditions.notes = vec!["constants that are not finite: `W` (NaN)".into()];
    results.records[0].conditions.throttled = Some(true);
    let text = select(&results, &Bounds::default())[0].to_string();
    let lines = "\n  note      constants that are not finite: `W` (NaN)\n  note      the device throttled";
    assert!(text.contains(lines), "{text}");

    results.records[0].conditions.notes.clear();
    results.records[0].conditions.valid = false;
    let text = select(&results, &Bounds::default())[0].to_string();
    let line = "\n  note      the rounds disagree too much to be compared";
    assert!(text.contains(line), "{text}");
}

#[test]
fn devices_and_variants_that_failed_are_told() {
    let mut results = fixture::results();
    results.records.truncate(2);
    let failed = |device: &str, variant: &str, runtime: &str, error: &str| FailedJob {
        study: None,
        device: device.into(),
        variant: variant.into(),
        runtime: runtime.into(),
        threads: None,
        batch: None,
        scenario: None,
        cpus: None,
        stage: "load".into(),
        error: error.into(),
    };
    results.failed = vec![
        failed("local", "qat-int8", "tract", "no operator `QLinearAdd`"),
        failed("local", "", "ort", "its library is not there"),
        failed("pi-kitchen", "", "", "the device is not there"),
        failed("nano", "fp32", "tract", "out of memory"),
        failed("nano", "fp16", "tract", "no operator `Cast`"),
        failed("", "prune-all", "", "amount 1.5 is not a fraction"),
    ];
    let selections = select(&results, &Bounds::default());
    let mut text: Vec<String> = selections.iter().map(ToString::to_string).collect();
    text.extend(unmade(&results));
    insta::assert_snapshot!(text.join("\n"));
}

#[test]
fn every_record_that_is_not_chosen_has_a_reason() {
    let results = fixture::results();
    let bounds = Bounds {
        min_top1: Some(0.9),
        ..Bounds::default()
    };
    let selection = &select(&results, &bounds)[0];
    let rejections = selection.rejections();
    assert_eq!(rejections.len(), 13);
    let reason = |configuration: &str| {
        let found = rejections.iter().find(|one| one.configuration == configuration);
        found.map(|one| one.reason.as_str())
    };
    assert_eq!(
        reason("ptq-int8/ort/cpu/t1/b1"),
        Some("within the bounds, and beaten by fp32/ort/cpu/t1/b1: less accurate")
    );
    assert_eq!(
        reason("fp32/tract/cpu/t1/b1"),
        Some("within the bounds, and beaten by fp32/ort/cpu/t1/b1: as accurate and slower")
    );
    assert_eq!(
        reason("prune50/ort/cpu/t1/b1"),
        Some("top-1 89.4 % is below 90 %")
    );
    assert_eq!(reason("fp32/ort/cpu/t1/b1"), None);
}

fn results_accuracy() -> Option<edgefront_protocol::results::AccuracyRecord> {
    fixture::results().records[0].accuracy.clone()
}

#[test]
fn a_figure_just_outside_its_bound_does_not_read_like_it() {
    let texts = [(0.137_544, 0.1375), (2.0, 1.5), (18.978_75, 3.0), (0.1, 0.1)];
    let texts = texts.map(|(figure, bound)| told_apart(figure, bound));
    assert_eq!(texts, ["0.13754", "2", "18.9788", "0.1"]);
}

#[test]
fn a_figure_on_its_bound_is_within() {
    let results = fixture::results();
    let p50 = results.records[0].latency_ms.p50;
    let bounds = Bounds {
        max_p50_ms: Some(p50),
        ..Bounds::default()
    };
    assert!(bounds.reasons(&results.records[0]).is_empty());
}

#[test]
fn nothing_is_said_of_an_accuracy_that_was_not_measured() {
    let scored = fixture::results().records.swap_remove(0);
    let bare = Record {
        accuracy: None,
        ..scored.clone()
    };
    let mut slower = bare.clone();
    slower.latency_ms.p50 *= 2.0;
    let mut larger = bare.clone();
    larger.artifact.bytes += 1;
    assert_eq!(how_beaten(&scored, &bare), "without an accuracy");
    assert_eq!(how_beaten(&bare, &slower), "slower");
    assert_eq!(how_beaten(&bare, &larger), "as fast and larger");
    assert_eq!(how_beaten(&bare, &bare), "no better");
}

fn in_scenario(record: &Record, name: &str) -> Record {
    Record {
        scenario: Some(fixture::scenario(name, name)),
        ..record.clone()
    }
}

#[test]
fn rejected_records_of_different_scenarios_and_processors_are_told_apart() {
    let record = in_scenario(&fixture::results().records[0], "offline");
    let bound = Record {
        cpus: vec![4, 5],
        ..record.clone()
    };
    let told = [&record, &bound].map(|record| {
        let rejected = Rejected::new(record, "slow".to_owned());
        serde_json::to_value(&rejected).unwrap()
    });
    assert_eq!(
        (&told[0]["scenario"], told[0].get("cpus")),
        (&"offline".into(), None)
    );
    assert_eq!(told[1]["cpus"], serde_json::json!([4, 5]));
}

#[test]
fn scenarios_for_throughput_are_chosen_by_it() {
    let results = fixture::results();
    let single = &results.records[0];
    for name in ["offline", "server"] {
        let slow = in_scenario(single, name);
        let mut fast = slow.clone();
        fast.throughput_ips *= 2.0;
        fast.latency_ms.p50 *= 2.0;
        assert_eq!(better_first(&fast, &slow), Ordering::Less, "{name}");
        assert_eq!(how_beaten(&fast, &slow), "as accurate and slower");
        assert!(summary(&fast).contains(" pictures/s, "), "{}", summary(&fast));
        // Those that were measured for their latency stand first.
        assert_eq!(better_first(single, &fast), Ordering::Less, "{name}");
        assert_eq!(how_beaten(single, &fast), "in a scenario for throughput");
    }
    let multi = in_scenario(single, "multi");
    assert_eq!(better_first(single, &multi), Ordering::Equal);
}
