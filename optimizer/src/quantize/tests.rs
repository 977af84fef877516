use std::collections::HashSet;

use edgefront_runtimes::{Options as RunOptions, Registry, Search, Tensor};
use proptest::prelude::*;

use super::*;
use crate::calibrate::{Method, Samples};
use crate::check::check;
use crate::proto::{AttributeProto, DataType};
use crate::recipe::{Recipe, Step};

mod derived;
mod gates;
pub(super) mod networks;
mod ort;
mod stored;
mod trial;

use networks::{Network, PICTURES, Pictures, attention, mobilenet, mobilenet_v3, rarities, resnet};

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
        runtimes: &Registry::built_in(),
        threads: 1,
        device: crate::train::Device::Cpu,
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
        spin: false,
        profile: false,
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
        let input = pictures.sample(index).unwrap();
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
                    method: Some(method),
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
fn a_model_calibrates_in_the_batch_that_it_fixes_as_in_any_other() {
    let fixed = |batch: &str| {
        let mut proto = resnet().into_proto();
        let input = crate::graph::build::value_info("x", DataType::Float, Some(&[batch, "3", "8", "8"]));
        proto.graph.as_mut().unwrap().input[0] = input;
        Model::from_proto(proto)
    };
    for method in [Method::Minmax, Method::Entropy, Method::Mse] {
        let options = Options {
            method: Some(method),
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
fn a_model_that_is_quantized_already_is_refused() {
    let options = options(true, Activations::U8);
    let (int8, _) = quantized(&resnet(), &options, &PICTURES(4)).unwrap();
    let error = quantized(&int8, &options, &PICTURES(4)).unwrap_err().to_string();
    assert_eq!(
        error,
        "quantize: the model is quantized already; give the float model that it was made from"
    );
}

#[test]
fn one_calibration_serves_every_choice_of_float_nodes() {
    let model = mobilenet();
    let mse = Options {
        method: Some(Method::Mse),
        ..Options::default()
    };
    let shared = calibrated(&model, &mse, &PICTURES(6)).unwrap();
    let layers: Vec<String> = shared.regions().into_iter().map(|region| region.layer).collect();
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
            ..mse.clone()
        };
        assert_eq!(quantized(&model, &options, &PICTURES(6)).unwrap().0, int8);
        assert!(fidelity(&model, &int8, &PICTURES(0)) > 28.0, "{float}");
    }
    let (same, report) = shared.quantize(&layers).unwrap();
    assert_eq!(report.count_applied(), 0);
    assert_eq!(operators(&same), operators(&model));
}

#[test]
fn a_region_in_float_leaves_nothing_of_itself_in_integers() {
    for model in [resnet(), mobilenet(), mobilenet_v3()] {
        let shared = calibrated(&model, &Options::default(), &PICTURES(2)).unwrap();
        let nodes = |region: &Region| {
            let mut nodes = vec![region.layer.clone()];
            nodes.extend(region.followers.iter().cloned());
            nodes
        };
        let regions = shared.regions();
        for region in &regions {
            let float_nodes = nodes(region);
            let (_, report) = shared.quantize(&float_nodes).unwrap();
            let own = report
                .nodes
                .iter()
                .filter(|node| float_nodes.contains(&node.node));
            assert_eq!(own.filter(|node| node.applied).count(), 0, "{region:?}");
        }
        let all: Vec<String> = regions.iter().flat_map(nodes).collect();
        let (float, _) = shared.quantize(&all).unwrap();
        assert_eq!(operators(&float), operators(&model));
    }
}

#[test]
fn a_residual_sum_belongs_to_the_last_layer_that_it_adds() {
    let shared = calibrated(&resnet(), &Options::default(), &PICTURES(2)).unwrap();
    let region = |layer: &str, followers: &[&str]| Region {
        layer: layer.to_owned(),
        followers: followers.iter().map(|&node| node.to_owned()).collect(),
    };
    let mut sums = shared.regions();
    sums.retain(|region| region.followers.iter().any(|node| node.starts_with("add")));
    let last = ["add_12", "relu_13", "globalaveragepool_14", "flatten_15"];
    assert_eq!(
        sums,
        [region("conv_5", &["add_6", "relu_7"]), region("conv_11", &last)]
    );
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
        method: Some(Method::Percentile),
        percentile: 0.99,
        ..Options::default()
    };
    let nothing = {
        let (mut n, x) = Network::new(17);
        let y = n.b.op("Softmax", &[&x], &[]);
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
    let (half, _) = crate::passes::fp16::fp16(&resnet(), &crate::passes::fp16::Options::default()).unwrap();
    let u8 = options(true, Activations::U8);
    let said = [
        quantized(&nan, &u8, &PICTURES(2)),
        quantized(&old, &u8, &PICTURES(2)),
        quantized(&nothing, &u8, &PICTURES(2)),
        quantized(&half, &u8, &PICTURES(2)),
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

/// tract would make a table of bytes of it, which takes no other elements into account.
#[test]
fn what_computes_shapes_is_no_part_of_the_report() {
    let (mut n, x) = Network::new(17);
    let y = n.conv(&x, [4, 3, 3], 1);
    let shape = n.b.op("Shape", &[&y], &[]);
    let (start, end, tail) = (n.b.ints(&[0]), n.b.ints(&[1]), n.b.ints(&[-1]));
    let first = n.b.op("Slice", &[&shape, &start, &end], &[]);
    let target =
        n.b.op("Concat", &[&first, &tail], &[AttributeProto::from_int("axis", 0)]);
    let y = n.b.op("Reshape", &[&y, &target], &[]);
    let model = n.b.finish(&[&y]);
    let (_, report) = quantized(&model, &options(true, Activations::U8), &PICTURES(2)).unwrap();
    let nodes: Vec<&str> = report.nodes.iter().map(|node| node.node.as_str()).collect();
    assert_eq!(nodes, ["conv_0", "reshape_4"]);
}

#[test]
fn a_softmax_between_integers_stays_one_of_floats() {
    for softmax in ["Softmax", "LogSoftmax"] {
        let model = attention(softmax);
        for activations in [Activations::U8, Activations::S8] {
            let (int8, report) = quantized(&model, &options(true, activations), &PICTURES(12)).unwrap();
            let left: Vec<&str> = report
                .nodes
                .iter()
                .filter(|node| !node.applied)
                .map(|node| node.why.as_str())
                .collect();
            assert_eq!(left, [format!("operator `{softmax}` has no integer form")]);
            let graph = Graph::new(int8.clone()).unwrap();
            let (_, node) = graph.nodes().find(|(_, node)| node.is(softmax)).unwrap();
            let before = graph.producer(&node.input[0]).unwrap();
            assert!(graph.node(before).is("DequantizeLinear"), "{softmax}");
            let decibels = fidelity(&model, &int8, &PICTURES(0));
            assert!(decibels > 25.0, "{softmax}: {decibels} dB");
        }
    }
}

#[test]
fn an_average_of_next_to_nothing_is_not_finer_than_kernels_compute() {
    let (mut n, x) = Network::new(17);
    let y = n.conv(&x, [8, 3, 3], 1);
    // What is taken away is the mean, so that the mean of the rest is that of rounding.
    let axes = AttributeProto::from_ints("axes", &[2, 3]);
    let mean = n.b.op("ReduceMean", &[&y], &[axes]);
    let rest = n.b.op("Sub", &[&y, &mean], &[]);
    let read = n.conv(&rest, [8, 1, 1], 8);
    let averaged = n.b.op("GlobalAveragePool", &[&rest], &[]);
    let gated = n.b.op("Mul", &[&read, &averaged], &[]);
    let y = n.classify(&gated, 8);
    let model = n.b.finish(&[&y]);
    let (int8, _) = quantized(&model, &options(true, Activations::U8), &PICTURES(4)).unwrap();
    let graph = Graph::new(int8).unwrap();
    let (_, pool) = graph
        .nodes()
        .find(|(_, node)| node.is("GlobalAveragePool"))
        .unwrap();
    let scale = |id| graph.constant_input(id, 1).unwrap().floats().unwrap()[0];
    let before = scale(graph.producer(&pool.input[0]).unwrap());
    let after = scale(graph.consumers(&pool.output[0])[0].0);
    assert!(before / after < 256.0, "{before} {after}");
}

/// One layer of a random network, by number.
fn layer(n: &mut Network, x: &str, kind: u8) -> String {
    match kind {
        0 => n.b.op("Relu", &[x], &[]),
        1 => n.b.op("Add", &[x, x], &[]),
        2 => {
            let operator = ["Sigmoid", "HardSwish", "HardSigmoid", "Tanh"][n.pick(4)];
            n.b.op(operator, &[x], &[])
        }
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
        method: Some(Method::Entropy),
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
