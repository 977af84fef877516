use std::path::Path;

use edgefront_optimizer::Model;
use edgefront_optimizer::graph::Graph;
use edgefront_optimizer::proto::TensorProto;
use edgefront_protocol::Digest;
use edgefront_runtimes::{Data, Options, Registry, Search, Tensor};

use super::*;

/// Pictures of one inference.
const BATCH: usize = 50;

#[test]
fn pictures_are_the_same_on_every_machine() {
    let bytes: Vec<u8> = (0..50)
        .flat_map(|index| picture::draw(Shape::ALL[index % 10], &mut Draw::new(9, index as u64)))
        .collect();
    insta::assert_snapshot!(Digest::of(&bytes));
}

#[test]
fn sets_share_no_pictures() {
    let [training, validation, calibration] =
        [Set::Training, Set::Validation, Set::Calibration].map(|set| pictures(set, 20).input(0..20));
    assert_ne!(training, validation);
    assert_ne!(training, calibration);
    assert_ne!(validation, calibration);
}

#[test]
fn classes_take_turns() {
    let pack = pictures(Set::Calibration, 20);
    let turns: Vec<i64> = (0..10).chain(0..10).collect();
    assert_eq!(pack.labels(), Some(&turns[..]));
    assert_eq!(pack.classes()[8], "star");
}

/// Share of the first 500 validation pictures whose class `model` finds, on tract.
fn top1(model: &[u8]) -> f64 {
    let file = tempfile::Builder::new().suffix(".onnx").tempfile().unwrap();
    std::fs::write(file.path(), model).unwrap();
    let registry = Registry::new(&Search::default());
    let options = Options {
        provider: "cpu".to_owned(),
        threads: 1,
        inputs: Vec::new(),
        batch: BATCH,
        spin: true,
        profile: false,
    };
    let model = registry
        .get("tract")
        .unwrap()
        .load(file.path(), &options)
        .unwrap();
    let mut session = model.session().unwrap();

    let pack = pictures(Set::Validation, 500);
    let labels = pack.labels().unwrap();
    let mut hits = 0;
    for first in (0..pack.len()).step_by(BATCH) {
        let pixels = Data::F32(pack.input(first..first + BATCH));
        session
            .bind(&[Tensor::new(vec![BATCH, 3, SIDE, SIDE], pixels).unwrap()])
            .unwrap();
        session.run().unwrap();
        let logits = session.fetch().unwrap();
        let rows = logits[0].as_f32().unwrap().chunks_exact(Shape::ALL.len());
        hits += rows
            .zip(&labels[first..])
            .filter(|(row, label)| best(row) == **label as usize)
            .count();
    }
    hits as f64 / pack.len() as f64
}

fn best(logits: &[f32]) -> usize {
    let best = logits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
    best.unwrap().0
}

/// The network with each weight of its convolutions moved by up to as much as the largest of its tensor.
fn damaged() -> Vec<u8> {
    let mut graph = Graph::new(Model::decode(MODEL, None).unwrap()).unwrap();
    let mut noise = Draw::new(11, 0);
    let weights: Vec<TensorProto> = graph
        .initializers()
        .filter(|tensor| tensor.dims.len() == 4)
        .cloned()
        .collect();
    assert!(!weights.is_empty());
    for tensor in weights {
        let mut values = tensor.floats().unwrap();
        let largest = values
            .iter()
            .fold(0.0f32, |largest, value| largest.max(value.abs()));
        for value in &mut values {
            *value += noise.between(-largest, largest);
        }
        let name = tensor.name();
        graph.remove_initializer(name).unwrap();
        graph.add_initializer(TensorProto::of(name, &tensor.shape().unwrap(), &values));
    }
    graph.finish().unwrap().encode()
}

#[test]
fn the_network_is_good_but_not_perfect_and_damage_to_its_weights_shows() {
    let whole = top1(MODEL);
    assert!((0.85..=0.97).contains(&whole), "top-1 is {whole}");
    let damaged = top1(&damaged());
    assert!(
        damaged < whole - 0.2,
        "top-1 falls from {whole} to {damaged} only"
    );
}

#[test]
fn the_network_is_small() {
    assert!(MODEL.len() < 1 << 20, "{} bytes", MODEL.len());
    assert!(
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("assets/demo/train.py")
            .exists()
    );
}
