//! How much accuracy a quantized model loses on samples.

use serde::{Deserialize, Serialize};

use super::logits::Logits;
use crate::calibrate::Samples;

/// What is counted as a loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Measure {
    /// The labels that are no longer met: the difference of the top-1 accuracies.
    Top1,
    /// The predictions that are no longer those of the float model. The top-1 accuracy falls by no more than this.
    Agreement,
}

/// The answers of the float model, and what they are worth.
pub(super) struct Floor {
    predictions: Vec<usize>,
    labels: Option<Vec<usize>>,
}

impl Floor {
    /// `reference` are the float model's answers on the first samples. Their labels count where each has one and
    /// the float model meets them more often than whoever always answers the most frequent one: others, such as
    /// those of a folder that merely holds pictures, say nothing of this model.
    pub(super) fn new(reference: &Logits, samples: &dyn Samples) -> Self {
        let predictions = reference.predictions();
        let labels: Option<Vec<usize>> = (0..predictions.len()).map(|index| samples.class(index)).collect();
        let labels = labels.filter(|labels| count_equal(&predictions, labels) > most_frequent(labels));
        Self { predictions, labels }
    }

    pub(super) fn measure(&self) -> Measure {
        if self.labels.is_some() {
            Measure::Top1
        } else {
            Measure::Agreement
        }
    }

    /// How much a model with these answers loses, as a fraction of the samples. It is negative where more labels
    /// are met than by the float model.
    pub(super) fn drop(&self, answers: &Logits) -> f64 {
        let predictions = answers.predictions();
        let total = self.predictions.len();
        let (before, after) = match &self.labels {
            Some(labels) => (
                count_equal(&self.predictions, labels),
                count_equal(&predictions, labels),
            ),
            None => (total, count_equal(&self.predictions, &predictions)),
        };
        (before as f64 - after as f64) / total.max(1) as f64
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

        fn sample(&self, _: usize) -> Vec<Tensor> {
            unreachable!("only the labels are asked for")
        }

        fn class(&self, index: usize) -> Option<usize> {
            self.0[index]
        }
    }

    /// A drop with these labels, and how it is counted.
    fn drop(labels: &[Option<usize>], before: &[usize], after: &[usize]) -> (Measure, f64) {
        let floor = Floor::new(&Logits::one_hot(3, before), &Labels(labels.to_vec()));
        (floor.measure(), floor.drop(&Logits::one_hot(3, after)))
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
}
