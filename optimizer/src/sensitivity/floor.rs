//! How much of its answers a quantized model keeps on samples.

use serde::{Deserialize, Serialize};

use crate::answers::Answers;
use crate::calibrate::Samples;

/// What is counted as a loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Measure {
    /// The labels that are no longer met: the difference of the top-1 accuracies.
    Top1,
    /// The predictions that are no longer those of the float model. The top-1 accuracy falls by no more than this.
    Agreement,
    /// Nothing: the model makes no predictions, and only the ratio says how much it keeps.
    None,
}

/// The least that a quantized model must keep. Where neither is set, anything does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Floor {
    /// The largest drop, a fraction of the samples.
    pub max_drop: Option<f64>,
    /// The least signal to quantization noise ratio of the outputs, in decibels.
    pub min_sqnr: Option<f64>,
}

impl Floor {
    pub(super) fn holds(&self, kept: Kept) -> bool {
        self.max_drop.is_none_or(|most| kept.drop <= most)
            && self.min_sqnr.is_none_or(|least| decibels(kept.noise) >= least)
    }
}

/// What a quantized model keeps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Kept {
    /// How much accuracy it loses, as a fraction of the samples. It is negative where more labels are met than by
    /// the float model.
    pub(super) drop: f64,
    /// Energy of the outputs' error in parts of their own energy.
    pub(super) noise: f64,
}

/// The signal to quantization noise ratio in decibels; infinite where there is no noise.
pub(crate) fn decibels(noise: f64) -> f64 {
    -10.0 * noise.log10()
}

/// The answers of the float model, and what they are worth.
pub(super) struct Reference {
    answers: Answers,
    predictions: Option<Vec<usize>>,
    labels: Option<Vec<usize>>,
}

impl Reference {
    /// `answers` are the float model's on the first samples. Their labels count where each has one and the float model
    /// meets them more often than whoever always answers the most frequent one: others, such as those of a folder that
    /// merely holds pictures, say nothing of this model.
    pub(super) fn new(answers: Answers, samples: &dyn Samples) -> Self {
        let predictions = answers.predictions();
        let labels = predictions.as_ref().and_then(|predictions| {
            let labels: Option<Vec<usize>> =
                (0..predictions.len()).map(|index| samples.class(index)).collect();
            labels.filter(|labels| count_equal(predictions, labels) > most_frequent(labels))
        });
        Self {
            answers,
            predictions,
            labels,
        }
    }

    pub(super) fn measure(&self) -> Measure {
        match (&self.labels, &self.predictions) {
            (Some(_), _) => Measure::Top1,
            (None, Some(_)) => Measure::Agreement,
            (None, None) => Measure::None,
        }
    }

    /// What a model with these answers keeps.
    pub(super) fn kept(&self, answers: &Answers) -> Kept {
        let drop = |predictions: &Vec<usize>, own: &Vec<usize>| {
            let (before, after) = match &self.labels {
                Some(labels) => (count_equal(predictions, labels), count_equal(own, labels)),
                None => (predictions.len(), count_equal(predictions, own)),
            };
            (before as f64 - after as f64) / predictions.len().max(1) as f64
        };
        let own = answers.predictions();
        Kept {
            drop: self
                .predictions
                .as_ref()
                .zip(own.as_ref())
                .map_or(0.0, |(predictions, own)| drop(predictions, own)),
            noise: answers.noise(&self.answers),
        }
    }
}

fn count_equal(one: &[usize], other: &[usize]) -> usize {
    one.iter().zip(other).filter(|(one, other)| one == other).count()
}

fn most_frequent(labels: &[usize]) -> usize {
    let mut sorted = labels.to_vec();
    sorted.sort_unstable();
    let runs = sorted.chunk_by(|one, other| one == other);
    runs.map(<[usize]>::len).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use edgefront_runtimes::Tensor;

    use super::*;

    struct Labels(Vec<Option<usize>>);

    impl Samples for Labels {
        fn len(&self) -> usize {
            self.0.len()
        }

        fn sample(&self, _: usize) -> std::io::Result<Vec<Tensor>> {
            unreachable!("only the labels are asked for")
        }

        fn class(&self, index: usize) -> Option<usize> {
            self.0[index]
        }
    }

    /// A drop with these labels, and how it is counted.
    fn drop(labels: &[Option<usize>], before: &[usize], after: &[usize]) -> (Measure, f64) {
        let reference = Reference::new(Answers::one_hot(3, before), &Labels(labels.to_vec()));
        let kept = reference.kept(&Answers::one_hot(3, after));
        (reference.measure(), kept.drop)
    }

    #[test]
    fn labels_count_where_the_float_model_meets_them() {
        let labels = [Some(0), Some(1), Some(2), Some(2)];
        assert_eq!(drop(&labels, &[0, 1, 2, 0], &[0, 1, 0, 0]), (Measure::Top1, 0.25));
        assert_eq!(
            drop(&labels, &[0, 1, 2, 0], &[0, 1, 2, 2]),
            (Measure::Top1, -0.25)
        );
        assert_eq!(drop(&labels, &[0, 1, 2, 0], &[1, 1, 2, 2]), (Measure::Top1, 0.0));
    }

    #[test]
    fn predictions_count_where_labels_say_nothing() {
        let after = [0, 1, 0, 0];
        for labels in [[Some(0), Some(1), Some(2), None], [Some(0); 4], [None; 4]] {
            assert_eq!(drop(&labels, &[0, 1, 2, 0], &after), (Measure::Agreement, 0.25));
        }
    }

    #[test]
    fn every_floor_that_is_set_holds() {
        let kept = Kept {
            drop: 0.01,
            noise: 0.001,
        };
        for (max_drop, min_sqnr, holds) in [
            (None, None, true),
            (Some(0.01), None, true),
            (Some(0.009), None, false),
            (None, Some(30.0), true),
            (None, Some(30.1), false),
            (Some(0.01), Some(30.1), false),
            (Some(0.009), Some(30.0), false),
            (Some(0.01), Some(30.0), true),
        ] {
            assert_eq!(
                Floor { max_drop, min_sqnr }.holds(kept),
                holds,
                "{max_drop:?} {min_sqnr:?}"
            );
        }
        let exact = Kept { noise: 0.0, ..kept };
        let floor = Floor {
            max_drop: None,
            min_sqnr: Some(1e3),
        };
        assert!(floor.holds(exact));
    }
}
