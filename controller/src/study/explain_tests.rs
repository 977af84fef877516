use edgefront_optimizer::Change;

use super::*;
use crate::results::fixture;

/// The fixture's model and one variant on ONNX Runtime, with artifacts of their own.
fn results(ratio: f64) -> Results {
    let mut results = fixture::results();
    results.records.truncate(2);
    let [model, variant] = &mut results.records[..] else {
        unreachable!("the fixture has two records and more");
    };
    variant.runtime.clone_from(&model.runtime);
    variant.variant = "variant".into();
    variant.latency_ms.p50 = model.latency_ms.p50 * ratio;
    variant.artifact.sha256 = Digest::of(b"variant").to_string();
    model.artifact.sha256 = Digest::of(b"model").to_string();
    results
}

fn making(obstacles: Obstacles) -> Making {
    Making {
        passes: Vec::new(),
        obstacles,
        not_finite: None,
        for_tensorrt: false,
    }
}

fn pruned(zeros: u64) -> Making {
    let cost = |zeros| Cost {
        parameters: 110,
        weights: 100,
        zeros,
        macs: None,
    };
    Making {
        passes: vec![PassReport {
            cost: Some(Change {
                before: cost(0),
                after: cost(zeros),
            }),
            ..PassReport::new("prune")
        }],
        ..making(Obstacles::default())
    }
}

fn quantized() -> Obstacles {
    Obstacles {
        layers: 4,
        conversions: 10,
        ..Obstacles::default()
    }
}

fn explained(mut results: Results, variant: Making) -> Option<String> {
    let model = making(Obstacles {
        layers: 4,
        unaligned: vec!["last".into()],
        ..Obstacles::default()
    });
    let makings = [(Digest::of(b"model"), model), (Digest::of(b"variant"), variant)];
    add(&mut results, &makings);
    assert_eq!(results.records[0].explanation, None);
    results.records[1].explanation.clone()
}

#[test]
fn what_is_faster_needs_no_explanation() {
    assert_eq!(explained(results(0.5), making(quantized())), None);
}

#[test]
fn only_the_model_that_ran_in_the_same_way_is_a_measure() {
    let slow = || results(1.5);
    assert!(explained(slow(), making(quantized())).is_some());
    let mut bound = slow();
    bound.records[0].cpus = vec![4, 5];
    assert_eq!(explained(bound, making(quantized())), None);
    let mut offline = slow();
    offline.records[1].scenario = Some(fixture::scenario("offline", "offline"));
    assert_eq!(explained(offline.clone(), making(quantized())), None);
    offline.records[0].scenario = Some(fixture::scenario("offline", "offline"));
    assert!(explained(offline, making(quantized())).is_some());
}

#[test]
fn what_is_neither_quantized_nor_pruned_promised_nothing() {
    assert_eq!(explained(results(1.5), making(Obstacles::default())), None);
}

#[test]
fn few_bits_that_become_floats_again_are_named() {
    let stored = Obstacles {
        stored: 3,
        ..Obstacles::default()
    };
    let text = explained(results(1.5), making(stored)).unwrap();
    assert!(text.contains("floats are made of them in each run"), "{text}");
    let dynamic = Obstacles {
        dynamic: 2,
        ..Obstacles::default()
    };
    let text = explained(results(1.5), making(dynamic)).unwrap();
    assert!(
        text.contains("the range of 2 activations is found anew"),
        "{text}"
    );
}

#[test]
fn float_among_integers_is_named() {
    let obstacles = Obstacles {
        float_layers: ["a", "b", "c", "d"].map(str::to_owned).to_vec(),
        unfused: vec!["e".into()],
        float_operators: [("HardSwish".to_owned(), 9)].into(),
        signed: true,
        ..quantized()
    };
    insta::assert_snapshot!(explained(results(1.5), making(obstacles)).unwrap(), @"slower than fp32: 4 of 4 layers are left in float (`a`, `b`, `c` and 1 more); the Q/DQ around 1 of 4 layers do not fuse, for their results stay in float (`e`); left in float between integers: 9 HardSwish; its activations are S8, and ONNX Runtime's fast kernels on x86 take U8");
}

#[test]
fn tract_fuses_nothing() {
    let mut results = results(1.5);
    for record in &mut results.records {
        record.runtime = "tract".into();
    }
    let text = explained(results, making(quantized())).unwrap();
    assert_eq!(
        text,
        "slower than fp32: tract computes its 10 QuantizeLinear and DequantizeLinear nodes one by one \
         and fuses none into integer kernels"
    );
}

#[test]
fn zeros_save_no_time() {
    let text = explained(results(1.01), pruned(50)).unwrap();
    assert!(
        text.starts_with("no faster than fp32: 50 % of its weights are single zeros"),
        "{text}"
    );
}

#[test]
fn only_the_channels_that_pruning_made_odd_are_named() {
    let mut variant = pruned(0);
    variant.obstacles.unaligned = vec!["first".into(), "last".into()];
    let text = explained(results(1.1), variant).unwrap();
    assert!(
        text.starts_with("slower than fp32: the channels of 1 layers are not a multiple of 8 (`first`)"),
        "{text}"
    );
}

#[test]
fn where_nothing_is_found_that_is_said_and_chance_is_named() {
    let mut results = results(1.1);
    results.records[1].conditions.valid = false;
    let text = explained(results, making(quantized())).unwrap();
    assert!(
        text.contains("its graph shows no reason") && text.ends_with("is unsteady or was disturbed"),
        "{text}"
    );
}

#[test]
fn constants_that_are_not_finite_are_noted_on_their_records() {
    let mut results = results(0.5);
    let mut variant = making(Obstacles::default());
    variant.not_finite = Some("constants that are not finite: `w` (NaN)".into());
    add(&mut results, &[(Digest::of(b"variant"), variant)]);
    let notes = |at: usize| &results.records[at].conditions.notes;
    assert!(notes(1).contains(&"constants that are not finite: `w` (NaN)".to_owned()));
    assert!(!notes(0).iter().any(|note| note.contains("not finite")));
}

#[test]
fn results_hold_what_the_passes_did_once_an_artifact() {
    let mut results = results(1.0);
    let again = results.records[1].clone();
    results.records.push(again);
    let mut variant = pruned(50);
    variant.passes[0].applied("conv", "72 of 144 weights are zero");
    add(&mut results, &[(Digest::of(b"variant"), variant)]);
    assert_eq!(results.variants.len(), 1);
    let pass = &results.variants[0].passes[0];
    assert_eq!((pass.pass.as_str(), pass.nodes.len()), ("prune", 1));
    assert_eq!(pass.cost.unwrap()[1].zeros, 50);
}

#[test]
fn what_was_measured_of_the_layers_is_kept() {
    let layer = |node: &str, noise| Layer {
        node: node.into(),
        noise,
        in_float: noise > 0.0,
    };
    let record = sensitivity(&Sensitivity {
        measure: Measure::Agreement,
        samples: 200,
        max_drop: Some(0.01),
        min_sqnr_db: Some(30.0),
        drop_all_quantized: 0.03,
        drop: 0.005,
        sqnr_db_all_quantized: Some(28.5),
        sqnr_db: None,
        layers: vec![layer("conv", 0.01), layer("spare", 0.0)],
    });
    let decibels: Vec<Option<f64>> = record.layers.iter().map(|layer| layer.sqnr_db).collect();
    assert_eq!(decibels, [Some(20.0), None]);
    assert_eq!(record.measure, "agreement");
    assert_eq!((record.max_drop, record.min_sqnr_db), (Some(0.01), Some(30.0)));
    assert_eq!((record.sqnr_db_all_quantized, record.sqnr_db), (Some(28.5), None));
}
