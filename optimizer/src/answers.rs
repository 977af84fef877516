//! What a model answers on samples, and how far the answers of two models are apart.

use edgefront_runtimes::classes;

use crate::calibrate::run::{Source, each_batch, elements_of_one};
use crate::error::Error;
use crate::model::Model;

/// Bytes of answers that are held at once: they are those of many pictures where a model answers in pictures.
const HELD: usize = 64 << 20;

/// All outputs of a model that are floats, on all samples.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answers {
    outputs: Vec<Output>,
    /// How many classes the first output scores, where it does.
    classes: Option<usize>,
}

/// One output on all samples.
#[derive(Debug, Clone, PartialEq)]
struct Output {
    name: String,
    /// Its extents in one inference.
    shape: Vec<usize>,
    values: Vec<f32>,
}

impl Answers {
    /// What the model answers.
    pub(crate) fn of(model: &Model, source: &Source<'_>) -> Result<Self, Error> {
        let output = |name| Output {
            name,
            shape: Vec::new(),
            values: Vec::new(),
        };
        let mut outputs: Vec<Output> = names(model).into_iter().map(output).collect();
        let mut scored = None;
        each_batch(model, &[], source, |part, seen| {
            for (place, output) in outputs.iter_mut().enumerate() {
                // Integers are labels or counts, whose distance says nothing.
                let Some(floats) = seen.get(output.name.as_str()) else {
                    continue;
                };
                output.shape.clone_from(&floats.shape);
                output.values.extend_from_slice(part.floats(&output.name, seen)?);
                if place == 0 {
                    scored = classes(&floats.shape, part.batch);
                }
            }
            Ok(())
        })?;
        outputs.retain(|output| !output.values.is_empty());
        Ok(Self {
            outputs,
            classes: scored,
        })
    }

    /// How many of the samples' answers are held at once, at least one.
    pub(crate) fn holdable(model: &Model, source: &Source<'_>) -> Result<usize, Error> {
        let elements = elements_of_one(model, &names(model), source)?;
        let held = elements.map_or(source.total, |elements| HELD / size_of::<f32>() / elements.max(1));
        Ok(held.max(1).min(source.total))
    }

    /// The class of the largest score of each sample; `None` where the first output holds no scores.
    pub(crate) fn predictions(&self) -> Option<Vec<usize>> {
        let largest = |row: &[f32]| {
            let scores = row.iter().enumerate();
            scores.fold(
                0,
                |best, (class, score)| if *score > row[best] { class } else { best },
            )
        };
        let classes = self.classes?.max(1);
        Some(
            self.outputs
                .first()?
                .values
                .chunks(classes)
                .map(largest)
                .collect(),
        )
    }

    /// The name of an output that holds infinities or NaN.
    pub(crate) fn not_finite(&self) -> Option<&str> {
        let odd = |output: &&Output| output.values.iter().any(|value| !value.is_finite());
        self.outputs.iter().find(odd).map(|output| output.name.as_str())
    }

    /// The first output's name and its extents in one inference.
    pub(crate) fn first(&self) -> Option<(&str, &[usize])> {
        let first = self.outputs.first()?;
        Some((&first.name, &first.shape))
    }

    /// Whether all answers are zero, so that no other is small or large beside them.
    pub(crate) fn are_zero(&self) -> bool {
        let values = self.outputs.iter().flat_map(|output| &output.values);
        values.into_iter().all(|&value| value == 0.0)
    }

    /// Energy of the difference to `reference` in parts of the reference's energy, of the output where it is largest;
    /// its signal to quantization noise ratio is the inverse. Infinite where the two cannot be compared.
    pub(crate) fn noise(&self, reference: &Self) -> f64 {
        let noise = |other: &Output| {
            let own = self.outputs.iter().find(|own| own.name == other.name);
            own.map_or(f64::INFINITY, |own| own.noise(other))
        };
        reference.outputs.iter().map(noise).fold(0.0, f64::max)
    }
}

impl Output {
    fn noise(&self, reference: &Self) -> f64 {
        if self.values.len() != reference.values.len() {
            return f64::INFINITY;
        }
        let square = |value: f32| f64::from(value) * f64::from(value);
        let signal: f64 = reference.values.iter().map(|&value| square(value)).sum();
        let pairs = self.values.iter().zip(&reference.values);
        let noise: f64 = pairs.map(|(own, other)| square(own - other)).sum();
        match noise / signal {
            _ if noise == 0.0 => 0.0,
            ratio if ratio.is_nan() => f64::INFINITY,
            ratio => ratio,
        }
    }
}

fn names(model: &Model) -> Vec<String> {
    let outputs = model.graph().output.iter();
    outputs.map(|output| output.name().to_owned()).collect()
}

#[cfg(test)]
impl Answers {
    /// Answers of one output of two classes.
    pub(crate) fn scores(values: &[f32]) -> Self {
        Self::new(&[("scores", values)], Some(2))
    }

    /// Full scores for these predictions.
    pub(crate) fn one_hot(classes: usize, predictions: &[usize]) -> Self {
        let row = |&class: &usize| (0..classes).map(move |other| f32::from(u8::from(other == class)));
        let values: Vec<f32> = predictions.iter().flat_map(row).collect();
        Self::new(&[("scores", &values)], Some(classes))
    }

    fn new(outputs: &[(&str, &[f32])], classes: Option<usize>) -> Self {
        let output = |(name, values): &(&str, &[f32])| Output {
            name: (*name).to_owned(),
            shape: Vec::new(),
            values: values.to_vec(),
        };
        Self {
            outputs: outputs.iter().map(output).collect(),
            classes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_in_parts_of_the_reference() {
        let reference = Answers::scores(&[3.0, 0.0, 0.0, 4.0]);
        assert!((Answers::scores(&[3.0, 0.0, 0.5, 4.0]).noise(&reference) - 0.01).abs() < 1e-12);
        assert!(Answers::scores(&[3.0, 0.0, 0.0, 4.0]).noise(&reference) < f64::MIN_POSITIVE);
        assert!(Answers::scores(&[0.0; 4]).are_zero() && !reference.are_zero());
    }

    #[test]
    fn the_worst_output_counts_and_what_cannot_be_compared_is_infinitely_far() {
        let answers = |one: &[f32], two: &[f32]| Answers::new(&[("one", one), ("two", two)], None);
        let reference = answers(&[1.0, 1.0], &[10.0]);
        assert!((answers(&[1.0, 1.0], &[9.0]).noise(&reference) - 0.01).abs() < 1e-12);
        assert!((answers(&[1.0, 0.0], &[9.0]).noise(&reference) - 0.5).abs() < 1e-12);
        for odd in [
            answers(&[1.0], &[10.0]),
            answers(&[1.0, f32::NAN], &[10.0]),
            Answers::new(&[("one", &[1.0, 1.0])], None),
        ] {
            assert!(odd.noise(&reference).is_infinite(), "{odd:?}");
        }
        assert_eq!(reference.predictions(), None);
        assert_eq!(answers(&[1.0, f32::NAN], &[1.0]).not_finite(), Some("one"));
    }
}
