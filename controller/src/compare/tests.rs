use edgefront_protocol::results::{RoundRecord, SustainedRecord};

use super::*;
use crate::results::fixture;

/// The fixture's results with ten rounds a record, in turns from `started` on, each in a process of its own. The rounds
/// swing together by 20 %, and each by a further `noise` of its own.
fn results(started: u64, noise: f64) -> Results {
    let mut results = fixture::results();
    for (at, record) in results.records.iter_mut().enumerate() {
        let p50 = record.latency_ms.p50;
        let round = |number: u32| {
            let together = 1.0 + 0.1 * f64::from(number % 3);
            let own = 1.0 + noise * f64::from((number * 7 + at as u32 * 3) % 5);
            RoundRecord {
                p50: p50 * together * own,
                mean: p50 * together * own,
                runs: 20,
                position: at as u32,
                process: number,
                started: started + 1_000 * u64::from(number) + at as u64,
            }
        };
        record.latency_ms.rounds = (0..10).map(round).collect();
    }
    results
}

fn side<'a>(name: &'a str, results: &'a Results) -> Side<'a> {
    Side { name, results }
}

fn selected(a: &str, b: &str) -> Selected {
    Selected {
        a: a.parse().unwrap(),
        b: b.parse().unwrap(),
    }
}

fn energy(mj: f64, scope: &str) -> EnergyRecord {
    EnergyRecord {
        mj_per_inference: mj,
        mean_w: 4.0,
        idle_w: None,
        meter: "ina3221".into(),
        rail: Some("VDD_IN".into()),
        scope: scope.into(),
        estimated: false,
        mj_ci95: Some([mj * 0.97, mj * 1.03]),
        net_mj_per_inference: None,
        net_mj_ci95: None,
    }
}

#[test]
fn two_variants_of_one_study_are_paired_on_every_device_and_runtime() {
    let mut results = results(0, 0.002);
    results.records[0].energy = Some(energy(20.0, "module"));
    results.records[4].energy = Some(energy(10.0, "module"));
    let sides = [side("out", &results); 2];
    let compared = compare(sides[0], sides[1], Some(&selected("fp32", "ptq-int8"))).unwrap();
    assert_eq!(compared.comparisons.len(), 4);
    assert!(
        compared
            .comparisons
            .iter()
            .all(|c| c.paired && c.remarks.is_empty())
    );
    let energy = compared.comparisons[0].energy.as_ref().unwrap();
    assert!((energy.ratio - 0.5).abs() < 1e-9);
    insta::assert_snapshot!(table(&compared, sides, 100));
}

#[test]
fn all_that_two_results_share_is_compared_and_what_they_do_not_is_told() {
    let (mut before, mut after) = (results(0, 0.002), results(3_600_000, 0.003));
    for results in [&mut before, &mut after] {
        results.records.retain(|record| record.runtime == "ort");
        results.records.truncate(4);
    }
    after.records[0].runtime_version = "1.33.0".into();
    after.records[1].latency_ms.rounds.clear();
    after.records[2]
        .latency_ms
        .rounds
        .iter_mut()
        .for_each(|round| round.process = 0);
    before.records[3].energy = Some(energy(20.0, "module"));
    after.records[3].energy = Some(energy(20.0, "wall"));
    after.devices[0].cores = 8;
    let sides = [side("before", &before), side("after", &after)];
    let compared = compare(sides[0], sides[1], None).unwrap();
    assert_eq!((compared.comparisons.len(), compared.not_compared.len()), (3, 1));
    assert!(compared.comparisons.iter().all(|c| !c.paired));
    insta::assert_snapshot!(table(&compared, sides, 100));
}

#[test]
fn a_runtime_of_one_side_holds_for_both_and_another_is_set_against_it() {
    let results = results(0, 0.002);
    let sides = [side("out", &results); 2];
    let pairs = |a, b| -> Vec<[String; 2]> {
        let compared = compare(sides[0], sides[1], Some(&selected(a, b))).unwrap();
        compared
            .comparisons
            .into_iter()
            .map(|c| c.configurations)
            .collect()
    };
    let on_ort = pairs("fp32/ort", "fp16");
    assert_eq!(on_ort, [["fp32/ort/cpu/t1/b1", "fp16/ort/cpu/t1/b1"]; 2]);
    let across = pairs("fp32/ort:cpu", "fp32/tract");
    assert_eq!(across[0], ["fp32/ort/cpu/t1/b1", "fp32/tract/cpu/t1/b1"]);
}

#[test]
fn what_is_not_there_is_named_with_what_is() {
    let results = results(0, 0.002);
    let sides = [side("out", &results); 2];
    let error =
        |selected: Selected, b: Side<'_>| compare(sides[0], b, Some(&selected)).unwrap_err().to_string();
    let absent = error(selected("fp32", "int4/ort"), sides[1]);
    assert!(
        absent.starts_with("out has no measurement of `int4/ort`; it has fp16/ort, fp16/tract, fp32/ort,"),
        "{absent}"
    );
    let mut elsewhere = results.clone();
    elsewhere
        .records
        .retain(|record| record.device == "local" && record.variant == "fp32");
    elsewhere.records.iter_mut().for_each(|record| record.threads = 2);
    let no_pair = error(selected("fp32/ort", "fp32"), side("other", &elsewhere));
    assert_eq!(
        no_pair,
        "no device has both with the same threads, batch, processors and scenario: out has fp32/ort/cpu/t1/b1 on local, \
         fp32/ort/cpu/t1/b1 on pi-kitchen; other has fp32/ort/cpu/t2/b1 on local"
    );
    elsewhere.records[0].provider = "cpu+arena=off".into();
    let takes = |text: &str| text.parse::<Selector>().unwrap().takes(&elsewhere.records[0]);
    assert!(takes("fp32/ort:arena=off") && takes("fp32/ort:cpu+arena=off") && !takes("fp32/ort:cpu"));
    assert!("/ort".parse::<Selector>().is_err() && "fp32/".parse::<Selector>().is_err());
}

#[test]
fn a_measurement_is_not_compared_with_itself() {
    let results = results(0, 0.002);
    let sides = [side("out", &results); 2];
    let compared = compare(sides[0], sides[1], None).unwrap();
    assert!(compared.comparisons.is_empty());
    assert!(
        compared
            .not_compared
            .iter()
            .all(|not| not.why.contains("the same measurement"))
    );
}

#[test]
fn only_what_ran_in_the_same_way_is_compared() {
    let mut before = results(0, 0.002);
    before.records.truncate(3);
    let mut after = results(3_600_000, 0.003);
    after.records.truncate(3);
    after.records[0].cpus = vec![4, 5];
    after.records[1].scenario = Some(fixture::scenario("multi", "multi8"));
    let sides = [side("before", &before), side("after", &after)];
    let compared = compare(sides[0], sides[1], None).unwrap();
    let configurations: Vec<_> = compared
        .comparisons
        .iter()
        .map(|c| &c.configurations[1])
        .collect();
    assert_eq!(configurations, ["fp16/ort/cpu/t1/b1"]);
}

#[test]
fn what_has_no_rounds_says_what_to_do() {
    let why = |change: fn(&mut Record)| {
        let [mut before, mut after] = [results(0, 0.002), results(3_600_000, 0.003)];
        for results in [&mut before, &mut after] {
            results.records.truncate(1);
            change(&mut results.records[0]);
        }
        let compared = compare(side("before", &before), side("after", &after), None).unwrap();
        compared.not_compared[0].why.clone()
    };
    let of_a_trial = why(|record| record.scenario = Some(fixture::scenario("server", "server20ms")));
    assert!(
        of_a_trial.contains("compare the rates that were found"),
        "{of_a_trial}"
    );
    let of_one_round = why(|record| record.latency_ms.rounds.truncate(1));
    assert!(of_one_round.ends_with("--rounds 10"), "{of_one_round}");
}

#[test]
fn sustained_runs_are_told_to_be_one_each() {
    let mut results = results(0, 0.002);
    for record in &mut results.records {
        record.sustained = Some(SustainedRecord {
            label: "sustained10m".into(),
            asked_s: 600.0,
            settled: true,
            windows: Vec::new(),
        });
        record
            .latency_ms
            .rounds
            .iter_mut()
            .for_each(|round| round.process = 0);
    }
    let sides = [side("out", &results); 2];
    let compared = compare(sides[0], sides[1], Some(&selected("fp32/ort", "ptq-int8"))).unwrap();
    let remarks = &compared.comparisons[0].remarks;
    assert!(
        remarks.len() == 1 && remarks[0].starts_with("one sustained run of a side"),
        "{remarks:?}"
    );
}

/// Where one side was scored in part, the interval holds what both intervals leave open.
#[test]
fn accuracies_are_compared_by_their_own_intervals() {
    let mut results = results(0, 0.002);
    let set = |record: &mut Record, top1, top1_ci95, pack_samples| {
        let accuracy = record.accuracy.as_mut().unwrap();
        (accuracy.top1, accuracy.top1_ci95, accuracy.pack_samples) = (top1, top1_ci95, pack_samples);
        accuracy.top1_drop_ci95 = Some([-0.01, 0.01]);
    };
    set(&mut results.records[0], 0.7, [0.66, 0.74], Some(10_000));
    set(&mut results.records[4], 0.8, [0.77, 0.83], None);
    let sides = [side("out", &results); 2];
    let compared = compare(sides[0], sides[1], Some(&selected("fp32", "ptq-int8"))).unwrap();
    let top1 = compared.comparisons[0].top1.as_ref().unwrap();
    // 0.1 and sqrt(0.03^2 + 0.04^2).
    let expected = [0.1, 0.05, 0.15];
    let found = [top1.difference, top1.ci95[0], top1.ci95[1]];
    assert!(
        found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-9),
        "{found:?}"
    );
}
