use std::collections::HashSet;

use edgefront_runtimes::{Data, Options as RunOptions, Registry, Search, Tensor};
use proptest::prelude::*;

use super::*;
use crate::calibrate::{Method, Samples};
use crate::check::check;
use crate::graph::build::Builder;
use crate::proto::{AttributeProto, DataType};
use crate::recipe::{Recipe, Step};

/// Numbers that look random and are the same on every run.
#[derive(Clone)]
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        // The sum of two uniform numbers, so that small ones are more frequent.
        let uniform = |bits: u64| (bits & 0xffff) as f32 / 65_536.0 - 0.5;
        2.0 * (uniform(self.0 >> 20) + uniform(self.0 >> 40))
    }

    fn take(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.next()).collect()
    }
}

/// Noise of one shape.
struct Pictures {
    count: usize,
    shape: Vec<usize>,
}

impl Samples for Pictures {
    fn len(&self) -> usize {
        self.count
    }

    fn sample(&self, index: usize) -> Vec<Tensor> {
        let values = Noise(index as u64 + 1).take(self.shape.iter().product());
        vec![Tensor::new(self.shape.clone(), Data::F32(values)).unwrap()]
    }
}

const PICTURES: fn(usize) -> Pictures = |count| Pictures {
    count,
    shape: vec![1, 3, 8, 8],
};

/// Convolutional networks layer by layer.
struct Network {
    b: Builder,
    noise: Noise,
}

impl Network {
    fn new(opset: i64) -> (Self, String) {
        let mut b = Builder::new(opset);
        let input = b.input("x", &["batch", "3", "8", "8"]);
        (Self { b, noise: Noise(7) }, input)
    }

    fn conv(&mut self, x: &str, [outputs, inputs, size]: [usize; 3], groups: usize) -> String {
        let fan_in = inputs * size * size;
        let spread = (3.0 / fan_in as f32).sqrt();
        let weights: Vec<f32> = self
            .noise
            .take(outputs * fan_in)
            .iter()
            .map(|w| w * spread)
            .collect();
        let weights = self.b.floats(&[outputs, inputs, size, size], &weights);
        let bias = self.noise.take(outputs);
        let bias = self.b.floats(&[outputs], &bias);
        let pad = (size / 2) as i64;
        let attributes = [
            AttributeProto::from_ints("pads", &[pad; 4]),
            AttributeProto::from_int("group", groups as i64),
        ];
        self.b.op("Conv", &[x, &weights, &bias], &attributes)
    }

    fn relu6(&mut self, x: &str) -> String {
        let (low, high) = (self.b.floats(&[], &[0.0]), self.b.floats(&[], &[6.0]));
        self.b.op("Clip", &[x, &low, &high], &[])
    }

    fn classify(&mut self, x: &str, channels: usize) -> String {
        let pooled = self.b.op("GlobalAveragePool", &[x], &[]);
        let flat = self.b.op("Flatten", &[&pooled], &[]);
        let weights = self.noise.take(4 * channels);
        let (weights, bias) = (
            self.b.floats(&[4, channels], &weights),
            self.b.floats(&[4], &[0.5, -0.5, 0.0, 0.1]),
        );
        self.b.op(
            "Gemm",
            &[&flat, &weights, &bias],
            &[AttributeProto::from_int("transB", 1)],
        )
    }
}

/// Two residual blocks, one of them with a convolution on its shortcut, as in ResNet.
fn resnet() -> Model {
    let (mut n, x) = Network::new(17);
    let stem = n.conv(&x, [8, 3, 3], 1);
    let stem = n.b.op("Relu", &[&stem], &[]);
    let attributes = [
        AttributeProto::from_ints("kernel_shape", &[2, 2]),
        AttributeProto::from_ints("strides", &[2, 2]),
    ];
    let mut block = n.b.op("MaxPool", &[&stem], &attributes);
    for (inputs, outputs) in [(8, 8), (8, 16)] {
        let a = n.conv(&block, [outputs, inputs, 3], 1);
        let a = n.b.op("Relu", &[&a], &[]);
        let a = n.conv(&a, [outputs, outputs, 3], 1);
        let shortcut = if inputs == outputs {
            block.clone()
        } else {
            n.conv(&block, [outputs, inputs, 1], 1)
        };
        let sum = n.b.op("Add", &[&a, &shortcut], &[]);
        block = n.b.op("Relu", &[&sum], &[]);
    }
    let y = n.classify(&block, 16);
    n.b.finish(&[&y])
}

/// Inverted residual blocks with depthwise convolutions and `ReLU6`, as in MobileNetV2.
fn mobilenet() -> Model {
    let (mut n, x) = Network::new(17);
    let stem = n.conv(&x, [8, 3, 3], 1);
    let mut block = n.relu6(&stem);
    block = n.conv(&block, [8, 8, 1], 1);
    for _ in 0..2 {
        let wide = n.conv(&block, [24, 8, 1], 1);
        let wide = n.relu6(&wide);
        let deep = n.conv(&wide, [24, 1, 3], 24);
        let deep = n.relu6(&deep);
        let narrow = n.conv(&deep, [8, 24, 1], 1);
        block = n.b.op("Add", &[&block, &narrow], &[]);
    }
    let last = n.conv(&block, [16, 8, 1], 1);
    let last = n.relu6(&last);
    let y = n.classify(&last, 16);
    n.b.finish(&[&y])
}

fn options(per_channel: bool, activations: Activations) -> Options {
    Options {
        per_channel,
        activations,
        ..Options::default()
    }
}

fn quantized(model: &Model, options: &Options, samples: &dyn Samples) -> Result<(Model, PassReport), Error> {
    calibrated(model, options, samples)?.quantize(&options.float_nodes)
}

fn calibrated(model: &Model, options: &Options, samples: &dyn Samples) -> Result<Calibrated, Error> {
    let context = Context {
        calibration: Some(samples),
        training: None,
        // The tests of this module are to need no library.
        runtimes: &Registry::new(&Search {
            runtime_path: Some("nowhere".into()),
        }),
        threads: 1,
        activations: ActivationType::U8,
        progress: &|_| {},
    };
    calibrate(model, options, &context)
}

fn run(model: &Model, input: &[Tensor]) -> Vec<f32> {
    run_on("tract", model, input)
}

fn run_on(runtime: &str, model: &Model, input: &[Tensor]) -> Vec<f32> {
    let file = tempfile::Builder::new().suffix(".onnx").tempfile().unwrap();
    std::fs::write(file.path(), model.encode()).unwrap();
    let registry = Registry::new(&Search::default());
    let options = RunOptions {
        provider: "cpu".to_owned(),
        threads: 1,
        inputs: vec![],
        batch: 1,
    };
    let mut session = registry
        .get(runtime)
        .unwrap()
        .load(file.path(), &options)
        .unwrap()
        .session()
        .unwrap();
    session.bind(input).unwrap();
    session.run().unwrap();
    session.fetch().unwrap()[0].as_f32().unwrap().to_vec()
}

/// Signal-to-noise ratio of the outputs on new pictures, in decibels.
fn fidelity(model: &Model, int8: &Model, pictures: &Pictures) -> f32 {
    let (mut signal, mut noise) = (0.0, 0.0);
    for index in 1000..1008 {
        let input = pictures.sample(index);
        for (a, b) in run(model, &input).iter().zip(run(int8, &input)) {
            signal += a * a;
            noise += (a - b) * (a - b);
        }
    }
    10.0 * (signal / noise).log10()
}

fn operators(model: &Model) -> Vec<&str> {
    model.graph().node.iter().map(|node| node.op_type()).collect()
}

/// What a runtime needs to fuse everything: each convolution reads pairs and is read by one, no pair dangles.
fn assert_integer_everywhere(model: &Model) {
    check(model).unwrap();
    let graph = Graph::new(model.clone()).unwrap();
    for (_, node) in graph.nodes() {
        let reads_pair = |index: usize| {
            graph
                .producer(&node.input[index])
                .is_some_and(|id| graph.node(id).is("DequantizeLinear"))
        };
        let readers = graph.consumers(&node.output[0]);
        match node.op_type() {
            "Conv" => {
                assert!((0..3).all(reads_pair), "{}", node.label());
                assert!(
                    readers.len() == 1 && graph.node(readers[0].0).is("QuantizeLinear"),
                    "{}",
                    node.label()
                );
            }
            "Add" => assert!((0..2).all(reads_pair), "{}", node.label()),
            "Relu" | "Clip" => panic!("{} is left", node.label()),
            "QuantizeLinear" => {
                assert!(
                    graph
                        .producer(&node.input[0])
                        .is_none_or(|id| !graph.node(id).is("DequantizeLinear"))
                );
                assert!(readers.len() == 1, "{}", node.label());
            }
            _ => assert!(
                !readers.is_empty() || graph.is_output(&node.output[0]),
                "{}",
                node.label()
            ),
        }
    }
}

#[test]
fn small_networks_compute_in_integers_and_keep_their_answers() {
    for (name, model) in [("resnet", resnet()), ("mobilenet", mobilenet())] {
        for per_channel in [false, true] {
            for method in [Method::Minmax, Method::Entropy, Method::Percentile, Method::Mse] {
                let options = Options {
                    method,
                    ..options(per_channel, Activations::U8)
                };
                let (int8, report) = quantized(&model, &options, &PICTURES(12)).unwrap();
                assert_integer_everywhere(&int8);
                assert!(report.nodes.iter().all(|node| node.applied), "{name}: {report:?}");
                let decibels = fidelity(&model, &int8, &PICTURES(0));
                assert!(
                    decibels > 28.0,
                    "{name}, {method:?}, per channel {per_channel}: {decibels} dB"
                );
            }
        }
    }
}

#[test]
fn signed_activations_are_as_good() {
    for model in [resnet(), mobilenet()] {
        let (int8, _) = quantized(&model, &options(true, Activations::S8), &PICTURES(12)).unwrap();
        assert_integer_everywhere(&int8);
        let decibels = fidelity(&model, &int8, &PICTURES(0));
        assert!(decibels > 28.0, "{decibels} dB");
    }
}

#[test]
fn symmetric_activations_have_zero_in_the_middle() {
    for (activations, middle) in [(Activations::U8, 128), (Activations::S8, 0)] {
        let options = Options {
            symmetric: true,
            ..options(true, activations)
        };
        let (int8, _) = quantized(&mobilenet(), &options, &PICTURES(12)).unwrap();
        for tensor in int8
            .graph()
            .initializer
            .iter()
            .filter(|tensor| tensor.name().ends_with("_zero_point"))
        {
            let zero_points = tensor.integers().unwrap();
            let never_negative = activations == Activations::U8 && zero_points == [0];
            let of_weights = zero_points.iter().all(|&zero_point| zero_point == 0) && tensor.dims.len() == 1;
            assert!(
                zero_points == [middle] || never_negative || of_weights,
                "{}: {zero_points:?}",
                tensor.name()
            );
        }
        assert!(fidelity(&mobilenet(), &int8, &PICTURES(0)) > 25.0);
    }
}

#[test]
fn a_reduced_range_keeps_weights_in_seven_bits() {
    let options = Options {
        reduce_range: true,
        ..Options::default()
    };
    let (int8, _) = quantized(&resnet(), &options, &PICTURES(12)).unwrap();
    let tensors = int8
        .graph()
        .initializer
        .iter()
        .filter(|tensor| tensor.dims.len() > 1);
    let weights: Vec<i64> = tensors.flat_map(|tensor| tensor.integers().unwrap()).collect();
    assert_eq!(
        (weights.iter().min(), weights.iter().max()),
        (Some(&-63), Some(&63))
    );
    assert!(fidelity(&resnet(), &int8, &PICTURES(0)) > 25.0);
}

#[test]
fn weights_are_stored_in_bytes_alone() {
    let (int8, _) = quantized(&resnet(), &options(true, Activations::U8), &PICTURES(2)).unwrap();
    for tensor in &int8.graph().initializer {
        let of_weights = tensor.dims.len() > 1;
        assert_eq!(
            of_weights,
            tensor.element_type().unwrap() == DataType::Int8 && tensor.dims.len() > 1
        );
    }
}

#[test]
fn what_has_no_integer_form_stays_in_float_and_is_named() {
    let (mut n, x) = Network::new(17);
    let y = n.conv(&x, [4, 3, 3], 1);
    let y = n.b.op("Sigmoid", &[&y], &[]);
    let y = n.conv(&y, [4, 4, 3], 1);
    let model = n.b.finish(&[&y]);
    let (int8, report) = quantized(&model, &options(true, Activations::U8), &PICTURES(4)).unwrap();
    check(&int8).unwrap();
    let left: Vec<&str> = report
        .nodes
        .iter()
        .filter(|n| !n.applied)
        .map(|n| n.why.as_str())
        .collect();
    assert_eq!(left, ["operator `Sigmoid` has no integer form"]);
    assert!(operators(&int8).contains(&"Sigmoid"));
    // The graph's output keeps its name though a pair was put behind it.
    assert_eq!(int8.graph().output, model.graph().output);
    assert!(fidelity(&model, &int8, &PICTURES(0)) > 30.0);
}

#[test]
fn a_model_calibrates_in_the_batch_that_it_fixes_as_in_any_other() {
    let fixed = |batch: &str| {
        let mut proto = resnet().into_proto();
        let input = crate::graph::build::value_info("x", DataType::Float, Some(&[batch, "3", "8", "8"]));
        proto.graph.as_mut().unwrap().input[0] = input;
        Model::from_proto(proto)
    };
    for method in [Method::Minmax, Method::Entropy, Method::Mse] {
        let options = Options {
            method,
            ..options(true, Activations::U8)
        };
        // Neither one sample nor seven fill batches of 4; what is repeated must not count.
        for samples in [1, 7] {
            let (expected, _) = quantized(&resnet(), &options, &PICTURES(samples)).unwrap();
            for batch in ["1", "4"] {
                let (int8, _) = quantized(&fixed(batch), &options, &PICTURES(samples)).unwrap();
                assert_integer_everywhere(&int8);
                assert_eq!(
                    int8.graph().initializer,
                    expected.graph().initializer,
                    "{method:?}"
                );
            }
        }
    }
    let error = quantized(&fixed("5000"), &Options::default(), &PICTURES(2)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "calibration: the model takes 5000 samples at once, more than 4096; export it with a dynamic batch"
    );
}

#[test]
fn one_calibration_serves_every_choice_of_float_nodes() {
    let model = mobilenet();
    let shared = calibrated(&model, &Options::default(), &PICTURES(6)).unwrap();
    let layers = shared.layers();
    assert_eq!(layers.len(), 10, "{layers:?}");
    for float in &layers {
        let float_nodes = vec![float.clone()];
        let (int8, report) = shared.quantize(&float_nodes).unwrap();
        let left: Vec<_> = report.nodes.iter().filter(|node| !node.applied).collect();
        assert!(
            left.iter()
                .any(|node| node.node == *float && node.why == "it is to stay in float")
        );
        let options = Options {
            float_nodes,
            ..Options::default()
        };
        assert_eq!(quantized(&model, &options, &PICTURES(6)).unwrap().0, int8);
        assert!(fidelity(&model, &int8, &PICTURES(0)) > 28.0, "{float}");
    }
    let (same, report) = shared.quantize(&layers).unwrap();
    assert_eq!(report.count_applied(), 0);
    assert_eq!(operators(&same), operators(&model));
}

#[test]
fn a_limit_keeps_the_node_before_it_in_float() {
    let model = resnet();
    let float_nodes = vec!["relu_1".to_owned()];
    let shared = calibrated(&model, &Options::default(), &PICTURES(2)).unwrap();
    let (_, report) = shared.quantize(&float_nodes).unwrap();
    let left: Vec<_> = report
        .nodes
        .iter()
        .filter(|node| !node.applied)
        .map(|node| node.node.as_str())
        .collect();
    assert_eq!(left, ["conv_0", "relu_1", "maxpool_2"]);
    let error = shared.quantize(&["nothing".to_owned()]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "quantize: the model has no node `nothing` to keep in float; `edgefront quantize --json` lists them"
    );
}

#[test]
fn dead_inputs_calibrate() {
    // Activations that are zero or constant.
    let (mut n, x) = Network::new(17);
    let zero = n.b.floats(&[4, 3, 1, 1], &[0.0; 12]);
    let y = n.b.op("Conv", &[&x, &zero], &[]);
    let y = n.b.op("Relu", &[&y], &[]);
    let y = n.conv(&y, [2, 4, 1], 1);
    let model = n.b.finish(&[&y]);
    let (int8, _) = quantized(&model, &options(true, Activations::U8), &PICTURES(3)).unwrap();
    assert!(fidelity(&model, &int8, &PICTURES(0)) > 40.0);
}

#[test]
fn bad_input_is_an_error_of_one_line() {
    let nan = {
        let mut proto = resnet().into_proto();
        let weights = &mut proto.graph.as_mut().unwrap().initializer[0];
        let mut values: Vec<f32> = weights.values().unwrap();
        values[0] = f32::NAN;
        *weights = crate::proto::TensorProto::of("w0", &weights.shape().unwrap(), &values);
        Model::from_proto(proto)
    };
    let old = {
        let (mut n, x) = Network::new(11);
        let y = n.conv(&x, [4, 3, 3], 1);
        n.b.finish(&[&y])
    };
    let percentile = Options {
        method: Method::Percentile,
        percentile: 0.99,
        ..Options::default()
    };
    let nothing = {
        let (mut n, x) = Network::new(17);
        let y = n.b.op("Sigmoid", &[&x], &[]);
        n.b.finish(&[&y])
    };
    let infinite = {
        let (mut n, x) = Network::new(17);
        let zero = n.b.floats(&[], &[0.0]);
        let y = n.b.op("Div", &[&x, &zero], &[]);
        let y = n.conv(&y, [4, 3, 3], 1);
        n.b.finish(&[&y])
    };
    let wrong = Pictures {
        count: 3,
        shape: vec![1, 3, 8],
    };
    let u8 = options(true, Activations::U8);
    let said = [
        quantized(&nan, &u8, &PICTURES(2)),
        quantized(&old, &u8, &PICTURES(2)),
        quantized(&nothing, &u8, &PICTURES(2)),
        quantized(&infinite, &u8, &PICTURES(2)),
        quantized(&resnet(), &u8, &PICTURES(0)),
        quantized(&resnet(), &u8, &wrong),
        quantized(&resnet(), &percentile, &PICTURES(2)),
    ];
    let said: Vec<String> = said
        .into_iter()
        .map(|result| result.unwrap_err().to_string())
        .collect();
    assert!(said.iter().all(|error| !error.contains('\n')), "{said:?}");
    insta::assert_snapshot!(said.join("\n"));
}

/// One layer of a random network, by number.
fn layer(n: &mut Network, x: &str, kind: u8) -> String {
    match kind {
        0 => n.b.op("Relu", &[x], &[]),
        1 => n.b.op("Add", &[x, x], &[]),
        2 => n.b.op("Sigmoid", &[x], &[]),
        3 => {
            let attributes = [AttributeProto::from_ints("kernel_shape", &[1, 1])];
            n.b.op("MaxPool", &[x], &attributes)
        }
        4 => {
            let axes = AttributeProto::from_ints("perm", &[0, 1, 3, 2]);
            n.b.op("Transpose", &[x], &[axes])
        }
        5 => {
            let gate = n.conv(x, [4, 4, 1], 1);
            let gate = n.b.op("Sigmoid", &[&gate], &[]);
            n.b.op("Mul", &[x, &gate], &[])
        }
        6 => n.relu6(x),
        7 => {
            let other = n.conv(x, [4, 1, 3], 4);
            n.b.op("Add", &[&other, x], &[])
        }
        _ => n.conv(x, [4, 4, 3], 1),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn random_networks_stay_valid_and_keep_their_answers(
        kinds in prop::collection::vec(0_u8..10, 1..7), per_channel: bool, s8: bool, inner_output: bool,
    ) {
        let (mut n, x) = Network::new(17);
        let mut values = vec![n.conv(&x, [4, 3, 3], 1)];
        for kind in kinds {
            let next = layer(&mut n, values.last().unwrap(), kind);
            values.push(next);
        }
        let last = values.last().unwrap().clone();
        let mut outputs = vec![last.as_str()];
        if inner_output && values.len() > 2 {
            outputs.push(&values[1]);
        }
        let model = n.b.finish(&outputs);
        let activations = if s8 { Activations::S8 } else { Activations::U8 };
        let (int8, _) = quantized(&model, &options(per_channel, activations), &PICTURES(9)).unwrap();
        check(&int8).unwrap();
        let names = |model: &Model| model.graph().output.iter().map(|o| o.name().to_owned()).collect::<HashSet<_>>();
        prop_assert_eq!(names(&model), names(&int8));
        let decibels = fidelity(&model, &int8, &PICTURES(0));
        prop_assert!(decibels > 15.0, "{} dB: {:?}", decibels, operators(&model));
    }
}

#[test]
fn options_are_read_from_toml_and_unknown_ones_refused() {
    let read = |text: &str| toml::from_str::<Recipe>(&format!("name = \"own\"\nsteps = [{text}]"));
    let recipe = read(r#"{ pass = "fold-batch-norm" }, { pass = "quantize", method = "entropy" }"#).unwrap();
    let options = Options {
        method: Method::Entropy,
        ..Options::default()
    };
    assert_eq!(recipe.steps, [Step::FoldBatchNorm {}, Step::Quantize(options)]);
    for wrong in [
        r#"{ pass = "quantize", bits = 4 }"#,
        r#"{ pass = "quantize", method = "none" }"#,
        r#"{ pass = "fold-batch-norm", amount = 1 }"#,
        r#"{ pass = "prune" }"#,
        r#"{ pass = "polish" }"#,
    ] {
        assert!(read(wrong).is_err(), "{wrong}");
    }
}

mod ort {
    use edgefront_runtimes::ort::optimized_model;

    use super::*;

    /// The graph that ONNX Runtime makes of a model.
    fn optimized(model: &Model) -> Model {
        let dir = tempfile::tempdir().unwrap();
        let (before, after) = (dir.path().join("before.onnx"), dir.path().join("after.onnx"));
        model.write(&before).unwrap();
        optimized_model(&Search::default(), &before, &after).unwrap();
        Model::read(&after).unwrap()
    }

    #[test]
    fn leaves_no_convolution_in_float() {
        for model in [resnet(), mobilenet()] {
            for per_channel in [false, true] {
                let options = options(per_channel, Activations::U8);
                let (int8, _) = quantized(&model, &options, &PICTURES(4)).unwrap();
                let fused = optimized(&int8);
                let fused = operators(&fused);
                let count = |operator: &str| fused.iter().filter(|&&other| other == operator).count();
                let before = |operator: &str| operators(&model).iter().filter(|&&o| o == operator).count();
                assert_eq!(count("QLinearConv"), before("Conv"), "{fused:?}");
                assert_eq!(count("QLinearAdd"), before("Add"), "{fused:?}");
                assert_eq!(count("QGemm"), 1, "{fused:?}");
                for float in ["Conv", "FusedConv", "Add", "GlobalAveragePool", "Relu", "Clip"] {
                    assert_eq!(count(float), 0, "{float}: {fused:?}");
                }
                assert_eq!(count("QuantizeLinear"), 1, "the input alone: {fused:?}");
            }
        }
    }

    #[test]
    fn answers_as_tract_does() {
        for model in [resnet(), mobilenet()] {
            for activations in [Activations::U8, Activations::S8] {
                let (int8, _) = quantized(&model, &options(true, activations), &PICTURES(12)).unwrap();
                let float = fidelity(&model, &int8, &PICTURES(0));
                let input = PICTURES(0).sample(2000);
                let (a, b) = (run(&int8, &input), run_on("ort", &int8, &input));
                let signal: f32 = a.iter().map(|a| a * a).sum();
                let noise: f32 = a.iter().zip(&b).map(|(a, b)| (a - b) * (a - b)).sum();
                let decibels = 10.0 * (signal / noise).log10();
                assert!(
                    decibels > float,
                    "{decibels} dB from one another, {float} dB from float"
                );
            }
        }
    }
}
