//! What a classifier answers on samples, and how far two answers are apart.

use edgefront_runtimes::classes;

use crate::calibrate::run::{Source, each_batch};
use crate::calibrate::{Extremes, NotFinite};
use crate::error::Error;
use crate::model::Model;

use super::refused;

/// The scores of every class, one row a sample.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Logits {
    classes: usize,
    values: Vec<f32>,
}

impl Logits {
    /// What the model answers, whose first output holds scores of [`classes`].
    pub(super) fn of(model: &Model, source: &Source<'_>) -> Result<Self, Error> {
        let name = model
            .graph()
            .output
            .first()
            .map(|output| output.name().to_owned());
        let name = name.ok_or_else(|| refused("the model has no output"))?;
        let mut values = Vec::new();
        let mut width = 0;
        each_batch(model, &[], source, |part, seen| {
            let floats = part.floats(&name, seen)?;
            let shape = &seen[name.as_str()].shape;
            width = classes(shape, part.batch).ok_or_else(|| {
                refused(format!(
                    "output `{name}` of shape {shape:?} holds no predictions to keep, as [batch, classes] would; name the nodes to keep in float instead"
                ))
            })?;
            Extremes::of(floats).map_err(|NotFinite| part.not_finite(&name))?;
            values.extend_from_slice(floats);
            Ok(())
        })?;
        Ok(Self {
            classes: width,
            values,
        })
    }

    /// Full scores for these predictions.
    #[cfg(test)]
    pub(super) fn one_hot(classes: usize, predictions: &[usize]) -> Self {
        let row = |&class: &usize| (0..classes).map(move |other| f32::from(u8::from(other == class)));
        Self {
            classes,
            values: predictions.iter().flat_map(row).collect(),
        }
    }

    /// The class of the largest score of each sample.
    pub(super) fn predictions(&self) -> Vec<usize> {
        let largest = |row: &[f32]| {
            let scores = row.iter().enumerate();
            scores.fold(
                0,
                |best, (class, score)| if *score > row[best] { class } else { best },
            )
        };
        self.values.chunks(self.classes.max(1)).map(largest).collect()
    }

    /// Whether all scores are zero, so that no other is small or large beside them.
    pub(super) fn are_zero(&self) -> bool {
        self.values.iter().all(|&value| value == 0.0)
    }

    /// Energy of the difference to `reference` in parts of the reference's energy; its signal to quantization
    /// noise ratio is the inverse.
    pub(super) fn noise(&self, reference: &Self) -> f64 {
        let square = |value: f32| f64::from(value) * f64::from(value);
        let signal: f64 = reference.values.iter().map(|&value| square(value)).sum();
        let pairs = self.values.iter().zip(&reference.values);
        let noise: f64 = pairs.map(|(own, other)| square(own - other)).sum();
        if noise == 0.0 { 0.0 } else { noise / signal }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_in_parts_of_the_reference() {
        let logits = |values: &[f32]| Logits {
            classes: 2,
            values: values.to_vec(),
        };
        let reference = logits(&[3.0, 0.0, 0.0, 4.0]);
        assert!((logits(&[3.0, 0.0, 0.5, 4.0]).noise(&reference) - 0.01).abs() < 1e-12);
        assert!(logits(&[3.0, 0.0, 0.0, 4.0]).noise(&reference) < f64::MIN_POSITIVE);
        assert!(logits(&[0.0; 4]).are_zero() && !reference.are_zero());
    }
}
