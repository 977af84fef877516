//! Kernels made of burn's operations compute what the processor's own do.

use burn_backend::ops::FloatTensorOps as _;
use burn_flex::FlexTensor;
use proptest::prelude::*;

use super::*;
use crate::train::kernels::{Adam, Descent, Grid, Statistics};
use crate::train::operator::Curve;
use crate::train::window::Window;

const TOLERANCE: f32 = 1e-4;

fn noise(seed: u64, shape: &[usize]) -> FlexTensor {
    let values = Noise(seed).take(shape.iter().product());
    Flex::upload(values, shape.to_vec(), &FlexDevice)
}

/// Pictures with samples before channels, or the other way.
fn swapped(tensor: &FlexTensor) -> FlexTensor {
    Flex::packed(&Flex::float_swap_dims(tensor.clone(), 0, 1))
}

fn assert_close(what: &str, a: &FlexTensor, b: &FlexTensor) {
    let (a, b) = (Flex::download(a).unwrap(), Flex::download(b).unwrap());
    assert_eq!(a.len(), b.len(), "{what}");
    for (at, (a, b)) in a.iter().zip(&b).enumerate() {
        assert!(
            (a - b).abs() <= TOLERANCE * (1.0 + b.abs()),
            "{what}, element {at}: {a} and {b}"
        );
    }
}

fn any_window() -> impl Strategy<Value = Window> {
    let pads = (0..2_usize, 0..2_usize, 0..2_usize, 0..2_usize);
    (2..4_usize, 2..4_usize, 1..3_usize, 1..3_usize, pads).prop_map(
        |(rows, columns, stride, dilation, (top, left, bottom, right))| Window {
            kernel: [rows, columns],
            stride: [stride, 1],
            pads: [top, left, bottom, right],
            dilation: [dilation, 1],
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn convolutions_agree(window in any_window(), depthwise: bool, seed: u64) {
        let (groups, inputs) = if depthwise { (4, 1) } else { (1, 4) };
        let [rows, columns] = window.kernel;
        let input = noise(seed, &[2, 4, 7, 6]);
        let weights = noise(seed ^ 1, &[8, inputs, rows, columns]);
        let bias = noise(seed ^ 2, &[8]);
        let own = Flex::convolve((window, groups), &swapped(&input), &weights, Some(&bias));
        let made = composed::convolve::<Flex>((window, groups), &input, &weights, Some(&bias));
        assert_close("output", &made, &swapped(&own));

        let gradient = noise(seed ^ 3, &made.shape());
        let all = [true; 3];
        let own = Flex::convolve_backward(
            (window, groups), &swapped(&input), &weights, &swapped(&gradient), all);
        let made =
            composed::convolve_backward::<Flex>((window, groups), &input, &weights, &gradient, all);
        let [of_input, of_weights, of_bias] = own.map(Option::unwrap);
        let [input, weights, bias] = made.map(Option::unwrap);
        assert_close("input", &input, &swapped(&of_input));
        assert_close("weights", &weights, &of_weights);
        assert_close("bias", &bias, &of_bias);
    }

    #[test]
    fn pools_agree(window in any_window(), count_padding: bool, seed: u64) {
        let input = noise(seed, &[2, 3, 7, 6]);
        let (own, own_places) = Flex::largest(window, &input);
        let (made, places) = composed::largest::<Flex>(window, &input);
        assert_close("largest", &made, &own);
        let gradient = noise(seed ^ 1, &own.shape());
        let own = Flex::largest_backward(window, &input, &own_places, &gradient);
        let made = composed::largest_backward::<Flex>(window, &input, &places, &gradient);
        assert_close("gradient of the largest", &made, &own);

        let own = Flex::average(window, count_padding, &input);
        let made = composed::average::<Flex>(window, count_padding, &input);
        assert_close("average", &made, &own);
        let own = Flex::average_backward(window, count_padding, &input, &gradient);
        let made = composed::average_backward::<Flex>(window, count_padding, &input, &gradient);
        assert_close("gradient of the average", &made, &own);
    }

    #[test]
    fn functions_of_elements_agree(seed: u64) {
        let mut values: Vec<f32> = Noise(seed).take(200).iter().map(|value| value * 4.0).collect();
        // Where the pieces of the functions meet.
        values.extend([0.0, -0.0, 3.0, -3.0, 2.5, -2.5, 0.6, -0.5, 1.0]);
        let count = values.len();
        let input = Flex::upload(values, [count], &FlexDevice);
        let gradient = noise(seed ^ 1, &[count]);
        for curve in [
            Curve::Leaky(0.1),
            Curve::Sigmoid,
            Curve::HardSigmoid { alpha: 0.2, beta: 0.5 },
            Curve::HardSwish,
        ] {
            let what = format!("{curve:?}");
            assert_close(&what, &curves::curve::<Flex>(curve, &input), &Flex::curve(curve, &input));
            let own = Flex::curve_backward(curve, &input, &gradient);
            assert_close(&what, &curves::curve_backward::<Flex>(curve, &input, &gradient), &own);
        }
        for limits in [(0.0, f32::INFINITY), (-0.5, 0.6), (f32::NEG_INFINITY, 1.0)] {
            let own = Flex::clamp(limits, &input);
            assert_close("limits", &composed::clamp::<Flex>(limits, &input), &own);
            let made = composed::clamp_backward::<Flex>(limits, &own, &gradient);
            assert_close("limits", &made, &Flex::clamp_backward(limits, &own, &gradient));
        }
        let grid = Grid { zero_point: 100.0, limits: (0.0, 255.0) };
        let log = Flex::upload(vec![-3.5], [1], &FlexDevice);
        let own = Flex::fake_quantize(&input, &log, grid);
        assert_close("stored", &composed::fake_quantize::<Flex>(&input, &log, grid), &own);
        let own = Flex::fake_quantize_backward(&input, &log, grid, &gradient);
        let made = composed::fake_quantize_backward::<Flex>(&input, &log, grid, &gradient);
        assert_close("gradient of what is stored", &made[0], &own[0]);
        assert_close("gradient of the scale", &made[1], &own[1]);
    }

    #[test]
    fn steps_agree(seed: u64, masked: bool) {
        let [start, velocity, gradient] = [0, 1, 2].map(|salt| noise(seed ^ salt, &[30]));
        let mask = Flex::upload((0..30).map(|at| (at % 3) as f32).map(|at| at.min(1.0)).collect(), [30], &FlexDevice);
        let mask = masked.then_some(&mask);
        let descent = Descent { momentum: 0.9, decay: 0.01, rate: 0.1 };
        let (mut own, mut made) = ((start.clone(), velocity.clone()), (start, velocity));
        Flex::descend(&mut own.0, &mut own.1, &gradient, mask, descent);
        composed::descend::<Flex>(&mut made.0, &mut made.1, &gradient, mask, descent);
        assert_close("values", &made.0, &own.0);
        assert_close("velocity", &made.1, &own.1);

        let adam = Adam { decays: [0.9, 0.999], corrections: [0.1, 0.001], rate: 0.01, epsilon: 1e-8 };
        let (value, gradient) = (noise(seed, &[1]), noise(seed ^ 1, &[1]));
        let moments = Flex::upload(vec![0.1, 0.2], [2], &FlexDevice);
        let (mut own, mut made) = ((value.clone(), moments.clone()), (value, moments));
        Flex::adapt(&mut own.0, &mut own.1, &gradient, adam);
        composed::adapt::<Flex>(&mut made.0, &mut made.1, &gradient, adam);
        assert_close("value", &made.0, &own.0);
        assert_close("moments", &made.1, &own.1);
    }
}

#[test]
fn normalizations_agree() {
    let (input, scale, shift) = (noise(1, &[4, 3, 5, 5]), noise(2, &[3]), noise(3, &[3]));
    let (own, known) = Flex::normalize(&swapped(&input), &scale, &shift, 1e-3);
    let (made, statistics) = composed::normalize::<Flex>(&input, &scale, &shift, 1e-3);
    assert_close("output", &made, &swapped(&own));
    let observed = composed::statistics::<Flex>(&input);
    for Statistics { mean, variance } in [&statistics, &observed] {
        assert_close("mean", mean, &known.mean);
        assert_close("variance", variance, &known.variance);
    }
    let gradient = noise(4, &[4, 3, 5, 5]);
    let swapped_gradient = swapped(&gradient);
    let own = Flex::normalize_backward(&swapped(&input), &scale, &known, &swapped_gradient, 1e-3);
    let made = composed::normalize_backward::<Flex>(&input, &scale, &statistics, &gradient, 1e-3);
    assert_close("gradient of the input", &made[0], &swapped(&own[0]));
    assert_close("gradient of the scale", &made[1], &own[1]);
    assert_close("gradient of the shift", &made[2], &own[2]);
}

#[test]
fn stored_weights_agree() {
    let model = super::quantized::quantized(&network(false));
    let program = Program::of(&model, None).unwrap();
    let mut seen = 0;
    for parameter in &program.parameters {
        let parameter::Role::Weights(stored) = &parameter.role else {
            continue;
        };
        let weights = Flex::upload(
            parameter.values.iter().map(|weight| weight * 1.01).collect(),
            parameter.shape.clone(),
            &FlexDevice,
        );
        let own = Flex::rounded(stored, &weights);
        assert_close(
            &parameter.name,
            &composed::rounded::<Flex>(stored, &weights),
            &own,
        );
        seen += 1;
    }
    assert_eq!(seen, 4);
}
