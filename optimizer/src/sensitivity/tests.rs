use edgefront_runtimes::{Data, Registry, Search, Tensor};

use super::*;
use crate::answers::Answers;
use crate::calibrate::Samples;
use crate::check::check;
use crate::graph::build::Builder;
use crate::quantize::ActivationType;
use crate::testing::{Noise, ints, run};

/// Pictures of noise, some of them with a class.
struct Pictures {
    count: usize,
    classes: Vec<usize>,
}

impl Samples for Pictures {
    fn len(&self) -> usize {
        self.count
    }

    fn sample(&self, index: usize) -> std::io::Result<Vec<Tensor>> {
        let values = Noise(index as u64 + 1).take(3 * 36);
        Ok(vec![Tensor::new(vec![1, 3, 6, 6], Data::F32(values)).unwrap()])
    }

    fn class(&self, index: usize) -> Option<usize> {
        self.classes.get(index).copied()
    }
}

const UNLABELLED: Pictures = Pictures {
    count: 48,
    classes: Vec::new(),
};

/// Four convolutions and a classifier. The channels between the second and the third convolution are of very
/// different size, so that one scale for all of them leaves little of most.
fn uneven() -> Model {
    const CHANNELS: usize = 8;
    let mut noise = Noise(3);
    let mut b = Builder::new(17);
    let mut x = b.input("x", &["batch", "3", "6", "6"]);
    for layer in 0..4 {
        let inputs = if layer == 0 { 3 } else { CHANNELS };
        let factor = |channel: usize| 4_f32.powi(channel as i32 - 4);
        let weight = |index: usize| {
            let (output, input) = (index / (inputs * 9), index / 9 % inputs);
            let value = noise.next() / (inputs as f32).sqrt();
            match layer {
                1 => value * factor(output),
                2 => value / factor(input),
                _ => value,
            }
        };
        let weights: Vec<f32> = (0..CHANNELS * inputs * 9).map(weight).collect();
        let weights = b.floats(&[CHANNELS, inputs, 3, 3], &weights);
        let y = b.op("Conv", &[&x, &weights], &[ints("pads", &[1; 4])]);
        x = b.op("Relu", &[&y], &[]);
    }
    let pooled = b.op("GlobalAveragePool", &[&x], &[]);
    let flat = b.op("Flatten", &[&pooled], &[]);
    let weights = noise.take(4 * CHANNELS);
    let weights = b.floats(&[CHANNELS, 4], &weights);
    let y = b.op("MatMul", &[&flat, &weights], &[]);
    b.finish(&[&y])
}

/// The names of the second and the third convolution.
const UNEVEN_LAYERS: [&str; 2] = ["conv_2", "conv_4"];

fn quantize_with(samples: &Pictures, options: &quantize::Options) -> Result<(Model, PassReport), Error> {
    quantize_model(&uneven(), samples, options)
}

fn quantize_model(
    model: &Model,
    samples: &Pictures,
    options: &quantize::Options,
) -> Result<(Model, PassReport), Error> {
    let context = Context {
        calibration: Some(samples),
        training: None,
        runtimes: &Registry::new(&Search::default()),
        threads: 1,
        device: crate::train::Device::Cpu,
        activations: ActivationType::U8,
        progress: &|_| {},
    };
    quantize::quantize(model, options, &context)
}

/// The network up to its last picture of features, which are no predictions.
fn features() -> Model {
    let mut proto = uneven().into_proto();
    proto.graph.as_mut().unwrap().output[0].name = Some("v7".to_owned());
    Model::from_proto(proto)
}

fn options(max_drop: f64) -> quantize::Options {
    quantize::Options {
        per_channel: false,
        max_drop: Some(max_drop),
        ..quantize::Options::default()
    }
}

/// Operators of the model, by count.
fn count(model: &Model, operator: &str) -> usize {
    check(model)
        .unwrap()
        .operators
        .get(operator)
        .copied()
        .unwrap_or(0)
}

#[test]
fn keeps_the_layers_that_cost_predictions_in_float_and_no_more() {
    let (variant, report) = quantize_with(&UNLABELLED, &options(0.05)).unwrap();
    let found = report.sensitivity.unwrap();
    assert_eq!((found.measure, found.samples), (Measure::Agreement, 48));
    assert!(found.drop_all_quantized > 0.05, "{found:?}");
    assert!(found.drop <= 0.05, "{found:?}");
    let in_float: Vec<&str> = found
        .layers
        .iter()
        .filter(|layer| layer.in_float)
        .map(|layer| layer.node.as_str())
        .collect();
    assert!(
        in_float.iter().all(|name| UNEVEN_LAYERS.contains(name)),
        "{found:?}"
    );
    assert!(!in_float.is_empty());
    assert_eq!(found.layers.len(), 5);
    assert_eq!((found.max_drop, found.min_sqnr_db), (Some(0.05), None));
    for name in in_float {
        let node = report.nodes.iter().find(|node| node.node == name).unwrap();
        assert!(!node.applied, "{node:?}");
        assert!(
            node.why.starts_with(
                "it stays in float for the accuracy; alone in integers it leaves an output SQNR of "
            ),
            "{node:?}"
        );
    }
    assert!(count(&variant, "QuantizeLinear") > 0);
    assert_eq!(run(&variant, &[1, 3, 6, 6]).shape(), [1, 4]);
}

fn with_sqnr(min_sqnr: f64) -> quantize::Options {
    quantize::Options {
        max_drop: None,
        min_sqnr: Some(min_sqnr),
        ..options(0.0)
    }
}

fn in_float(found: &Sensitivity) -> Vec<String> {
    let layers = found.layers.iter().filter(|layer| layer.in_float);
    layers.map(|layer| layer.node.clone()).collect()
}

#[test]
fn a_floor_of_sqnr_is_reached_and_no_layer_is_in_float_without_need() {
    let everything = quantize_with(&UNLABELLED, &with_sqnr(0.0))
        .unwrap()
        .1
        .sensitivity
        .unwrap();
    assert_eq!(in_float(&everything), [""; 0]);
    assert_eq!(everything.sqnr_db, everything.sqnr_db_all_quantized);
    let quantized = everything.sqnr_db.unwrap();
    for above in [3.0, 10.0, 20.0] {
        let min_sqnr = quantized + above;
        let (_, report) = quantize_with(&UNLABELLED, &with_sqnr(min_sqnr)).unwrap();
        let found = report.sensitivity.unwrap();
        assert!(
            found.reaches_floor() && found.sqnr_db.unwrap() >= min_sqnr,
            "{found:?}"
        );
        let float = in_float(&found);
        assert!(!float.is_empty() && float.len() < found.layers.len(), "{found:?}");
        for spared in &float {
            let float_nodes = float.iter().filter(|layer| *layer != spared).cloned().collect();
            let fewer = quantize::Options {
                float_nodes,
                ..with_sqnr(0.0)
            };
            let (_, report) = quantize_with(&UNLABELLED, &fewer).unwrap();
            assert!(
                report.sensitivity.unwrap().sqnr_db.unwrap() < min_sqnr,
                "{spared}"
            );
        }
    }
}

#[test]
fn of_two_floors_both_hold() {
    let layers = |max_drop, min_sqnr| {
        let options = quantize::Options {
            max_drop,
            min_sqnr,
            ..options(0.0)
        };
        let found = quantize_with(&UNLABELLED, &options)
            .unwrap()
            .1
            .sensitivity
            .unwrap();
        assert!(found.reaches_floor(), "{found:?}");
        in_float(&found)
    };
    let (of_drop, of_sqnr) = (layers(Some(0.05), None), layers(None, Some(40.0)));
    assert!(of_drop.len() < of_sqnr.len(), "{of_drop:?} {of_sqnr:?}");
    assert_eq!(layers(Some(0.05), Some(0.0)), of_drop);
    assert_eq!(layers(Some(0.05), Some(40.0)), of_sqnr);
}

#[test]
fn a_floor_out_of_reach_leaves_all_in_float_and_is_told() {
    // Equalized channels round otherwise than those of the model.
    let options = quantize::Options {
        equalize: true,
        ..with_sqnr(1e3)
    };
    let (_, report) = quantize_with(&UNLABELLED, &options).unwrap();
    let found = report.sensitivity.unwrap();
    assert!(!found.reaches_floor(), "{found:?}");
    assert!(found.layers.iter().all(|layer| layer.in_float));
    assert_eq!(report.nodes.iter().filter(|node| node.applied).count(), 0);
    let follower = report.nodes.iter().find(|node| node.node == "relu_1").unwrap();
    assert_eq!(follower.why, "it stays in float with the layer before it");
}

#[test]
fn a_wide_floor_leaves_all_in_integers() {
    let (mixed, report) = quantize_with(&UNLABELLED, &options(1.0)).unwrap();
    let found = report.sensitivity.unwrap();
    assert!((found.drop - found.drop_all_quantized).abs() < 1e-9);
    assert!(found.layers.iter().all(|layer| !layer.in_float));
    let plain = quantize::Options {
        max_drop: None,
        ..options(1.0)
    };
    let (plain, report) = quantize_with(&UNLABELLED, &plain).unwrap();
    assert_eq!(mixed, plain);
    assert_eq!(report.sensitivity, None);
}

#[test]
fn layers_that_the_user_keeps_in_float_are_not_measured() {
    let options = quantize::Options {
        float_nodes: UNEVEN_LAYERS.map(str::to_owned).to_vec(),
        ..options(0.05)
    };
    let (_, report) = quantize_with(&UNLABELLED, &options).unwrap();
    let found = report.sensitivity.unwrap();
    assert!(
        found
            .layers
            .iter()
            .all(|layer| !layer.in_float && !UNEVEN_LAYERS.contains(&layer.node.as_str()))
    );
    assert_eq!(found.layers.len(), 3);
}

#[test]
fn labels_are_the_measure_where_there_are_any() {
    let unlabelled = Source {
        samples: &UNLABELLED,
        total: UNLABELLED.count,
        runtimes: &Registry::new(&Search::default()),
        threads: 1,
    };
    let classes = Answers::of(&uneven(), &unlabelled)
        .unwrap()
        .predictions()
        .unwrap();
    let (_, report) = quantize_with(&Pictures { count: 48, classes }, &options(0.05)).unwrap();
    assert_eq!(report.sensitivity.unwrap().measure, Measure::Top1);
}

#[test]
fn what_cannot_be_is_refused_in_one_line() {
    let no_fraction = quantize_with(&UNLABELLED, &options(1.5)).unwrap_err();
    insta::assert_snapshot!(no_fraction, @"quantize: a drop of 1.5 is not a fraction between 0 and 1");
    for no_ratio in [f64::NAN, f64::INFINITY, -3.0] {
        let error = quantize_with(&UNLABELLED, &with_sqnr(no_ratio)).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "quantize: an SQNR of {no_ratio} dB is no floor; give a number of decibels from 0 on, such as 25"
            )
        );
    }
    let no_classifier = quantize_model(&features(), &UNLABELLED, &options(0.1)).unwrap_err();
    insta::assert_snapshot!(no_classifier, @"quantize: output `v7` of shape [16, 8, 6, 6] holds no predictions to keep, as [batch, classes] would; set a floor of the SQNR instead");
}

#[test]
fn a_model_without_predictions_keeps_a_floor_of_its_outputs() {
    let ratio = |min_sqnr| {
        let (_, report) = quantize_model(&features(), &UNLABELLED, &with_sqnr(min_sqnr)).unwrap();
        let found = report.sensitivity.unwrap();
        assert_eq!(found.measure, Measure::None);
        assert!(found.drop.abs() < f64::EPSILON);
        (in_float(&found), found.sqnr_db.unwrap())
    };
    let (float, quantized) = ratio(0.0);
    assert_eq!(float, [""; 0]);
    let (float, reached) = ratio(quantized + 6.0);
    assert!(
        !float.is_empty() && reached >= quantized + 6.0,
        "{float:?}, {reached}"
    );
}
