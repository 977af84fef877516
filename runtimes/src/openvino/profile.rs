//! Layers of what OpenVINO counted of its nodes.
//!
//! Of each node it tells the mean time of all inferences since the model was made ready, in whole microseconds. So that
//! the first ones do not count, what is told after them is taken away.

use std::time::Duration;

use super::ffi::Counted;
use crate::layers::Layer;

/// Inferences before those that count, which the mean must leave out.
pub(super) const LEAD_IN: u32 = 3;

/// The mean of the inferences between `before`, told after so many of them, and `after`.
pub(super) fn layers(
    before: &[Counted],
    runs_before: u32,
    after: Vec<Counted>,
    runs_after: u32,
) -> Vec<Layer> {
    let inferences = runs_after.saturating_sub(runs_before).max(1);
    let layer = |counted: Counted| {
        let earlier = before.iter().find(|earlier| earlier.name == counted.name);
        let earlier = earlier.map_or(Duration::ZERO, |earlier| earlier.mean * runs_before);
        Layer {
            time: (counted.mean * runs_after).saturating_sub(earlier) / inferences,
            name: counted.name,
            operator: counted.operator,
        }
    };
    after.into_iter().map(layer).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_inferences_do_not_count() {
        let counted = |micros| Counted {
            name: "conv1".to_owned(),
            operator: "Convolution".to_owned(),
            mean: Duration::from_micros(micros),
        };
        // Three of 100 us, then six of 10 us: 40 us in the mean of nine.
        let layers = layers(&[counted(100)], 3, vec![counted(40)], 9);
        let told: Vec<_> = layers
            .iter()
            .map(|layer| (layer.name.as_str(), layer.time))
            .collect();
        assert_eq!(told, [("conv1", Duration::from_micros(10))]);
    }
}
