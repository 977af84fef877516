//! What computes in integers, and how it is stored.

use super::*;

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

/// What TensorRT wants: it dequantizes bytes alone.
#[test]
fn biases_can_stay_in_float() {
    for bias_correction in [false, true] {
        let options = Options {
            symmetric: true,
            float_biases: true,
            bias_correction,
            ..options(true, Activations::S8)
        };
        let (int8, _) = quantized(&mobilenet(), &options, &PICTURES(12)).unwrap();
        let graph = int8.graph();
        let dequantized = graph
            .node
            .iter()
            .filter(|node| node.op_type() == "DequantizeLinear");
        let mut stored = 0;
        for node in dequantized {
            let tensor = graph
                .initializer
                .iter()
                .find(|tensor| tensor.name() == node.input[0]);
            let Some(tensor) = tensor else { continue };
            assert_eq!(
                tensor.data_type(),
                crate::proto::DataType::Int8 as i32,
                "{}",
                tensor.name()
            );
            stored += 1;
        }
        assert!(stored > 0);
        assert!(fidelity(&mobilenet(), &int8, &PICTURES(0)) > 25.0);
    }
}

#[test]
fn swishes_and_gates_are_integers_read_otherwise() {
    let model = mobilenet_v3();
    for activations in [Activations::U8, Activations::S8] {
        for method in [Method::Minmax, Method::Entropy, Method::Percentile, Method::Mse] {
            let options = Options {
                method: Some(method),
                ..options(true, activations)
            };
            let (int8, report) = quantized(&model, &options, &PICTURES(12)).unwrap();
            let left: Vec<_> = report
                .nodes
                .iter()
                .filter(|n| !n.applied)
                .map(|n| n.node.as_str())
                .collect();
            assert_eq!(left, ["conv_0", "hardswish_1"], "the stem alone stays in float");
            let count = |operator: &str| operators(&int8).iter().filter(|&&o| o == operator).count();
            assert_eq!((count("HardSwish"), count("HardSigmoid")), (1, 0));
            assert_eq!((count("LeakyRelu"), count("Mul")), (4, 6));
            let decibels = fidelity(&model, &int8, &PICTURES(0));
            assert!(decibels > 25.0, "{method:?}: {decibels} dB");
        }
    }
    let symmetric = Options {
        symmetric: true,
        ..Options::default()
    };
    let (int8, _) = quantized(&model, &symmetric, &PICTURES(12)).unwrap();
    let count = |operator: &str| operators(&int8).iter().filter(|&&o| o == operator).count();
    assert_eq!((count("HardSwish"), count("HardSigmoid")), (5, 2));
}

#[test]
fn weights_of_several_nodes_are_stored_once() {
    let (mut n, x) = Network::new(17);
    let shared =
        n.b.floats(&[3, 3, 1, 1], &[0.1, 0.2, -0.3, 0.4, 0.5, 0.6, 0.7, -0.8, 0.9]);
    let once = n.b.op("Conv", &[&x, &shared], &[]);
    let twice = n.b.op("Conv", &[&once, &shared], &[]);
    let y = n.b.op("Add", &[&once, &twice], &[]);
    let model = n.b.finish(&[&y]);
    let (int8, _) = quantized(&model, &Options::default(), &PICTURES(4)).unwrap();
    let stored = int8
        .graph()
        .initializer
        .iter()
        .filter(|tensor| tensor.dims.len() == 4);
    assert_eq!(stored.count(), 1);
    assert!(fidelity(&model, &int8, &PICTURES(0)) > 30.0);
}

#[test]
fn rarer_operators_compute_in_integers_too() {
    // ONNX Runtime on x86, for which unsigned activations are, has no integer kernel for the first.
    let left_in_float = [
        (Activations::U8, vec!["convtranspose_5"]),
        (Activations::S8, vec![]),
    ];
    for (activations, expected) in left_in_float {
        let (int8, report) = quantized(&rarities(), &options(true, activations), &PICTURES(12)).unwrap();
        let left = report.nodes.iter().filter(|n| !n.applied);
        let left: Vec<&str> = left.map(|node| node.node.as_str()).collect();
        assert_eq!(left, expected);
        let decibels = fidelity(&rarities(), &int8, &PICTURES(0));
        assert!(decibels > 28.0, "{decibels} dB");
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
    let y = n.b.op("Tanh", &[&y], &[]);
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
    assert_eq!(left, ["operator `Tanh` has no integer form"]);
    assert!(operators(&int8).contains(&"Tanh"));
    // The graph's output keeps its name though a pair was put behind it.
    assert_eq!(int8.graph().output, model.graph().output);
    assert!(fidelity(&model, &int8, &PICTURES(0)) > 30.0);
}

#[test]
fn equalization_bias_correction_and_adaptive_rounding_work_together() {
    for model in [resnet(), mobilenet(), mobilenet_v3()] {
        let all = Options {
            equalize: true,
            bias_correction: true,
            rounding: Rounding::Adaptive,
            ..Options::default()
        };
        let (int8, report) = quantized(&model, &all, &PICTURES(12)).unwrap();
        assert!(
            report.nodes.iter().any(|node| node.why.ends_with(", equalized")),
            "{report:?}"
        );
        let decibels = fidelity(&model, &int8, &PICTURES(0));
        assert!(decibels > 25.0, "{decibels} dB");
        let options = Options {
            bias_correction: true,
            ..Options::default()
        };
        let plain = quantized(&model, &Options::default(), &PICTURES(12)).unwrap().0;
        assert_ne!(quantized(&model, &options, &PICTURES(12)).unwrap().0, plain);
    }
}
