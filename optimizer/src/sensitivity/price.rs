//! What it costs to keep a layer in float.

use std::collections::HashMap;

use crate::cost;
use crate::model::Model;
use crate::proto::NodeProto;
use crate::quantize::Region;
use crate::shape::Values;

/// What the kernels cost that turn integers to floats in front of a layer and back behind it, in multiplications:
/// some 3 µs, in which ONNX Runtime does 100,000 of a float convolution on one thread.
const BORDERS: u64 = 100_000;

/// What one value costs that they turn, and that is stored in 4 bytes instead of 1.
const VALUE: u64 = 8;

/// The price of each layer, in multiplications. All have the same one where a shape is not known: then damage alone
/// ranks them.
pub(super) fn prices(model: &Model, regions: &[Region]) -> Vec<f64> {
    let known = || {
        let values = cost::infer_single(model).ok()?;
        let nodes = model.graph().node.iter();
        let nodes: HashMap<String, &NodeProto> = nodes.map(|node| (node.label(), node)).collect();
        let price = |region: &Region| price(nodes.get(&region.layer)?, &values);
        regions.iter().map(price).collect::<Option<Vec<f64>>>()
    };
    known().unwrap_or_else(|| vec![1.0; regions.len()])
}

/// Multiplications of the layer, and what its borders cost.
fn price(layer: &NodeProto, values: &Values) -> Option<f64> {
    let ends = [layer.input.first(), layer.output.first()].into_iter();
    let elements = ends.map(|value| values.get(value?)?.extents().map(|extents| volume(&extents)));
    let turned: f64 = elements.sum::<Option<f64>>()?;
    Some(cost::macs_of(layer, values)? as f64 + VALUE as f64 * turned + BORDERS as f64)
}

fn volume(extents: &[usize]) -> f64 {
    extents.iter().map(|&extent| extent as f64).product()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::build::Builder;

    fn region(layer: &str) -> Region {
        Region {
            layer: layer.to_owned(),
            followers: Vec::new(),
        }
    }

    /// Two convolutions of 1x1 on pictures of `side`.
    fn two(side: &str) -> Model {
        let mut b = Builder::new(17);
        let x = b.input("x", &["batch", "4", side, "8"]);
        let w = b.floats(&[6, 4, 1, 1], &[0.5; 24]);
        let y = b.op("Conv", &[&x, &w], &[]);
        let w = b.floats(&[2, 6, 1, 1], &[0.5; 12]);
        let y = b.op("Conv", &[&y, &w], &[]);
        b.finish(&[&y])
    }

    /// A region for each node.
    fn each_node(model: &Model) -> Vec<Region> {
        let nodes = model.graph().node.iter();
        nodes.map(|node| region(&node.label())).collect()
    }

    #[test]
    fn a_layer_costs_its_multiplications_and_its_borders() {
        let model = two("8");
        let expected = [(24, 4 + 6), (12, 6 + 2)]
            .map(|(macs, channels)| (64 * (macs + VALUE * channels) + BORDERS) as f64);
        assert_eq!(prices(&model, &each_node(&model)), expected);
    }

    #[test]
    fn where_a_shape_is_unknown_all_cost_the_same() {
        let model = two("height");
        assert_eq!(prices(&model, &each_node(&model)), [1.0, 1.0]);
    }
}
