//! Random small networks: no pass but pruning and half precision changes what a model computes.

use proptest::prelude::*;

use crate::check::check;
use crate::graph::build::{Builder, value_info};
use crate::model::Model;
use crate::passes;
use crate::proto::DataType;
use crate::testing::{Noise, batch_norm, difference, int, ints, noise_tensor, run, run_on};

const SHAPE: [usize; 4] = [2, 3, 8, 8];
const CHANNELS: usize = 4;

/// A layer that keeps `[batch, CHANNELS, height, width]` but for the spatial extents of pools.
#[derive(Debug, Clone, Copy)]
enum Layer {
    Conv {
        groups: usize,
        bias: bool,
    },
    ConvTranspose {
        groups: usize,
    },
    BatchNorm,
    Relu,
    Identity,
    Dropout,
    HardSwish,
    /// One factor and one offset a channel, as nodes of their own.
    Affine,
    /// Adds the network's stem.
    Residual,
    /// Joins the stem along the channels, and a convolution of 1x1 halves them again.
    Concat,
    /// A gate for each channel, from the mean of the picture.
    SqueezeExcite,
}

fn layer() -> impl Strategy<Value = Layer> {
    let groups = prop_oneof![Just(1), Just(2), Just(4)];
    prop_oneof![
        3 => (groups.clone(), any::<bool>()).prop_map(|(groups, bias)| Layer::Conv { groups, bias }),
        1 => groups.prop_map(|groups| Layer::ConvTranspose { groups }),
        3 => Just(Layer::BatchNorm),
        1 => Just(Layer::Relu),
        1 => Just(Layer::Identity),
        1 => Just(Layer::Dropout),
        1 => Just(Layer::HardSwish),
        1 => Just(Layer::Affine),
        1 => Just(Layer::Residual),
        1 => Just(Layer::Concat),
        1 => Just(Layer::SqueezeExcite),
    ]
}

fn network(layers: &[Layer], seed: u64) -> Model {
    let mut b = Builder::new(17);
    let mut noise = Noise(seed);
    let x = b.input("x", &["batch", "3", "8", "8"]);
    let weights = noise.take(CHANNELS * 3 * 9);
    let w = b.floats(&[CHANNELS, 3, 3, 3], &weights);
    let stem = b.op("Conv", &[&x, &w], &[ints("pads", &[1, 1, 1, 1])]);
    let mut y = stem.clone();
    for &layer in layers {
        y = match layer {
            Layer::Conv { groups, bias } => convolve(&mut b, &mut noise, "Conv", &y, groups, bias),
            Layer::ConvTranspose { groups } => {
                convolve(&mut b, &mut noise, "ConvTranspose", &y, groups, true)
            }
            Layer::BatchNorm => batch_norm(&mut b, &mut noise, &y, CHANNELS),
            Layer::Relu => b.op("Relu", &[&y], &[]),
            Layer::Identity => b.op("Identity", &[&y], &[]),
            Layer::Dropout => b.op("Dropout", &[&y], &[]),
            Layer::HardSwish => b.op("HardSwish", &[&y], &[]),
            Layer::Affine => affine(&mut b, &mut noise, &y),
            Layer::Residual => b.op("Add", &[&y, &stem], &[]),
            Layer::Concat => {
                let both = b.op("Concat", &[&y, &stem], &[int("axis", 1)]);
                pointwise(&mut b, &mut noise, &both, 2 * CHANNELS)
            }
            Layer::SqueezeExcite => {
                let mean = b.op("GlobalAveragePool", &[&y], &[]);
                let gate = pointwise(&mut b, &mut noise, &mean, CHANNELS);
                let gate = b.op("HardSigmoid", &[&gate], &[]);
                b.op("Mul", &[&y, &gate], &[])
            }
        };
    }
    let y = b.op("GlobalAveragePool", &[&y], &[]);
    let y = b.op("Flatten", &[&y], &[]);
    let weights = noise.take(CHANNELS * 5);
    let w = b.floats(&[5, CHANNELS], &weights);
    let y = b.op("Gemm", &[&y, &w], &[int("transB", 1)]);
    b.finish(&[&y])
}

fn pointwise(b: &mut Builder, noise: &mut Noise, x: &str, channels: usize) -> String {
    let weights = noise.take(CHANNELS * channels);
    let w = b.floats(&[CHANNELS, channels, 1, 1], &weights);
    b.op("Conv", &[x, &w], &[])
}

fn affine(b: &mut Builder, noise: &mut Noise, x: &str) -> String {
    let (factors, offsets) = (noise.take(CHANNELS), noise.take(CHANNELS));
    let factors = b.floats(&[CHANNELS, 1, 1], &factors);
    let offsets = b.floats(&[CHANNELS, 1, 1], &offsets);
    let y = b.op("Mul", &[x, &factors], &[]);
    b.op("Add", &[&y, &offsets], &[])
}

fn convolve(
    b: &mut Builder,
    noise: &mut Noise,
    operator: &str,
    x: &str,
    groups: usize,
    bias: bool,
) -> String {
    let inner = CHANNELS / groups;
    let weights = noise.take(CHANNELS * inner * 9);
    let w = b.floats(&[CHANNELS, inner, 3, 3], &weights);
    let bias = bias.then(|| noise.take(CHANNELS));
    let bias = bias.map(|values| b.floats(&[CHANNELS], &values));
    let mut inputs = vec![x, &w];
    inputs.extend(bias.as_deref());
    b.op(
        operator,
        &inputs,
        &[ints("pads", &[1, 1, 1, 1]), int("group", groups as i64)],
    )
}

/// The model with all these values as outputs.
fn with_outputs(model: &Model, names: &[&str]) -> Model {
    let mut proto = model.clone().into_proto();
    let outputs = names.iter().map(|name| value_info(name, DataType::Float, None));
    proto.graph.as_mut().unwrap().output = outputs.collect();
    Model::from_proto(proto)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn preparing_and_folding_keep_the_outputs(
        layers in proptest::collection::vec(layer(), 1..8),
        seed in any::<u64>(),
    ) {
        let model = network(&layers, seed);
        let (prepared, _) = passes::prepare(&model).unwrap();
        let (folded, report) = passes::fold_batch_norm(&prepared).unwrap();
        let before = run(&model, &SHAPE);
        prop_assert!(difference(&before, &run(&prepared, &SHAPE)) < 1e-6);
        prop_assert!(difference(&before, &run(&folded, &SHAPE)) < 1e-4);
        let left = check(&folded).unwrap().operators.get("BatchNormalization").copied().unwrap_or(0);
        prop_assert!(left <= report.nodes.len() - report.count_applied());
    }

    #[test]
    fn inferred_shapes_are_those_of_the_run(
        layers in proptest::collection::vec(layer(), 0..8),
        seed in any::<u64>(),
    ) {
        let model = network(&layers, seed);
        let bindings = [("batch".to_owned(), SHAPE[0])].into();
        let values = crate::shape::infer(&model, &bindings).unwrap();
        let names: Vec<&str> = model.graph().node.iter().map(|node| node.output[0].as_str()).collect();
        let all = with_outputs(&model, &names);
        let found = run_on("tract", &all, &[noise_tensor(&SHAPE)]);
        for (name, found) in names.iter().zip(&found) {
            let inferred = values.get(name).unwrap().extents().unwrap();
            prop_assert_eq!(inferred.as_slice(), found.shape(), "{}", name);
        }
    }

    #[test]
    fn a_model_survives_being_written_and_read(
        layers in proptest::collection::vec(layer(), 0..8),
        seed in any::<u64>(),
    ) {
        let model = network(&layers, seed);
        prop_assert_eq!(Model::decode(&model.encode(), None).unwrap(), model);
    }
}
