//! The time that each layer of a model takes, as runtimes tell it.

use std::collections::BTreeMap;
use std::time::Duration;

/// One node of the model as the runtime runs it, after its own rewriting of the graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// The runtime's name for it, often that of a node of the file.
    pub name: String,
    /// What it computes: `Conv`.
    pub operator: String,
    /// Mean of the inferences that were timed.
    pub time: Duration,
}

/// Times of layers, added up in the order in which layers first run.
#[derive(Debug, Default)]
pub(crate) struct Sums {
    places: BTreeMap<String, usize>,
    layers: Vec<Layer>,
}

impl Sums {
    /// Adds one run of a layer. Layers of one name count as one.
    pub(crate) fn add(&mut self, name: &str, operator: &str, time: Duration) {
        let next = self.layers.len();
        let place = *self.places.entry(name.to_owned()).or_insert(next);
        match self.layers.get_mut(place) {
            Some(layer) => layer.time += time,
            None => self.layers.push(Layer {
                name: name.to_owned(),
                operator: operator.to_owned(),
                time,
            }),
        }
    }

    /// The mean of so many inferences.
    pub(crate) fn mean(mut self, inferences: u32) -> Vec<Layer> {
        for layer in &mut self.layers {
            layer.time /= inferences.max(1);
        }
        self.layers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_one_layer_are_added_and_divided() {
        let mut sums = Sums::default();
        for micros in [10, 30] {
            sums.add("b", "Conv", Duration::from_micros(micros));
            sums.add("a", "Relu", Duration::from_micros(1));
        }
        let layers = sums.mean(2);
        let told: Vec<_> = layers
            .iter()
            .map(|layer| {
                (
                    layer.name.as_str(),
                    layer.operator.as_str(),
                    layer.time.as_micros(),
                )
            })
            .collect();
        assert_eq!(told, [("b", "Conv", 20), ("a", "Relu", 1)]);
    }
}
