//! Graphs that nobody thought of: they convert to files that hold together, and say the same sizes as ONNX.

use proptest::prelude::*;

use super::parsed::converted;
use crate::graph::build::Builder;
use crate::proto::AttributeProto;
use crate::testing::{Noise, int, ints};

/// Adds one node to a picture of these channels and extent, and returns what comes of them.
fn grow(
    b: &mut Builder,
    noise: &mut Noise,
    x: &str,
    state: (usize, usize),
    kind: u8,
) -> (String, usize, usize) {
    let (channels, extent) = state;
    match kind % 9 {
        0 | 1 => {
            let stride = 1 + usize::from(kind % 9);
            let weights = noise.take(5 * channels * 9);
            let weights = b.floats(&[5, channels, 3, 3], &weights);
            let attributes = [ints("pads", &[1; 4]), ints("strides", &[stride as i64; 2])];
            let y = b.op("Conv", &[x, &weights], &attributes);
            (y, 5, (extent - 1) / stride + 1)
        }
        2 => {
            let weights = noise.take(channels * 9);
            let weights = b.floats(&[channels, 1, 3, 3], &weights);
            let attributes = [ints("pads", &[1; 4]), int("group", channels as i64)];
            (b.op("Conv", &[x, &weights], &attributes), channels, extent)
        }
        3 => (b.op("Relu", &[x], &[]), channels, extent),
        4 => {
            let scale = noise.take(channels);
            let scale = b.floats(&[1, channels, 1, 1], &scale);
            (b.op("Mul", &[x, &scale], &[]), channels, extent)
        }
        5 => (b.op("Concat", &[x, x], &[int("axis", 1)]), 2 * channels, extent),
        6 => {
            let y = b.op("Transpose", &[x], &[ints("perm", &[0, 1, 3, 2])]);
            (y, channels, extent)
        }
        7 => {
            let attributes = [
                ints("kernel_shape", &[3, 3]),
                ints("strides", &[2, 2]),
                ints("pads", &[1; 4]),
            ];
            (b.op("MaxPool", &[x], &attributes), channels, (extent - 1) / 2 + 1)
        }
        _ => {
            let scales = b.floats(&[4], &[1.0, 1.0, 2.0, 2.0]);
            let linear = AttributeProto::from_text("mode", "linear");
            (b.op("Resize", &[x, "", &scales], &[linear]), channels, 2 * extent)
        }
    }
}

proptest! {
    #[test]
    fn random_networks_convert(kinds in prop::collection::vec(any::<u8>(), 1..8), flat in any::<bool>(), half in any::<bool>()) {
        let (mut b, mut noise) = (Builder::new(17), Noise(9));
        let mut x = b.input("x", &["batch", "3", "7", "7"]);
        let (mut channels, mut extent) = (3, 7);
        for kind in kinds {
            (x, channels, extent) = grow(&mut b, &mut noise, &x, (channels, extent), kind);
        }
        let mut shape = vec![1, extent as i32, extent as i32, channels as i32];
        if flat {
            x = b.op("Flatten", &[&x], &[]);
            shape = vec![1, shape.iter().product()];
        }
        let file = converted(&b.finish(&[&x]), half);
        prop_assert_eq!(&file.output().shape, &shape);
    }
}
