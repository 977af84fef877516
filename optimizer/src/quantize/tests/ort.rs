//! What ONNX Runtime makes of quantized models.

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
fn computes_swishes_and_gates_in_bytes() {
    let (int8, _) = quantized(&mobilenet_v3(), &Options::default(), &PICTURES(4)).unwrap();
    let fused = optimized(&int8);
    let fused = operators(&fused);
    let count = |operator: &str| fused.iter().filter(|&&other| other == operator).count();
    assert_eq!((count("QLinearConv"), count("QLinearMul")), (10, 6), "{fused:?}");
    assert_eq!(
        (count("QLinearLeakyRelu"), count("QuantizeLinear")),
        (4, 1),
        "{fused:?}"
    );
    assert_eq!(
        (count("Conv") + count("FusedConv"), count("DequantizeLinear")),
        (1, 0),
        "{fused:?}"
    );
}

#[test]
fn answers_as_tract_does() {
    let attention = ["Softmax", "LogSoftmax"].map(attention);
    let others = [resnet(), mobilenet(), mobilenet_v3(), rarities()];
    for model in others.into_iter().chain(attention) {
        for activations in [Activations::U8, Activations::S8] {
            let (int8, _) = quantized(&model, &options(true, activations), &PICTURES(12)).unwrap();
            let float = fidelity(&model, &int8, &PICTURES(0));
            let input = PICTURES(0).sample(2000).unwrap();
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

#[test]
fn averages_over_the_end_as_the_float_model_does() {
    for counted in [0, 1] {
        let (mut n, x) = Network::new(17);
        let y = n.conv(&x, [8, 3, 3], 1);
        let window = [
            AttributeProto::from_ints("kernel_shape", &[3, 3]),
            AttributeProto::from_ints("strides", &[3, 3]),
            AttributeProto::from_int("ceil_mode", 1),
            AttributeProto::from_int("count_include_pad", counted),
        ];
        let y = n.b.op("AveragePool", &[&y], &window);
        let y = n.conv(&y, [8, 8, 1], 1);
        let model = n.b.finish(&[&y]);
        let (prepared, _) = crate::passes::prepare(&model).unwrap();
        let (int8, _) = quantized(&prepared, &options(true, Activations::U8), &PICTURES(4)).unwrap();
        let input = PICTURES(0).sample(3).unwrap();
        let [float, integer] = [&model, &int8].map(|model| run_on("ort", model, &input));
        let noise: f32 = float.iter().zip(&integer).map(|(a, b)| (a - b) * (a - b)).sum();
        let signal: f32 = float.iter().map(|a| a * a).sum();
        assert!(noise < 1e-3 * signal, "counted {counted}: {noise} of {signal}");
    }
}
